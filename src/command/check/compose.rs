//! The services of Compose files, judged as if they ran. No engine is asked, and no file is read but these.
//!
//! Each service is one ready instance. What the image or the engine would add is not known here: a service without a
//! port gets one, and the network that a label names is there. What Compose reads elsewhere is said, and not followed.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use portolan_config::compose::{self, Compose, Label};
use portolan_config::{Fault, Protocol, Settings};
use portolan_discovery::instance::{Instance, InstanceId, NetworkAddress, Port, ServiceKey, State};
use portolan_discovery::provider::docker;
use portolan_discovery::{Change, ProviderName, Update};

use crate::gather::text;

/// Where an image's port is not known: what most of them have.
const ASSUMED_PORT: u16 = 80;

/// What Compose files were found to say.
#[derive(Default)]
pub struct Read {
    /// The files, as they were named.
    pub files: Vec<String>,
    services: Vec<Service>,
    faults: Vec<Fault>,
    /// What is not judged, as it stands elsewhere.
    pub warnings: Vec<Fault>,
}

/// A service, of one file or of several that add up.
struct Service {
    key: (String, String),
    place: String,
    ports: Vec<(u16, Protocol)>,
    environment: BTreeMap<String, String>,
    networks: Vec<String>,
    labels: Labels,
    deploy_labels: Labels,
}

/// Labels by name: their place, and their value.
type Labels = BTreeMap<String, (String, String)>;

/// Reads the files. One that can't be read is a fault beside the others.
pub fn read(paths: &[PathBuf]) -> Read {
    let mut read = Read::default();
    for path in paths {
        let file = path.display().to_string();
        let text = text(path).map_err(|error| (None, format!("the file can't be read: {error}")));
        let compose = text.and_then(|text| {
            compose::read(&text).map_err(|error| (error.line, format!("it can't be read: {}", error.message)))
        });
        match compose {
            Ok(compose) => read.take(&file, &project(&compose, path), compose),
            Err((line, message)) => read.faults.push(Fault::new(place(&file, line), "Compose file", message)),
        }
        read.files.push(file);
    }
    read
}

/// The project's name: the file's word, else the directory's name, as Compose has it.
fn project(compose: &Compose, path: &Path) -> String {
    if let Some(project) = &compose.project {
        return project.clone();
    }
    let whole = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = whole.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let name: String = directory
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    if name.is_empty() { "default".to_owned() } else { name }
}

fn place(file: &str, line: Option<usize>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
}

fn origin(place: &str, service: &str) -> String {
    format!("{place}: service {service}")
}

impl Read {
    /// How many services were read.
    pub fn services(&self) -> usize {
        self.services.len()
    }

    /// How many labels were read.
    pub fn labels(&self) -> usize {
        self.services.iter().map(|service| service.labels.len() + service.deploy_labels.len()).sum()
    }

    /// A later file of the same project adds to an earlier one, as Compose has its override files.
    fn take(&mut self, file: &str, project: &str, compose: Compose) {
        for wrong in compose.wrong {
            let place = place(file, Some(wrong.line));
            let origin = wrong.service.map_or(place.clone(), |service| origin(&place, &service));
            self.faults.push(Fault::new(origin, wrong.key, wrong.message));
        }
        for away in compose.elsewhere {
            let place = place(file, Some(away.line));
            let origin = away.service.map_or(place.clone(), |service| origin(&place, &service));
            self.warnings.push(Fault::new(origin, away.key, away.message));
        }
        let placed = |labels: Vec<Label>| {
            let entry = |label: Label| (label.name, (place(file, Some(label.line)), label.value));
            labels.into_iter().map(entry).collect::<Labels>()
        };
        for written in compose.services {
            let key = (project.to_owned(), written.name);
            let (labels, deploy_labels) = (placed(written.labels), placed(written.deploy_labels));
            if let Some(known) = self.services.iter_mut().find(|service| service.key == key) {
                known.labels.extend(labels);
                known.deploy_labels.extend(deploy_labels);
                known.ports.extend(written.ports);
                known.environment.extend(written.environment);
                known.networks.extend(written.networks);
            } else {
                let place = place(file, Some(written.line));
                self.services.push(Service {
                    key,
                    place,
                    ports: written.ports,
                    environment: written.environment.into_iter().collect(),
                    networks: written.networks,
                    labels,
                    deploy_labels,
                });
            }
        }
    }

    /// Every fault there would be if all of it ran: with `labels` beside an engine, with `deploy.labels` in a Swarm.
    /// `judge` finds those of what a provider would have observed.
    pub fn faults(
        &self,
        settings: &Settings,
        judge: impl Fn(Update) -> Result<Vec<Fault>, String>,
    ) -> Result<Vec<Fault>, String> {
        let mut found = self.faults.clone();
        for swarm in [false, true] {
            let services: Vec<&Service> =
                self.services.iter().filter(|service| !swarm || !service.deploy_labels.is_empty()).collect();
            if swarm && services.is_empty() {
                continue;
            }
            let instances = services
                .iter()
                .enumerate()
                .map(|(index, service)| service.instance(index, swarm, settings))
                .collect();
            let provider = ProviderName::new(if swarm { docker::SWARM } else { "docker" });
            let change = Change::Reset(instances);
            for fault in judge(Update { provider, observed_at: Instant::now(), change })? {
                match services.iter().find(|service| service.known_as(swarm) == fault.origin) {
                    Some(service) => found.push(service.placed(fault, swarm, &services)),
                    // Of a file of dynamic configuration, which may lead to services of the other kind.
                    None if !swarm && !fault.message.contains("@swarm`") => found.push(fault),
                    None => {}
                }
            }
        }
        found.sort_by_cached_key(|fault| (by_line(&fault.origin), fault.clone()));
        found.dedup();
        Ok(found)
    }
}

/// File and line, so that line 9 comes before line 10.
fn by_line(origin: &str) -> (String, usize) {
    let place = origin.split(": ").next().unwrap_or_default();
    match place.rsplit_once(':') {
        Some((file, line)) => (file.to_owned(), line.parse().unwrap_or_default()),
        None => (place.to_owned(), 0),
    }
}

impl Service {
    fn name(&self) -> &str {
        &self.key.1
    }

    fn service_key(&self, swarm: bool) -> ServiceKey {
        let (project, service) = self.key.clone();
        if swarm {
            ServiceKey::Swarm(format!("{project}_{service}"))
        } else {
            ServiceKey::Compose { project, service }
        }
    }

    /// What discovery calls the one who wrote its labels.
    fn known_as(&self, swarm: bool) -> String {
        let (project, service) = &self.key;
        if swarm {
            format!("service {project}_{service}")
        } else {
            format!("container {project}-{service}-1")
        }
    }

    fn written(&self, swarm: bool) -> &Labels {
        if swarm { &self.deploy_labels } else { &self.labels }
    }

    fn instance(&self, index: usize, swarm: bool, settings: &Settings) -> Instance {
        let (project, service) = &self.key;
        let mut labels: BTreeMap<String, String> =
            self.written(swarm).iter().map(|(name, (_, value))| (name.clone(), value.clone())).collect();
        let mut networks: Vec<String> = labels
            .iter()
            .filter(|(name, _)| name.to_ascii_lowercase().ends_with(".network"))
            .map(|(_, network)| network.clone())
            .chain(settings.docker.network.clone())
            .collect();
        let own = self.networks.iter().map(|network| format!("{project}_{network}"));
        networks.extend(own.chain(self.networks.is_empty().then(|| format!("{project}_default"))));
        if !swarm {
            // Templates of rules read them.
            labels.insert("com.docker.compose.project".to_owned(), project.clone());
            labels.insert("com.docker.compose.service".to_owned(), service.clone());
        }
        let mut ports: Vec<Port> = self
            .ports
            .iter()
            .map(|(number, protocol)| Port { number: *number, protocol: *protocol })
            .collect();
        if ports.is_empty() {
            ports.push(Port { number: ASSUMED_PORT, protocol: Protocol::Tcp });
        }
        let networks = networks.into_iter().map(|network| NetworkAddress {
            endpoint_id: network.clone(),
            network,
            ipv4: Some(Ipv4Addr::LOCALHOST),
            ipv6: None,
            aliases: Vec::new(),
            reached: true,
        });
        // Of two that claim the same, the one written first keeps it.
        let created = SystemTime::UNIX_EPOCH + Duration::from_secs(index as u64);
        Instance {
            id: InstanceId::new(&format!("{project}-{service}")),
            name: format!("{project}-{service}-1"),
            service: self.service_key(swarm),
            labels,
            networks: networks.collect(),
            ports,
            bindings: Vec::new(),
            node: None,
            virtual_host: self
                .environment
                .iter()
                .filter(|(name, _)| name.starts_with("VIRTUAL_"))
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            state: State::Ready,
            reason: "running".to_owned(),
            since: created,
            created,
        }
    }

    /// The fault with the place of its label, in the words of the file.
    fn placed(&self, fault: Fault, swarm: bool, all: &[&Self]) -> Fault {
        let place = self.place_of(&fault.key, swarm).to_owned();
        let mut message = fault.message;
        let mut names: Vec<(String, &str)> =
            all.iter().map(|service| (service.known_as(swarm), service.name())).collect();
        // A name may begin with another one.
        names.sort_by_key(|(known_as, _)| std::cmp::Reverse(known_as.len()));
        for (known_as, name) in names {
            message = message.replace(&known_as, &format!("service {name}"));
        }
        // As it is written, not as it is understood.
        let as_written = self.written(swarm).keys().find(|name| bare(name) == bare(&fault.key));
        let key = as_written.cloned().unwrap_or(fault.key);
        Fault::new(origin(&place, self.name()), key, message)
    }

    /// Where the label is written; of an option that no label has by itself, where the first is that asks for the thing
    /// it belongs to.
    fn place_of(&self, key: &str, swarm: bool) -> &str {
        let labels: Vec<(String, &str)> =
            self.written(swarm).iter().map(|(name, (place, _))| (bare(name), place.as_str())).collect();
        let key = bare(key);
        let mut wanted = key.as_str();
        loop {
            if let Some((_, place)) = labels.iter().find(|(name, _)| name == wanted) {
                return place;
            }
            let below = labels.iter().filter(|(name, _)| {
                name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with(['.', '[']))
            });
            if let Some((_, place)) = below.min_by_key(|(_, place)| by_line(place)) {
                return place;
            }
            match wanted.rfind(['.', '[']) {
                // Up to the thing's name, not to all things of its kind.
                Some(at) if wanted[..at].contains('.') => wanted = &wanted[..at],
                _ => return &self.place,
            }
        }
    }
}

/// A label's name without case, and without the word for whose it is, which not every fault repeats.
fn bare(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    let rest = name.strip_prefix("traefik.").or_else(|| name.strip_prefix("portolan."));
    rest.map(str::to_owned).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use portolan_config::settings::Written;

    use super::*;

    fn files(directory: &str) -> Vec<PathBuf> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(directory);
        let entries = std::fs::read_dir(directory).expect("it is there");
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        files.sort();
        files
    }

    /// What is wrong, a line each, with the file by its own name; and how much was read.
    fn told(paths: &[PathBuf]) -> (Vec<String>, usize) {
        let mut written = Written::default();
        let flags = ["--entryPoints.web.address=:80", "--entryPoints.websecure.address=:443"];
        written.take_flags(flags.map(str::to_owned), &[]);
        let settings = Settings::resolve(&written, 1).expect("they are fine");
        let read = read(paths);
        let faults = read
            .faults(&settings, |update| super::super::faults_with(&settings, update))
            .expect("nothing is waited for");
        let directory = format!("{}/", paths[0].parent().expect("a directory").display());
        (faults.iter().map(|fault| fault.to_string().replace(&directory, "")).collect(), read.labels())
    }

    #[test]
    fn examples_are_fine() {
        let files = files("examples/compose");
        assert!(files.len() >= 6, "{files:?}");
        for path in files {
            let (faults, labels) = told(std::slice::from_ref(&path));
            assert!(faults.is_empty() && labels > 0, "{}: {faults:#?}", path.display());
        }
    }

    #[test]
    fn what_is_invalid_is_told_in_the_words_beside_it() {
        let files = files("invalid/compose");
        assert!(files.len() >= 5, "{files:?}");
        for path in files {
            let expected = std::fs::read_to_string(path.with_extension("txt")).unwrap_or_default();
            let (faults, _) = told(std::slice::from_ref(&path));
            assert_eq!(faults, expected.lines().collect::<Vec<_>>(), "{}", path.display());
        }
    }

    #[test]
    fn what_stands_elsewhere_is_said_and_variables_of_nginx_proxy_are_judged() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("compose.yaml");
        let text = "include: [other.yaml]\nservices:\n  web:\n    env_file: .env\n    extends: {service: x}\n    \
                    environment:\n      VIRTUAL_HOST: a.test\n      VIRTUAL_PORT: many\n    networks: [front]\n";
        std::fs::write(&file, text).expect("it is written");
        let read = read(&[file]);
        let warned: Vec<&str> = read.warnings.iter().map(|warning| warning.key.as_str()).collect();
        assert_eq!(warned, ["include", "extends", "env_file"]);
        let mut written = Written::default();
        written.take_flags(["--providers.docker.virtualHosts=true".to_owned()], &[]);
        let settings = Settings::resolve(&written, 1).expect("they are fine");
        let judge = |update| super::super::faults_with(&settings, update);
        let faults = read.faults(&settings, judge).expect("nothing is waited for");
        assert_eq!((faults.len(), faults[0].key.as_str()), (1, "VIRTUAL_PORT"), "{faults:?}");
    }

    #[test]
    fn a_later_file_of_the_project_adds_to_an_earlier_one() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
        let valid = directory.join("examples/compose/one-label.yaml");
        let (faults, labels) = told(&[valid.clone(), valid, directory.join("missing.yaml")]);
        assert_eq!((faults.len(), labels), (1, 1), "{faults:?}");
        assert!(faults[0].contains("missing.yaml: Compose file: the file can't be read"), "{faults:?}");
    }
}
