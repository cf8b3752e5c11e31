//! Where configuration and containers come from, as meant.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::file_source::{FileProvider, FileSource};
use super::read::Reader;
use crate::template::Subject;
use crate::tls::{KeyPair, Pem};
use crate::{Constraints, Rule, Template};

/// The Docker provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Docker {
    /// Whether it is asked at all: not where only other providers are written.
    pub enabled: bool,
    /// Where the engine answers, as in `DOCKER_HOST`; `None` leaves it to the environment, then the default socket.
    pub host: Option<String>,
    /// The network whose addresses are used, where a container is on several.
    pub network: Option<String>,
    /// Whether a container without `traefik.enable` is reachable by HTTP.
    pub exposed_by_default: bool,
    /// `defaultRule`: the template for routers without a rule; `None` is Portolan's own.
    pub default_rule: Option<Arc<Template>>,
    /// `constraints`: the expression over labels that a container must fulfil.
    pub constraints: Option<Arc<Constraints>>,
    /// `virtualHosts`, Portolan's own: whether `VIRTUAL_HOST` and its like, as nginx-proxy reads them, are read.
    pub virtual_hosts: bool,
    /// `useBindPortIP`: the address and port of a port that is bound to this host.
    pub use_bind_port_ip: bool,
    /// `allowEmptyServices`. Portolan answers 503 for what can't serve, whatever is written.
    pub allow_empty_services: bool,
    /// `watch`: whether events are followed after the first list.
    pub watch: bool,
    /// `tls`: how the engine is spoken to.
    pub tls: Option<ClientTls>,
    /// `httpClientTimeout`: for each question but that for events; zero is none.
    pub timeout: Option<Duration>,
    /// `username` and `password`, for HTTP's basic authentication.
    pub credentials: Option<(String, String)>,
}

/// The Swarm provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Swarm {
    /// Whether nobody asked for it: then it serves if the engine manages a Swarm, by the options of `providers.docker`.
    pub auto: bool,
    /// `endpoint`; `None` as for Docker.
    pub host: Option<String>,
    /// `network`
    pub network: Option<String>,
    /// `exposedByDefault`
    pub exposed_by_default: bool,
    /// `defaultRule`
    pub default_rule: Option<Arc<Template>>,
    /// `constraints`
    pub constraints: Option<Arc<Constraints>>,
    /// `watch`
    pub watch: bool,
    /// `refreshSeconds`
    pub refresh: Duration,
    /// `tls`
    pub tls: Option<ClientTls>,
}

/// `tls` of a provider: how a server is spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// `ca`: who must have signed the server's certificate.
    pub ca: Option<Pem>,
    /// `cert` and `key`, shown to the server.
    pub certificate: Option<KeyPair>,
    /// `insecureSkipVerify`: any certificate will do.
    pub insecure_skip_verify: bool,
}

/// Whether providers are chosen the way Traefik's users do it: those that are written, and no others.
pub(super) fn are_chosen(reader: &Reader<'_>) -> bool {
    reader.is_written_as_traefik("providers")
}

pub(super) fn docker(reader: &mut Reader<'_>) -> Docker {
    let base = "providers.docker";
    let section = reader.section(base);
    let endpoint = reader.text("providers.docker.endpoint");
    Docker {
        enabled: section.unwrap_or_else(|| !are_chosen(reader)),
        host: endpoint,
        network: reader.text("providers.docker.network"),
        exposed_by_default: reader.flag("providers.docker.exposedByDefault", true),
        default_rule: template(reader, "providers.docker.defaultRule"),
        constraints: constraints(reader, "providers.docker.constraints"),
        virtual_hosts: reader.flag("providers.docker.virtualHosts", false),
        use_bind_port_ip: reader.flag("providers.docker.useBindPortIP", false),
        allow_empty_services: reader.flag("providers.docker.allowEmptyServices", false),
        watch: reader.flag("providers.docker.watch", true),
        tls: client_tls(reader, "providers.docker.tls"),
        timeout: reader.duration("providers.docker.httpClientTimeout").filter(|timeout| !timeout.is_zero()),
        credentials: reader.text("providers.docker.username").map(|user| {
            let password = reader.text("providers.docker.password").unwrap_or_default();
            (user, password)
        }),
    }
}

pub(super) fn swarm(reader: &mut Reader<'_>, docker: &Docker) -> Option<Swarm> {
    let refresh = Duration::from_secs(15);
    let asked = reader.section("providers.swarm");
    // Who chooses providers as Traefik's users do gets those alone.
    if asked.is_none() && docker.enabled && !are_chosen(reader) {
        return Some(Swarm {
            auto: true,
            host: docker.host.clone(),
            network: docker.network.clone(),
            exposed_by_default: docker.exposed_by_default,
            default_rule: docker.default_rule.clone(),
            constraints: docker.constraints.clone(),
            watch: docker.watch,
            refresh,
            tls: docker.tls.clone(),
        });
    }
    (asked == Some(true)).then(|| Swarm {
        auto: false,
        host: reader.text("providers.swarm.endpoint"),
        network: reader.text("providers.swarm.network"),
        exposed_by_default: reader.flag("providers.swarm.exposedByDefault", true),
        default_rule: template(reader, "providers.swarm.defaultRule"),
        constraints: constraints(reader, "providers.swarm.constraints"),
        watch: reader.flag("providers.swarm.watch", true),
        refresh: reader.duration("providers.swarm.refreshSeconds").unwrap_or(refresh),
        tls: client_tls(reader, "providers.swarm.tls"),
    })
}

pub(super) fn file(reader: &mut Reader<'_>) -> Option<FileProvider> {
    if reader.section("providers.file") != Some(true) {
        return None;
    }
    let file = reader.text("providers.file.filename").map(PathBuf::from);
    let directory = reader.text("providers.file.directory").map(PathBuf::from);
    let watch = reader.flag("providers.file.watch", true);
    let source = match (file, directory) {
        // As in Traefik, the directory counts where both are written.
        (_, Some(directory)) => FileSource::Directory(directory),
        (Some(file), None) => FileSource::File(file),
        (None, None) => {
            let message = "the file provider needs `filename` or `directory`";
            reader.fault("providers.file", "providers.file", message);
            return None;
        }
    };
    Some(FileProvider { source, watch })
}

fn template(reader: &mut Reader<'_>, path: &str) -> Option<Arc<Template>> {
    reader.parsed(path, |text| {
        let template = Template::parse(text).map_err(|error| error.to_string())?;
        check(&template)?;
        Ok(Arc::new(template))
    })
}

/// Carries a default rule out for a container without labels: what can't be done for that can't be done for any.
fn check(template: &Template) -> Result<(), String> {
    let labels = BTreeMap::new();
    let subject = Subject { name: "web", container_name: "web", labels: &labels };
    let rule = match template.render(&subject) {
        Err(message) if message.starts_with("there is no `.") => return Err(message),
        // It may be that labels were missing.
        Err(_) => return Ok(()),
        Ok(rule) => rule,
    };
    match Rule::parse(&rule) {
        Err(error) if error.to_string().contains("is not a matcher") => {
            Err(format!("makes `{rule}` of a container `web`: {error}"))
        }
        _ => Ok(()),
    }
}

fn constraints(reader: &mut Reader<'_>, path: &str) -> Option<Arc<Constraints>> {
    reader.parsed(path, |text| Constraints::parse(text).map(Arc::new).map_err(|error| error.to_string()))
}

fn client_tls(reader: &mut Reader<'_>, base: &str) -> Option<ClientTls> {
    if !reader.is_written(base) {
        return None;
    }
    let mut at = |option: &str| reader.text(&format!("{base}.{option}")).map(|text| pem(&text));
    let (ca, certificate, key) = (at("ca"), at("cert"), at("key"));
    let certificate = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(KeyPair { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            reader.fault(&format!("{base}.cert"), base, "a certificate needs its `key` beside it");
            None
        }
        (None, Some(_)) => {
            reader.fault(&format!("{base}.key"), base, "a key needs its `cert` beside it");
            None
        }
    };
    let insecure_skip_verify = reader.flag(&format!("{base}.insecureSkipVerify"), false);
    Some(ClientTls { ca, certificate, insecure_skip_verify })
}

/// PEM text stands for itself, anything else is a file.
pub(super) fn pem(text: &str) -> Pem {
    if text.contains("-----BEGIN") { Pem::Inline(text.to_owned()) } else { Pem::File(PathBuf::from(text)) }
}
