//! Pairs of real connections over loopback. Where the kernel or the rights of whoever tests do not allow it, there is
//! nothing to see: `available` says so.

use std::hash::Hasher;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::limits::SOCKMAP_AHEAD;
use crate::worker::{End, Pace, Relayed};

const PATIENCE: Duration = Duration::from_secs(60);

/// A connection's two ends: the other side's, and Portolan's.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (theirs, listener.accept().await.unwrap().0)
}

fn is_there() -> bool {
    let available = available();
    if let Err(why) = &available {
        eprintln!("not seen: {why}");
    }
    available.is_ok()
}

fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|_| next()).collect()
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Has the two sides talk while the pair is carried.
async fn while_carried<T>(
    pace: Pace,
    talk: impl AsyncFnOnce(TcpStream, TcpStream, &Maps, [u64; 2]) -> T,
) -> (Relayed, T) {
    let sockmap = Sockmap::default();
    let ((client, to_client), (endpoint, to_endpoint)) = (pair().await, pair().await);
    let maps = sockmap.maps().unwrap();
    let keys = [socket_cookie(&to_client).unwrap(), socket_cookie(&to_endpoint).unwrap()];
    let both =
        async { tokio::join!(carry(to_client, to_endpoint, maps, pace), talk(client, endpoint, maps, keys)) };
    let ((relayed, by_kernel), said) = tokio::time::timeout(PATIENCE, both).await.expect("in time");
    assert!(by_kernel, "it was in the map");
    for key in keys {
        assert!(maps.counts.get(key).is_err(), "what is over is out of the maps");
    }
    (relayed, said)
}

#[tokio::test]
async fn the_kernel_passes_on_what_is_said_and_half_of_a_close() {
    const ROUNDS: u64 = 1000;
    if !is_there() {
        return;
    }
    let talk = async |mut client: TcpStream, mut endpoint: TcpStream, maps: &Maps, keys: [u64; 2]| {
        let mut room = [0; 128];
        for round in 0..ROUNDS {
            client.write_all(&[round as u8; 128]).await.unwrap();
            endpoint.read_exact(&mut room).await.unwrap();
            assert_eq!(room, [round as u8; 128]);
            endpoint.write_all(&[!round as u8; 128]).await.unwrap();
            client.read_exact(&mut room).await.unwrap();
            assert_eq!(room, [!round as u8; 128]);
        }
        let redirected = keys.map(|key| maps.count(key).unwrap().redirected);
        client.shutdown().await.unwrap();
        assert_eq!(endpoint.read(&mut room).await.unwrap(), 0, "the endpoint sees the end");
        endpoint.write_all(b"late").await.unwrap();
        client.read_exact(&mut room[..4]).await.unwrap();
        drop(endpoint);
        assert_eq!(client.read(&mut room).await.unwrap(), 0);
        redirected
    };
    let (relayed, redirected) = while_carried(Pace::default(), talk).await;
    assert_eq!((relayed.received, relayed.sent), (ROUNDS * 128, ROUNDS * 128 + 4));
    assert_eq!(relayed.end, End::Done);
    // The first may have come before the way was open.
    assert!(redirected.iter().all(|redirected| *redirected >= (ROUNDS - 10) * 128), "{redirected:?}");
}

#[tokio::test]
async fn much_arrives_whole_and_in_order_both_ways_at_once() {
    const COUNT: usize = 64 << 20;
    if !is_there() {
        return;
    }
    let (there, back) = (bytes(7, COUNT), bytes(8, COUNT));
    let expected = (digest(&there), digest(&back));
    let talk = async |client: TcpStream, endpoint: TcpStream, _: &Maps, _: [u64; 2]| {
        let send_and_read = async |mut stream: TcpStream, said: Vec<u8>| {
            let (mut read, mut write) = stream.split();
            let mut heard = Vec::new();
            let saying = async {
                write.write_all(&said).await.unwrap();
                write.shutdown().await.unwrap();
            };
            tokio::join!(saying, async { read.read_to_end(&mut heard).await.unwrap() });
            (heard.len(), digest(&heard))
        };
        tokio::join!(send_and_read(client, there), send_and_read(endpoint, back))
    };
    let (relayed, heard) = while_carried(Pace::default(), talk).await;
    assert_eq!(heard, ((COUNT, expected.1), (COUNT, expected.0)));
    assert_eq!((relayed.received, relayed.sent), (COUNT as u64, COUNT as u64));
}

#[tokio::test]
async fn who_takes_nothing_bounds_what_is_held_for_it_and_loses_nothing() {
    const COUNT: usize = 64 << 20;
    if !is_there() {
        return;
    }
    let said = bytes(9, COUNT);
    let expected = digest(&said);
    let talk = async |mut client: TcpStream, mut endpoint: TcpStream, maps: &Maps, keys: [u64; 2]| {
        let mut sent = 0;
        // Until no more is taken for a while.
        while let Ok(more) = tokio::time::timeout(Duration::from_secs(1), client.write(&said[sent..])).await {
            sent += more.unwrap();
            assert!(sent < COUNT, "all of it was taken, and nobody has read any");
        }
        assert!(maps.count(keys[0]).unwrap().redirected < SOCKMAP_AHEAD + COUNT as u64 / 2);
        let saying = async {
            client.write_all(&said[sent..]).await.unwrap();
            client.shutdown().await.unwrap();
        };
        let mut heard = Vec::new();
        tokio::join!(saying, async { endpoint.read_to_end(&mut heard).await.unwrap() });
        digest(&heard)
    };
    assert_eq!(while_carried(Pace::default(), talk).await.1, expected);
}

#[tokio::test]
async fn a_side_that_breaks_off_breaks_the_other() {
    if !is_there() {
        return;
    }
    for client_breaks in [true, false] {
        let talk = async |mut client: TcpStream, mut endpoint: TcpStream, _: &Maps, _: [u64; 2]| {
            let mut room = [0; 2];
            client.write_all(b"hi").await.unwrap();
            endpoint.read_exact(&mut room).await.unwrap();
            let (breaks, mut sees) = if client_breaks { (client, endpoint) } else { (endpoint, client) };
            breaks.set_zero_linger().unwrap();
            drop(breaks);
            sees.read(&mut room).await.unwrap_err().kind()
        };
        let (relayed, seen) = while_carried(Pace::default(), talk).await;
        assert_eq!(seen, io::ErrorKind::ConnectionReset);
        assert_eq!(relayed.end, if client_breaks { End::ClientReset } else { End::EndpointReset });
    }
}

#[tokio::test]
async fn an_endpoint_that_dies_after_its_end_is_no_place_to_send_to() {
    if !is_there() {
        return;
    }
    let talk = async |mut client: TcpStream, mut endpoint: TcpStream, _: &Maps, _: [u64; 2]| {
        let mut room = [0; 2];
        endpoint.shutdown().await.unwrap();
        assert_eq!(client.read(&mut room).await.unwrap(), 0);
        endpoint.set_zero_linger().unwrap();
        drop(endpoint);
        // Whatever the client says then, it learns that it is over.
        while client.write_all(b"hello").await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    while_carried(Pace::default(), talk).await;
}

#[tokio::test]
async fn nothing_moves_for_too_long() {
    if !is_there() {
        return;
    }
    let idle = Some(Duration::from_millis(300));
    let quiet = async |mut client: TcpStream, _endpoint: TcpStream, _: &Maps, _: [u64; 2]| {
        client.read(&mut [0]).await.unwrap()
    };
    let (relayed, read) = while_carried(Pace { idle, half_closed: None }, quiet).await;
    assert_eq!((relayed.end, read), (End::Idle, 0));
    let half = async |mut client: TcpStream, mut endpoint: TcpStream, _: &Maps, _: [u64; 2]| {
        client.shutdown().await.unwrap();
        assert_eq!(endpoint.read(&mut [0]).await.unwrap(), 0);
        client.read(&mut [0]).await.unwrap()
    };
    let (relayed, read) = while_carried(Pace { idle: None, half_closed: idle }, half).await;
    assert_eq!((relayed.end, read), (End::HalfClosed, 0));
}

#[tokio::test]
async fn what_was_received_before_arrives_once_also_where_a_part_of_it_was_read() {
    if !is_there() {
        return;
    }
    // The rest of a packet is left where a part of it was read, as when a first look was too short for all of it.
    for read in [0, 400, 1000] {
        let sockmap = Sockmap::default();
        let ((mut client, mut to_client), (mut endpoint, to_endpoint)) = (pair().await, pair().await);
        let question = bytes(10, 1000);
        client.write_all(&question).await.unwrap();
        endpoint.write_all(b"greeting").await.unwrap();
        to_client.read_exact(&mut vec![0; read]).await.unwrap();
        let maps = sockmap.maps().unwrap();
        let talk = async {
            let mut greeting = [0; 8];
            client.read_exact(&mut greeting).await.unwrap();
            assert_eq!(&greeting, b"greeting");
            client.write_all(b"more").await.unwrap();
            client.shutdown().await.unwrap();
            let mut heard = Vec::new();
            endpoint.read_to_end(&mut heard).await.unwrap();
            drop((client, endpoint));
            heard
        };
        let both = async { tokio::join!(carry(to_client, to_endpoint, maps, Pace::default()), talk) };
        let ((relayed, _), heard) = tokio::time::timeout(PATIENCE, both).await.expect("in time");
        assert!(heard == [&question[read..], b"more"].concat(), "{} bytes after {read}", heard.len());
        assert_eq!((relayed.received, relayed.sent), (heard.len() as u64, 8));
    }
}

#[tokio::test]
async fn nobody_joins_while_something_is_unread() {
    if !is_there() {
        return;
    }
    let sockmap = Sockmap::default();
    let ((mut client, to_client), (_endpoint, to_endpoint)) = (pair().await, pair().await);
    client.write_all(b"unread").await.unwrap();
    to_client.readable().await.unwrap();
    let refused = sockmap.maps().unwrap().join(&to_client, &to_endpoint).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ResourceBusy);
}

/// Two connections that are to be joined, and their other ends.
struct Pairs {
    client: TcpStream,
    to_client: TcpStream,
    endpoint: TcpStream,
    to_endpoint: TcpStream,
}

impl Pairs {
    async fn new() -> Self {
        let ((client, to_client), (endpoint, to_endpoint)) = (pair().await, pair().await);
        Self { client, to_client, endpoint, to_endpoint }
    }

    /// Says something each way while it is carried, then waits for `meanwhile`. Gives whether the kernel had a part in it.
    async fn talk(self, maps: &Maps, meanwhile: impl Future<Output = ()>) -> bool {
        let Self { mut client, to_client, mut endpoint, to_endpoint } = self;
        let talk = async {
            let mut room = [0; 4];
            for _ in 0..50 {
                client.write_all(b"ping").await.unwrap();
                endpoint.read_exact(&mut room).await.unwrap();
                endpoint.write_all(b"pong").await.unwrap();
                client.read_exact(&mut room).await.unwrap();
            }
            meanwhile.await;
            drop((client, endpoint));
        };
        let both = async { tokio::join!(carry(to_client, to_endpoint, maps, Pace::default()), talk) };
        let ((relayed, by_kernel), ()) = tokio::time::timeout(PATIENCE, both).await.expect("in time");
        assert_eq!((relayed.received, relayed.sent, relayed.end), (200, 200, End::Done));
        by_kernel
    }
}

#[tokio::test]
async fn a_pair_without_a_place_stays_in_user_space_and_a_place_that_was_left_is_taken() {
    if !is_there() {
        return;
    }
    let maps = Maps::make(1).unwrap();
    let while_there_is_none = async {
        let by_kernel = Pairs::new().await.talk(&maps, async {}).await;
        assert!(!by_kernel, "there was one place, and it was taken");
    };
    assert!(Pairs::new().await.talk(&maps, while_there_is_none).await);
    assert!(Pairs::new().await.talk(&maps, async {}).await, "it was left");
}

#[test]
fn without_the_capabilities_the_reason_is_said() {
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    let told = std::thread::spawn(|| {
        let none = CapabilitySet::empty();
        set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
            .unwrap();
        Maps::new().map(drop)
    });
    let why = told.join().unwrap().unwrap_err();
    assert!(why.contains("BPF and NET_ADMIN") || why.contains("takes Linux"), "{why}");
}
