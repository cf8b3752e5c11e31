//! Limits of requests, with real sockets: how many reach an endpoint at a time, who waits, and who is turned away.

use std::cell::Cell;

use portolan_config::dynamic::service::LoadBalancer;
use portolan_config::dynamic::value::Span;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::task::LocalSet;
use tokio::time::sleep;

use super::*;
use crate::places::Bounds;
use crate::table::tests::upstream;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// How long an endpoint takes for a request.
const WORK: Duration = Duration::from_secs(2);

/// Where requests go, and how many were there at a time at most.
struct Scene {
    worker: Rc<Worker>,
    upstream: Arc<Upstream>,
    most: Rc<Cell<usize>>,
}

impl Scene {
    /// So many endpoints, which all are the same server, and these limits.
    async fn new(endpoints: usize, balancing: &LoadBalancer) -> Self {
        let (worker, _drain) = Worker::alone();
        let origin = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut upstream = upstream(&vec![true; endpoints]);
        for target in &mut upstream.available {
            Arc::get_mut(target).unwrap().address = origin.local_addr().unwrap();
        }
        upstream.bounds = Bounds::of(balancing);
        let (most, now) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0_usize)));
        let seen = most.clone();
        tokio::task::spawn_local(async move {
            while let Ok((connection, _)) = origin.accept().await {
                tokio::task::spawn_local(serve(connection, now.clone(), seen.clone()));
            }
        });
        Self { worker, upstream: Arc::new(upstream), most }
    }

    /// Sends a request, which its client waits for as long as this.
    async fn ask(&self, patience: Duration, asker: Asker) -> Outcome {
        let mut head = self.worker.buffers.take();
        head.put(HEAD);
        let request =
            Exchange { asker, ..Exchange::plain(Method::Get, Framing::Empty, head, self.upstream.clone()) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        tokio::task::spawn_local(async move {
            sleep(patience).await;
            // What a client does that breaks off.
            let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
            drop(client);
        });
        let mut accepted = Stream::from(accepted);
        let mut inbound = self.worker.buffers.take();
        exchange(&mut accepted, &mut inbound, request, &mut Carrier::Pooled, &self.worker).await
    }

    /// Sends so many at the same time. Gives how many were answered, and why each other one was not.
    async fn ask_at_once(&self, count: usize) -> (usize, Vec<Reason>) {
        let asks: Vec<_> = (0..count).map(|_| Box::pin(self.ask(WORK * 100, Asker::default()))).collect();
        let outcomes = join_all(asks).await;
        let answered = outcomes.iter().filter(|outcome| outcome.status == Some(204)).count();
        (answered, outcomes.iter().filter_map(|outcome| outcome.failure).collect())
    }
}

/// All of them, side by side.
async fn join_all<F: Future + Unpin>(futures: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    let mut futures = futures;
    std::future::poll_fn(|context| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let std::task::Poll::Ready(output) = std::pin::Pin::new(future).poll(context)
            {
                *done = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}

async fn serve(mut connection: TcpStream, now: Rc<Cell<usize>>, most: Rc<Cell<usize>>) {
    while connection.read_exact(&mut [0; HEAD.len()]).await.is_ok() {
        // The clock of the test runs ahead of the kernel, which would take its time to say that it has the request.
        rustix::net::sockopt::set_tcp_quickack(&connection, true).unwrap();
        now.set(now.get() + 1);
        most.set(most.get().max(now.get()));
        sleep(WORK).await;
        now.set(now.get() - 1);
        if connection.write_all(ANSWER).await.is_err() {
            return;
        }
    }
}

fn limits(requests: u32, per_endpoint: u32, pending: u32) -> LoadBalancer {
    LoadBalancer {
        max_requests: requests,
        max_requests_per_endpoint: per_endpoint,
        max_pending: pending,
        ..LoadBalancer::default()
    }
}

fn alone<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.unwrap().block_on(LocalSet::new().run_until(test))
}

#[test]
fn no_more_requests_run_than_may_and_the_others_are_told_at_once() {
    alone(async {
        let scene = Scene::new(2, &limits(3, 0, 0)).await;
        assert_eq!(scene.ask_at_once(10).await, (3, vec![Reason::ServiceLimit; 7]));
        assert_eq!(scene.most.get(), 3);
        assert_eq!(scene.ask_at_once(10).await.0, 3, "places that were left can be taken");
        let scene = Scene::new(2, &limits(0, 2, 0)).await;
        assert_eq!(scene.ask_at_once(10).await, (4, vec![Reason::EndpointLimit; 6]));
        assert_eq!(scene.most.get(), 4, "two at each of both");
        let scene = Scene::new(2, &limits(0, 0, 7)).await;
        assert_eq!(scene.ask_at_once(10).await, (10, vec![]), "without a limit nobody waits");
    });
}

#[test]
fn who_waits_gets_the_places_that_are_left_and_nobody_else_waits() {
    alone(async {
        let scene = Scene::new(1, &limits(2, 0, 3)).await;
        assert_eq!(scene.ask_at_once(10).await, (5, vec![Reason::PendingLimit; 5]));
        assert_eq!(scene.most.get(), 2);
        let scene = Scene::new(3, &limits(0, 1, 100)).await;
        // Two rounds behind the first fit into the five seconds that a request may wait, not a third.
        let (answered, turned) = scene.ask_at_once(12).await;
        assert_eq!((answered, turned), (9, vec![Reason::PendingTimeout; 3]));
        assert_eq!(scene.most.get(), 3);
    });
}

#[test]
fn nobody_waits_longer_than_the_service_says() {
    alone(async {
        let balancing = LoadBalancer { pending_timeout: Span::secs(1), ..limits(1, 0, 5) };
        let scene = Scene::new(1, &balancing).await;
        let began = tokio::time::Instant::now();
        assert_eq!(scene.ask_at_once(3).await, (1, vec![Reason::PendingTimeout; 2]));
        assert!(began.elapsed() < WORK * 2, "{:?}", began.elapsed());
    });
}

#[test]
fn a_client_that_breaks_off_waits_no_longer_and_its_turn_goes_to_the_next() {
    alone(async {
        let scene = Scene::new(1, &limits(1, 0, 2)).await;
        let first = scene.ask(WORK * 100, Asker::default());
        let second = async {
            sleep(WORK / 8).await;
            scene.ask(WORK / 4, Asker::default()).await
        };
        let third = async {
            sleep(WORK / 4).await;
            scene.ask(WORK * 100, Asker::default()).await
        };
        let (first, second, third) = tokio::join!(first, second, third);
        assert_eq!((first.status, third.status), (Some(204), Some(204)));
        assert_eq!(second.failure, Some(Reason::ClientGone));
    });
}

#[test]
fn who_stays_with_an_endpoint_is_not_sent_elsewhere_because_it_is_busy() {
    alone(async {
        let scene = Scene::new(2, &limits(0, 1, 0)).await;
        let stuck = Asker { stuck: Some(scene.upstream.available[0].id), ..Asker::default() };
        let (first, second) = tokio::join!(scene.ask(WORK * 100, stuck), async {
            sleep(WORK / 4).await;
            scene.ask(WORK * 100, stuck).await
        });
        assert_eq!((first.status, second.failure), (Some(204), Some(Reason::EndpointLimit)));
    });
}
