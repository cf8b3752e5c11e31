//! What nginx-proxy's users write into a container's environment, read as the labels that say the same.
//!
//! `VIRTUAL_HOST` (hosts with commas, `*.` for one label, `~` before a pattern), `VIRTUAL_PORT`, `VIRTUAL_PATH`,
//! `VIRTUAL_PROTO`. Only where that is switched on, and only for containers whose labels say nothing of HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use portolan_config::Labels;

use super::{Policy, Sketch};

/// The variables that are read; nothing else of an environment is looked at, as it holds secrets.
pub(crate) const VARIABLES: [&str; 4] = ["VIRTUAL_HOST", "VIRTUAL_PORT", "VIRTUAL_PATH", "VIRTUAL_PROTO"];
/// Variables of nginx-proxy that are not read, and said so.
pub(crate) const NOT_READ: [&str; 2] = ["VIRTUAL_DEST", "VIRTUAL_HOST_MULTIPORTS"];

/// The labels to heed: the container's own, or those that its environment stands for.
pub(super) fn heeded(sketch: &mut Sketch, policy: &Policy) -> Arc<Labels> {
    let written = &sketch.instance.virtual_host;
    if !policy.virtual_hosts || written.is_empty() || sketch.labels.dynamic.has_http() {
        return sketch.labels.clone();
    }
    let not_read: Vec<&str> = NOT_READ.into_iter().filter(|name| written.contains_key(*name)).collect();
    let name = sketch.instance.service.name();
    let decoded = Labels::decode(&labels(&name, written));
    for variable in not_read {
        sketch.fault(variable, "this variable is not read: write the labels of a router instead");
    }
    for fault in decoded.faults {
        let variable = match fault.label.rsplit('.').next() {
            Some("port") => "VIRTUAL_PORT",
            Some("scheme") => "VIRTUAL_PROTO",
            _ => "VIRTUAL_HOST",
        };
        sketch.fault(variable, fault.message);
    }
    Arc::new(Labels { dynamic: decoded.dynamic, ..Labels::clone(&sketch.labels) })
}

/// The labels that say the same.
fn labels(name: &str, written: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let get =
        |variable: &str| written.get(variable).map(|value| value.trim()).filter(|value| !value.is_empty());
    let mut labels = BTreeMap::new();
    let Some(hosts) = get("VIRTUAL_HOST") else { return labels };
    let hosts: Vec<String> =
        hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(host).collect();
    let mut rule = hosts.join(" || ");
    if let Some(path) = get("VIRTUAL_PATH").filter(|path| *path != "/") {
        let path = match path.strip_prefix('~') {
            Some(pattern) => format!("PathRegexp(`{}`)", pattern.trim_start_matches(['*', ' '])),
            None => format!("PathPrefix(`{path}`)"),
        };
        rule = format!("({rule}) && {path}");
    }
    labels.insert(format!("portolan.http.routers.{name}.rule"), rule);
    let server = format!("portolan.http.services.{name}.loadbalancer.server");
    labels.insert(format!("{server}.weight"), "1".to_owned());
    for (variable, option) in [("VIRTUAL_PORT", "port"), ("VIRTUAL_PROTO", "scheme")] {
        if let Some(value) = get(variable) {
            labels.insert(format!("{server}.{option}"), value.to_owned());
        }
    }
    labels
}

fn host(host: &str) -> String {
    match (host.strip_prefix('~'), host.strip_suffix(".*")) {
        (Some(pattern), _) => format!("HostRegexp(`{pattern}`)"),
        // `www.example.*` is a pattern for whatever comes last.
        (None, Some(start)) => format!(r"HostRegexp(`^{}\.[^.]+$`)", start.replace('.', r"\.")),
        (None, None) => format!("Host(`{host}`)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(written: &[(&str, &str)]) -> BTreeMap<String, String> {
        let written = written.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels("web", &written)
    }

    #[test]
    fn an_environment_says_what_labels_would() {
        let read = rule(&[
            ("VIRTUAL_HOST", r"a.test, *.b.test,~^c[0-9]\.test$, d.test.*"),
            ("VIRTUAL_PORT", "8080"),
            ("VIRTUAL_PATH", "/app"),
            ("VIRTUAL_PROTO", "https"),
        ]);
        let hosts = r"Host(`a.test`) || Host(`*.b.test`) || HostRegexp(`^c[0-9]\.test$`) || HostRegexp(`^d\.test\.[^.]+$`)";
        assert_eq!(read["portolan.http.routers.web.rule"], format!("({hosts}) && PathPrefix(`/app`)"));
        assert_eq!(read["portolan.http.services.web.loadbalancer.server.port"], "8080");
        assert_eq!(read["portolan.http.services.web.loadbalancer.server.scheme"], "https");
        assert!(Labels::decode(&rule(&[("VIRTUAL_HOST", "a.test")])).faults.is_empty());
        assert!(rule(&[("VIRTUAL_PORT", "80")]).is_empty());
    }
}
