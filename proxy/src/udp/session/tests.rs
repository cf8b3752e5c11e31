//! Sessions over real sockets of this host.

use std::time::Duration;

use portolan_config::Protocol;
use tokio::sync::watch;
use tokio::task::LocalSet;

use super::*;
use crate::limits::UDP_SESSION_IDLE;
use crate::table::tests::upstream;
use crate::table::{Port, Published, Table, Upstream};
use crate::udp::serve;

const PATIENCE: Duration = Duration::from_secs(5);

fn port() -> Port {
    Port { address: "127.0.0.1:1".parse().unwrap(), protocol: Protocol::Udp }
}

/// Lets the port lead to these endpoints.
fn lead(worker: &Worker, generation: u64, endpoints: &[(u64, SocketAddr)]) {
    let some = upstream(&[true]);
    let target = |(id, address): &(u64, SocketAddr)| {
        let endpoint = format!("endpoint-{id}");
        Arc::new(Target { id: *id, address: *address, endpoint, ..(*some.available[0]).clone() })
    };
    let upstream = Upstream { available: endpoints.iter().map(target).collect(), ..upstream(&[true]) };
    let published = Published {
        upstream: "test".to_owned(),
        origin: "a test".to_owned(),
        data_path: None,
        proxy_protocol: None,
        limits: portolan_config::PublishLimits::default(),
        census: None,
    };
    worker.put_in_place(Table {
        generation,
        upstreams: [("test".to_owned(), Arc::new(upstream))].into_iter().collect(),
        publications: [(port(), published)].into(),
        ..Table::default()
    });
}

/// The sessions of a port that leads to one endpoint, and what its datagrams are taken with.
async fn sessions(worker: &Rc<Worker>) -> (Sessions, Listener, SocketAddr, UdpSocket) {
    let endpoint = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    lead(worker, 1, &[(0, endpoint.local_addr().unwrap())]);
    let socket = Rc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = socket.local_addr().unwrap();
    let listener = Listener::new(&socket).unwrap();
    let watched = Rc::new(epoll::create(epoll::CreateFlags::CLOEXEC).unwrap());
    let sessions = Sessions::new(socket, watched, Front::published(port(), worker), worker.clone());
    (sessions, listener, address, endpoint)
}

/// A client that sends a datagram, which is passed on.
fn one_more(sessions: &mut Sessions, listener: &mut Listener, to: SocketAddr) -> std::net::UdpSocket {
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"x", to).unwrap();
    assert_eq!(sessions.pass_on(listener), Ok(1));
    client
}

fn has(sessions: &Sessions, client: &std::net::UdpSocket) -> bool {
    sessions.book.find(&Peer { address: client.local_addr().unwrap(), local: None }).is_some()
}

#[tokio::test(start_paused = true)]
async fn a_session_through_which_nothing_moves_is_forgotten() {
    let (worker, _) = Worker::alone();
    let (mut sessions, mut listener, at, _endpoint) = sessions(&worker).await;
    let first = one_more(&mut sessions, &mut listener, at);
    tokio::time::advance(UDP_SESSION_IDLE * 9 / 10).await;
    let second = one_more(&mut sessions, &mut listener, at);
    sessions.sweep();
    assert!(has(&sessions, &first) && has(&sessions, &second));
    tokio::time::advance(UDP_SESSION_IDLE / 5).await;
    sessions.sweep();
    assert!(!has(&sessions, &first) && has(&sessions, &second));
}

#[tokio::test(start_paused = true)]
async fn where_there_are_too_many_the_one_idle_longest_gives_way() {
    let (worker, _) = Worker::alone();
    let (mut sessions, mut listener, at, _endpoint) = sessions(&worker).await;
    assert_eq!(sessions.most, UDP_SESSIONS_MAX);
    sessions.most = 8;
    let clients: Vec<_> = (0..8).map(|_| one_more(&mut sessions, &mut listener, at)).collect();
    clients[0].send_to(b"x", at).unwrap();
    assert_eq!(sessions.pass_on(&mut listener), Ok(1));
    let ninth = one_more(&mut sessions, &mut listener, at);
    assert_eq!(sessions.book.len(), 8);
    assert!(!has(&sessions, &clients[1]), "it was idle longest");
    assert!(has(&sessions, &clients[0]) && has(&sessions, &ninth));
}

/// A port that is served, and who serves it.
struct Served {
    worker: Rc<Worker>,
    address: SocketAddr,
    _open: watch::Sender<()>,
}

fn served(endpoints: &[(u64, SocketAddr)], listen: &str) -> Served {
    let (worker, _) = Worker::alone();
    lead(&worker, 1, endpoints);
    let socket = std::net::UdpSocket::bind(listen).unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let (open, closed) = watch::channel(());
    let front = Front::published(port(), &worker);
    tokio::task::spawn_local(serve(socket, front, worker.clone(), closed));
    Served { worker, address, _open: open }
}

async fn bound() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

/// The next datagram, and where it came from.
async fn heard(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut datagram = vec![0; 65_536];
    let received = tokio::time::timeout(PATIENCE, socket.recv_from(&mut datagram)).await;
    let (length, from) = received.expect("a datagram in time").unwrap();
    datagram.truncate(length);
    (datagram, from)
}

#[tokio::test]
async fn when_an_endpoint_leaves_the_next_datagram_goes_elsewhere_and_late_answers_arrive() {
    let test = async {
        let ((first, at_first), (second, at_second)) = (bound().await, bound().await);
        let served = served(&[(1, at_first)], "127.0.0.1:0");
        let (client, _) = bound().await;
        client.send_to(b"one", served.address).await.unwrap();
        let (said, session) = heard(&first).await;
        assert_eq!(said, b"one");
        lead(&served.worker, 2, &[(2, at_second)]);
        client.send_to(b"two", served.address).await.unwrap();
        assert_eq!(heard(&second).await.0, b"two");
        first.send_to(b"late", session).await.unwrap();
        assert_eq!(heard(&client).await, (b"late".to_vec(), served.address));
        // And one that joins takes nobody away.
        lead(&served.worker, 3, &[(1, at_first), (2, at_second)]);
        client.send_to(b"three", served.address).await.unwrap();
        assert_eq!(heard(&second).await.0, b"three");
        assert!(first.try_recv(&mut [0]).is_err());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn where_nobody_listens_the_client_is_given_another_endpoint() {
    let test = async {
        let (there, at_there) = bound().await;
        let gone = bound().await.1;
        let served = served(&[(1, gone), (2, at_there)], "127.0.0.1:0");
        // Some of these clients belong to the one that is gone; each speaks until it is heard.
        for number in 0..8_u8 {
            let (client, _) = bound().await;
            let spoken = async {
                loop {
                    client.send_to(&[number], served.address).await.unwrap();
                    let mut datagram = [0; 9];
                    let heard = there.recv_from(&mut datagram);
                    if tokio::time::timeout(PATIENCE / 100, heard).await.is_ok() && datagram[0] == number {
                        return;
                    }
                }
            };
            tokio::time::timeout(PATIENCE, spoken).await.expect("it is heard in the end");
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn answers_leave_from_the_address_that_was_asked() {
    let test = async {
        let (endpoint, at) = bound().await;
        let served = served(&[(1, at)], "0.0.0.0:0");
        let (client, _) = bound().await;
        for asked in [[127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 0, 2]] {
            let asked = SocketAddr::from((asked, served.address.port()));
            client.send_to(b"who", asked).await.unwrap();
            let (said, session) = heard(&endpoint).await;
            // More than one, so that the way of several at once is gone, too.
            for _ in 0..3 {
                endpoint.send_to(&said, session).await.unwrap();
            }
            for _ in 0..3 {
                assert_eq!(heard(&client).await, (b"who".to_vec(), asked));
            }
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn datagrams_of_all_sizes_pass_in_order_however_many_come_at_once() {
    let test = async {
        let (endpoint, at) = bound().await;
        let served = served(&[(1, at)], "127.0.0.1:0");
        let sizes =
            [100, 100, 100, 40, 100, 0, 7, 7, 7, 7, 1452, 1452, 1453, 1453, 60_000, 1, 65_507, 3, 3, 2, 0, 0];
        let datagrams: Vec<Vec<u8>> =
            sizes.iter().enumerate().map(|(index, size)| vec![index as u8; *size]).collect();
        let (client, _) = bound().await;
        client.writable().await.unwrap();
        endpoint.writable().await.unwrap();
        // All of them wait before one is taken: nothing else runs on this thread until the next await.
        for datagram in &datagrams {
            client.try_send_to(datagram, served.address).unwrap();
        }
        let mut session = at;
        for datagram in &datagrams {
            let (said, from) = heard(&endpoint).await;
            assert_eq!((said.len(), said == *datagram), (datagram.len(), true));
            session = from;
        }
        for datagram in &datagrams {
            endpoint.try_send_to(datagram, session).unwrap();
        }
        for datagram in &datagrams {
            let (said, _) = heard(&client).await;
            assert_eq!((said.len(), said == *datagram), (datagram.len(), true));
        }
    };
    LocalSet::new().run_until(test).await;
}
