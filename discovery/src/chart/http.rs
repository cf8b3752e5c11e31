//! The HTTP side of the chart: routers, what their requests go through, and what they send to.
//!
//! What leans on something that is not there is left out, and said: a router whose middleware is missing would answer
//! without it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use portolan_config::dynamic::middleware::Middleware;
use portolan_config::dynamic::nearest;
use portolan_config::tls::{ServersTransport, TlsOptions};

use super::claims::{Asker, Claims, Found};
use super::fault::Faults;
use super::known::{Kind, Known};
use super::wish::{ServiceWish, Wishes};
use super::{Named, Source};
use crate::snapshot::{Composite, Router, Target, Upstream};

/// Middlewares within middlewares, at most; whoever has more has a circle.
const CHAIN_DEPTH_MAX: usize = 16;

/// The HTTP side, put together.
#[derive(Debug, Default)]
pub(super) struct Http {
    pub(super) routers: Vec<Arc<Router>>,
    pub(super) upstreams: Named<Upstream>,
    pub(super) composites: Vec<Arc<Composite>>,
    pub(super) middlewares: BTreeMap<String, Arc<Middleware>>,
    pub(super) middleware_origins: BTreeMap<String, String>,
}

/// Puts together what all sources ask for. Routers and composites are sorted by name. `usual` is what connections to servers
/// are like where no transport is named.
pub(super) fn merge<'a>(
    sources: &[Source<'a>],
    tls_options: &'a Claims<'a, TlsOptions>,
    usual: &Arc<ServersTransport>,
    known: &'a Known,
    previous: &[Arc<Router>],
    faults: &mut Faults,
) -> Http {
    let mut drawn = Drawn {
        services: Claims::default(),
        targets: HashMap::new(),
        middlewares: Claims::default(),
        transports: Claims::default(),
        usual: usual.clone(),
        tls_options,
        known,
    };
    for source in sources {
        drawn.enter(source.wishes, source.asker, faults);
    }
    drawn.finish(sources, previous, faults)
}

struct Drawn<'a> {
    services: Claims<'a, ServiceWish>,
    targets: HashMap<&'a str, Vec<&'a Target>>,
    middlewares: Claims<'a, Middleware>,
    transports: Claims<'a, ServersTransport>,
    usual: Arc<ServersTransport>,
    tls_options: &'a Claims<'a, TlsOptions>,
    /// The names that there are, on the whole chart.
    known: &'a Known,
}

/// Whether something can be used, and what to say if not.
type Usable = Result<(), String>;

impl<'a> Drawn<'a> {
    fn enter(&mut self, wishes: &'a Wishes, asker: Asker<'a>, faults: &mut Faults) {
        for wish in &wishes.services {
            self.services.enter(wish, asker, |a, b| a.definition == b.definition, faults);
            if let Some(service) = &wish.value {
                self.targets.entry(&wish.name).or_default().extend(&service.targets);
            }
        }
        for wish in &wishes.middlewares {
            self.middlewares.enter(wish, asker, PartialEq::eq, faults);
        }
        for wish in &wishes.transports {
            self.transports.enter(wish, asker, PartialEq::eq, faults);
        }
    }

    fn finish(mut self, sources: &[Source<'a>], previous: &[Arc<Router>], faults: &mut Faults) -> Http {
        let mut http = Http::default();
        let usable = self.usable_services(faults);
        for (wish, _) in self.services.iter() {
            let Some(service) = wish.value.as_ref().filter(|_| usable.contains(wish.name.as_str())) else {
                continue;
            };
            let middlewares = service.definition.middlewares.clone();
            match &service.balancing {
                Some(balancing) => {
                    let targets = self.targets.remove(wish.name.as_str()).unwrap_or_default();
                    let mut upstream =
                        Upstream::new(wish.name.clone(), targets.into_iter().cloned().collect());
                    upstream.targets.sort_by(|a, b| {
                        (&a.endpoint.instance.name, a.port).cmp(&(&b.endpoint.instance.name, b.port))
                    });
                    upstream.middlewares = self.flat(&middlewares).unwrap_or_default();
                    upstream.pass_host_header = balancing.pass_host_header;
                    upstream.transport = match self.transports.get(&balancing.servers_transport) {
                        Found::There(transport) => transport.clone(),
                        _ => self.usual.clone(),
                    };
                    upstream.balancing = balancing.clone();
                    http.upstreams.insert(wish.name.clone(), upstream);
                }
                None => http.composites.push(Arc::new(Composite {
                    name: wish.name.clone(),
                    kind: service.definition.kind.clone(),
                    middlewares: self.flat(&middlewares).unwrap_or_default(),
                })),
            }
        }
        http.composites.sort_by(|a, b| a.name.cmp(&b.name));
        for (wish, _) in self.middlewares.iter() {
            if let Some(middleware) = &wish.value {
                http.middlewares.insert(wish.name.clone(), middleware.clone());
                http.middleware_origins.insert(wish.name.clone(), wish.origin.clone());
            }
        }
        http.routers = self.routers(sources, &usable, previous, faults);
        http
    }

    /// The services that can be sent to. What is wrong with the others is told.
    fn usable_services(&self, faults: &mut Faults) -> HashSet<&'a str> {
        let mut usable: HashSet<&str> = HashSet::new();
        let mut composite = Vec::new();
        for (wish, asker) in self.services.iter() {
            let Some(service) = &wish.value else { continue };
            let transport = service.balancing.as_ref().map_or("", |balancing| &balancing.servers_transport);
            let own =
                self.transport(transport).and_then(|()| self.all_usable(&service.definition.middlewares));
            match own {
                Err(message) => {
                    let message = format!("{message}; the service is left out");
                    faults.add(asker.service, &wish.origin, &wish.key, &message);
                }
                Ok(()) if service.balancing.is_some() => {
                    usable.insert(&wish.name);
                }
                Ok(()) => composite.push((wish, asker, service)),
            }
        }
        // From the servers up, until no further service has all that it sends to. What is left has a gap, or leans on
        // itself.
        loop {
            let before = composite.len();
            composite.retain(|(wish, _, service)| {
                let whole =
                    service.definition.kind.children().iter().all(|(_, child)| usable.contains(child));
                if whole {
                    usable.insert(&wish.name);
                }
                !whole
            });
            if composite.len() == before {
                break;
            }
        }
        for (wish, asker, service) in composite {
            for (option, child) in service.definition.kind.children() {
                if usable.contains(child) {
                    continue;
                }
                let message = match self.services.get(child) {
                    Found::Nowhere => no_such("service", child, self.known.names(Kind::Service)),
                    Found::LeftOut => left_out("service", child),
                    Found::There(_) => format!("service `{child}` is left out, or leads back here"),
                };
                let message = format!("{message}; the service is left out");
                faults.add(asker.service, &wish.origin, &format!("{}.{option}", wish.key), &message);
            }
        }
        usable
    }

    fn transport(&self, name: &str) -> Usable {
        match self.transports.get(name) {
            _ if name.is_empty() || name == "default@internal" => Ok(()),
            Found::There(_) => Ok(()),
            Found::LeftOut => Err(left_out("transport", name)),
            Found::Nowhere => Err(no_such("transport", name, self.known.names(Kind::Transport))),
        }
    }

    /// The middlewares in order, with chains taken apart.
    fn flat(&self, names: &[String]) -> Result<Vec<String>, String> {
        let mut flat = Vec::new();
        self.flatten(names, 0, &mut flat)?;
        Ok(flat)
    }

    fn flatten(&self, names: &[String], depth: usize, flat: &mut Vec<String>) -> Usable {
        if depth > CHAIN_DEPTH_MAX {
            let name = names.first().map_or("", String::as_str);
            return Err(format!("chain `{name}` leads back to itself"));
        }
        for name in names {
            match self.middlewares.get(name) {
                Found::Nowhere => {
                    return Err(no_such("middleware", name, self.known.names(Kind::Middleware)));
                }
                Found::LeftOut => return Err(left_out("middleware", name)),
                Found::There(middleware) => match &**middleware {
                    Middleware::Chain(chain) => self.flatten(&chain.middlewares, depth + 1, flat)?,
                    _ => flat.push(name.clone()),
                },
            }
        }
        Ok(())
    }

    fn all_usable(&self, names: &[String]) -> Usable {
        self.flat(names).map(|_| ())
    }

    fn routers(
        &self,
        sources: &[Source<'a>],
        usable: &HashSet<&str>,
        previous: &[Arc<Router>],
        faults: &mut Faults,
    ) -> Vec<Arc<Router>> {
        let mut claims = Claims::default();
        for source in sources {
            for wish in &source.wishes.routers {
                let Some(router) = &wish.value else { continue };
                // A container that offers no port was told so already, or never asked for HTTP.
                if !usable.contains(router.upstream.as_str()) && router.upstream == source.asker.service {
                    continue;
                }
                match self.check(router, usable) {
                    Ok(()) => {
                        let same = |a: &Router, b: &Router| same_router(a, b);
                        claims.enter(wish, source.asker, same, faults);
                    }
                    Err((option, message)) => {
                        let name = wish.name.split('@').next().unwrap_or_default();
                        let message = format!("{message}; router `{name}` is left out");
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
        let mut routers: Vec<Arc<Router>> = claims
            .iter()
            .filter_map(|(wish, _)| {
                let router = wish.value.as_ref()?;
                let flat = self.flat(&router.middlewares).ok()?;
                if flat == router.middlewares {
                    return Some(router.clone());
                }
                let chains = router.middlewares.clone();
                Some(Arc::new(Router { middlewares: flat, chains, ..Router::clone(router) }))
            })
            .collect();
        routers.sort_by(|a, b| a.name.cmp(&b.name));
        // One whose chain was taken apart anew is the same as before, if it is.
        for router in &mut routers {
            if let Ok(at) = previous.binary_search_by(|old| old.name.cmp(&router.name))
                && !Arc::ptr_eq(&previous[at], router)
                && previous[at].origin == router.origin
                && same_router(&previous[at], router)
            {
                *router = previous[at].clone();
            }
        }
        routers
    }

    /// What a router leans on that is not there: the option that names it, and what to say.
    fn check(&self, router: &Router, usable: &HashSet<&str>) -> Result<(), (&'static str, String)> {
        if !usable.contains(router.upstream.as_str()) {
            let name = &router.upstream;
            let message = match self.services.get(name) {
                Found::Nowhere if name.ends_with("@internal") => format!(
                    "`{name}` is nothing that Portolan can be led to: what it tells of itself is at the admin address"
                ),
                Found::Nowhere => no_such("service", name, self.known.names(Kind::Service)),
                Found::There(_) | Found::LeftOut => left_out("service", name),
            };
            return Err(("service", message));
        }
        for name in &self.flat(&router.middlewares).map_err(|message| ("middlewares", message))? {
            if let Found::There(middleware) = self.middlewares.get(name)
                && let Middleware::Errors(errors) = &**middleware
                && !usable.contains(errors.service.as_str())
            {
                let message = no_such("service", &errors.service, self.known.names(Kind::Service));
                return Err(("middlewares", format!("middleware `{name}`: {message}")));
            }
        }
        let options = router.tls.as_ref().and_then(|tls| tls.options.as_deref());
        if let Some(name) = options.filter(|name| *name != "default") {
            match self.tls_options.get(name) {
                Found::There(_) => {}
                Found::LeftOut => return Err(("tls.options", left_out("TLS options", name))),
                Found::Nowhere => {
                    return Err((
                        "tls.options",
                        no_such("TLS options", name, self.known.names(Kind::TlsOptions)),
                    ));
                }
            }
        }
        Ok(())
    }
}

fn same_router(a: &Router, b: &Router) -> bool {
    a.rule == b.rule
        && a.priority == b.priority
        && a.entry_points == b.entry_points
        && a.upstream == b.upstream
        && a.middlewares == b.middlewares
        && a.tls == b.tls
        && a.observability == b.observability
}

/// What to say of something that nobody asks for.
pub(super) fn no_such<'n>(what: &str, name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let there_is = if what.ends_with('s') { "are" } else { "is" };
    let base = |name: &'n str| name.split('@').next();
    let known: Vec<&str> = known.collect();
    // The same name of another provider is what most people mean.
    let elsewhere = known.iter().copied().find(|known| base(known) == name.split('@').next());
    // That two are of one provider makes them no more alike.
    let alike = || {
        let (wanted, provider) = name.split_once('@').unwrap_or((name, ""));
        let own = known.iter().filter_map(|known| known.split_once('@').filter(|(_, of)| *of == provider));
        nearest(wanted, own.map(|(base, _)| base)).map(|base| format!("{base}@{provider}"))
    };
    match elsewhere.map(str::to_owned).or_else(alike) {
        Some(near) => format!("there {there_is} no {what} `{name}`: did you mean `{near}`?"),
        None => format!("there {there_is} no {what} `{name}`"),
    }
}

/// What to say of something that is left out for a fault of its own.
pub(super) fn left_out(what: &str, name: &str) -> String {
    format!("{what} `{name}` can't be used, for a fault of its own")
}
