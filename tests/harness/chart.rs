//! What the registry says, as a test asks for it: endpoints by name, faults, sources.

use serde_json::Value;

use super::portolan::Portolan;
use super::wait::{PATIENCE, eventually};

/// An endpoint as `/api/snapshot` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoint {
    /// The qualified name of its service.
    pub service: String,
    /// The short id of its container.
    pub id: String,
    /// The engine's id of its attachment to the network.
    pub attachment: String,
    /// Its IPv4 address, or nothing.
    pub ipv4: String,
    /// Its IPv6 address, or nothing.
    pub ipv6: String,
    /// `ready`, `draining`, …
    pub state: String,
    /// Why it is in that state.
    pub reason: String,
}

/// A fault as `/api/snapshot` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose label it is: `container web`.
    pub origin: String,
    /// The label.
    pub label: String,
    /// What is wrong.
    pub message: String,
}

impl Portolan {
    /// The endpoint of a container, if it is known.
    #[track_caller]
    pub fn endpoint(&self, container: &str) -> Option<Endpoint> {
        let snapshot = self.snapshot();
        list(&snapshot, "services").iter().find_map(|service| {
            let endpoint =
                list(service, "endpoints").iter().find(|endpoint| endpoint["name"] == container)?;
            Some(self::endpoint(service, endpoint))
        })
    }

    /// The endpoints of a service, by its qualified name.
    #[track_caller]
    pub fn endpoints(&self, service: &str) -> Vec<Endpoint> {
        let snapshot = self.snapshot();
        let found = list(&snapshot, "services").iter().filter(|known| known["name"] == service);
        found.flat_map(|known| list(known, "endpoints").iter().map(|one| endpoint(known, one))).collect()
    }

    /// Waits until a container's endpoint is in a state, and returns it.
    #[track_caller]
    pub fn await_state(&self, container: &str, state: &str) -> Endpoint {
        eventually(PATIENCE, &format!("{container} to be {state}"), || match self.endpoint(container) {
            Some(endpoint) if endpoint.state == state => Ok(endpoint),
            other => Err(format!("{other:?}")),
        })
    }

    /// Waits until a container is ready in another life, or on another network, than that of `attachment`.
    #[track_caller]
    pub fn await_new_attachment(&self, container: &str, attachment: &str) -> Endpoint {
        eventually(PATIENCE, &format!("{container} to be attached anew"), || match self.endpoint(container) {
            Some(endpoint) if endpoint.state == "ready" && endpoint.attachment != attachment => Ok(endpoint),
            other => Err(format!("{other:?}")),
        })
    }

    /// Waits until a container is no longer known.
    #[track_caller]
    pub fn await_gone(&self, container: &str) {
        eventually(PATIENCE, &format!("{container} to be gone"), || match self.endpoint(container) {
            None => Ok(()),
            Some(endpoint) => Err(format!("{endpoint:?}")),
        });
    }

    /// Everything asked for that can't be done.
    #[track_caller]
    pub fn faults(&self) -> Vec<Fault> {
        let snapshot = self.snapshot();
        let faults = list(&snapshot, "faults").iter();
        let read = |fault: &Value| Fault {
            origin: text(fault, "origin"),
            label: text(fault, "label"),
            message: text(fault, "message"),
        };
        faults.map(read).collect()
    }

    /// Waits until a container has a fault, and returns it.
    #[track_caller]
    pub fn await_fault(&self, container: &str) -> Fault {
        let origin = format!("container {container}");
        eventually(PATIENCE, &format!("a fault of {container}"), || {
            let faults = self.faults();
            faults.iter().find(|fault| fault.origin == origin).cloned().ok_or(format!("{faults:?}"))
        })
    }

    /// Waits until nothing is at fault.
    #[track_caller]
    pub fn await_no_fault(&self) {
        eventually(PATIENCE, "the end of all faults", || match self.faults() {
            faults if faults.is_empty() => Ok(()),
            faults => Err(format!("{faults:?}")),
        });
    }

    /// Why the engine does not answer, or nothing.
    #[track_caller]
    pub fn lost(&self) -> Option<String> {
        self.snapshot()["sources"][0]["lost"].as_str().map(str::to_owned)
    }
}

fn endpoint(service: &Value, endpoint: &Value) -> Endpoint {
    Endpoint {
        service: text(service, "name"),
        id: text(endpoint, "id"),
        attachment: text(endpoint, "attachment"),
        ipv4: text(endpoint, "ipv4"),
        ipv6: text(endpoint, "ipv6"),
        state: text(endpoint, "state"),
        reason: text(endpoint, "reason"),
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
