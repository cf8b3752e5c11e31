//! What a TCP service says of its connections: how many there may be, how long one may be idle, and how bytes travel.

use portolan_config::DataPath;
use portolan_config::dynamic::tcp::{TcpLoadBalancer, TcpRouterTls};
use portolan_config::dynamic::value::Span;

use crate::support::layer_four::{by_tls, passthrough};
use crate::support::{End, Origin, Wire, World, place};

/// A client that was given to the origin.
async fn pair(world: &World, origin: &mut Origin) -> (Wire, Wire) {
    let client = world.client().await;
    (client, origin.accept().await)
}

#[tokio::test]
async fn a_service_takes_as_many_connections_as_it_says_over_all_its_routers() {
    let mut origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let two = || TcpLoadBalancer { max_connections: 2, ..TcpLoadBalancer::default() };
    world.spread_tcp("db", vec![place("db", origin.at)], two());
    world.route_tcp("HostSNI(`*`)", "db");
    let first = pair(&world, &mut origin).await;
    let _second = pair(&world, &mut origin).await;
    world.client().await.ends().await;
    world.metric_becomes("portolan_refusals_total", &["web", "connection_limit"], 1.0).await;
    // A new table with the same limit has not forgotten them, and a place that was left can be taken.
    world.spread_tcp("db", vec![place("db", origin.at), place("db2", Origin::nobody().await)], two());
    world.client().await.ends().await;
    world.metric_becomes("portolan_refusals_total", &["web", "connection_limit"], 2.0).await;
    drop(first);
    world.metric_becomes("portolan_service_connections_open", &["db@test/tcp"], 1.0).await;
    pair(&world, &mut origin).await;
}

#[tokio::test]
async fn an_endpoint_that_has_all_it_may_have_is_passed_over_and_when_all_have_the_client_is_closed() {
    let mut origins = [Origin::manual().await, Origin::manual().await];
    let mut world = World::of(&[]);
    let places = vec![place("a", origins[0].at), place("b", origins[1].at)];
    let one = TcpLoadBalancer { max_connections_per_endpoint: 1, ..TcpLoadBalancer::default() };
    world.spread_tcp("db", places, one);
    world.route_tcp("HostSNI(`*`)", "db");
    let [first, second] = &mut origins;
    let a = pair(&world, first).await;
    let _b = pair(&world, second).await;
    world.client().await.ends().await;
    world.metric_becomes("portolan_refusals_total", &["web", "endpoint_limit"], 1.0).await;
    drop(a);
    world.metric_becomes("portolan_service_connections_open", &["db@test/tcp"], 1.0).await;
    // Whoever's turn it is, only one has a place.
    pair(&world, first).await;
}

#[tokio::test]
async fn a_service_says_how_long_a_connection_may_be_idle_whatever_its_entry_point_says() {
    let mut origin = Origin::manual().await;
    let hour = Some(std::time::Duration::from_secs(3600));
    let mut world = World::tuned(&[], |entry_point| entry_point.limits.tcp_idle = hour);
    let short = TcpLoadBalancer { idle_timeout: Some(Span::millis(200)), ..TcpLoadBalancer::default() };
    world.spread_tcp("db", vec![place("db", origin.at)], short);
    world.route_tcp("HostSNI(`*`)", "db");
    let (mut client, mut wire) = pair(&world, &mut origin).await;
    client.send("hello").await;
    wire.expect("hello").await;
    assert_eq!(client.ends().await, End::Clean);
    assert_eq!(wire.ends().await, End::Clean);
    world.metric_becomes("portolan_service_connections_ended_total", &["\"idle\"", "db@test/tcp"], 1.0).await;
    // A zero is no limit.
    let mut world = World::tuned(&[], |entry_point| {
        entry_point.limits.tcp_idle = Some(std::time::Duration::from_millis(1));
    });
    let never = TcpLoadBalancer { idle_timeout: Some(Span::default()), ..TcpLoadBalancer::default() };
    world.spread_tcp("db", vec![place("db", origin.at)], never);
    world.route_tcp("HostSNI(`*`)", "db");
    let (mut client, mut wire) = pair(&world, &mut origin).await;
    client.send("hello").await;
    wire.expect("hello").await;
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    wire.send("still there").await;
    client.expect("still there").await;
}

/// How the bytes of the services of a world travel, and the faults that are told of it.
fn told(world: &mut World) -> (Vec<(String, DataPath, String)>, Vec<String>) {
    let (paths, faults) = world.service_paths();
    let paths = paths.into_iter().map(|it| (it.service, it.path, it.why.unwrap_or_default())).collect();
    (
        paths,
        faults
            .into_iter()
            .map(|fault| format!("{}: {}: {}", fault.origin, fault.key, fault.message))
            .collect(),
    )
}

#[tokio::test]
async fn what_is_encrypted_here_is_not_the_kernels_and_that_is_said() {
    let origin = Origin::manual().await;
    let mut world = World::of(&[]);
    let by = |path| TcpLoadBalancer { data_path: Some(path), ..TcpLoadBalancer::default() };
    let at = || place("db", origin.at);
    world.spread_tcp("usual", vec![at()], TcpLoadBalancer::default());
    world.spread_tcp("ended", vec![at()], by(DataPath::Sockmap));
    world.spread_tcp("maybe", vec![by_tls(at())], by(DataPath::Auto));
    world.spread_tcp("both", vec![at()], by(DataPath::Sockmap));
    world.weigh_tcp("all", &[("both", 1)]);
    world.route_tcp_by("HostSNI(`ended.test`)", "ended", TcpRouterTls::default());
    world.route_tcp_by("HostSNI(`both.test`)", "both", TcpRouterTls::default());
    world.route_tcp_by("HostSNI(`passed.test`)", "all", passthrough());
    let (paths, faults) = told(&mut world);
    // As root, on a kernel that is new enough.
    let host_can = paths.iter().any(|(_, by, _)| *by == DataPath::Sockmap);
    let path = |name: &str| paths.iter().find(|(service, ..)| service == name);
    assert_eq!(path("usual@test"), None);
    assert!(
        faults
            .iter()
            .any(|fault| fault.starts_with("service ended@test: tcp.services.ended.loadBalancer.dataPath: ")),
        "{faults:?}"
    );
    assert!(!faults.iter().any(|fault| fault.contains("maybe")), "it was only preferred: {faults:?}");
    for name in ["ended@test", "maybe@test", "both@test"] {
        let (_, by, why) = path(name).expect("it is told");
        if host_can {
            let expected = match name {
                "ended@test" => {
                    (DataPath::UserSpace, "connections whose TLS ends here (HostSNI(`ended.test`)@test)")
                }
                "maybe@test" => (DataPath::UserSpace, "its servers are spoken to by TLS"),
                _ => {
                    (DataPath::Sockmap, "but for connections whose TLS ends here (HostSNI(`both.test`)@test)")
                }
            };
            assert_eq!((*by, why.as_str()), expected, "{name}");
        } else {
            assert_eq!(*by, DataPath::UserSpace);
            assert!(!why.is_empty());
        }
    }
}
