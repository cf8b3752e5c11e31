//! From `key = value` pairs to [`Labels`].

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{LabelFault, Labels, RouterLabels, ServiceLabels};
use crate::{Protocol, Publish, Rule};

pub(super) fn decode(labels: &BTreeMap<String, String>) -> Labels {
    let mut decoded = Labels::default();
    // `portolan.` is read last, so that it overwrites.
    for prefix in ["traefik.", "portolan."] {
        for (label, value) in labels {
            let Some(path) = label.strip_prefix(prefix) else { continue };
            let path: Vec<&str> = path.split('.').collect();
            if let Err(message) = decoded.read(&path, value, prefix == "portolan.") {
                decoded.faults.push(LabelFault { label: label.clone(), message });
            }
        }
    }
    decoded
}

impl Labels {
    /// Reads one label. Its path was split at the dots; all but names is compared without regard to case.
    fn read(&mut self, path: &[&str], value: &str, own: bool) -> Result<(), String> {
        let lower: Vec<String> = path.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        match lower.as_slice() {
            ["enable"] => self.enable = Some(boolean(value)?),
            ["docker", "network"] => self.network = Some(value.to_owned()),
            ["service"] if own => self.service = Some(not_empty(value)?.to_owned()),
            ["publish"] if own => return self.read_publish(value),
            ["port", ..] if own && path.len() == 2 => {
                let (number, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
                self.ports.insert(port_name(path[1])?, (port(number)?, Protocol::from_str(protocol)?));
            }
            ["http", "routers", _, option @ ..] if !option.is_empty() => {
                return self.read_router(path[2], option, value);
            }
            ["http", "services", _, option @ ..] if !option.is_empty() => {
                let service = entry(&mut self.services, path[2]);
                return read_service(service, option, value);
            }
            ["http", "middlewares", ..]
            | ["tcp" | "udp" | "tls" | "swarm", ..]
            | ["docker", "lbswarm" | "allownonrunning"] => return Err(NOT_YET.to_owned()),
            _ => return Err(unknown(&lower, own)),
        }
        Ok(())
    }

    fn read_publish(&mut self, value: &str) -> Result<(), String> {
        let (publish, errors) = Publish::parse_list(value);
        self.publish = publish;
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }

    fn read_router(&mut self, name: &str, option: &[&str], value: &str) -> Result<(), String> {
        let read = read_router_option(entry(&mut self.routers, name), option, value);
        if read.is_err() {
            let known = self.routers.keys().find(|known| known.eq_ignore_ascii_case(name));
            self.refused_routers.insert(known.expect("it was entered above").clone());
        }
        read.map_err(|message| format!("{message}; router `{name}` is left out"))
    }
}

fn read_router_option(router: &mut RouterLabels, option: &[&str], value: &str) -> Result<(), String> {
    match option {
        ["rule"] => {
            let rule = Rule::parse(value).map_err(|error| format!("rule `{value}`: {error}"))?;
            router.rule = Some((rule, value.to_owned()));
        }
        ["entrypoints"] => router.entry_points = list(value),
        ["service"] => router.service = Some(not_empty(value)?.to_owned()),
        ["priority"] => {
            let priority: i64 = value.parse().map_err(|_| format!("`{value}` is not a whole number"))?;
            router.priority = Some(priority).filter(|priority| *priority != 0);
        }
        ["middlewares" | "tls" | "rulesyntax" | "observability", ..] => return Err(NOT_YET.to_owned()),
        _ => {
            return Err("no such option: rule, entrypoints, service and priority are known".to_owned());
        }
    }
    Ok(())
}

fn read_service(service: &mut ServiceLabels, option: &[&str], value: &str) -> Result<(), String> {
    match option {
        ["loadbalancer", "server", "port"] => service.port = Some(port(value)?),
        ["loadbalancer", "server", "scheme"] if value.eq_ignore_ascii_case("http") => {}
        ["loadbalancer", "passhostheader"] if boolean(value)? => {}
        ["loadbalancer" | "middlewares", ..] => return Err(NOT_YET.to_owned()),
        _ => return Err("no such option: loadbalancer.server.port is known".to_owned()),
    }
    Ok(())
}

const NOT_YET: &str = "Portolan can't do this yet";

fn unknown(path: &[&str], own: bool) -> String {
    let mut known = vec!["enable", "http", "docker.network"];
    if own {
        known.extend(["service", "publish", "port.NAME"]);
    }
    match path.first() {
        Some(&"service" | &"publish" | &"port") if !own => {
            format!("`{}` is Portolan's own: write it under `portolan.`", path[0])
        }
        _ => format!("no such option: {} are known", known.join(", ")),
    }
}

/// The entry called `name`, where an earlier spelling in other letters counts as the same name.
fn entry<'a, T: Default>(map: &'a mut BTreeMap<String, T>, name: &str) -> &'a mut T {
    let known = map.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    map.entry(known.unwrap_or_else(|| name.to_owned())).or_default()
}

fn list(value: &str) -> Vec<String> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

fn not_empty(value: &str) -> Result<&str, String> {
    if value.is_empty() { Err("needs a value".to_owned()) } else { Ok(value) }
}

/// Reads a boolean as Go's `ParseBool` does, which Traefik uses.
fn boolean(value: &str) -> Result<bool, String> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!("`{value}` is neither `true` nor `false`")),
    }
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
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        decode(&pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
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
        assert_eq!(decoded.routers.len(), 1);
        let router = decoded.routers.values().next().unwrap();
        assert_eq!(router.entry_points, ["web", "other"]);
        assert_eq!(router.priority, Some(7));
        assert_eq!(decoded.services["api"].port, Some(8080));
    }

    #[test]
    fn portolans_own_prefix_says_the_same_and_wins() {
        let decoded = labels(&[
            ("traefik.http.services.a.loadbalancer.server.port", "1"),
            ("portolan.http.services.a.loadbalancer.server.port", "2"),
            ("portolan.service", "shop"),
            ("portolan.publish", "8080:80,53/udp"),
            ("portolan.port.metrics", "9100"),
        ]);
        assert_eq!(decoded.faults, []);
        assert_eq!(decoded.services["a"].port, Some(2));
        assert_eq!(decoded.service.as_deref(), Some("shop"));
        assert_eq!(decoded.publish.len(), 2);
        assert_eq!(decoded.ports["metrics"], (9100, Protocol::Tcp));
    }

    #[test]
    fn a_fault_names_its_label_and_costs_only_what_it_is_about() {
        let decoded = labels(&[
            ("traefik.http.routers.good.rule", "Host(`good.test`)"),
            ("traefik.http.routers.bad.rule", "Hots(`bad.test`)"),
            ("traefik.http.routers.private.rule", "Host(`private.test`)"),
            ("traefik.http.routers.private.middlewares", "auth"),
            ("traefik.http.services.s.loadbalancer.server.port", "eighty"),
            ("traefik.publish", "8080:80"),
            ("portolan.publish", "8080:80,x"),
        ]);
        assert!(decoded.routers["good"].rule.is_some());
        assert!(!decoded.refused_routers.contains("good"));
        assert!(decoded.refused_routers.contains("bad"));
        // Serving it without its authentication would be worse than not serving it.
        assert!(decoded.refused_routers.contains("private"));
        assert_eq!(decoded.publish.len(), 1);
        let faults: Vec<&str> = decoded.faults.iter().map(|fault| fault.label.as_str()).collect();
        assert_eq!(
            faults,
            [
                "traefik.http.routers.bad.rule",
                "traefik.http.routers.private.middlewares",
                "traefik.http.services.s.loadbalancer.server.port",
                "traefik.publish",
                "portolan.publish",
            ]
        );
        assert!(decoded.faults[3].message.contains("write it under `portolan.`"));
    }

    #[test]
    fn a_refused_router_stays_refused_in_any_spelling() {
        let decoded = labels(&[
            ("traefik.http.routers.App.tls", "true"),
            ("traefik.http.routers.app.rule", "Host(`app.test`)"),
        ]);
        assert_eq!(decoded.routers.len(), 1);
        assert!(decoded.refused_routers.contains(decoded.routers.keys().next().unwrap()));
    }

    #[test]
    fn port_names_follow_rfc_6335() {
        assert_eq!(port_name("HTTP-alt"), Ok("http-alt".into()));
        for name in ["", "-a", "a-", "80", "a_b", "sixteen-letters-"] {
            assert!(port_name(name).is_err(), "{name}");
        }
    }

    #[test]
    fn priority_zero_is_as_good_as_not_written() {
        assert_eq!(labels(&[("traefik.http.routers.r.priority", "0")]).routers["r"].priority, None);
    }
}
