//! Which certificate is shown: the one for the name the client asks for, else one with a wildcard, else the default.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;

/// Every certificate there is to show.
#[derive(Debug)]
pub(super) struct Store {
    by_name: HashMap<String, Vec<Arc<CertifiedKey>>, RandomState>,
    /// Those for `*.example.com`, by `example.com`.
    by_parent: HashMap<String, Vec<Arc<CertifiedKey>>, RandomState>,
    default: Arc<CertifiedKey>,
}

impl Store {
    /// Files certificates by their names. Of several for one name the cheapest that the client can read is shown, and
    /// of those the one that is valid longest.
    pub(super) fn new(certificates: &[Arc<Certificate>], default: &Certificate) -> Self {
        let mut store =
            Self { by_name: HashMap::default(), by_parent: HashMap::default(), default: default.key.clone() };
        let mut sorted: Vec<&Arc<Certificate>> = certificates.iter().collect();
        sorted.sort_by_key(|certificate| (certificate.cost(), Reverse(certificate.not_after)));
        for certificate in sorted {
            for name in &certificate.names {
                let filed = match name.strip_prefix("*.") {
                    Some(parent) => store.by_parent.entry(parent.to_owned()),
                    None => store.by_name.entry(name.clone()),
                };
                filed.or_default().push(certificate.key.clone());
            }
        }
        store
    }

    /// Those for a name (lower case), by how well they fit.
    fn fitting(&self, name: &str) -> impl Iterator<Item = &Arc<CertifiedKey>> {
        let exact = self.by_name.get(name).map_or(&[][..], Vec::as_slice);
        let parent = name.split_once('.').map_or("", |(_, parent)| parent);
        let wild = self.by_parent.get(parent).map_or(&[][..], Vec::as_slice);
        exact.iter().chain(wild)
    }
}

/// Chooses for rustls.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) store: Arc<Store>,
    /// Whether the default is shown to nobody.
    pub(super) strict: bool,
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fitting = hello.server_name().and_then(|name| {
            let readable = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
            // rustls gives the name in lower case.
            self.store.fitting(name).find(readable)
        });
        fitting.or_else(|| (!self.strict).then_some(&self.store.default)).cloned()
    }
}
