//! From `key = value` pairs to [`Labels`].

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{LabelFault, Labels};
use crate::dynamic::value::Span;
use crate::dynamic::{self, boolean};
use crate::{Protocol, Publish};

pub(super) fn decode(labels: &BTreeMap<String, String>) -> Labels {
    let mut decoded = Labels::default();
    let mut tree = dynamic::tree();
    let mut any = false;
    // `portolan.` is read last, so that it overwrites.
    for prefix in ["traefik.", "portolan."] {
        for (label, value) in labels {
            let Some(path) = label.strip_prefix(prefix) else { continue };
            let first = path.split(['.', '[']).next().unwrap_or_default();
            let read = if ["http", "tcp", "udp", "tls"].iter().any(|name| first.eq_ignore_ascii_case(name)) {
                any = true;
                tree.add(label, path, value)
            } else {
                decoded.read(path, value, prefix == "portolan.")
            };
            if let Err(message) = read {
                decoded.faults.push(LabelFault { label: label.clone(), message });
            }
        }
    }
    if any {
        decoded.dynamic = dynamic::read(&tree.into_root());
        for wrong in std::mem::take(&mut decoded.dynamic.wrong) {
            let label = wrong.place.label().map_or(wrong.path, str::to_owned);
            decoded.faults.push(LabelFault { label, message: wrong.message });
        }
    }
    decoded
}

impl Labels {
    /// Reads one label of the container itself. All but names is compared without regard to case.
    fn read(&mut self, path: &str, value: &str, own: bool) -> Result<(), String> {
        let names: Vec<&str> = path.split('.').collect();
        let lower: Vec<String> = names.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        match lower.as_slice() {
            ["enable"] => self.enable = Some(truth(value)?),
            ["docker" | "swarm", "network"] => self.network = Some(value.to_owned()),
            ["docker", "allownonrunning"] => self.allow_non_running = truth(value)?,
            ["service"] if own => self.service = Some(not_empty(value)?.to_owned()),
            ["dns", "names"] if own => self.dns.names = names_in(value),
            ["dns", "enable"] if own => self.dns.enable = Some(truth(value)?),
            ["dns", "priority"] if own => self.dns.priority = Some(short(value)?),
            ["dns", "weight"] if own => self.dns.weight = Some(short(value)?),
            ["publish"] if own => return self.read_publish(value),
            ["publish", "proxyprotocol"] if own => self.proxy_protocol = Some(value.parse()?),
            ["publish", "datapath"] if own => self.data_path = Some(value.parse()?),
            ["publish", "maxconnections"] if own => self.publish_limits.connections_max = Some(most(value)?),
            ["publish", "maxconnectionsperclient"] if own => {
                self.publish_limits.per_client_max = Some(most(value)?);
            }
            ["publish", "maxconnectionsperendpoint"] if own => {
                self.publish_limits.per_endpoint_max = Some(most(value)?);
            }
            ["publish", "idletimeout"] if own => self.publish_limits.idle = Span::parse(value)?.positive(),
            ["port", ..] if own && names.len() == 2 => {
                let (number, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
                self.ports.insert(port_name(names[1])?, (port(number)?, Protocol::from_str(protocol)?));
            }
            // Of Swarm's services it is read where those are; of containers it means nothing.
            ["docker" | "swarm", "lbswarm"] => self.swarm_balances = truth(value)?,
            _ => return Err(unknown(&lower, own)),
        }
        Ok(())
    }

    fn read_publish(&mut self, value: &str) -> Result<(), String> {
        let (publish, errors) = Publish::parse_list(value);
        self.publish = publish;
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}

fn unknown(path: &[&str], own: bool) -> String {
    let mut known = vec!["enable", "http", "tcp", "udp", "tls", "docker.network"];
    if own {
        known.extend([
            "service",
            "publish",
            "publish.datapath",
            "publish.proxyprotocol",
            "publish.maxconnections",
            "publish.maxconnectionsperclient",
            "publish.maxconnectionsperendpoint",
            "publish.idletimeout",
            "port.NAME",
            "dns.names",
            "dns.enable",
            "dns.priority",
            "dns.weight",
        ]);
    }
    match path.first() {
        Some(&"service" | &"publish" | &"port" | &"dns") if !own => {
            format!("`{}` is Portolan's own: write it under `portolan.`", path[0])
        }
        _ => format!("no such option: {} are known", known.join(", ")),
    }
}

fn not_empty(value: &str) -> Result<&str, String> {
    if value.is_empty() { Err("needs a value".to_owned()) } else { Ok(value) }
}

fn names_in(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn short(value: &str) -> Result<u16, String> {
    value.trim().parse().map_err(|_| format!("`{value}` is not a number from 0 to 65535"))
}

/// A number of connections; 0 is any.
fn most(value: &str) -> Result<usize, String> {
    match value.trim().parse() {
        Ok(0) => Ok(usize::MAX),
        Ok(most) => Ok(most),
        Err(_) => Err(format!("`{value}` is not a number of connections, 0 for any")),
    }
}

fn truth(value: &str) -> Result<bool, String> {
    boolean(value).ok_or_else(|| format!("`{value}` is neither `true` nor `false`"))
}

fn port(value: &str) -> Result<u16, String> {
    match value.parse() {
        Ok(0) | Err(_) => Err(format!("`{value}` is not a port (1-65535)")),
        Ok(port) => Ok(port),
    }
}

/// A service name as RFC 6335 §5.1 has them: up to 15 letters, digits and inner hyphens, one letter at least.
fn port_name(name: &str) -> Result<String, String> {
    let fine = (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !name.starts_with('-')
        && !name.ends_with('-');
    if fine {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(format!(
            "`{name}` is not a port's name: up to 15 letters, digits and inner hyphens, a letter among them"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dynamic::http::Router;
    use crate::dynamic::service::ServiceKind;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        decode(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    fn router(labels: &Labels, name: &str) -> Arc<Router> {
        labels.dynamic.routers[name].value.clone().unwrap_or_else(|| panic!("{name}: {:?}", labels.faults))
    }

    fn port_of(labels: &Labels, service: &str) -> Option<u16> {
        let service = labels.dynamic.services[service].value.clone()?;
        let ServiceKind::LoadBalancer(balancer) = &service.kind else { return None };
        balancer.servers.first()?.port.map(std::num::NonZeroU16::get)
    }

    #[test]
    fn traefiks_labels_are_read_in_any_case() {
        let decoded = labels(&[
            ("traefik.enable", "true"),
            ("traefik.http.routers.Api.rule", "Host(`api.test`)"),
            ("traefik.HTTP.Routers.api.entryPoints", "web, other"),
            ("traefik.http.routers.Api.priority", "7"),
            ("traefik.http.services.api.LoadBalancer.server.PORT", "8080"),
            ("traefik.docker.network", "front"),
            ("org.opencontainers.image.title", "passed over"),
        ]);
        assert_eq!(decoded.faults, []);
        assert_eq!(decoded.enable, Some(true));
        assert_eq!(decoded.network.as_deref(), Some("front"));
        assert_eq!(decoded.dynamic.routers.len(), 1);
        let router = router(&decoded, "api");
        assert_eq!(router.entry_points, ["web", "other"]);
        assert_eq!(router.priority, 7);
        assert_eq!(port_of(&decoded, "api"), Some(8080));
    }

    #[test]
    fn portolans_own_prefix_says_the_same_and_wins() {
        let decoded = labels(&[
            ("traefik.http.services.a.loadbalancer.server.port", "1"),
            ("portolan.http.services.a.loadbalancer.server.port", "2"),
            ("portolan.service", "shop"),
            ("portolan.publish", "8080:80,53/udp"),
            ("portolan.port.metrics", "9100"),
            ("portolan.dns.names", "store, shop.example."),
            ("portolan.dns.enable", "false"),
        ]);
        assert_eq!(decoded.faults, []);
        assert_eq!(port_of(&decoded, "a"), Some(2));
        assert_eq!(decoded.service.as_deref(), Some("shop"));
        assert_eq!(decoded.publish.len(), 2);
        assert_eq!(decoded.ports["metrics"], (9100, Protocol::Tcp));
        assert_eq!(decoded.dns.names, ["store", "shop.example."]);
        assert_eq!(decoded.dns.enable, Some(false));
    }

    #[test]
    fn a_fault_names_its_label_and_costs_only_what_it_is_about() {
        let decoded = labels(&[
            ("traefik.http.routers.good.rule", "Host(`good.test`)"),
            ("traefik.http.routers.bad.priority", "high"),
            ("traefik.http.middlewares.auth.basicauth.users", "a"),
            ("traefik.http.services.s.loadbalancer.server.port", "eighty"),
            ("traefik.publish", "8080:80"),
            ("portolan.publish", "8080:80,x"),
        ]);
        assert_eq!(router(&decoded, "good").rule, "Host(`good.test`)");
        assert!(decoded.dynamic.routers["bad"].value.is_none());
        assert!(decoded.dynamic.middlewares["auth"].value.is_none());
        assert_eq!(decoded.publish.len(), 1);
        let faults: Vec<&str> = decoded.faults.iter().map(|fault| fault.label.as_str()).collect();
        assert_eq!(
            faults,
            [
                "traefik.publish",
                "portolan.publish",
                "traefik.http.middlewares.auth.basicauth.users",
                "traefik.http.routers.bad.priority",
                "traefik.http.services.s.loadbalancer.server.port",
            ]
        );
        assert!(decoded.faults[0].message.contains("write it under `portolan.`"));
    }

    #[test]
    fn limits_of_published_ports_are_numbers_and_zero_is_none() {
        let decoded = labels(&[
            ("portolan.publish.maxconnections", "100"),
            ("portolan.publish.maxConnectionsPerClient", "0"),
            ("portolan.publish.maxconnectionsperendpoint", "few"),
            ("portolan.publish.idletimeout", "10m"),
        ]);
        let expected = crate::PublishLimits {
            connections_max: Some(100),
            per_client_max: Some(usize::MAX),
            per_endpoint_max: None,
            idle: Some(std::time::Duration::from_secs(600)),
        };
        assert_eq!(decoded.publish_limits, expected);
        let faults: Vec<&str> = decoded.faults.iter().map(|fault| fault.label.as_str()).collect();
        assert_eq!(faults, ["portolan.publish.maxconnectionsperendpoint"]);
    }

    #[test]
    fn limits_of_a_service_are_read_and_what_is_none_is_told() {
        let service = "portolan.http.services.s.loadbalancer";
        let pairs = [
            ("maxrequests", "100"),
            ("maxRequestsPerEndpoint", "10"),
            ("maxpending", "50"),
            ("pendingtimeout", "2s"),
            ("retrybudget.percent", "5"),
            ("preferlocal", "true"),
        ]
        .map(|(option, value)| (format!("{service}.{option}"), value));
        let decoded = labels(&pairs.each_ref().map(|(label, value)| (label.as_str(), *value)));
        assert_eq!(decoded.faults, []);
        let service_read = decoded.dynamic.services["s"].value.clone().expect("a service");
        let ServiceKind::LoadBalancer(balancer) = &service_read.kind else { panic!("{service_read:?}") };
        assert_eq!((balancer.max_requests, balancer.max_requests_per_endpoint), (100, 10));
        assert_eq!((balancer.max_pending, balancer.pending_timeout), (50, Span::secs(2)));
        let budget = balancer.retry_budget.expect("a budget");
        assert_eq!((budget.percent, budget.min_retries, balancer.prefer_local), (5, 100, true));
        let label = format!("{service}.maxrequests");
        let wrong = labels(&[(label.as_str(), "many")]);
        assert_eq!(wrong.faults.len(), 1, "{:?}", wrong.faults);
    }

    #[test]
    fn port_names_follow_rfc_6335() {
        assert_eq!(port_name("HTTP-alt"), Ok("http-alt".into()));
        for name in ["", "-a", "a-", "80", "a_b", "sixteen-letters-"] {
            assert!(port_name(name).is_err(), "{name}");
        }
    }
}
