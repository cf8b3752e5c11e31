//! What one source asks for, whatever it is: an instance by its labels, or a provider by its files.
//!
//! Every name in it is qualified, every rule is read. Whether what it leans on is there, only the whole chart shows.

use std::sync::Arc;

use portolan_config::Rule;
use portolan_config::dynamic::http::Router as WrittenRouter;
use portolan_config::dynamic::middleware::Middleware;
use portolan_config::dynamic::service::{LoadBalancer, Service, ServiceKind};
use portolan_config::dynamic::tcp::{
    LayerFourWeighted, TcpLoadBalancer, TcpMiddleware, TcpRouter as WrittenTcpRouter, TcpTransport,
    UdpRouter as WrittenUdpRouter,
};
use portolan_config::dynamic::{Item, Items, Place, tls::Store};
use portolan_config::rule::TcpRule;
use portolan_config::tls::{KeyPair, RouterTls, ServersTransport, TlsOptions};

use crate::provider::ProviderName;
use crate::snapshot::{Router, Target, TcpRouter, UdpRouter};

/// The highest priority that is the user's; those above it are Traefik's own.
const PRIORITY_MAX: i64 = i64::MAX - 1000;

/// Something that is asked for under a name.
#[derive(Debug)]
pub(super) struct Wish<T> {
    /// The qualified name.
    pub(super) name: String,
    /// The thing; `None` where it is left out for a fault that was told.
    pub(super) value: Option<Arc<T>>,
    /// Who asks: `container web-1`, `file routes.yml:3`.
    pub(super) origin: String,
    /// What it is called there: `http.routers.web`.
    pub(super) key: String,
}

/// An HTTP service, with those of its targets that are this source's.
#[derive(Debug)]
pub(super) struct ServiceWish {
    /// What every source must agree on; it has no servers.
    pub(super) definition: Service,
    /// Of a load balancer: how servers are spread over, without them.
    pub(super) balancing: Option<Arc<LoadBalancer>>,
    pub(super) targets: Vec<Target>,
}

/// A TCP service, with those of its targets that are this source's.
#[derive(Debug)]
pub(super) struct TcpServiceWish {
    pub(super) kind: TcpKind,
    pub(super) targets: Vec<Target>,
    /// Which of them are spoken to by TLS.
    pub(super) tls: Vec<bool>,
}

#[derive(Debug, PartialEq)]
pub(super) enum TcpKind {
    Balanced(Arc<TcpLoadBalancer>),
    Weighted(LayerFourWeighted),
}

/// A UDP service, with those of its targets that are this source's.
#[derive(Debug)]
pub(super) struct UdpServiceWish {
    /// `None` for a load balancer.
    pub(super) weighted: Option<LayerFourWeighted>,
    pub(super) targets: Vec<Target>,
}

/// Everything that one source asks for.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    pub(super) routers: Vec<Wish<Router>>,
    pub(super) services: Vec<Wish<ServiceWish>>,
    pub(super) middlewares: Vec<Wish<Middleware>>,
    pub(super) transports: Vec<Wish<ServersTransport>>,
    pub(super) tcp_routers: Vec<Wish<TcpRouter>>,
    pub(super) tcp_services: Vec<Wish<TcpServiceWish>>,
    pub(super) tcp_middlewares: Vec<Wish<TcpMiddleware>>,
    pub(super) tcp_transports: Vec<Wish<TcpTransport>>,
    pub(super) udp_routers: Vec<Wish<UdpRouter>>,
    pub(super) udp_services: Vec<Wish<UdpServiceWish>>,
    pub(super) certificates: Vec<(KeyPair, Vec<String>)>,
    pub(super) tls_options: Vec<Wish<TlsOptions>>,
    pub(super) stores: Vec<Wish<Store>>,
}

impl Wishes {
    pub(super) fn has_tcp(&self) -> bool {
        !(self.tcp_routers.is_empty() && self.tcp_services.is_empty() && self.tcp_middlewares.is_empty())
    }

    pub(super) fn has_udp(&self) -> bool {
        !(self.udp_routers.is_empty() && self.udp_services.is_empty())
    }
}

/// What a source has for routers that do not say.
#[derive(Debug, Default)]
pub(super) struct Defaults {
    /// The rule, with the priority it gives.
    pub(super) rule: Option<(Rule, i64)>,
    /// The qualified name of the service.
    pub(super) service: Option<String>,
    /// The same for TCP and UDP.
    pub(super) tcp_service: Option<String>,
    pub(super) udp_service: Option<String>,
}

/// A fault of what is being wished for: its key and what is wrong.
pub(super) type Fault = (String, String);

/// The name, with the provider of whoever writes it unless it has one.
pub(super) fn qualify(name: &str, provider: &ProviderName) -> String {
    if name.contains('@') { name.to_owned() } else { format!("{name}@{provider}") }
}

fn qualify_all(names: &[String], provider: &ProviderName) -> Vec<String> {
    names.iter().map(|name| qualify(name, provider)).collect()
}

/// Who asks: the instance, or the file and line.
pub(super) fn origin(place: &Place, instance: &str) -> String {
    match place {
        Place::Label(_) => instance.to_owned(),
        Place::Line { .. } => format!("file {place}"),
    }
}

/// Takes things that need nothing but their names qualified.
pub(super) fn plain<T>(
    items: &Items<T>,
    kind: &str,
    provider: &ProviderName,
    instance: &str,
) -> Vec<Wish<T>> {
    items
        .iter()
        .map(|(name, item)| Wish {
            name: qualify(name, provider),
            value: item.value.clone(),
            origin: origin(&item.place, instance),
            key: format!("{kind}.{name}"),
        })
        .collect()
}

/// Middlewares, with the middlewares and services that they name.
pub(super) fn middlewares(
    items: &Items<Middleware>,
    provider: &ProviderName,
    instance: &str,
) -> Vec<Wish<Middleware>> {
    let mut wishes = plain(items, "http.middlewares", provider, instance);
    for wish in &mut wishes {
        let qualified = match wish.value.as_deref() {
            Some(Middleware::Chain(chain)) => {
                let mut chain = chain.clone();
                chain.middlewares = qualify_all(&chain.middlewares, provider);
                Middleware::Chain(chain)
            }
            Some(Middleware::Errors(errors)) => {
                let mut errors = errors.clone();
                errors.service = qualify(&errors.service, provider);
                Middleware::Errors(errors)
            }
            _ => continue,
        };
        wish.value = Some(Arc::new(qualified));
    }
    wishes
}

/// A service's definition with the names in it qualified, and without its servers.
pub(super) fn service(written: &Service, provider: &ProviderName) -> ServiceWish {
    let mut definition = written.clone();
    definition.middlewares = qualify_all(&definition.middlewares, provider);
    for child in definition.kind.children_mut() {
        *child = qualify(child, provider);
    }
    let mut balancing = None;
    if let ServiceKind::LoadBalancer(balancer) = &mut definition.kind {
        balancer.servers.clear();
        if !balancer.servers_transport.is_empty() {
            balancer.servers_transport = qualify(&balancer.servers_transport, provider);
        }
        balancing = Some(Arc::new(balancer.clone()));
    }
    ServiceWish { definition, balancing, targets: Vec::new() }
}

/// A TCP load balancer's definition with its transport qualified, and without its servers.
pub(super) fn tcp_balancer(written: &TcpLoadBalancer, provider: &ProviderName) -> TcpKind {
    let mut balancer = written.clone();
    balancer.servers.clear();
    if !balancer.servers_transport.is_empty() {
        balancer.servers_transport = qualify(&balancer.servers_transport, provider);
    }
    TcpKind::Balanced(Arc::new(balancer))
}

/// A service of services of layer 4, with their names qualified.
pub(super) fn weighted(written: &LayerFourWeighted, provider: &ProviderName) -> LayerFourWeighted {
    let mut weighted = written.clone();
    for child in &mut weighted.services {
        child.name = qualify(&child.name, provider);
    }
    weighted
}

fn wish<W, T>(
    name: &str,
    kind: &str,
    item: &Item<W>,
    provider: &ProviderName,
    instance: &str,
    faults: &mut Vec<(String, Fault)>,
    meant: impl FnOnce(&W, &str) -> Result<T, Fault>,
) -> Wish<T> {
    let key = format!("{kind}.{name}");
    let origin = origin(&item.place, instance);
    let value = item.value.as_ref().and_then(|written| match meant(written, &key) {
        Ok(value) => Some(Arc::new(value)),
        Err(fault) => {
            // A label is named as it was written where it is one.
            faults.push((origin.clone(), fault));
            None
        }
    });
    Wish { name: qualify(name, provider), value, origin, key }
}

/// An HTTP router.
pub(super) fn router(
    name: &str,
    item: &Item<WrittenRouter>,
    provider: &ProviderName,
    instance: &str,
    defaults: &Defaults,
    faults: &mut Vec<(String, Fault)>,
) -> Wish<Router> {
    wish(name, "http.routers", item, provider, instance, faults, |written, key| {
        let (rule, length) = match (written.rule.as_str(), &defaults.rule) {
            ("", Some(default)) => default.clone(),
            ("", None) => return Err((key.to_owned(), format!("needs a rule; router `{name}` is left out"))),
            (text, _) => {
                let rule = Rule::parse_as(text, written.rule_syntax).map_err(|error| {
                    (format!("{key}.rule"), format!("rule `{text}`: {error}; router `{name}` is left out"))
                })?;
                (rule, text.len() as i64)
            }
        };
        let upstream = named_or(&written.service, defaults.service.as_ref(), provider, key)?;
        Ok(Router {
            priority: priority(written.priority, length, provider, key)?,
            entry_points: written.entry_points.clone(),
            tls: written.tls.as_ref().map(|tls| RouterTls {
                options: options_name(&tls.options, provider),
                cert_resolver: Some(tls.cert_resolver.clone()).filter(|name| !name.is_empty()),
                domains: tls
                    .domains
                    .iter()
                    .map(|domain| (domain.main.clone(), domain.sans.clone()))
                    .collect(),
            }),
            middlewares: qualify_all(&written.middlewares, provider),
            observability: written.observability,
            origin: origin(&item.place, instance),
            ..Router::new(qualify(name, provider), rule, upstream)
        })
    })
}

/// A TCP router.
pub(super) fn tcp_router(
    name: &str,
    item: &Item<WrittenTcpRouter>,
    provider: &ProviderName,
    instance: &str,
    defaults: &Defaults,
    faults: &mut Vec<(String, Fault)>,
) -> Wish<TcpRouter> {
    wish(name, "tcp.routers", item, provider, instance, faults, |written, key| {
        let text = written.rule.as_str();
        let at_fault =
            |message: String| (format!("{key}.rule"), format!("{message}; router `{name}` is left out"));
        let rule = TcpRule::parse_as(text, written.rule_syntax)
            .map_err(|error| at_fault(format!("rule `{text}`: {error}")))?;
        let length = if rule.is_catch_all() { -1 } else { text.len() as i64 };
        let tls = written.tls.clone().map(|mut tls| {
            tls.options = options_name(&tls.options, provider).unwrap_or_default();
            tls
        });
        Ok(TcpRouter {
            name: qualify(name, provider),
            rule,
            priority: priority(written.priority, length, provider, key)?,
            entry_points: written.entry_points.clone(),
            middlewares: qualify_all(&written.middlewares, provider),
            tls,
            upstream: named_or(&written.service, defaults.tcp_service.as_ref(), provider, key)?,
            origin: origin(&item.place, instance),
        })
    })
}

/// A UDP router.
pub(super) fn udp_router(
    name: &str,
    item: &Item<WrittenUdpRouter>,
    provider: &ProviderName,
    instance: &str,
    defaults: &Defaults,
    faults: &mut Vec<(String, Fault)>,
) -> Wish<UdpRouter> {
    wish(name, "udp.routers", item, provider, instance, faults, |written, key| {
        Ok(UdpRouter {
            name: qualify(name, provider),
            entry_points: written.entry_points.clone(),
            upstream: named_or(&written.service, defaults.udp_service.as_ref(), provider, key)?,
            origin: origin(&item.place, instance),
        })
    })
}

/// The options of that name; `default` is everybody's, whoever wrote it.
fn options_name(written: &str, provider: &ProviderName) -> Option<String> {
    match written {
        "" => None,
        "default" => Some("default".to_owned()),
        name => Some(qualify(name, provider)),
    }
}

fn priority(written: i64, length: i64, provider: &ProviderName, key: &str) -> Result<i64, Fault> {
    match written {
        0 => Ok(length),
        written if written > PRIORITY_MAX && &*provider.0 != "internal" => Err((
            format!("{key}.priority"),
            format!("{PRIORITY_MAX} is the highest: those above are Portolan's own"),
        )),
        written => Ok(written),
    }
}

fn named_or(
    written: &str,
    default: Option<&String>,
    provider: &ProviderName,
    key: &str,
) -> Result<String, Fault> {
    match (written, default) {
        ("", Some(default)) => Ok(default.clone()),
        ("", None) => Err((
            key.to_owned(),
            format!("no service, or several and none chosen: say which with `{key}.service`"),
        )),
        (name, _) => Ok(qualify(name, provider)),
    }
}
