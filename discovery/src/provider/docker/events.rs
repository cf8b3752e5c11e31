//! What the engine's event stream says, as a closed set of things that matter here.
//!
//! Docker and Podman word some of it differently; that difference ends in this file. It knows nothing of what is done
//! about an event.

use std::time::SystemTime;

use bollard::models::{EventMessage, EventMessageTypeEnum};

use super::{signal, time};
use crate::instance::InstanceId;

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Something happened to a container.
    Container(Event),
    /// The engine read its configuration again, or something changed that names no container: look at everything.
    Everything,
    /// Nothing that matters here.
    Nothing,
}

/// Something that happened to a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// The container.
    pub(super) id: InstanceId,
    /// When, by the engine's clock.
    pub(super) at: SystemTime,
    /// What.
    pub(super) kind: Kind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It was sent this signal.
    Kill(i32),
    /// Its process ended, with this code.
    Die(Option<i64>),
    /// It was frozen.
    Pause,
    /// It was thawed.
    Unpause,
    /// Its health check came to pass (`true`) or to fail.
    Health(bool),
    /// It is called this now.
    Rename(String),
    /// It is gone for good.
    Destroy,
    /// It left a network.
    Disconnect {
        /// The network's id.
        network: String,
    },
    /// Something else that an inspection will show: `start`, `update`, a network joined, …
    Changed,
}

/// Reads one message; one without a time happened `now`.
pub(super) fn read(message: EventMessage, now: SystemTime) -> Message {
    let EventMessage { typ: Some(typ), action: Some(action), actor: Some(actor), time, time_nano, .. } =
        message
    else {
        return Message::Nothing;
    };
    let at =
        time_nano.and_then(time::from_nanos).or_else(|| time.and_then(time::from_seconds)).unwrap_or(now);
    let mut attributes = actor.attributes.unwrap_or_default();
    let subject = actor.id.unwrap_or_default();
    let (id, kind) = match typ {
        // It names none of the containers that it removed.
        EventMessageTypeEnum::CONTAINER if action == "prune" => return Message::Everything,
        EventMessageTypeEnum::CONTAINER => {
            let Some(kind) = container(&action, &mut attributes) else { return Message::Nothing };
            (subject, kind)
        }
        EventMessageTypeEnum::NETWORK => {
            let kind = match action.as_str() {
                "connect" => Kind::Changed,
                "disconnect" => Kind::Disconnect { network: subject },
                _ => return Message::Nothing,
            };
            (attributes.remove("container").unwrap_or_default(), kind)
        }
        EventMessageTypeEnum::DAEMON if action == "reload" => return Message::Everything,
        _ => return Message::Nothing,
    };
    if id.is_empty() {
        return Message::Nothing;
    }
    Message::Container(Event { id: InstanceId::new(&id), at, kind })
}

/// The action as the metric's label: one of a list, so that an engine can't grow it without bound.
pub(super) fn label(message: &EventMessage) -> &'static str {
    let action = message.action.as_deref().unwrap_or_default();
    let action = action.split(':').next().unwrap_or_default();
    LABELS.iter().find(|known| **known == action).copied().unwrap_or("other")
}

const LABELS: [&str; 22] = [
    "connect",
    "create",
    "destroy",
    "die",
    "disconnect",
    "exec_create",
    "exec_die",
    "exec_start",
    "health_status",
    "kill",
    "oom",
    "pause",
    "reload",
    "remove",
    "rename",
    "restart",
    "start",
    "stop",
    "unpause",
    "update",
    "cleanup",
    "init",
];

fn container(action: &str, attributes: &mut std::collections::HashMap<String, String>) -> Option<Kind> {
    use Kind::{Changed, Destroy, Die, Health, Kill, Pause, Rename, Unpause};

    // Every probe of every health check brings three of these: they leave first.
    if action.starts_with("exec") {
        return None;
    }
    let kind = match action {
        "kill" => match attributes.get("signal").and_then(|text| signal::number(text)) {
            Some(number) => Kill(number),
            None => Changed,
        },
        // Podman writes `die` and has written `died`.
        "die" | "died" => Die(attributes.get("exitCode").and_then(|code| code.parse().ok())),
        "pause" => Pause,
        "unpause" => Unpause,
        "health_status: healthy" => Health(true),
        "health_status: unhealthy" => Health(false),
        "rename" => match attributes.remove("name") {
            Some(name) if !name.is_empty() => Rename(name.trim_start_matches('/').to_owned()),
            _ => Changed,
        },
        "destroy" | "remove" => Destroy,
        // Podman's `health_status` has no word behind it, and its field of that name lags one probe behind.
        "create" | "start" | "restart" | "stop" | "update" | "health_status" | "init" | "cleanup"
        | "sync" => Changed,
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn message(json: &str) -> EventMessage {
        serde_json::from_str(json).unwrap()
    }

    fn container(action: &str, attributes: &str) -> Message {
        let json = format!(
            r#"{{"Type":"container","Action":"{action}","Actor":{{"ID":"c1","Attributes":{{{attributes}}}}},
                "scope":"local","time":7,"timeNano":7000000042}}"#
        );
        read(message(&json), UNIX_EPOCH)
    }

    fn kind(message: Message) -> Option<Kind> {
        match message {
            Message::Container(event) => {
                assert_eq!(event.id, InstanceId::new("c1"));
                assert_eq!(event.at, UNIX_EPOCH + Duration::new(7, 42));
                Some(event.kind)
            }
            Message::Everything | Message::Nothing => None,
        }
    }

    #[test]
    fn every_action_on_a_container_is_read() {
        let cases = [
            ("kill", r#""signal":"15""#, Some(Kind::Kill(15))),
            ("kill", r#""signal":"SIGQUIT""#, Some(Kind::Kill(3))),
            ("kill", "", Some(Kind::Changed)),
            ("die", r#""exitCode":"137""#, Some(Kind::Die(Some(137)))),
            ("die", "", Some(Kind::Die(None))),
            ("pause", "", Some(Kind::Pause)),
            ("unpause", "", Some(Kind::Unpause)),
            ("health_status: healthy", "", Some(Kind::Health(true))),
            ("health_status: unhealthy", "", Some(Kind::Health(false))),
            ("health_status", "", Some(Kind::Changed)),
            ("rename", r#""name":"new","oldName":"/old""#, Some(Kind::Rename("new".into()))),
            ("destroy", "", Some(Kind::Destroy)),
            ("remove", "", Some(Kind::Destroy)),
            ("start", "", Some(Kind::Changed)),
            ("update", "", Some(Kind::Changed)),
            ("exec_create: wget -q localhost", "", None),
            ("exec_die", "", None),
            ("exec_died", "", None),
            ("oom", "", None),
            ("archive-path", "", None),
        ];
        for (action, attributes, expected) in cases {
            assert_eq!(kind(container(action, attributes)), expected, "{action}");
        }
    }

    #[test]
    fn a_network_s_events_are_about_the_container_they_name() {
        let disconnect = message(
            r#"{"Type":"network","Action":"disconnect","Actor":{"ID":"n1","Attributes":
                {"container":"c1","name":"front","type":"bridge"}},"timeNano":7000000042}"#,
        );
        let expected = Kind::Disconnect { network: "n1".into() };
        assert_eq!(kind(read(disconnect, UNIX_EPOCH)), Some(expected));
        let create = message(r#"{"Type":"network","Action":"create","Actor":{"ID":"n1","Attributes":{}}}"#);
        assert_eq!(read(create, UNIX_EPOCH), Message::Nothing);
    }

    #[test]
    fn a_reload_and_a_prune_are_about_everything_and_a_stranger_is_about_nothing() {
        let reload = message(r#"{"Type":"daemon","Action":"reload","Actor":{"ID":"d"}}"#);
        assert_eq!(read(reload, UNIX_EPOCH), Message::Everything);
        assert_eq!(container("prune", ""), Message::Everything);
        for json in
            [r"{}", r#"{"Type":"container"}"#, r#"{"Type":"volume","Action":"mount","Actor":{"ID":"v"}}"#]
        {
            assert_eq!(read(message(json), UNIX_EPOCH), Message::Nothing, "{json}");
        }
    }

    #[test]
    fn labels_of_the_metric_are_a_closed_list() {
        for (action, expected) in [
            ("exec_create: sh -c x", "exec_create"),
            ("health_status: healthy", "health_status"),
            ("x-1", "other"),
        ] {
            let message = EventMessage { action: Some(action.into()), ..EventMessage::default() };
            assert_eq!(label(&message), expected);
        }
    }

    #[test]
    fn the_recorded_podman_stream_is_read() {
        let recorded = include_str!("../../../tests/fixtures/podman-4.3-compat-events.ndjson");
        let mut lines = 0;
        let mut kinds = Vec::new();
        for line in recorded.lines() {
            lines += 1;
            match read(message(line), UNIX_EPOCH) {
                Message::Container(event) => kinds.push(event.kind),
                Message::Everything => panic!("{line}"),
                Message::Nothing => {}
            }
        }
        assert_eq!(lines, 13);
        let mut expected = vec![Kind::Changed; 5]; // create, init, start, two of health
        expected.extend([Kind::Die(Some(137)), Kind::Changed, Kind::Destroy]);
        assert_eq!(kinds, expected);
    }
}
