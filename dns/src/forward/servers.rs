//! Which name servers are asked for which names: as the operator wrote, and as the files say that were named, which may
//! change.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use portolan_config::settings::dns::{self, NameServer};
use tracing::{info, warn};

use super::secure::{self, Secure};
use super::stream::Stream;
use super::upstream::Upstream;
use crate::watched::Watched;

/// Where a server is; with a name, which may be empty, where it is asked over TLS.
type Place = (SocketAddr, Option<String>);

/// The servers for the names below one.
#[derive(Debug)]
pub(super) struct Group {
    /// In lower-case wire form, root included.
    pub(super) suffix: Vec<u8>,
    pub(super) servers: Arc<[Arc<Upstream>]>,
}

/// Everything that groups are made from.
#[derive(Debug)]
pub(super) struct Servers {
    settings: Vec<dns::Group>,
    own: SocketAddr,
    /// Those in use: how they have done lately outlives a file that changes.
    known: HashMap<Place, Arc<Upstream>>,
    /// Whose certificates are good, read where it is needed.
    roots: Option<secure::Trust>,
    files: Vec<File>,
}

/// A file in the form of `/etc/resolv.conf`, and the servers that it named when it was last of use.
#[derive(Debug)]
struct File {
    watched: Watched,
    servers: Vec<SocketAddr>,
}

impl Servers {
    pub(super) fn new(settings: &dns::Forward, own: SocketAddr) -> Self {
        let mut files: Vec<File> = Vec::new();
        for server in settings.groups.iter().flat_map(|group| &group.servers) {
            if let NameServer::ResolvConf(path) = server
                && !files.iter().any(|file| file.watched.path() == path)
            {
                let watched = Watched::new(path);
                files.push(File { watched, servers: read(path).unwrap_or_default() });
            }
        }
        let known = HashMap::new();
        Self { settings: settings.groups.clone(), own, known, roots: None, files }
    }

    /// Whether there is a file to look at.
    pub(super) fn may_change(&self) -> bool {
        !self.files.is_empty()
    }

    /// Looks at the files: whether groups are to be made anew. A file that names nobody, as while it is being written,
    /// changes nothing.
    pub(super) fn look(&mut self) -> bool {
        let mut changed = false;
        for file in &mut self.files {
            if !file.watched.has_changed() {
                continue;
            }
            let path = file.watched.path();
            if let Some(servers) =
                read(path).filter(|servers| !servers.is_empty() && *servers != file.servers)
            {
                info!(path = %path.display(), ?servers, "names are forwarded to other servers now");
                file.servers = servers;
                changed = true;
            }
        }
        changed
    }

    /// The groups, the one for the longest name first.
    pub(super) fn groups(&mut self) -> Vec<Group> {
        let before = std::mem::take(&mut self.known);
        let wanted: Vec<(Vec<u8>, Vec<Place>)> = self
            .settings
            .iter()
            .map(|group| {
                let places = group.servers.iter().flat_map(|server| self.places(server)).collect();
                (crate::zone::origin(&group.suffix).into(), places)
            })
            .collect();
        let mut groups = Vec::with_capacity(wanted.len());
        for (suffix, places) in wanted {
            let servers = places.into_iter().map(|place| self.upstream(place, &before)).collect();
            groups.push(Group { suffix, servers });
        }
        groups.sort_by_key(|group| std::cmp::Reverse(group.suffix.len()));
        groups
    }

    fn upstream(&mut self, place: Place, before: &HashMap<Place, Arc<Upstream>>) -> Arc<Upstream> {
        if let Some(known) = self.known.get(&place).or_else(|| before.get(&place)).cloned() {
            self.known.insert(place, Arc::clone(&known));
            return known;
        }
        let (server, name) = &place;
        let secure = name.as_ref().and_then(|name| {
            let client = self.roots.get_or_insert_with(secure::trusting_as_this_host).clone();
            Secure::new(client, *server, Some(&**name).filter(|name| !name.is_empty()))
        });
        let upstream = Arc::new(Upstream::new(*server, Stream::new(*server, secure)));
        self.known.insert(place, Arc::clone(&upstream));
        upstream
    }

    fn places(&self, server: &NameServer) -> Vec<Place> {
        let written = match server {
            NameServer::Plain(address) => vec![(*address, None)],
            NameServer::Tls(address, name) => vec![(*address, Some(name.clone().unwrap_or_default()))],
            NameServer::ResolvConf(path) => {
                self.named_in(path).iter().map(|address| (*address, None)).collect()
            }
        };
        let is_other = |(server, name): &Place| {
            let is_own = name.is_none() && is_self(*server, self.own);
            if is_own {
                warn!(%server, "names are not forwarded there: it is this server");
            }
            !is_own
        };
        written.into_iter().filter(is_other).collect()
    }

    fn named_in(&self, path: &Path) -> &[SocketAddr] {
        let file = self.files.iter().find(|file| file.watched.path() == path);
        file.map_or(&[], |file| &file.servers)
    }
}

/// Whether a server is ourselves: at our address, or, where we listen on every address, at one that only this host has.
fn is_self(server: SocketAddr, own: SocketAddr) -> bool {
    server == own || (server.port() == own.port() && own.ip().is_unspecified() && server.ip().is_loopback())
}

fn read(path: &Path) -> Option<Vec<SocketAddr>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(dns::resolv_conf(&text)),
        Err(error) => {
            warn!(path = %path.display(), %error, "no name servers are read from there");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_names_other_servers_and_those_in_use_stay_known() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        std::fs::write(&path, "nameserver 192.0.2.1\nnameserver 192.0.2.2\n").unwrap();
        let group = |suffix: &str, servers: &[NameServer]| dns::Group {
            suffix: suffix.to_owned(),
            servers: servers.to_vec(),
        };
        let plain = NameServer::Plain("192.0.2.9:53".parse().unwrap());
        let groups =
            vec![group("", &[NameServer::ResolvConf(path.clone())]), group("corp.example", &[plain])];
        let settings = dns::Forward { groups, cache: 10 };
        let mut servers = Servers::new(&settings, "127.0.0.1:53".parse().unwrap());
        assert!(servers.may_change());
        let shown = |groups: &[Group]| -> Vec<String> {
            groups.iter().flat_map(|group| group.servers.iter().map(|server| server.label.clone())).collect()
        };
        let before = servers.groups();
        assert_eq!(shown(&before), ["192.0.2.9:53", "192.0.2.1:53", "192.0.2.2:53"]);
        assert!(!servers.look());
        // In the middle of being written, it names nobody.
        std::fs::write(&path, "# written by\n").unwrap();
        assert!(!servers.look());
        std::fs::write(&path, "nameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 127.0.0.1\n").unwrap();
        assert!(servers.look());
        let after = servers.groups();
        assert_eq!(shown(&after), ["192.0.2.9:53", "192.0.2.2:53", "192.0.2.3:53"], "never ourselves");
        assert!(Arc::ptr_eq(&before[1].servers[1], &after[1].servers[0]), "how it has done is not forgotten");
        std::fs::remove_file(&path).unwrap();
        assert!(!servers.look());
        assert_eq!(shown(&servers.groups()), shown(&after));
    }
}
