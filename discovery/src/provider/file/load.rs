//! From files to one configuration: which there are, what each says, and what it said while it could be read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use portolan_config::document::DOCUMENT_BYTES_MAX;
use portolan_config::dynamic::service::ServiceKind;
use portolan_config::dynamic::tcp::{TcpService, UdpService};
use portolan_config::dynamic::{Wrong, format_of, read_file};
use portolan_config::settings::FileSource;
use portolan_config::{Dynamic, Fault};

use crate::server_url::ServerUrl;

/// Bytes of a file, at most: far more than anybody writes by hand.
const FILE_BYTES_MAX: u64 = DOCUMENT_BYTES_MAX as u64;
/// Files of a directory, at most.
const FILES_MAX: usize = 10_000;
/// Directories within directories, at most; a link may lead back.
const DEPTH_MAX: usize = 16;

/// The files of one place, as they were read last.
#[derive(Debug)]
pub(super) struct Loader {
    place: FileSource,
    files: BTreeMap<PathBuf, Loaded>,
    /// What is wrong with the place itself.
    faults: Vec<Fault>,
}

#[derive(Debug, Default)]
struct Loaded {
    text: Option<String>,
    /// The last good word.
    dynamic: Dynamic,
    /// Why what is there now can't be read.
    fault: Option<Fault>,
}

impl Loader {
    pub(super) fn new(place: FileSource) -> Self {
        Self { place, files: BTreeMap::new(), faults: Vec::new() }
    }

    pub(super) fn place(&self) -> &FileSource {
        &self.place
    }

    /// Reads everything anew. Returns whether anything is otherwise than before.
    pub(super) fn load(&mut self) -> bool {
        let mut faults = Vec::new();
        let paths = match &self.place {
            FileSource::File(path) => BTreeSet::from([path.clone()]),
            FileSource::Directory(directory) => {
                let mut paths = BTreeSet::new();
                collect(directory, 0, &mut paths, &mut faults);
                paths
            }
        };
        let before = self.files.len();
        // A directory that can't be read keeps its last good word, as a file does.
        if faults.is_empty() {
            self.files.retain(|path, _| paths.contains(path));
        }
        let mut changed = before != self.files.len() || faults != self.faults;
        self.faults = faults;
        for path in paths {
            changed |= self.files.entry(path.clone()).or_default().load(&path);
        }
        changed
    }

    /// What all files say together. Of two things of one name, that of the first file is kept.
    pub(super) fn dynamic(&self) -> Dynamic {
        let mut all = Dynamic::default();
        for file in self.files.values() {
            all.merge(file.dynamic.clone());
        }
        all
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        let files = self.files.values().filter_map(|file| file.fault.clone());
        self.faults.iter().cloned().chain(files).collect()
    }

    /// The hosts of servers that are named and not numbered.
    pub(super) fn hosts(&self) -> BTreeSet<String> {
        self.files.values().flat_map(|file| hosts(&file.dynamic)).collect()
    }
}

impl Loaded {
    /// Reads the file; returns whether it is otherwise than before.
    fn load(&mut self, path: &Path) -> bool {
        let name = path.display().to_string();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        let Some(format) = format_of(extension) else {
            let message = "a file of configuration ends with .yaml, .yml or .toml";
            return self.at_fault(Fault::new(format!("file {name}"), "providers.file", message));
        };
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => {
                self.text = None;
                let message = format!("it can't be read: {error}; what it said last stands");
                return self.at_fault(Fault::new(format!("file {name}"), "providers.file", message));
            }
        };
        if self.text.as_ref() == Some(&text) {
            return false;
        }
        match read_file(&name, format, &text) {
            Ok(dynamic) => {
                self.dynamic = dynamic;
                self.fault = None;
            }
            Err(Wrong { place, message, .. }) => {
                let message = format!("it can't be read: {message}; what it said last stands");
                self.fault = Some(Fault::new(format!("file {place}"), "providers.file", message));
            }
        }
        self.text = Some(text);
        true
    }

    fn at_fault(&mut self, fault: Fault) -> bool {
        let changed = self.fault.as_ref() != Some(&fault);
        self.fault = Some(fault);
        changed
    }
}

fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = fs::File::open(path)?;
    // What is no file (a pipe) might never end, or never begin.
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("it is not a regular file"));
    }
    if file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)? as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// Every file of configuration in a directory and below. What begins with `..` is Kubernetes' own scaffolding for
/// mounted maps, whose files are there a second time.
fn collect(directory: &Path, depth: usize, paths: &mut BTreeSet<PathBuf>, faults: &mut Vec<Fault>) {
    let mut fault = |message: String| {
        faults.push(Fault::new(format!("file {}", directory.display()), "providers.file", message));
    };
    if depth > DEPTH_MAX {
        return fault(format!("directories go deeper than {DEPTH_MAX}"));
    }
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            return fault(format!("the directory can't be read: {error}; what its files said last stands"));
        }
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with("..") {
            continue;
        }
        // A link counts as what it leads to.
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let known = path.extension().and_then(|extension| extension.to_str()).and_then(format_of);
        if metadata.is_dir() {
            collect(&path, depth + 1, paths, faults);
        } else if known.is_some() {
            if paths.len() >= FILES_MAX {
                let message = format!("there are more than {FILES_MAX} files; the rest is passed over");
                faults.push(Fault::new(format!("file {}", directory.display()), "providers.file", message));
                return;
            }
            paths.insert(path);
        }
    }
}

fn hosts(dynamic: &Dynamic) -> Vec<String> {
    let mut hosts = Vec::new();
    for service in dynamic.services.values().filter_map(|item| item.value.as_ref()) {
        if let ServiceKind::LoadBalancer(balancer) = &service.kind {
            let urls = balancer.servers.iter().filter_map(|server| ServerUrl::parse(&server.url).ok());
            hosts.extend(urls.map(|url| url.host));
        }
    }
    let mut addresses: Vec<&str> = Vec::new();
    for service in dynamic.tcp_services.values().filter_map(|item| item.value.as_ref()) {
        if let TcpService::LoadBalancer(balancer) = &**service {
            addresses.extend(balancer.servers.iter().map(|server| server.address.as_str()));
        }
    }
    for service in dynamic.udp_services.values().filter_map(|item| item.value.as_ref()) {
        if let UdpService::LoadBalancer(balancer) = &**service {
            addresses.extend(balancer.servers.iter().map(|server| server.address.as_str()));
        }
    }
    let addresses = addresses.into_iter().filter_map(|address| ServerUrl::parse_address(address).ok());
    hosts.extend(addresses.map(|(host, _)| host));
    hosts.retain(|host| host.parse::<std::net::IpAddr>().is_err());
    hosts
}
