//! Several engines, each on a machine of its own, joined by a bridge: the nodes of one Swarm.
//!
//! The first is the manager, in the sandbox of the test's thread; the bridge is there, too. A node can be cut off by taking
//! its end of the link down.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::thread;

use super::engine::Engine;
use super::portolan::Portolan;
use super::swarm::OVERLAY;
use super::tools::{output, require};
use super::wait::{PATIENCE, eventually};

/// Where the manager's engine answers other nodes.
pub const MANAGER: &str = "tcp://10.99.0.1:2375";

/// The engines; all of it ends with the value.
#[derive(Debug)]
pub struct Nodes {
    engines: Vec<Engine>,
}

impl Nodes {
    /// Starts so many engines, and makes one Swarm of them, with the network [`OVERLAY`].
    pub fn start(count: usize) -> Self {
        // Everyone on this network may command it; the network is the test's own.
        let manager = Engine::start_with(&["--host", "tcp://0.0.0.0:2375"]);
        ip(&["link", "add", "nodes", "type", "bridge"]);
        ip(&["address", "add", &cidr(1), "dev", "nodes"]);
        ip(&["link", "set", "nodes", "up"]);
        let others: Vec<_> = (1..count).map(|_| thread::spawn(Engine::start)).collect();
        let mut engines = vec![manager];
        engines.extend(others.into_iter().map(|other| other.join().expect("an engine starts")));
        let nodes = Self { engines };
        let init = ["swarm", "init", "--advertise-addr", "10.99.0.1"];
        nodes.manager().docker(&init);
        let token = nodes.manager().docker(&["swarm", "join-token", "--quiet", "worker"]);
        for number in 2..=count {
            nodes.link(number);
            let address = address(number).to_string();
            let join =
                ["swarm", "join", "--token", token.trim(), "--advertise-addr", &address, "10.99.0.1:2377"];
            nodes.engine(number).docker(&join);
        }
        nodes.manager().docker(&["network", "create", "--driver", "overlay", "--attachable", OVERLAY]);
        nodes
    }

    /// Joins a node to the bridge.
    fn link(&self, number: usize) {
        let pid = self.engine(number).sandbox().keeper_pid().to_string();
        let name = format!("node{number}");
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "nodes", "netns", &pid]);
        ip(&["link", "set", &name, "master", "nodes", "up"]);
        let inside = |arguments: &[&str]| {
            let mut command = Command::new(require("nsenter"));
            command.args(["--target", &pid, "--net", "--"]).arg(require("ip")).args(arguments);
            output(&mut command).expect("configure the node's link");
        };
        inside(&["address", "add", &cidr(number), "dev", "nodes"]);
        inside(&["link", "set", "nodes", "up"]);
    }

    /// The first node's engine.
    pub fn manager(&self) -> &Engine {
        self.engine(1)
    }

    /// The engine of a node, from 1 on.
    pub fn engine(&self, number: usize) -> &Engine {
        &self.engines[number - 1]
    }

    /// Kills the engine of a node with SIGKILL; its containers run on.
    pub fn kill(&mut self, number: usize) {
        self.engines[number - 1].kill();
    }

    /// Cuts a node off from the others.
    pub fn cut(&self, number: usize) {
        ip(&["link", "set", &format!("node{number}"), "down"]);
    }

    /// A node's id in the Swarm.
    pub fn id(&self, number: usize) -> String {
        self.engine(number).docker(&["info", "--format", "{{.Swarm.NodeID}}"]).trim().to_owned()
    }

    /// Starts Portolan in a container's network on a node, and gives where the host of that node reaches it.
    #[track_caller]
    pub fn portolan(&self, number: usize, container: &str, flags: &[&str]) -> (Portolan, Ipv4Addr) {
        let engine = self.engine(number);
        let gateway = gateway(engine, container);
        let flags = [&["--admin-address=0.0.0.0:9080"], flags].concat();
        let portolan = engine.in_network_of(container, || Portolan::spawn(engine, &flags));
        let mut portolan = portolan.admin_at(&SocketAddr::from((gateway, 9080)).to_string());
        if number == 1 {
            portolan.await_ready();
        }
        (portolan, gateway)
    }
}

/// The address by which a container on an overlay network is reached from its host.
fn gateway(engine: &Engine, container: &str) -> Ipv4Addr {
    let id = engine.inspect(container)["Id"].as_str().expect("it has an id").to_owned();
    eventually(PATIENCE, "a way from the host to the container", || {
        let found = engine.inspect("docker_gwbridge")["Containers"][&id]["IPv4Address"].clone();
        let address = found.as_str().and_then(|text| text.split('/').next()?.parse().ok());
        address.ok_or(found)
    })
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 99, 0, u8::try_from(number).expect("few nodes"))
}

fn cidr(number: usize) -> String {
    format!("{}/24", address(number))
}

/// Runs `ip` in the network of this thread, which is the manager's.
fn ip(arguments: &[&str]) {
    output(Command::new(require("ip")).args(arguments)).expect("configure the nodes' network");
}
