//! What user space does for a pair that the kernel carries: it reads what the kernel left, tells each side of the
//! other's end, and breaks both off where one breaks.

use std::cell::{Cell, OnceCell};
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::{Counts, Joined, Maps, bpf, written};
use crate::deadline::{Moment, sleep_until};
use crate::limits::{BULK_BYTES, SOCKMAP_AHEAD};
use crate::worker::{End, Pace, Relayed};

/// Between two looks whether the kernel has written what it took; the first, and the longest.
const LOOKS: [Duration; 2] = [Duration::from_millis(1), Duration::from_millis(64)];
/// TCP's state of a socket that is no connection any more, as Linux counts.
const CLOSED: u8 = 7;

/// One of the two connections.
struct Side {
    /// Watched for what there is to read alone: as every packet wakes whoever waits for it, one that waited for room to
    /// write as well would find some each time.
    socket: AsyncFd<TcpStream>,
    is_client: bool,
}

/// One direction.
struct Way<'p, 'm> {
    from: &'p Side,
    to: &'p Side,
    pair: &'p Pair<'m>,
    /// Which of the two directions it is: 0 is to the endpoint.
    which: usize,
    /// Bytes that user space has passed on, each way.
    passed_on: &'p [Cell<u64>; 2],
    /// Whether the kernel may go on by itself.
    open: Cell<bool>,
    shared: &'p Shared,
}

/// Both connections.
struct Pair<'m> {
    maps: &'m Maps,
    sides: [Side; 2],
    /// Once they are in the map.
    joined: OnceCell<Joined<'m>>,
    /// Bytes that user space had passed on until then.
    early: Cell<[u64; 2]>,
    /// Whether the kernel has refused them.
    refused: Cell<bool>,
}

/// What both directions know.
#[derive(Default)]
struct Shared {
    half: Cell<bool>,
    ended: Cell<Option<Moment>>,
    halved: Notify,
    /// Who broke off first, and whether by a reset.
    broken: Cell<Option<End>>,
    reset: Cell<bool>,
}

/// Says that a side broke off.
struct Broken;

/// Has the kernel carry two connections until both are done, as [`crate::worker::relay`] does. Gives what was passed on
/// and whether the kernel had a part in it.
pub(crate) async fn carry(
    client: tokio::net::TcpStream,
    endpoint: tokio::net::TcpStream,
    maps: &Maps,
    pace: Pace,
) -> (Relayed, bool) {
    match (Side::new(client, true), Side::new(endpoint, false)) {
        (Ok(client), Ok(endpoint)) => {
            let (joined, early, refused) = (OnceCell::new(), Cell::new([0; 2]), Cell::new(false));
            let pair = Pair { maps, sides: [client, endpoint], joined, early, refused };
            let relayed = carry_pair(&pair, pace).await;
            (relayed, pair.joined.get().is_some())
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::warn!(%error, "a connection can't be watched");
            (Relayed { received: 0, sent: 0, end: End::EndpointReset }, false)
        }
    }
}

async fn carry_pair(pair: &Pair<'_>, pace: Pace) -> Relayed {
    let shared = Shared::default();
    let [client, endpoint] = &pair.sides;
    let passed_on = [Cell::new(0), Cell::new(0)];
    let way = |from, to, which: usize| Way {
        from,
        to,
        pair,
        which,
        passed_on: &passed_on,
        open: Cell::new(false),
        shared: &shared,
    };
    let (there, back) = (way(client, endpoint, 0), way(endpoint, client, 1));
    let end = {
        let both = async { tokio::try_join!(there.run(), back.run()) };
        tokio::select! {
            biased;
            _ = both => End::Done,
            () = idled(pace, &shared, [client, endpoint]) => {
                if shared.half.get() { End::HalfClosed } else { End::Idle }
            }
        }
    };
    if shared.reset.get() {
        for side in &pair.sides {
            let _ = socket2::SockRef::from(side.socket.get_ref()).set_linger(Some(Duration::ZERO));
        }
    }
    let end = shared.broken.get().unwrap_or(end);
    Relayed { received: there.carried(), sent: back.carried(), end }
}

impl Side {
    fn new(connection: tokio::net::TcpStream, is_client: bool) -> io::Result<Self> {
        Ok(Self { socket: watch(connection.into_std()?, Interest::READABLE)?, is_client })
    }
}

impl<'m> Way<'_, 'm> {
    /// Bytes of this direction so far.
    fn carried(&self) -> u64 {
        let redirected = self.counts().ok().flatten().map_or(0, |counts| counts.redirected);
        redirected + self.passed_on[self.which].get()
    }

    /// What the program has counted, once there is anything to count.
    fn counts(&self) -> io::Result<Option<Counts>> {
        self.pair.joined.get().map(|joined| self.pair.maps.count(joined.keys[self.which])).transpose()
    }

    /// Bytes of what the program passed to user space that have left it.
    fn taken(&self) -> u64 {
        self.passed_on[self.which].get() - self.pair.early.get()[self.which]
    }

    /// Puts both into the map, at a moment when nothing is unread.
    fn join(&self) -> Option<&Joined<'m>> {
        let Pair { maps, sides: [client, endpoint], joined, early, refused } = self.pair;
        // Those of which one has ended are about to be over.
        if joined.get().is_none() && !refused.get() && !self.shared.half.get() {
            match maps.join(client.socket.get_ref(), endpoint.socket.get_ref()) {
                Ok(both) => {
                    early.set([self.passed_on[0].get(), self.passed_on[1].get()]);
                    let _ = joined.set(both);
                }
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
                Err(error) => {
                    tracing::debug!(%error, "a connection stays in user space");
                    refused.set(true);
                }
            }
        }
        joined.get()
    }

    async fn run(&self) -> Result<(), Broken> {
        tokio::select! {
            biased;
            done = self.pass_on() => done,
            lost = self.lost() => lost,
        }
    }

    async fn pass_on(&self) -> Result<(), Broken> {
        let mut room = Vec::new();
        loop {
            if room.is_empty() {
                room = vec![0; BULK_BYTES];
            }
            match self.from.socket.get_ref().read(&mut room) {
                Ok(0) => {
                    if self.has_all().await? {
                        let _ = self.to.socket.get_ref().shutdown(Shutdown::Write);
                        self.shared.end();
                        return Ok(());
                    }
                }
                Ok(count) => {
                    if !self.settle().await? || !self.write(&room[..count]).await? {
                        self.shared.end();
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // A connection that waits holds no memory.
                    room = Vec::new();
                    self.let_go()?;
                    self.readable().await?;
                }
                Err(error) => return Err(self.shared.failed(self.from, &error)),
            }
        }
    }

    /// Waits until there may be something to read. It is taken for read then, since reading ends where nothing is left.
    async fn readable(&self) -> Result<(), Broken> {
        let ready = self.from.socket.readable().await;
        ready.map_err(|error| self.shared.failed(self.from, &error))?.clear_ready();
        Ok(())
    }

    /// Lets the kernel pass on what comes next, as user space has nothing left of what came before.
    fn let_go(&self) -> Result<(), Broken> {
        if self.open.get() {
            return Ok(());
        }
        let Some(joined) = self.join().filter(|joined| joined.whole) else { return Ok(()) };
        let allow = || {
            let written = written(self.to.socket.get_ref())?.saturating_sub(joined.written[self.which]);
            let redirected = written.saturating_sub(self.taken());
            self.pair.maps.allow(joined.keys[self.which], redirected + SOCKMAP_AHEAD, self.taken())
        };
        match allow() {
            Ok(()) => {
                self.open.set(true);
                Ok(())
            }
            // It stays with user space, until the next time.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => Ok(()),
            Err(error) => Err(self.shared.failed(self.from, &error)),
        }
    }

    /// Waits until all that the kernel took is in the other side's socket, so that nothing overtakes it; `false` if it
    /// never will be.
    async fn settle(&self) -> Result<bool, Broken> {
        let mut look = LOOKS[0];
        loop {
            let settled = || {
                let to = self.to.socket.get_ref();
                if bpf::standing(to)?.state == CLOSED {
                    return Ok(None);
                }
                let (Some(joined), Some(counts)) = (self.pair.joined.get(), self.counts()?) else {
                    return Ok(Some(true));
                };
                let due = joined.written[self.which] + counts.redirected + self.taken();
                Ok(Some(written(to).is_ok_and(|written| written >= due)))
            };
            match settled().map_err(|error: io::Error| self.shared.failed(self.to, &error))? {
                None => return Ok(false),
                Some(true) => return Ok(true),
                Some(false) => sleep_until(Moment::now() + look).await,
            }
            look = (2 * look).min(LOOKS[1]);
        }
    }

    /// Whether the end that was read is the end: nothing is left with the kernel either.
    async fn has_all(&self) -> Result<bool, Broken> {
        let counts = self.counts().map_err(|error| self.shared.failed(self.from, &error))?;
        if counts.is_some_and(|counts| counts.passed > self.taken()) {
            sleep_until(Moment::now() + LOOKS[0]).await;
            return Ok(false);
        }
        self.settle().await.map(|_| true)
    }

    /// Writes all of it; `false` if the other side takes no more.
    async fn write(&self, mut bytes: &[u8]) -> Result<bool, Broken> {
        let mut to = self.to.socket.get_ref();
        self.open.set(false);
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(count) => {
                    let passed_on = &self.passed_on[self.which];
                    passed_on.set(passed_on.get() + count as u64);
                    bytes = &bytes[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let waited = async {
                        let other = watch(to.try_clone()?, Interest::WRITABLE)?;
                        other.writable().await.map(drop)
                    };
                    waited.await.map_err(|error| self.shared.failed(self.to, &error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Err(self.shared.failed(self.to, &error));
                }
                // Unless it broke off, its last words may still be on their way.
                Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Resolves when the other side is broken: what the kernel is sending there comes to nothing, and nobody writes who
    /// would see it.
    async fn lost(&self) -> Result<(), Broken> {
        loop {
            let Ok(mut ready) = self.to.socket.ready(Interest::ERROR).await else { return Err(Broken) };
            match self.to.socket.get_ref().take_error() {
                // It had ended its side before; or the kernel, which was sending there, was the first to learn that it is gone.
                // Its last words may still be there to be read.
                Ok(Some(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                    if !self.shared.half.get() {
                        self.shared.note(self.to);
                    }
                    self.shared.end();
                    return Ok(());
                }
                Ok(Some(error)) | Err(error) => return Err(self.shared.failed(self.to, &error)),
                Ok(None) => ready.clear_ready(),
            }
        }
    }
}

impl Shared {
    /// Notes that a side broke off, unless the other did before.
    fn note(&self, side: &Side) {
        let end = if side.is_client { End::ClientReset } else { End::EndpointReset };
        self.broken.set(self.broken.get().or(Some(end)));
    }

    fn failed(&self, side: &Side, error: &io::Error) -> Broken {
        self.note(side);
        self.reset.set(self.reset.get() || error.kind() == io::ErrorKind::ConnectionReset);
        Broken
    }

    fn end(&self) {
        self.half.set(true);
        self.ended.set(Some(Moment::now()));
        self.halved.notify_one();
    }
}

#[expect(
    deprecated,
    reason = "what it can't hold, that the descriptor stays open, a stream that is given whole does"
)]
fn watch(socket: TcpStream, interest: Interest) -> io::Result<AsyncFd<TcpStream>> {
    AsyncFd::with_interest(socket, interest)
}

/// Resolves when nothing moved for as long as may be; never, without a limit. TCP knows how long nothing came.
async fn idled(pace: Pace, shared: &Shared, sides: [&Side; 2]) {
    loop {
        let limit = if shared.half.get() { pace.half_closed.or(pace.idle) } else { pace.idle };
        let Some(limit) = limit else {
            shared.halved.notified().await;
            continue;
        };
        let silent = |side: &Side| bpf::standing(side.socket.get_ref()).map_or(0, |tcp| tcp.silent_ms);
        let silent = Duration::from_millis(sides.map(silent).into_iter().min().unwrap_or(0).into());
        let since_end = shared.ended.get().map(|ended| Moment::now().since(ended));
        let silent = since_end.map_or(silent, |since| silent.min(since));
        if silent >= limit {
            return;
        }
        tokio::select! {
            () = sleep_until(Moment::now() + limit.saturating_sub(silent)) => {}
            () = shared.halved.notified() => {}
        }
    }
}
