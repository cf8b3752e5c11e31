//! A Swarm of one engine: initialised, with an overlay network, and services as a test asks for them.
//!
//! Overlay networks work in a sandbox, as the kernel has VXLAN; virtual addresses and the routing mesh do not where it has no
//! IPVS, so no test goes by them.

use super::engine::Engine;
use super::tools::{output, require};
use super::wait::{PATIENCE, eventually};

/// The overlay network that services are put on.
pub const OVERLAY: &str = "front";
/// The address by which the node is known in its Swarm.
const NODE: &str = "10.99.0.1";

impl Engine {
    /// Makes the engine the manager of a Swarm of its own, with the network [`OVERLAY`].
    #[track_caller]
    pub fn init_swarm(&self) {
        // A Swarm wants an address that other nodes could have.
        let mut ip = self.sandbox().command(require("ip"));
        output(ip.args(["address", "add", &format!("{NODE}/24"), "dev", "lo"]))
            .expect("give the node an address");
        self.docker(&["swarm", "init", "--advertise-addr", NODE]);
        self.docker(&["network", "create", "--driver", "overlay", "--attachable", OVERLAY]);
    }

    /// Creates a service on [`OVERLAY`], without waiting for its tasks.
    #[track_caller]
    pub fn service(&self, name: &str, image: &str, flags: &[&str]) {
        self.service_on(OVERLAY, name, image, flags);
    }

    /// The same on another network.
    #[track_caller]
    pub fn service_on(&self, network: &str, name: &str, image: &str, flags: &[&str]) {
        let create = ["service", "create", "--detach", "--quiet", "--no-resolve-image", "--network", network];
        self.docker(&[&create[..], &["--name", name], flags, &[image]].concat());
    }

    /// Waits until an update of a service is over.
    #[track_caller]
    pub fn await_updated(&self, service: &str) {
        eventually(PATIENCE * 6, &format!("the update of {service}"), || {
            let state = self.docker(&["service", "inspect", "--format", "{{.UpdateStatus.State}}", service]);
            if state.trim() == "completed" { Ok(()) } else { Err(state) }
        });
    }
}
