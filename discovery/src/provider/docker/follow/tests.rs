//! The loop over an engine of the test's own, in paused time.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bollard::models::EventMessage;
use futures_util::{Stream, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{sleep, timeout};

use super::*;
use crate::instance::{InstanceId, State};
use crate::metrics::Metrics;
use crate::provider::docker::observe::Observed;
use crate::provider::docker::view::{Listed, Listing, fixtures};
use crate::provider::{Change, ProviderName, Update};

/// An engine that does what it is told. Inspections wait for a permit.
#[derive(Clone)]
struct Fake(Arc<Inner>);

struct Inner {
    events: Mutex<Option<mpsc::UnboundedReceiver<EventMessage>>>,
    containers: Mutex<Vec<Observed>>,
    permits: Semaphore,
    inspecting: AtomicUsize,
    inspecting_most: AtomicUsize,
    inspected: AtomicUsize,
    fails: AtomicBool,
    hangs: AtomicBool,
    lists: AtomicUsize,
}

impl Engine for Fake {
    async fn events(&self) -> impl Stream<Item = Result<EventMessage, String>> + Send {
        let events = self.0.events.lock().unwrap().take().expect("one connection");
        Box::pin(stream::unfold(events, async |mut events| Some((Ok(events.recv().await?), events))))
    }

    async fn list(&self) -> Result<Listing, String> {
        self.0.lists.fetch_add(1, Ordering::Relaxed);
        if self.0.fails.load(Ordering::Relaxed) {
            return Err("no list".to_owned());
        }
        let containers = self.0.containers.lock().unwrap().clone();
        let listed = |observed| Listed { observed, inspected: true };
        Ok(Listing { containers: containers.into_iter().map(listed).collect(), ..Listing::default() })
    }

    async fn inspect(&self, id: &InstanceId) -> Result<Option<Observed>, String> {
        let now = self.0.inspecting.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.inspecting_most.fetch_max(now, Ordering::Relaxed);
        let permit = self.0.permits.acquire().await;
        self.0.inspecting.fetch_sub(1, Ordering::Relaxed);
        self.0.inspected.fetch_add(1, Ordering::Relaxed);
        drop(permit);
        if self.0.fails.load(Ordering::Relaxed) {
            return Err("refused".to_owned());
        }
        Ok(self.0.containers.lock().unwrap().iter().find(|observed| observed.id == *id).cloned())
    }

    async fn ping(&self) -> Result<(), String> {
        if self.0.hangs.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        Ok(())
    }
}

struct Bench {
    engine: Fake,
    events: mpsc::UnboundedSender<EventMessage>,
    updates: mpsc::Receiver<Update>,
    ended: tokio::task::JoinHandle<Ended>,
}

/// An engine with `containers` that lets `permits` inspections through at a time, followed with room for `room` updates.
fn follow_fake(containers: Vec<Observed>, permits: usize, room: usize) -> Bench {
    let (events, stream) = mpsc::unbounded_channel();
    let engine = Fake(Arc::new(Inner {
        events: Mutex::new(Some(stream)),
        containers: Mutex::new(containers),
        permits: Semaphore::new(permits),
        inspecting: AtomicUsize::new(0),
        inspecting_most: AtomicUsize::new(0),
        inspected: AtomicUsize::new(0),
        fails: AtomicBool::new(false),
        hangs: AtomicBool::new(false),
        lists: AtomicUsize::new(0),
    }));
    let (sender, updates) = mpsc::channel(room);
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let mut teller = Teller::new(ProviderName::new("docker"), sender, metrics);
    let followed = engine.clone();
    let ended = tokio::spawn(async move {
        let mut view = View::default();
        view.reconnect(None);
        follow(&followed, &mut view, &mut teller, &mut Yields::new(None), |_| {}).await
    });
    Bench { engine, events, updates, ended }
}

impl Bench {
    fn say(&self, name: &str, action: &str, attributes: &str) {
        let json = format!(
            r#"{{"Type":"container","Action":"{action}","time":100,
                "Actor":{{"ID":"{name}","Attributes":{{{attributes}}}}}}}"#
        );
        self.events.send(serde_json::from_str(&json).unwrap()).unwrap();
    }

    async fn change(&mut self) -> Change {
        let patience = Duration::from_secs(600);
        timeout(patience, self.updates.recv()).await.unwrap().unwrap().change
    }

    async fn state(&mut self) -> State {
        match self.change().await {
            Change::Upsert(instance) => instance.state,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_told_while_every_inspection_hangs() {
    let mut bench = follow_fake(vec![fixtures::running("a", 10)], 0, 16);
    assert!(matches!(bench.change().await, Change::Reset(all) if all.len() == 1));
    bench.say("a", "update", "");
    bench.say("a", "kill", r#""signal":"15""#);
    assert_eq!(bench.state().await, State::Draining);
    bench.say("a", "die", r#""exitCode":"0""#);
    assert_eq!(bench.state().await, State::Stopped);
    assert_eq!(bench.engine.0.inspected.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn inspections_are_few_at_a_time_and_one_per_container() {
    let containers: Vec<_> = (0..100).map(|n| fixtures::running(&format!("c{n}"), 10)).collect();
    let mut bench = follow_fake(containers, 0, 512);
    bench.change().await;
    for _ in 0..5 {
        for n in 0..100 {
            bench.say(&format!("c{n}"), "update", "");
        }
    }
    sleep(Duration::from_secs(1)).await;
    let inner = &bench.engine.0;
    assert_eq!(inner.inspecting_most.load(Ordering::Relaxed), 16);
    inner.permits.add_permits(1000);
    sleep(Duration::from_secs(1)).await;
    // The sixteen that began before the later events are repeated, and no other.
    let inspected = inner.inspected.load(Ordering::Relaxed);
    assert!((100..=116).contains(&inspected), "{inspected}");
}

#[tokio::test(start_paused = true)]
async fn an_inspection_that_fails_is_repeated_until_it_does_not() {
    let mut bench = follow_fake(vec![], 100, 16);
    bench.change().await;
    bench.engine.0.fails.store(true, Ordering::Relaxed);
    bench.say("a", "start", "");
    sleep(Duration::from_secs(20)).await;
    let inspected = bench.engine.0.inspected.load(Ordering::Relaxed);
    assert!((5..15).contains(&inspected), "{inspected} attempts in 20 s");
    bench.engine.0.containers.lock().unwrap().push(fixtures::running("a", 10));
    bench.engine.0.fails.store(false, Ordering::Relaxed);
    assert_eq!(bench.state().await, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_hangs_is_lost_within_eight_seconds() {
    let mut bench = follow_fake(vec![], 100, 16);
    bench.change().await;
    bench.engine.0.hangs.store(true, Ordering::Relaxed);
    let begun = Deadline::now();
    let Ended::Lost(reason) = bench.ended.await.unwrap() else { panic!("lost") };
    assert!(reason.contains("ping within 3 s"), "{reason}");
    assert!(begun.elapsed() <= Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_no_event_said_is_healed_by_the_next_list() {
    let mut bench = follow_fake(vec![fixtures::running("a", 10)], 100, 16);
    bench.change().await;
    bench.engine.0.containers.lock().unwrap().clear();
    let begun = Deadline::now();
    assert!(matches!(bench.change().await, Change::Remove(id) if id == InstanceId::new("a")));
    assert!(begun.elapsed() <= RELIST_EVERY, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_reload_of_the_engine_brings_a_list_at_once() {
    let mut bench = follow_fake(vec![fixtures::running("a", 10)], 100, 16);
    bench.change().await;
    bench.engine.0.containers.lock().unwrap().clear();
    let reload = r#"{"Type":"daemon","Action":"reload","Actor":{"ID":"d"}}"#;
    bench.events.send(serde_json::from_str(reload).unwrap()).unwrap();
    let begun = Deadline::now();
    assert!(matches!(bench.change().await, Change::Remove(_)));
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_busy_receiver_does_not_stop_the_reading() {
    let mut bench = follow_fake(vec![fixtures::running("a", 10), fixtures::running("b", 10)], 100, 1);
    for _ in 0..1000 {
        bench.say("a", "pause", "");
        bench.say("a", "unpause", "");
    }
    bench.say("b", "kill", r#""signal":"15""#);
    sleep(Duration::from_secs(1)).await;
    assert!(matches!(bench.change().await, Change::Reset(_)));
    let mut b = None;
    let mut changes = 0;
    while let Ok(Some(update)) = timeout(Duration::from_secs(1), bench.updates.recv()).await {
        changes += 1;
        if let Change::Upsert(instance) = update.change
            && instance.name == "b"
        {
            b = Some(instance.state);
        }
    }
    assert_eq!(b, Some(State::Draining));
    assert!(changes < 10, "{changes} changes waited for two containers");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_fails_ends_a_new_connection_and_not_an_old_one() {
    let mut bench = follow_fake(vec![], 100, 16);
    bench.change().await;
    bench.engine.0.fails.store(true, Ordering::Relaxed);
    let before = bench.engine.0.lists.load(Ordering::Relaxed);
    sleep(Duration::from_secs(95)).await;
    // After a minute, then every ten seconds.
    assert_eq!(bench.engine.0.lists.load(Ordering::Relaxed) - before, 4);
    assert!(!bench.ended.is_finished());

    let failing = follow_fake(vec![], 100, 16);
    failing.engine.0.fails.store(true, Ordering::Relaxed);
    assert_eq!(failing.ended.await.unwrap(), Ended::Lost("no list".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_is_a_loss_and_a_receiver_that_goes_is_the_end() {
    let mut bench = follow_fake(vec![], 100, 16);
    bench.change().await;
    drop(bench.events);
    assert_eq!(bench.ended.await.unwrap(), Ended::Lost("the stream of events ended".to_owned()));

    let bench = follow_fake(vec![], 100, 16);
    drop(bench.updates);
    assert_eq!(bench.ended.await.unwrap(), Ended::Unheard);
}
