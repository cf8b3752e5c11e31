//! Choices among targets, by every strategy.

use std::collections::BTreeMap;
use std::time::Duration;

use portolan_config::dynamic::service::{LoadBalancer, Strategy};
use portolan_config::dynamic::value::Span;

use super::*;
use crate::table::tests::upstream;

/// An upstream of targets with these weights.
fn weighted(strategy: Strategy, weights: &[u32]) -> Upstream {
    planned(&LoadBalancer { strategy, ..LoadBalancer::default() }, weights)
}

fn planned(balancing: &LoadBalancer, weights: &[u32]) -> Upstream {
    let mut upstream = upstream(&vec![true; weights.len()]);
    for (target, weight) in upstream.available.iter_mut().zip(weights) {
        Arc::get_mut(target).unwrap().weight = *weight;
    }
    upstream.plan = Plan::new(balancing, &upstream.available);
    upstream
}

fn nobody(upstream: &Upstream) -> Option<Arc<Target>> {
    pick(upstream, Asker::default(), &Tried::default())
}

/// How often each target is chosen, in so many times.
fn shares(upstream: &Upstream, times: u64) -> Vec<u64> {
    let mut shares = BTreeMap::new();
    for client in 0..times {
        let asker = Asker { hash: Some(hash::mix(client)), ..Asker::default() };
        *shares.entry(pick(upstream, asker, &Tried::default()).unwrap().id).or_insert(0) += 1;
    }
    shares.into_values().collect()
}

const ALL: [Strategy; 7] = [
    Strategy::Wrr,
    Strategy::P2c,
    Strategy::Hrw,
    Strategy::LeastTime,
    Strategy::LeastRequests,
    Strategy::Ewma,
    Strategy::Maglev,
];

#[test]
fn every_target_gets_its_turn_equally_often() {
    let upstream = upstream(&[true, true, false, true]);
    assert_eq!(shares(&upstream, 300), [100, 100, 100]);
}

#[test]
fn who_has_more_weight_gets_more() {
    assert_eq!(shares(&weighted(Strategy::Wrr, &[3, 2, 1]), 600), [300, 200, 100]);
    for strategy in [Strategy::Hrw, Strategy::Maglev] {
        let shares = shares(&weighted(strategy, &[3, 2, 1]), 60_000);
        for (share, due) in shares.iter().zip([30_000.0, 20_000.0, 10_000.0]) {
            assert!((*share as f64 - due).abs() < due * 0.05, "{strategy:?}: {shares:?}");
        }
    }
}

#[test]
fn every_strategy_gives_all_targets_work_and_passes_over_those_that_failed() {
    for strategy in ALL {
        let upstream = weighted(strategy, &[1, 1, 1]);
        assert_eq!(shares(&upstream, 3_000).len(), 3, "{strategy:?}");
        let mut tried = Tried::default();
        for _ in 0..3 {
            let next = pick(&upstream, Asker { hash: Some(7), ..Asker::default() }, &tried).unwrap();
            assert!(!tried.contains(&next), "{strategy:?}");
            tried.add(&next);
        }
        assert!(
            pick(&upstream, Asker { hash: Some(7), ..Asker::default() }, &tried).is_none(),
            "{strategy:?}"
        );
        assert!(nobody(&weighted(strategy, &[])).is_none(), "{strategy:?}");
    }
}

#[test]
fn a_hash_leads_to_the_same_target_and_work_without_one_takes_turns() {
    for strategy in [Strategy::Hrw, Strategy::Maglev] {
        let upstream = weighted(strategy, &[1, 1, 1, 1]);
        let asker = Asker::at("192.0.2.7".parse().unwrap());
        let first = pick(&upstream, asker, &Tried::default()).unwrap().id;
        assert!((0..100).all(|_| pick(&upstream, asker, &Tried::default()).unwrap().id == first));
        assert_eq!(Asker::at("::ffff:192.0.2.7".parse().unwrap()), asker);
        let mut ids: Vec<u64> = (0..4).map(|_| nobody(&upstream).unwrap().id).collect();
        ids.sort_unstable();
        assert_eq!(ids, [0, 1, 2, 3], "{strategy:?}");
    }
}

#[test]
fn work_goes_to_who_has_least_to_do() {
    for strategy in [Strategy::LeastRequests, Strategy::P2c, Strategy::Ewma] {
        let upstream = weighted(strategy, &[1, 1]);
        let busy: Vec<Running> = (0..3).map(|_| Running::begin(upstream.available[0].load.clone())).collect();
        assert!((0..20).all(|_| nobody(&upstream).unwrap().id == 1), "{strategy:?}");
        drop(busy);
        assert_eq!(shares(&upstream, 1_000).len(), 2, "{strategy:?}");
    }
}

#[test]
fn who_has_twice_the_weight_may_have_twice_as_much_to_do() {
    let upstream = weighted(Strategy::LeastRequests, &[2, 1]);
    let mut running = Vec::new();
    for _ in 0..30 {
        running.push(Running::begin(nobody(&upstream).unwrap().load.clone()));
    }
    assert_eq!(upstream.available[0].load.running(), 20);
}

#[test]
fn work_goes_to_who_answers_soonest() {
    for strategy in [Strategy::LeastTime, Strategy::Ewma] {
        let upstream = weighted(strategy, &[1, 1]);
        upstream.available[0].load.answered(Duration::from_millis(100));
        upstream.available[1].load.answered(Duration::from_millis(1));
        assert!((0..20).all(|_| nobody(&upstream).unwrap().id == 1), "{strategy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_target_gets_its_share_little_by_little() {
    let slow_start = Span::secs(10);
    let upstream = planned(&LoadBalancer { slow_start, ..LoadBalancer::default() }, &[1, 1]);
    // Both are new: then neither is.
    assert!(shares(&upstream, 1_000).iter().all(|share| (400..=600).contains(share)));
    tokio::time::advance(Duration::from_secs(10)).await;
    upstream.available[0].load.cool();
    let first = shares(&upstream, 1_000);
    assert!((10..150).contains(&first[0]), "{first:?}");
    tokio::time::advance(Duration::from_secs(5)).await;
    let half = shares(&upstream, 1_000);
    assert!((150..400).contains(&half[0]), "{half:?}");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(shares(&upstream, 1_000), [500, 500]);
}

#[test]
fn who_stays_with_a_target_goes_there_until_it_fails() {
    for strategy in ALL {
        let upstream = weighted(strategy, &[1, 1, 1]);
        let asker = Asker { hash: Some(7), stuck: Some(2), outdated: false };
        let mut tried = Tried::default();
        assert!((0..10).all(|_| pick(&upstream, asker, &tried).unwrap().id == 2), "{strategy:?}");
        tried.add(&upstream.available[2].clone());
        assert_ne!(pick(&upstream, asker, &tried).unwrap().id, 2, "{strategy:?}");
        let gone = Asker { stuck: Some(9), ..asker };
        assert!(pick(&upstream, gone, &Tried::default()).is_some(), "{strategy:?}");
    }
}

#[test]
fn those_on_this_machine_go_first_and_the_others_serve_where_none_of_them_may() {
    for strategy in ALL {
        let balancing = LoadBalancer { strategy, ..LoadBalancer::default() };
        let mut upstream = weighted(strategy, &[1, 1, 1]);
        let targets = upstream.available[..2].to_vec();
        upstream.near = Some(Near { plan: Plan::new(&balancing, &targets), targets });
        assert_eq!(shares(&upstream, 2_000).len(), 2, "{strategy:?}");
        let asker = Asker { hash: Some(7), ..Asker::default() };
        let mut tried = Tried::default();
        for near in [true, true, false] {
            let next = pick(&upstream, asker, &tried).unwrap();
            assert_eq!(next.id < 2, near, "{strategy:?}");
            tried.add(&next);
        }
        assert!(pick(&upstream, asker, &tried).is_none(), "{strategy:?}");
        let stuck = Asker { stuck: Some(2), ..asker };
        assert_eq!(pick(&upstream, stuck, &Tried::default()).unwrap().id, 2, "a session goes before");
    }
}

#[test]
fn who_is_near_and_full_is_passed_over() {
    let balancing = LoadBalancer { max_requests_per_endpoint: 2, ..LoadBalancer::default() };
    let mut upstream = weighted(Strategy::Wrr, &[1, 1]);
    let targets = upstream.available[..1].to_vec();
    upstream.near = Some(Near { plan: Plan::new(&balancing, &targets), targets });
    upstream.bounds = Bounds::of(&balancing);
    let taken = || take(&upstream, Asker::default(), &Tried::default(), false);
    let all: Vec<_> = (0..4).map(|_| taken().unwrap().unwrap()).collect();
    assert_eq!(all.iter().map(|(target, _)| target.id).collect::<Vec<_>>(), [0, 0, 1, 1]);
    assert_eq!(taken().unwrap_err(), Full::Endpoints);
}

#[tokio::test(start_paused = true)]
async fn who_was_not_reached_gets_one_try_at_a_time_unless_nobody_else_is_left() {
    for strategy in ALL {
        let upstream = weighted(strategy, &[1, 1, 1]);
        let lost = upstream.available[0].clone();
        lost.load.unreached();
        assert_eq!(shares(&upstream, 300).len(), 2, "{strategy:?}");
        tokio::time::advance(crate::limits::UNREACHED_PAUSE).await;
        let chosen = (0..300).filter(|client| {
            let asker = Asker { hash: Some(hash::mix(*client)), ..Asker::default() };
            pick(&upstream, asker, &Tried::default()).is_some_and(|target| target.id == lost.id)
        });
        assert_eq!(chosen.count(), 1, "{strategy:?}");
        for target in &upstream.available {
            target.load.unreached();
        }
        assert_eq!(shares(&upstream, 300).len(), 3, "{strategy:?}");
    }
}
