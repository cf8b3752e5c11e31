//! What follows from the orders that engines were seen to report things in.

use super::fixtures::{event, id, running, stopped, time};
use super::*;
use crate::instance::{ServiceKey, State};

fn disconnect(network: &str) -> Kind {
    Kind::Disconnect { network: format!("{network}-id") }
}

fn listing(containers: impl IntoIterator<Item = Observed>) -> Listing {
    let containers = containers.into_iter().map(|observed| Listed { observed, inspected: true }).collect();
    Listing { containers, ..Listing::default() }
}

/// A view after its first list.
fn view(containers: impl IntoIterator<Item = Observed>) -> View {
    let mut view = View::default();
    let epoch = view.begin_list();
    let effects = view.listed(epoch, listing(containers), Instant::now());
    assert!(matches!(effects.changes[..], [(_, Change::Reset(_))]), "{effects:?}");
    view
}

/// The changes in short: `ready 1` is a state and the number of networks, `gone` a removal.
fn told(effects: &Effects) -> Vec<String> {
    effects
        .changes
        .iter()
        .map(|(_, change)| match change {
            Change::Upsert(instance) => format!("{} {}", instance.state, instance.networks.len()),
            Change::Remove(_) => "gone".to_owned(),
            Change::Reset(all) => format!("reset {}", all.len()),
            other @ (Change::Lost(_) | Change::Configured(_) | Change::Judged(_) | Change::Ordered(_)) => {
                panic!("{other:?}")
            }
        })
        .collect()
}

fn apply(view: &mut View, event: &Event) -> Vec<String> {
    told(&view.apply(event, Instant::now()))
}

fn refresh(view: &mut View, observed: Observed) -> Vec<String> {
    let id = observed.id.clone();
    let epoch = view.epoch(&id).unwrap();
    told(&view.refreshed(&id, epoch, Some(observed), Instant::now()))
}

fn instance(view: &View, name: &str) -> Instance {
    view.instance(&id(name)).unwrap()
}

#[test]
fn each_recorded_order_is_followed_from_the_events_alone() {
    let cases: [(&str, &[(Kind, &str)]); 9] = [
        (
            "stop, 20.10",
            &[
                (Kind::Kill(15), "draining 1"),
                (Kind::Kill(9), ""),
                (Kind::Die(Some(137)), "stopped 0"),
                (disconnect("front"), ""),
                (Kind::Changed, ""),
            ],
        ),
        (
            "stop, 23.0 and later",
            &[
                (Kind::Kill(15), "draining 1"),
                (disconnect("front"), "draining 0"),
                (Kind::Die(Some(0)), "stopped 0"),
                (Kind::Changed, ""),
            ],
        ),
        ("crash, 20.10", &[(Kind::Die(Some(1)), "stopped 0"), (disconnect("front"), "")]),
        ("crash, 23.0 and later", &[(disconnect("front"), "ready 0"), (Kind::Die(Some(1)), "stopped 0")]),
        (
            "rm -f",
            &[
                (Kind::Kill(9), "draining 1"),
                (Kind::Die(Some(137)), "stopped 0"),
                (disconnect("front"), ""),
                (Kind::Destroy, "gone"),
                (Kind::Destroy, ""),
            ],
        ),
        ("a signal to reload", &[(Kind::Kill(1), ""), (Kind::Kill(12), "")]),
        ("pause", &[(Kind::Pause, "paused 1"), (Kind::Pause, ""), (Kind::Unpause, "ready 1")]),
        (
            "health flaps",
            &[
                (Kind::Health(false), "unhealthy 1"),
                (Kind::Health(false), ""),
                (Kind::Health(true), "ready 1"),
                (Kind::Kill(15), "draining 1"),
                (Kind::Health(false), ""),
            ],
        ),
        (
            "said twice",
            &[
                (Kind::Kill(15), "draining 1"),
                (Kind::Kill(15), ""),
                (Kind::Die(Some(0)), "stopped 0"),
                (Kind::Die(Some(0)), ""),
                (Kind::Kill(15), ""),
            ],
        ),
    ];
    for (name, steps) in cases {
        let mut view = view([running("c", 10)]);
        for (index, (kind, expected)) in steps.iter().enumerate() {
            let told = apply(&mut view, &event("c", 20, kind.clone()));
            assert_eq!(told.join(","), *expected, "{name}: {index}, {kind:?}");
        }
    }
}

#[test]
fn the_reason_and_the_time_are_those_of_the_event() {
    let mut view = view([running("c", 10)]);
    assert_eq!((instance(&view, "c").reason.as_str(), instance(&view, "c").since), ("running", time(10)));
    apply(&mut view, &event("c", 20, Kind::Kill(15)));
    apply(&mut view, &event("c", 23, Kind::Kill(9)));
    let draining = instance(&view, "c");
    assert_eq!((draining.reason.as_str(), draining.since), ("kill signal 15", time(20)));
    apply(&mut view, &event("c", 24, Kind::Die(Some(137))));
    let stopped_now = instance(&view, "c");
    assert_eq!((stopped_now.reason.as_str(), stopped_now.since), ("exited (137)", time(24)));
    // The inspection that follows says the same, a moment off.
    assert_eq!(refresh(&mut view, stopped("c", 10, 25, 137)), [""; 0]);
}

#[test]
fn the_image_s_own_stop_signal_drains_and_another_does_not() {
    let mut view = view([Observed { stop_signal: 3, ..running("c", 10) }]);
    assert_eq!(apply(&mut view, &event("c", 20, Kind::Kill(15))), [""; 0]);
    assert_eq!(apply(&mut view, &event("c", 20, Kind::Kill(3))), ["draining 1"]);
}

#[test]
fn a_restart_is_a_new_life_with_a_new_endpoint() {
    let mut view = view([running("c", 10)]);
    for kind in [Kind::Kill(15), Kind::Die(Some(0)), disconnect("front"), Kind::Changed, Kind::Changed] {
        apply(&mut view, &event("c", 20, kind));
    }
    assert_eq!(instance(&view, "c").state, State::Stopped);
    assert_eq!(refresh(&mut view, running("c", 21)), ["ready 1"]);
    assert_eq!(instance(&view, "c").networks[0].endpoint_id, "front-21");
    // What the old life left in the stream does not end the new one.
    for kind in [Kind::Die(Some(0)), Kind::Kill(15), disconnect("front"), Kind::Health(false)] {
        assert_eq!(apply(&mut view, &event("c", 20, kind.clone())), [""; 0], "{kind:?}");
    }
}

#[test]
fn draining_outlasts_inspections_until_a_new_life() {
    let mut view = view([running("c", 10)]);
    apply(&mut view, &event("c", 20, Kind::Kill(15)));
    assert_eq!(refresh(&mut view, running("c", 10)), [""; 0]);
    assert_eq!(instance(&view, "c").state, State::Draining);
    assert_eq!(refresh(&mut view, running("c", 30)), ["ready 1"]);
}

#[test]
fn one_stopped_right_after_its_start_drains_once_the_start_is_seen() {
    let mut view = view([stopped("c", 5, 8, 0)]);
    assert_eq!(apply(&mut view, &event("c", 20, Kind::Changed)), [""; 0]);
    assert_eq!(apply(&mut view, &event("c", 21, Kind::Kill(15))), [""; 0]);
    assert_eq!(refresh(&mut view, running("c", 19)), ["draining 1"]);
}

#[test]
fn an_overtaken_inspection_is_not_believed_but_repeated() {
    let mut view = view([running("c", 10)]);
    apply(&mut view, &event("c", 20, Kind::Changed));
    let epoch = view.epoch(&id("c")).unwrap();
    apply(&mut view, &event("c", 21, Kind::Die(Some(1))));
    let late = view.refreshed(&id("c"), epoch, Some(running("c", 10)), Instant::now());
    assert_eq!((told(&late), late.refresh), (vec![], vec![id("c")]));
    assert_eq!(instance(&view, "c").state, State::Stopped);
}

#[test]
fn a_rename_is_followed_at_once_and_the_service_with_it() {
    let mut view = view([running("c", 10)]);
    let effects = view.apply(&event("c", 20, Kind::Rename("new".into())), Instant::now());
    let [(_, Change::Upsert(instance))] = &effects.changes[..] else { panic!("{effects:?}") };
    assert_eq!((instance.name.as_str(), &instance.service), ("new", &ServiceKey::Container("new".into())));
    assert_eq!(effects.refresh, [id("c")]);
}

#[test]
fn a_new_container_is_told_once_it_is_inspected_with_all_that_happened_since() {
    let mut view = view([]);
    let effects = view.apply(&event("c", 20, Kind::Changed), Instant::now());
    assert_eq!((told(&effects), &effects.refresh), (vec![], &vec![id("c")]));
    let epoch = view.epoch(&id("c")).unwrap();
    apply(&mut view, &event("c", 22, Kind::Kill(15)));
    let effects = view.refreshed(&id("c"), epoch, Some(running("c", 21)), Instant::now());
    assert_eq!((told(&effects), effects.refresh), (vec!["draining 1".to_owned()], vec![id("c")]));
}

#[test]
fn one_that_is_not_found_is_gone() {
    let mut view = view([running("c", 10)]);
    let epoch = view.epoch(&id("c")).unwrap();
    assert_eq!(told(&view.refreshed(&id("c"), epoch, None, Instant::now())), ["gone"]);
    assert_eq!(told(&view.refreshed(&id("c"), epoch, Some(running("c", 10)), Instant::now())), [""; 0]);
}

#[test]
fn a_list_does_not_undo_what_events_said_meanwhile() {
    let mut view = view(["dies", "destroyed", "vanished", "missed"].map(|name| running(name, 10)));
    let epoch = view.begin_list();
    apply(&mut view, &event("dies", 20, Kind::Die(Some(1))));
    apply(&mut view, &event("destroyed", 20, Kind::Destroy));
    apply(&mut view, &event("born", 20, Kind::Changed));
    let list = listing([running("dies", 10), running("destroyed", 10), stopped("missed", 10, 19, 2)]);
    let effects = view.listed(epoch, list, Instant::now());
    assert_eq!(told(&effects), ["gone", "stopped 0"]);
    assert_eq!(effects.refresh, [id("dies"), id("born")]);
    assert_eq!(instance(&view, "dies").reason, "exited (1)");
    assert_eq!(instance(&view, "missed").reason, "exited (2)");
    assert!(view.instance(&id("destroyed")).is_none() && view.instance(&id("vanished")).is_none());
}

#[test]
fn the_first_list_is_told_whole_with_what_happened_since_it_began() {
    let mut view = View::default();
    let epoch = view.begin_list();
    assert_eq!(apply(&mut view, &event("a", 20, Kind::Kill(15))), [""; 0]);
    let effects = view.listed(epoch, listing([running("a", 10), running("b", 10)]), Instant::now());
    assert_eq!(told(&effects), ["reset 2"]);
    assert_eq!(effects.refresh, [id("a")]);
    assert_eq!(instance(&view, "a").state, State::Draining);
}

#[test]
fn a_reconnect_tells_everything_anew_and_remembers_who_drains() {
    let mut view = view([running("a", 10), running("b", 10)]);
    apply(&mut view, &event("a", 20, Kind::Kill(15)));
    view.reconnect(None);
    let epoch = view.begin_list();
    let effects = view.listed(epoch, listing([running("a", 10)]), Instant::now());
    let [(_, Change::Reset(all))] = &effects.changes[..] else { panic!("{effects:?}") };
    assert_eq!(all.iter().map(|instance| instance.state).collect::<Vec<_>>(), [State::Draining]);
}

#[test]
fn where_an_inspection_hung_the_list_serves_until_one_does_not() {
    let mut view = view([stopped("known", 5, 8, 0)]);
    let epoch = view.begin_list();
    let containers = ["known", "new"].map(|name| Listed { observed: running(name, 10), inspected: false });
    let effects =
        view.listed(epoch, Listing { containers: containers.into(), ..Listing::default() }, Instant::now());
    assert_eq!(told(&effects), ["ready 1"]);
    assert_eq!(effects.refresh, [id("known"), id("new")]);
    assert_eq!(instance(&view, "known").state, State::Stopped);
}

#[test]
fn what_can_not_be_read_of_a_list_is_as_it_was_and_is_asked_for_again() {
    let mut view = view([running("known", 5), running("gone", 5)]);
    let epoch = view.begin_list();
    let unread = vec![id("known"), id("new")];
    let effects = view.listed(epoch, Listing { unread, ..Listing::default() }, Instant::now());
    assert_eq!(effects.refresh, [id("known"), id("new")]);
    assert_eq!(instance(&view, "known").state, State::Ready);
    assert!(
        matches!(&effects.changes[..], [(_, Change::Remove(gone))] if *gone == id("gone")),
        "{effects:?}"
    );
    let epoch = view.epoch(&id("new")).expect("it is there");
    let effects = view.refreshed(&id("new"), epoch, Some(running("new", 6)), Instant::now());
    assert_eq!(told(&effects), ["ready 1"]);
}

#[test]
fn a_list_that_brings_no_news_tells_nothing() {
    let mut view = view([running("a", 10)]);
    let epoch = view.begin_list();
    assert_eq!(told(&view.listed(epoch, listing([running("a", 10)]), Instant::now())), [""; 0]);
}

#[test]
fn borrowed_networks_follow_their_owner() {
    let borrower = Observed { reach: Reach::Of("owner".into()), ..running("borrower", 12) };
    let mut view = view([running("owner", 10), borrower.clone()]);
    let address = instance(&view, "borrower").networks.remove(0);
    assert_eq!((address.network.as_str(), address.ipv4), ("front", Some([10, 0, 0, 2].into())));
    assert_eq!(apply(&mut view, &event("owner", 20, Kind::Die(Some(0)))), ["stopped 0", "ready 0"]);
    // The owner's new life has a new namespace; whoever joined the old one is cut off until it starts again.
    assert_eq!(refresh(&mut view, running("owner", 30)), ["ready 1"]);
    apply(&mut view, &event("borrower", 31, Kind::Changed));
    assert_eq!(refresh(&mut view, Observed { started: Some(time(31)), ..borrower }), ["ready 1"]);
    assert_eq!(apply(&mut view, &event("owner", 40, Kind::Destroy)), ["gone", "ready 0"]);
}

#[test]
fn the_host_s_network_is_one_address_with_a_life_of_its_own() {
    let mut view = View::default();
    view.reconnect(Some(IpAddr::from([127, 0, 0, 1])));
    let epoch = view.begin_list();
    view.listed(epoch, listing([Observed { reach: Reach::Host, ..running("c", 10) }]), Instant::now());
    let networks = instance(&view, "c").networks;
    assert_eq!(networks.len(), 1);
    assert_eq!((networks[0].network.as_str(), networks[0].ipv4), ("host", Some([127, 0, 0, 1].into())));
    assert_eq!(networks[0].endpoint_id, "host-10000000000");
}

#[test]
fn tasks_of_a_swarm_are_passed_over_while_somebody_else_tells_of_them() {
    let task = Observed { labels: [(TASK.to_owned(), "t1".to_owned())].into(), ..running("task", 10) };
    let mut view = view([running("a", 10), task]);
    assert_eq!(told(&view.hide_tasks(true, Instant::now())), ["gone"]);
    assert_eq!(told(&view.hide_tasks(true, Instant::now())), [""; 0]);
    assert_eq!(apply(&mut view, &event("task", 20, Kind::Kill(15))), [""; 0]);
    assert_eq!(told(&view.hide_tasks(false, Instant::now())), ["draining 1"]);
    view.hide_tasks(true, Instant::now());
    view.reconnect(None);
    let epoch = view.begin_list();
    assert_eq!(told(&view.listed(epoch, listing([running("a", 10)]), Instant::now())), ["reset 1"]);
}

#[test]
fn a_clock_that_is_set_back_or_forth_hides_no_signal_and_no_end() {
    for now in [1_000, 90_000] {
        let mut view = view([running("c", 50_000)]);
        assert_eq!(apply(&mut view, &event("c", now, Kind::Kill(15))), ["draining 1"], "at {now}");
        assert_eq!(apply(&mut view, &event("c", now + 1, Kind::Die(Some(0)))), ["stopped 0"], "at {now}");
    }
}

#[test]
fn a_signal_of_long_ago_is_not_of_a_life_that_began_since() {
    let mut view = view([running("c", 10)]);
    assert_eq!(apply(&mut view, &event("c", 20, Kind::Kill(15))), ["draining 1"]);
    // Its end was not told.
    assert_eq!(refresh(&mut view, running("c", 50_000)), ["ready 1"]);
}
