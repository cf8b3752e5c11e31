//! The TLS side of the chart: certificates, options and stores of all sources together.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use portolan_config::tls::{KeyPair, Tls, TlsOptions};

use super::Source;
use super::claims::Claims;
use super::fault::Faults;

/// The options of all sources, by qualified name; those called `default` are everybody's, and stand under that name
/// alone if one source has them.
pub(super) fn options<'a>(sources: &[Source<'a>], faults: &mut Faults) -> Claims<'a, TlsOptions> {
    let mut claims = Claims::default();
    for source in sources {
        for wish in &source.wishes.tls_options {
            claims.enter(wish, source.asker, PartialEq::eq, faults);
        }
    }
    claims
}

/// Puts together what clients that speak TLS are shown.
pub(super) fn merge(
    sources: &[Source<'_>],
    options: &Claims<'_, TlsOptions>,
    previous: &Arc<Tls>,
    faults: &mut Faults,
) -> Arc<Tls> {
    let mut tls = Tls::default();
    let mut seen: HashSet<&(KeyPair, Vec<String>)> = HashSet::new();
    let mut stores: BTreeMap<&str, (KeyPair, &str)> = BTreeMap::new();
    for source in sources {
        for certificate in &source.wishes.certificates {
            if seen.insert(certificate) {
                tls.certificates.push(certificate.clone());
            }
        }
        for wish in &source.wishes.stores {
            let Some(store) = &wish.value else { continue };
            let Some(certificate) = &store.default_certificate else { continue };
            let name = wish.name.split('@').next().unwrap_or_default();
            match (certificate.key_pair(), stores.get(name)) {
                (Err(message), _) => {
                    let key = format!("{}.defaultCertificate", wish.key);
                    faults.add(source.asker.service, &wish.origin, &key, &message);
                }
                (Ok(pair), Some((kept, _))) if pair == *kept => {}
                (Ok(_), Some((_, origin))) => {
                    let message = format!("{origin} says otherwise of the same store, and keeps it");
                    faults.add(source.asker.service, &wish.origin, &wish.key, &message);
                }
                (Ok(pair), None) => {
                    stores.insert(name, (pair, &wish.origin));
                }
            }
        }
    }
    tls.default_certificates = stores.into_iter().map(|(name, (pair, _))| (name.to_owned(), pair)).collect();
    let mut defaults = Vec::new();
    for (wish, _) in options.iter() {
        let Some(value) = &wish.value else { continue };
        if wish.name.split('@').next() == Some("default") {
            defaults.push((wish, value));
        } else {
            tls.options.insert(wish.name.clone(), (**value).clone());
        }
    }
    defaults.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    match defaults.as_slice() {
        [] => {}
        [(_, value)] => {
            tls.options.insert("default".to_owned(), (***value).clone());
        }
        // As Traefik has it: nobody can know which is meant, and the strictest guess may be wrong.
        [(first, value), rest @ ..] => {
            for (wish, _) in rest {
                let message = format!("{} has `default` options too, and keeps the name", first.origin);
                faults.add("", &wish.origin, &wish.key, &message);
            }
            tls.options.insert("default".to_owned(), (***value).clone());
        }
    }
    if tls == **previous { previous.clone() } else { Arc::new(tls) }
}
