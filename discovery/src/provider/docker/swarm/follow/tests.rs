//! The loop over a manager of the test's own, in paused time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::*;
use crate::instance::State;
use crate::metrics::Metrics;
use crate::provider::docker::pulse::{PING_DEADLINE, PING_EVERY};
use crate::provider::docker::swarm::model::{ContainerStatus, Service, Task, TaskStatus};
use crate::provider::docker::swarm::world::Seen;
use crate::provider::{Change, ProviderName, Update};

#[derive(Clone)]
struct Fake(Arc<Inner>);

struct Inner {
    events: Mutex<Option<mpsc::UnboundedReceiver<EventMessage>>>,
    seen: Mutex<Seen>,
    looks: AtomicUsize,
    fails: AtomicBool,
    hangs: AtomicBool,
}

impl Manager for Fake {
    async fn events(&self) -> impl Stream<Item = Result<EventMessage, String>> + Send {
        let events = self.0.events.lock().unwrap().take().expect("one connection");
        Box::pin(stream::unfold(events, async |mut events| Some((Ok(events.recv().await?), events))))
    }

    async fn look(&self, _want: Want) -> Result<Seen, Failure> {
        self.0.looks.fetch_add(1, Ordering::Relaxed);
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.0.fails.load(Ordering::Relaxed) {
            return Err(Failure::Other("refused".to_owned()));
        }
        Ok(self.0.seen.lock().unwrap().clone())
    }

    async fn ping(&self) -> Result<(), String> {
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

struct Bench {
    fake: Fake,
    events: mpsc::UnboundedSender<EventMessage>,
    updates: mpsc::Receiver<Update>,
    ended: JoinHandle<Ended>,
}

fn follow_fake() -> Bench {
    let (events, receiver) = mpsc::unbounded_channel();
    let seen = Seen {
        services: Some(vec![Service { id: "s".into(), ..Service::default() }]),
        tasks: vec![task("running")],
        ..Seen::default()
    };
    let fake = Fake(Arc::new(Inner {
        events: Mutex::new(Some(receiver)),
        seen: Mutex::new(seen),
        looks: AtomicUsize::new(0),
        fails: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
    }));
    let (sender, updates) = mpsc::channel(16);
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let followed = fake.clone();
    let ended = tokio::spawn(async move {
        let mut teller = Teller::new(ProviderName::new("swarm"), sender, metrics);
        let mut view = View::default();
        let pace = Pace::new(Duration::from_secs(15));
        follow(&followed, &mut view, &mut teller, pace, |_| {}).await
    });
    Bench { fake, events, updates, ended }
}

fn task(desired: &str) -> Task {
    Task {
        id: "t".into(),
        service: "s".into(),
        desired: desired.into(),
        status: TaskStatus {
            state: "running".into(),
            container: ContainerStatus { id: "c".into() },
            ..TaskStatus::default()
        },
        ..Task::default()
    }
}

impl Bench {
    async fn change(&mut self) -> Change {
        timeout(Duration::from_secs(600), self.updates.recv()).await.unwrap().unwrap().change
    }

    async fn state(&mut self) -> State {
        match self.change().await {
            Change::Upsert(instance) => instance.state,
            other => panic!("{other:?}"),
        }
    }

    fn say(&self, json: &str) {
        self.events.send(serde_json::from_str(json).unwrap()).unwrap();
    }

    fn looks(&self) -> usize {
        self.fake.0.looks.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_event_tells_of_is_seen_within_250_ms() {
    let mut bench = follow_fake();
    assert!(matches!(bench.change().await, Change::Reset(all) if all.len() == 1));
    sleep(Duration::from_secs(60)).await;
    bench.fake.0.seen.lock().unwrap().tasks = vec![task("shutdown")];
    let changed = Deadline::now();
    assert_eq!(bench.state().await, State::Draining);
    assert!(changed.elapsed() <= Duration::from_millis(250), "{:?}", changed.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_event_of_the_swarm_has_tasks_looked_at_at_once_and_then_often() {
    let mut bench = follow_fake();
    bench.change().await;
    // Between two looks that are due in any case.
    sleep(Duration::from_millis(60_100)).await;
    let before = bench.looks();
    bench.say(r#"{"Type":"service","Action":"update","Actor":{"ID":"s"}}"#);
    sleep(Duration::from_millis(1)).await;
    assert_eq!(bench.looks(), before + 1);
    sleep(Duration::from_secs(1)).await;
    assert!(bench.looks() >= before + 10, "{} looks", bench.looks() - before);
}

#[tokio::test(start_paused = true)]
async fn a_container_of_this_node_is_told_of_while_looks_hang() {
    let mut bench = follow_fake();
    bench.change().await;
    bench.fake.0.hangs.store(true, Ordering::Relaxed);
    sleep(Duration::from_millis(300)).await;
    bench.say(r#"{"Type":"container","Action":"kill","Actor":{"ID":"c","Attributes":{"signal":"15"}}}"#);
    assert_eq!(bench.state().await, State::Draining);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_fails_is_repeated_and_changes_nothing() {
    let mut bench = follow_fake();
    bench.change().await;
    bench.fake.0.fails.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(30)).await;
    assert!(!bench.ended.is_finished() && bench.updates.is_empty());
    bench.fake.0.fails.store(false, Ordering::Relaxed);
    bench.fake.0.seen.lock().unwrap().tasks = vec![task("shutdown")];
    assert_eq!(bench.state().await, State::Draining);
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_hangs_is_lost_within_its_deadline() {
    let mut bench = follow_fake();
    bench.change().await;
    bench.fake.0.hangs.store(true, Ordering::Relaxed);
    let ended = timeout(PING_EVERY + PING_DEADLINE + Duration::from_secs(1), bench.ended).await;
    assert!(matches!(ended.unwrap().unwrap(), Ended::Lost(reason) if reason.contains("ping")));
}
