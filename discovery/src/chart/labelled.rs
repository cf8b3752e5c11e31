//! What the labels of one instance ask for, with all that the instance itself adds: its address as the one server of
//! its services, a service where they name none, a router where they name none.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use portolan_config::dynamic::http::Router as WrittenRouter;
use portolan_config::dynamic::service::{LoadBalancer, Server, Service, ServiceKind};
use portolan_config::dynamic::tcp::{TcpService, UdpService};
use portolan_config::dynamic::{Dynamic, Item};
use portolan_config::rule::Rule;
use portolan_config::template::Subject;
use portolan_config::tls::Scheme;
use portolan_config::{Labels, Protocol};

use super::wish::{
    self, Defaults, ServiceWish, TcpKind, TcpServiceWish, UdpServiceWish, Wish, Wishes, qualify,
};
use super::{Policy, Sketch, endpoint, virtual_host};
use crate::provider::internal::NAME as INTERNAL;
use crate::server_url::ServerUrl;
use crate::snapshot::Target;

/// Everything that the instance asks for.
pub(super) fn wishes(sketch: &mut Sketch, policy: &Policy) -> Wishes {
    let labels = virtual_host::heeded(sketch, policy);
    let dynamic = &labels.dynamic;
    let provider = sketch.provider.clone();
    let instance = sketch.origin();
    let mut wishes = Wishes {
        middlewares: wish::middlewares(&dynamic.middlewares, &provider, &instance),
        transports: wish::plain(&dynamic.servers_transports, "http.serversTransports", &provider, &instance),
        tcp_middlewares: wish::plain(&dynamic.tcp_middlewares, "tcp.middlewares", &provider, &instance),
        tcp_transports: wish::plain(
            &dynamic.tcp_servers_transports,
            "tcp.serversTransports",
            &provider,
            &instance,
        ),
        tls_options: wish::plain(&dynamic.tls_options, "tls.options", &provider, &instance),
        stores: wish::plain(&dynamic.stores, "tls.stores", &provider, &instance),
        certificates: dynamic.certificates.clone(),
        ..Wishes::default()
    };
    let defaults = Defaults {
        rule: default_rule(dynamic, sketch, policy),
        service: only(&dynamic.services, || Some(sketch.service.clone()), sketch),
        tcp_service: only(&dynamic.tcp_services, || None, sketch),
        udp_service: only(&dynamic.udp_services, || None, sketch),
    };
    layer_four(dynamic, sketch, &defaults, &mut wishes);
    // Who speaks of connections only, and not of HTTP, does not mean HTTP.
    if dynamic.has_http() || !dynamic.has_layer_four() {
        wishes.services = services(&labels, sketch, policy);
        wishes.routers = routers(dynamic, sketch, &defaults);
    }
    wishes
}

/// The only service of several or none; `none` gives what stands for none.
fn only<T>(
    services: &BTreeMap<String, Item<T>>,
    none: impl FnOnce() -> Option<String>,
    sketch: &Sketch,
) -> Option<String> {
    match services.len() {
        0 => none(),
        1 => services.keys().next().map(|name| qualify(name, &sketch.provider)),
        _ => None,
    }
}

fn services(labels: &Labels, sketch: &mut Sketch, policy: &Policy) -> Vec<Wish<ServiceWish>> {
    let dynamic = &labels.dynamic;
    let default_port = endpoint::default_http_port(&sketch.instance);
    let mut wishes = Vec::new();
    if dynamic.services.is_empty() {
        match default_port {
            Some(port) => wishes.push(Wish {
                name: sketch.service.clone(),
                value: Some(Arc::new(ServiceWish {
                    targets: vec![bound(
                        endpoint::target(&sketch.endpoint, port, Protocol::Tcp),
                        sketch,
                        policy,
                    )],
                    ..wish::service(&one_server(), &sketch.provider)
                })),
                origin: sketch.origin(),
                key: "http".to_owned(),
            }),
            // An unlabelled container without ports is no web server, and nobody said it was.
            None if dynamic.routers.is_empty() && labels.enable != Some(true) => {}
            None => sketch.fault("http", NO_PORT),
        }
    }
    for (name, item) in &dynamic.services {
        let key = format!("http.services.{name}");
        let value = item.value.as_ref().and_then(|written| {
            let mut wish = wish::service(written, &sketch.provider);
            if let ServiceKind::LoadBalancer(balancer) = &written.kind {
                let default = Server::default();
                let server = balancer.servers.first().unwrap_or(&default);
                match target(server, default_port, sketch) {
                    Ok(target) => wish.targets.push(bound(target, sketch, policy)),
                    Err(message) => {
                        sketch.fault(format!("{key}.loadbalancer.server.port"), message);
                        return None;
                    }
                }
            }
            Some(Arc::new(wish))
        });
        wishes.push(Wish { name: qualify(name, &sketch.provider), value, origin: sketch.origin(), key });
    }
    wishes
}

fn one_server() -> Service {
    Service { middlewares: Vec::new(), kind: ServiceKind::LoadBalancer(LoadBalancer::default()) }
}

/// The instance as a server; or what a URL in a label stands for, which is another place under this instance's name.
fn target(server: &Server, default_port: Option<u16>, sketch: &Sketch) -> Result<Target, String> {
    let mut target = if server.url.is_empty() {
        let port = server.port.map(std::num::NonZeroU16::get).or(default_port).ok_or(NO_PORT)?;
        Target { scheme: scheme(&server.scheme)?, ..endpoint::target(&sketch.endpoint, port, Protocol::Tcp) }
    } else {
        if server.port.is_some() || !server.scheme.is_empty() {
            return Err("`url` says scheme and port already: write it, or the two".to_owned());
        }
        elsewhere(server, sketch)?
    };
    target.weight = server.weight;
    Ok(target)
}

fn scheme(written: &str) -> Result<Scheme, String> {
    match written.to_ascii_lowercase().as_str() {
        "" | "http" => Ok(Scheme::Http),
        "https" => Ok(Scheme::Https),
        "h2c" => Ok(Scheme::H2c),
        other => Err(format!("`{other}` is not a scheme: write `http`, `https` or `h2c`")),
    }
}

fn elsewhere(server: &Server, sketch: &Sketch) -> Result<Target, String> {
    let url = ServerUrl::parse(&server.url)?;
    let ip: IpAddr = url.host.parse().map_err(|_| {
        format!(
            "`{}`: in a label the host is an address; hosts with names are looked up for files",
            server.url
        )
    })?;
    Ok(Target {
        scheme: url.scheme,
        path_prefix: if server.preserve_path { url.path.into() } else { Arc::from("") },
        host: url.authority.into(),
        url: server.url.as_str().into(),
        ..Target::new(Arc::new(endpoint::moved(&sketch.endpoint, ip)), url.port)
    })
}

const NO_PORT: &str = "the image exposes no TCP port: say which one with \
                       `traefik.http.services.NAME.loadbalancer.server.port`";

/// The routers that the labels ask for; the default one when they name none.
fn routers(
    dynamic: &Dynamic,
    sketch: &mut Sketch,
    defaults: &Defaults,
) -> Vec<Wish<crate::snapshot::Router>> {
    let instance = sketch.origin();
    let mut faults = Vec::new();
    let mut wishes: Vec<_> = dynamic
        .routers
        .iter()
        .map(|(name, item)| wish::router(name, item, &sketch.provider, &instance, defaults, &mut faults))
        .collect();
    // What Portolan serves of itself has no router that nobody asked for.
    let is_own = &*sketch.provider.0 == INTERNAL;
    if dynamic.routers.is_empty() && defaults.service.is_some() && !is_own {
        let item = Item { place: Sketch::nowhere(), value: Some(Arc::new(WrittenRouter::default())) };
        let name = sketch.instance.service.name();
        wishes.push(wish::router(&name, &item, &sketch.provider, &instance, defaults, &mut faults));
    } else if dynamic.routers.is_empty() && !is_own {
        let message =
            "several services and no router: say who gets requests with `traefik.http.routers.NAME.service`";
        sketch.fault("http.services", message);
    }
    sketch.faults.extend(faults.into_iter().map(|(_, fault)| fault));
    wishes
}

/// The target at the address and port of the host that its port is bound to, where that is asked for and known: a port
/// bound to no address in particular says nothing of how to reach it.
fn bound(target: Target, sketch: &Sketch, policy: &Policy) -> Target {
    if !policy.use_bind_port_ip {
        return target;
    }
    let Some((binding, ip)) = endpoint::binding(&sketch.instance, target.port, Protocol::Tcp) else {
        return target;
    };
    Target { endpoint: Arc::new(endpoint::moved(&sketch.endpoint, ip)), port: binding.host_port, ..target }
}

/// The rule of routers without one, with the priority it gives. `None` where the operator's template can't be carried
/// out, which is told if a router needs it.
fn default_rule(dynamic: &Dynamic, sketch: &mut Sketch, policy: &Policy) -> Option<(Rule, i64)> {
    let Some(template) = &policy.default_rule else {
        return Some(own_rule(&sketch.instance.service.name()));
    };
    let needed = dynamic.routers.is_empty()
        || dynamic
            .routers
            .values()
            .any(|item| item.value.as_ref().is_some_and(|router| router.rule.is_empty()));
    let name = sketch.instance.service.template_name();
    let subject =
        Subject { name: &name, container_name: &sketch.instance.name, labels: &sketch.instance.labels };
    let rule = template.render(&subject).and_then(|text| {
        let rule = Rule::parse(&text).map_err(|error| format!("it gives `{text}`: {error}"))?;
        Ok((rule, text.len() as i64))
    });
    match rule {
        Ok(rule) => Some(rule),
        Err(_) if !needed => None,
        Err(message) => {
            sketch.fault("defaultRule", format!("`{}`: {message}", template.as_str()));
            None
        }
    }
}

/// Traefik's default, ``Host(`name`)`` with its priority, and `name.localhost` besides: browsers and resolvers take
/// that to this machine (RFC 6761 §6.3), so that a new service can be looked at before any name is set up.
fn own_rule(name: &str) -> (Rule, i64) {
    let rule = Rule::Or(vec![Rule::host(name), Rule::host(&format!("{name}.localhost"))]);
    (rule, format!("Host(`{name}`)").len() as i64)
}

fn layer_four(dynamic: &Dynamic, sketch: &mut Sketch, defaults: &Defaults, wishes: &mut Wishes) {
    let instance = sketch.origin();
    let mut faults = Vec::new();
    for (name, item) in &dynamic.tcp_services {
        let key = format!("tcp.services.{name}");
        let value = item.value.as_ref().and_then(|written| {
            let (kind, server) = match &**written {
                TcpService::Weighted(weighted) => {
                    let weighted = wish::weighted(weighted, &sketch.provider);
                    return Some(TcpServiceWish {
                        kind: TcpKind::Weighted(weighted),
                        targets: Vec::new(),
                        tls: Vec::new(),
                    });
                }
                TcpService::LoadBalancer(balancer) => {
                    let kind = wish::tcp_balancer(balancer, &sketch.provider);
                    (kind, balancer.servers.first().cloned().unwrap_or_default())
                }
            };
            let port = raw_port(server.port, Protocol::Tcp, &key, sketch)?;
            let targets = vec![endpoint::target(&sketch.endpoint, port, Protocol::Tcp)];
            Some(TcpServiceWish { kind, targets, tls: vec![server.tls] })
        });
        let value = value.map(Arc::new);
        wishes.tcp_services.push(Wish {
            name: qualify(name, &sketch.provider),
            value,
            origin: instance.clone(),
            key,
        });
    }
    for (name, item) in &dynamic.udp_services {
        let key = format!("udp.services.{name}");
        let value = item.value.as_ref().and_then(|written| match &**written {
            UdpService::Weighted(weighted) => {
                let weighted = Some(wish::weighted(weighted, &sketch.provider));
                Some(UdpServiceWish { weighted, targets: Vec::new() })
            }
            UdpService::LoadBalancer(balancer) => {
                let port = balancer.servers.first().and_then(|server| server.port);
                let port = raw_port(port, Protocol::Udp, &key, sketch)?;
                let targets = vec![endpoint::target(&sketch.endpoint, port, Protocol::Udp)];
                Some(UdpServiceWish { weighted: None, targets })
            }
        });
        let value = value.map(Arc::new);
        wishes.udp_services.push(Wish {
            name: qualify(name, &sketch.provider),
            value,
            origin: instance.clone(),
            key,
        });
    }
    for (name, item) in &dynamic.tcp_routers {
        let wish = wish::tcp_router(name, item, &sketch.provider, &instance, defaults, &mut faults);
        wishes.tcp_routers.push(wish);
    }
    for (name, item) in &dynamic.udp_routers {
        let wish = wish::udp_router(name, item, &sketch.provider, &instance, defaults, &mut faults);
        wishes.udp_routers.push(wish);
    }
    sketch.faults.extend(faults.into_iter().map(|(_, fault)| fault));
}

fn raw_port(
    written: Option<std::num::NonZeroU16>,
    protocol: Protocol,
    key: &str,
    sketch: &mut Sketch,
) -> Option<u16> {
    let exposed = || {
        sketch.instance.ports.iter().filter(|port| port.protocol == protocol).map(|port| port.number).min()
    };
    let port = written.map(std::num::NonZeroU16::get).or_else(exposed);
    if port.is_none() {
        let message = format!(
            "the image exposes no {protocol} port: say which one with `{key}.loadbalancer.server.port`"
        );
        sketch.fault(format!("{key}.loadbalancer.server.port"), message);
    }
    port
}
