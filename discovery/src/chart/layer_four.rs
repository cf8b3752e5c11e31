//! The TCP and UDP side of the chart: routers of entry points, and what they lead to.

use std::collections::HashMap;
use std::sync::Arc;

use portolan_config::dynamic::tcp::{TcpMiddleware, TcpTransport};
use portolan_config::tls::Scheme;

use super::claims::{Claims, Found};
use super::fault::Faults;
use super::http::{left_out, no_such};
use super::known::{Kind, Known};
use super::wish::{TcpKind, TcpServiceWish, UdpServiceWish};
use super::{Source, same_upstream};
use crate::snapshot::{LayerFour, Target, TcpUpstream, UdpUpstream, Upstream};

/// Puts together what all sources ask for. Routers are sorted by name. `usual` is what connections to servers are like
/// where no transport is named.
pub(super) fn merge(
    sources: &[Source<'_>],
    usual: &Arc<TcpTransport>,
    known: &Known,
    previous: &LayerFour,
    faults: &mut Faults,
) -> LayerFour {
    let mut drawn = LayerFour::default();
    if sources.iter().any(|source| source.wishes.has_tcp()) {
        tcp(sources, usual, known, previous, &mut drawn, faults);
    }
    if sources.iter().any(|source| source.wishes.has_udp()) {
        udp(sources, known, &mut drawn, faults);
    }
    drawn
}

fn tcp(
    sources: &[Source<'_>],
    usual: &Arc<TcpTransport>,
    known: &Known,
    previous: &LayerFour,
    drawn: &mut LayerFour,
    faults: &mut Faults,
) {
    let mut services: Claims<'_, TcpServiceWish> = Claims::default();
    let mut middlewares: Claims<'_, TcpMiddleware> = Claims::default();
    let mut transports: Claims<'_, TcpTransport> = Claims::default();
    let mut targets: HashMap<&str, Vec<(&Target, bool)>> = HashMap::new();
    for source in sources {
        for wish in &source.wishes.tcp_services {
            services.enter(wish, source.asker, |a, b| a.kind == b.kind, faults);
            if let Some(service) = &wish.value {
                let pairs = service.targets.iter().zip(service.tls.iter().copied());
                targets.entry(&wish.name).or_default().extend(pairs);
            }
        }
        for wish in &source.wishes.tcp_middlewares {
            middlewares.enter(wish, source.asker, PartialEq::eq, faults);
        }
        for wish in &source.wishes.tcp_transports {
            transports.enter(wish, source.asker, PartialEq::eq, faults);
        }
    }
    for (wish, asker) in services.iter() {
        let Some(service) = &wish.value else { continue };
        let upstream = match &service.kind {
            TcpKind::Weighted(weighted) => TcpUpstream::Weighted(weighted.clone()),
            TcpKind::Balanced(balancing) => {
                let name = balancing.servers_transport.as_str();
                let transport = match transports.get(name) {
                    _ if name.is_empty() || name == "default@internal" => Ok(usual.clone()),
                    Found::There(transport) => Ok(transport.clone()),
                    Found::LeftOut => Err(left_out("transport", name)),
                    Found::Nowhere => Err(no_such("transport", name, known.names(Kind::TcpTransport))),
                };
                let transport = match transport {
                    Ok(transport) => transport,
                    Err(message) => {
                        let key = format!("{}.loadBalancer.serversTransport", wish.key);
                        faults.add(asker.service, &wish.origin, &key, &message);
                        continue;
                    }
                };
                // What the service says of its own was read without a fault before.
                let transport = balancing.over(&transport).map_or(transport, Arc::new);
                let targets = targets.remove(wish.name.as_str()).unwrap_or_default();
                let upstream = upstream(&wish.name, targets, &transport);
                TcpUpstream::Targets {
                    upstream: kept(upstream, &wish.name, previous),
                    balancing: balancing.clone(),
                    transport,
                }
            }
        };
        drawn.tcp_upstreams.insert(wish.name.clone(), Arc::new(upstream));
    }
    for (wish, _) in middlewares.iter() {
        if let Some(middleware) = &wish.value {
            drawn.tcp_middlewares.insert(wish.name.clone(), middleware.clone());
        }
    }
    let mut routers = Claims::default();
    for source in sources {
        for wish in &source.wishes.tcp_routers {
            let Some(router) = &wish.value else { continue };
            let missing = router.middlewares.iter().find_map(|name| match middlewares.get(name) {
                Found::There(_) => None,
                Found::LeftOut => Some(left_out("middleware", name)),
                Found::Nowhere => Some(no_such("middleware", name, known.names(Kind::TcpMiddleware))),
            });
            let missing = if drawn.tcp_upstreams.contains_key(&router.upstream) {
                missing.map(|message| ("middlewares", message))
            } else {
                Some(("service", no_such("service", &router.upstream, known.names(Kind::TcpService))))
            };
            match missing {
                None => {
                    routers.enter(wish, source.asker, PartialEq::eq, faults);
                }
                Some((option, message)) => {
                    let message = format!("{message}; the router is left out");
                    faults.add(
                        source.asker.service,
                        &wish.origin,
                        &format!("{}.{option}", wish.key),
                        &message,
                    );
                }
            }
        }
    }
    drawn.tcp_routers = routers.iter().filter_map(|(wish, _)| wish.value.clone()).collect();
    drawn.tcp_routers.sort_by(|a, b| a.name.cmp(&b.name));
}

/// The places that a TCP service sends to, as any other has them.
fn upstream(name: &str, targets: Vec<(&Target, bool)>, transport: &TcpTransport) -> Upstream {
    let by_scheme = |(target, tls): (&Target, bool)| Target {
        scheme: if tls { Scheme::Https } else { Scheme::Http },
        ..target.clone()
    };
    let mut targets: Vec<Target> = targets.into_iter().map(by_scheme).collect();
    targets.sort_by(|a, b| (&a.endpoint.instance.name, a.port).cmp(&(&b.endpoint.instance.name, b.port)));
    let mut upstream = Upstream::new(format!("{name}/tcp"), targets);
    upstream.transport = Arc::new(transport.connections.clone());
    upstream
}

/// The upstream of before, where it is the same.
fn kept(upstream: Upstream, service: &str, previous: &LayerFour) -> Arc<Upstream> {
    match previous.tcp_upstreams.get(service).map(|before| &**before) {
        Some(TcpUpstream::Targets { upstream: before, .. })
            if before.name == upstream.name && same_upstream(&upstream, before) =>
        {
            before.clone()
        }
        _ => Arc::new(upstream),
    }
}

fn udp(sources: &[Source<'_>], known: &Known, drawn: &mut LayerFour, faults: &mut Faults) {
    let mut services: Claims<'_, UdpServiceWish> = Claims::default();
    let mut targets: HashMap<&str, Vec<&Target>> = HashMap::new();
    for source in sources {
        for wish in &source.wishes.udp_services {
            services.enter(wish, source.asker, |a, b| a.weighted == b.weighted, faults);
            if let Some(service) = &wish.value {
                targets.entry(&wish.name).or_default().extend(&service.targets);
            }
        }
    }
    for (wish, _) in services.iter() {
        let Some(service) = &wish.value else { continue };
        let upstream = match &service.weighted {
            Some(weighted) => UdpUpstream::Weighted(weighted.clone()),
            None => {
                let mut found = targets.remove(wish.name.as_str()).unwrap_or_default();
                found.sort_by(|a, b| {
                    (&a.endpoint.instance.name, a.port).cmp(&(&b.endpoint.instance.name, b.port))
                });
                UdpUpstream::Targets(found.into_iter().cloned().collect())
            }
        };
        drawn.udp_upstreams.insert(wish.name.clone(), Arc::new(upstream));
    }
    let mut routers = Claims::default();
    for source in sources {
        for wish in &source.wishes.udp_routers {
            let Some(router) = &wish.value else { continue };
            if drawn.udp_upstreams.contains_key(&router.upstream) {
                routers.enter(wish, source.asker, PartialEq::eq, faults);
            } else {
                let message = no_such("service", &router.upstream, known.names(Kind::UdpService));
                let message = format!("{message}; the router is left out");
                faults.add(source.asker.service, &wish.origin, &format!("{}.service", wish.key), &message);
            }
        }
    }
    drawn.udp_routers = routers.iter().filter_map(|(wish, _)| wish.value.clone()).collect();
    drawn.udp_routers.sort_by(|a, b| a.name.cmp(&b.name));
}
