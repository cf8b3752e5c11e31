//! A proxy with the snapshots that a test gives it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::SystemTime;

use portolan_config::dynamic::service::{LoadBalancer, ServiceKind};
use portolan_config::dynamic::tcp::ProxyVersion;
use portolan_config::dynamic::{Format, read_file};
use portolan_config::settings::EntryPoint;
use portolan_config::tls::{RouterTls, Scheme, ServersTransport, Tls};
use portolan_config::{Fault, Protocol, Publish, PublishLimits, Rule};
use portolan_discovery::{
    Change, Composite, Endpoint, EndpointKey, Instance, InstanceId, Judgement, LayerFour, ProviderName,
    Publication, Router, ServiceKey, Snapshot, State, Target, Update, Upstream,
};
use portolan_proxy::{Metrics, Proxy, ProxySettings, ServicePath};
use prometheus::{Registry, TextEncoder};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::{Wire, soon, until};

/// A running proxy: the entry point `web`, two workers, one service `app@test` for the host `a.test`.
pub(crate) struct World {
    proxy: Proxy,
    registry: Registry,
    /// The entry point.
    pub(crate) http: SocketAddr,
    pub(super) snapshot: Snapshot,
    /// Whether replicas behind published ports are told who the client is.
    pub(crate) proxy_protocol: Option<ProxyVersion>,
}

/// A place to send to: the container `name`, at an address.
pub(crate) fn place(name: &str, at: SocketAddr) -> Target {
    in_state(name, at, State::Ready)
}

fn in_state(name: &str, at: SocketAddr, state: State) -> Target {
    let IpAddr::V4(ip) = at.ip() else { panic!("origins are on IPv4") };
    let instance = Instance {
        id: InstanceId::new(name),
        name: name.to_owned(),
        service: ServiceKey::Label("app".to_owned()),
        labels: BTreeMap::new(),
        networks: Vec::new(),
        ports: Vec::new(),
        bindings: Vec::new(),
        node: None,
        virtual_host: BTreeMap::new(),
        state,
        reason: String::new(),
        since: SystemTime::UNIX_EPOCH,
        created: SystemTime::UNIX_EPOCH,
    };
    let key = EndpointKey {
        provider: ProviderName::new("test"),
        instance: instance.id.clone(),
        attachment: name.into(),
    };
    let endpoint = Endpoint {
        key,
        instance: Arc::new(instance),
        ports: Vec::new(),
        ipv4: Some(ip),
        ipv6: None,
        state,
        reason: String::new(),
    };
    Target::new(Arc::new(endpoint), at.port())
}

impl World {
    /// A proxy that serves `a.test` from these addresses; the containers are called `c0`, `c1` and so on.
    pub(crate) fn of(addresses: &[SocketAddr]) -> Self {
        Self::tuned(addresses, |_| {})
    }

    /// The same, with something said of the entry point.
    pub(crate) fn tuned(addresses: &[SocketAddr], tune: impl FnOnce(&mut EntryPoint)) -> Self {
        Self::with_others(addresses, tune, Vec::new())
    }

    /// The same beside another entry point, which is a default one or not.
    pub(crate) fn beside(
        addresses: &[SocketAddr],
        tune: impl FnOnce(&mut EntryPoint),
        as_default: bool,
    ) -> Self {
        let other = EntryPoint::plain("other", "127.0.0.1:0".parse().expect("an address"));
        Self::with_others(addresses, tune, vec![EntryPoint { as_default, ..other }])
    }

    fn with_others(
        addresses: &[SocketAddr],
        tune: impl FnOnce(&mut EntryPoint),
        others: Vec<EntryPoint>,
    ) -> Self {
        let registry = Registry::new();
        let mut entry_point = EntryPoint::plain("web", "127.0.0.1:0".parse().expect("an address"));
        tune(&mut entry_point);
        let settings = ProxySettings {
            entry_points: std::iter::once(entry_point).chain(others).collect(),
            workers: 2,
            host_name: "here".to_owned(),
            access_log: None,
            data_path: portolan_config::DataPath::UserSpace,
        };
        let metrics = Metrics::register(&registry).expect("an empty registry");
        let proxy = Proxy::start(&settings, metrics).expect("a free port");
        let listening = proxy.addresses();
        let http = listening.iter().find(|(name, _)| name == "web").expect("it listens").1;
        let mut world = Self { proxy, registry, http, snapshot: Snapshot::default(), proxy_protocol: None };
        world.route("a.test", "Host(`a.test`)", "app@test");
        let targets = addresses.iter().enumerate().map(|(index, at)| place(&format!("c{index}"), *at));
        world.serve(targets.collect());
        world
    }

    /// One that a lone origin serves for.
    pub(crate) fn in_front_of(origin: &super::Origin) -> Self {
        Self::of(&[origin.at])
    }

    /// From now on, `app@test` is at these places.
    pub(crate) fn serve(&mut self, targets: Vec<Target>) {
        self.serve_as("app@test", targets);
    }

    /// From now on, the upstream is at these places.
    pub(crate) fn serve_as(&mut self, upstream: &str, targets: Vec<Target>) {
        self.snapshot.upstreams.retain(|known| known.name != upstream);
        self.snapshot.upstreams.push(Arc::new(Upstream::new(upstream.to_owned(), targets)));
        self.apply();
    }

    /// From now on, `app@test` is at these places, and requests are spread over them like this.
    pub(crate) fn spread(&mut self, targets: Vec<Target>, balancing: LoadBalancer) {
        self.spread_as("app@test", targets, balancing);
    }

    /// From now on, this is the side of layer 4.
    pub(crate) fn layer_four(&mut self, layer_four: LayerFour) {
        self.snapshot.layer_four = Arc::new(layer_four);
        self.apply();
    }

    /// Who checks what is served here.
    pub(crate) fn checks(&mut self) -> Checks {
        let (snapshots, watched) = watch::channel(Arc::default());
        let (updates, told) = mpsc::channel(64);
        let checker = tokio::spawn(self.proxy.checker().follow(watched, updates)).abort_handle();
        let checks = Checks { snapshots, told, checker };
        checks.follow(self);
        // Those that are compiled from now on are judged.
        self.snapshot.upstreams =
            self.snapshot.upstreams.iter().map(|known| Arc::new(Upstream::clone(known))).collect();
        self.apply();
        checks
    }

    /// From now on, this service sends to others.
    pub(crate) fn compose(&mut self, name: &str, kind: ServiceKind) {
        self.snapshot.upstreams.retain(|known| known.name != name);
        self.snapshot.composites.retain(|known| known.name != name);
        let composite = Composite { name: name.to_owned(), kind, middlewares: Vec::new() };
        self.snapshot.composites.push(Arc::new(composite));
        self.apply();
    }

    /// The same of another upstream.
    pub(crate) fn spread_as(&mut self, name: &str, targets: Vec<Target>, balancing: LoadBalancer) {
        let mut upstream = Upstream::new(name.to_owned(), targets);
        upstream.pass_host_header = balancing.pass_host_header;
        upstream.balancing = Arc::new(balancing);
        self.snapshot.upstreams.retain(|known| known.name != upstream.name);
        self.snapshot.upstreams.push(Arc::new(upstream));
        self.apply();
    }

    /// A proxy whose `app@test` is at these addresses, spoken to by HTTP/2 in the clear.
    pub(crate) fn speaking_h2c(addresses: &[SocketAddr]) -> Self {
        Self::speaking_h2c_by(addresses, ServersTransport::default())
    }

    /// The same, with something said of how.
    pub(crate) fn speaking_h2c_by(addresses: &[SocketAddr], transport: ServersTransport) -> Self {
        let mut world = Self::of(&[]);
        let targets = addresses.iter().enumerate().map(|(index, at)| {
            let mut target = place(&format!("c{index}"), *at);
            target.scheme = Scheme::H2c;
            target
        });
        let mut upstream = Upstream::new("app@test".to_owned(), targets.collect());
        upstream.transport = Arc::new(transport);
        world.snapshot.upstreams = vec![Arc::new(upstream)];
        world.apply();
        world
    }

    /// From now on, `app@test` is at these places, which are spoken to by TLS like this. Gives what can't be done.
    pub(crate) fn serve_tls(
        &mut self,
        mut targets: Vec<Target>,
        transport: ServersTransport,
        tune: impl FnOnce(&mut Upstream),
    ) -> Vec<Fault> {
        for target in &mut targets {
            target.scheme = Scheme::Https;
        }
        let mut upstream = Upstream::new("app@test".to_owned(), targets);
        upstream.transport = Arc::new(transport);
        tune(&mut upstream);
        self.snapshot.upstreams.retain(|known| known.name != upstream.name);
        self.snapshot.upstreams.push(Arc::new(upstream));
        self.apply();
        self.look()
    }

    /// Adds a router; it counts from the next [`World::serve`].
    pub(crate) fn route(&mut self, name: &str, rule: &str, upstream: &str) {
        self.add_route(name, rule, upstream, None);
    }

    /// Defines a middleware, as a file has it: `addPrefix: {prefix: /x}`.
    pub(crate) fn define(&mut self, name: &str, yaml: &str) {
        let file = format!("http: {{middlewares: {{m: {{{yaml}}}}}}}");
        let read =
            read_file("m.yml", Format::Yaml, &file).unwrap_or_else(|wrong| panic!("{file}: {wrong:?}"));
        let written = read.middlewares.into_values().next().and_then(|item| item.value);
        let written = written.unwrap_or_else(|| panic!("{file}: {:?}", read.wrong));
        Arc::make_mut(&mut self.snapshot.middlewares).insert(format!("{name}@test"), written);
    }

    /// Adds a router for `host` whose requests go through these middlewares. Gives what can't be done.
    pub(crate) fn route_through(&mut self, host: &str, middlewares: &[&str]) -> Vec<Fault> {
        let rule = format!("Host(`{host}`)");
        self.add_route(host, &rule, "app@test", None);
        let router = self.snapshot.routers.last_mut().map(Arc::make_mut).expect("it was added");
        router.middlewares = middlewares.iter().map(|name| format!("{name}@test")).collect();
        self.snapshot.generation += 1;
        self.proxy.apply(&self.snapshot)
    }

    /// Puts these middlewares before a router that is there already. Gives what can't be done.
    pub(crate) fn put_before(&mut self, router: &str, middlewares: &[&str]) -> Vec<Fault> {
        let name = format!("{router}@test");
        let router = self.snapshot.routers.iter_mut().find(|router| router.name == name).expect("a router");
        Arc::make_mut(router).middlewares = middlewares.iter().map(|name| format!("{name}@test")).collect();
        self.snapshot.generation += 1;
        self.proxy.apply(&self.snapshot)
    }

    /// Adds a router for `host` whose requests are counted or not.
    pub(crate) fn observe(&mut self, host: &str, metrics: bool) {
        self.add_route(host, &format!("Host(`{host}`)"), "app@test", None);
        let router = self.snapshot.routers.last_mut().map(Arc::make_mut).expect("it was added");
        router.observability.metrics = Some(metrics);
        self.apply();
    }

    /// What requests of `app@test` go through after what their routers ask for.
    pub(crate) fn serve_through(&mut self, middlewares: &[&str]) {
        for upstream in &mut self.snapshot.upstreams {
            Arc::make_mut(upstream).middlewares =
                middlewares.iter().map(|name| format!("{name}@test")).collect();
        }
        self.apply();
    }

    /// What requests go through that come to this service, of whatever kind it is. Gives what can't be done.
    pub(crate) fn give(&mut self, service: &str, middlewares: &[&str]) -> Vec<Fault> {
        let names: Vec<String> = middlewares.iter().map(|name| format!("{name}@test")).collect();
        for upstream in self.snapshot.upstreams.iter_mut().filter(|upstream| upstream.name == service) {
            Arc::make_mut(upstream).middlewares.clone_from(&names);
        }
        for composite in self.snapshot.composites.iter_mut().filter(|composite| composite.name == service) {
            Arc::make_mut(composite).middlewares.clone_from(&names);
        }
        self.snapshot.generation += 1;
        self.proxy.apply(&self.snapshot)
    }

    /// Adds a router that takes TLS, by these options.
    pub(crate) fn route_tls(&mut self, name: &str, rule: &str, options: Option<&str>) {
        let tls = RouterTls { options: options.map(str::to_owned), ..RouterTls::default() };
        self.add_route(name, rule, "app@test", Some(tls));
    }

    /// What clients that speak TLS are shown, from now on. Gives what can't be done.
    pub(crate) fn show(&mut self, tls: Tls) -> Vec<Fault> {
        self.snapshot.tls = Arc::new(tls);
        self.snapshot.generation += 1;
        let mut faults = self.proxy.apply(&self.snapshot);
        faults.extend(self.proxy.look_at_files());
        faults
    }

    /// Looks at the files again. Gives what can't be done.
    pub(crate) fn look(&mut self) -> Vec<Fault> {
        self.proxy.look_at_files()
    }

    fn add_route(&mut self, name: &str, rule: &str, upstream: &str, tls: Option<RouterTls>) {
        let read = Rule::parse(rule).expect("a rule");
        self.snapshot.routers.push(Arc::new(Router {
            priority: rule.len() as i64,
            tls,
            ..Router::new(format!("{name}@test"), read, upstream)
        }));
    }

    /// Marks the only container of `app@test` as one in this state.
    pub(crate) fn serve_in_state(&mut self, at: SocketAddr, state: State) {
        self.serve(vec![in_state("c0", at, state)]);
    }

    /// Publishes `app@test`; gives where.
    pub(crate) fn publish(&mut self, protocol: Protocol) -> SocketAddr {
        let at = free_address(protocol);
        self.snapshot.publications.push(Arc::new(Publication {
            publish: Publish { ip: Some(at.ip()), host_port: at.port(), target_port: 0, protocol },
            service: "app@test".to_owned(),
            upstream: "app@test".to_owned(),
            origin: "a test".to_owned(),
            data_path: None,
            proxy_protocol: self.proxy_protocol,
            limits: PublishLimits::default(),
        }));
        self.apply();
        assert!(self.proxy.open_ports().is_empty(), "{at} can't be opened");
        at
    }

    /// Publishes nothing any more, and has not closed anything yet.
    pub(crate) fn withdraw_from_table(&mut self) {
        self.snapshot.publications.clear();
        self.apply();
    }

    /// Publishes nothing any more.
    pub(crate) fn withdraw(&mut self) {
        self.withdraw_from_table();
        assert!(self.proxy.open_ports().is_empty());
    }

    pub(super) fn apply(&mut self) {
        self.snapshot.generation += 1;
        let faults = self.proxy.apply(&self.snapshot);
        // A test that says something of its entry point knows what that lacks.
        assert!(faults.iter().all(|fault| fault.origin.starts_with("entry point")), "{faults:?}");
    }

    /// How the bytes of TCP services travel, and what is told of that.
    pub(crate) fn service_paths(&mut self) -> (Vec<ServicePath>, Vec<Fault>) {
        (self.proxy.service_paths(), self.proxy.open_ports())
    }

    /// A client of the entry point.
    pub(crate) async fn client(&self) -> Wire {
        Wire::connect(self.http).await
    }

    /// The sum of the series whose line holds all of `labels`.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = TextEncoder::new().encode_to_string(&self.registry.gather()).expect("metrics are text");
        text.lines()
            .filter_map(|line| line.strip_prefix(name))
            .filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)))
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// Waits until a metric is this: it is counted when an answer is done, which the client may know first.
    pub(crate) async fn metric_becomes(&self, name: &str, labels: &[&str], value: f64) {
        let is_there = || (self.metric(name, labels) - value).abs() < 0.5;
        until(&format!("{name}{labels:?} = {value}, at last {}", self.metric(name, labels)), is_there).await;
    }

    /// Begins draining; the future ends with the last connection.
    pub(crate) fn drain(self) -> impl Future<Output = ()> {
        self.proxy.drain()
    }
}

/// Checks of endpoints, and what they tell.
pub(crate) struct Checks {
    snapshots: watch::Sender<Arc<Snapshot>>,
    told: mpsc::Receiver<Update>,
    checker: AbortHandle,
}

impl Drop for Checks {
    fn drop(&mut self) {
        self.checker.abort();
    }
}

impl Checks {
    /// Goes on with what the world is now.
    pub(crate) fn follow(&self, world: &World) {
        self.snapshots.send_replace(Arc::new(world.snapshot.clone()));
    }

    /// The next word.
    pub(crate) async fn next(&mut self) -> Judgement {
        match soon("a judgement", self.told.recv()).await.expect("the checker runs").change {
            Change::Judged(judgement) => judgement,
            other => panic!("{other:?}"),
        }
    }
}

/// An address that nobody else has: every test asks on a loopback address of its own.
fn free_address(protocol: Protocol) -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let any = SocketAddr::from((Ipv4Addr::new(127, (std::process::id() % 200) as u8 + 20, high, low), 0));
    let bound = match protocol {
        Protocol::Tcp => std::net::TcpListener::bind(any).and_then(|socket| socket.local_addr()),
        Protocol::Udp => std::net::UdpSocket::bind(any).and_then(|socket| socket.local_addr()),
    };
    bound.expect("a free port")
}
