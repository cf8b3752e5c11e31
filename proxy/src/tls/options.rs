//! Options of TLS as an operator writes them, turned into what rustls takes.
//!
//! What rustls does not have (CBC suites, P-521, versions before 1.2) is left out and said; nothing else is put in its
//! place. Options that can't be met at all take no connection: serving without a client certificate that was asked for
//! would be worse than not serving.

use std::sync::Arc;

use portolan_config::dynamic::nearest;
use portolan_config::tls::{TlsOptions, TlsVersion};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::{ServerConfig, SupportedCipherSuite, SupportedProtocolVersion, version};

/// Tickets for each full handshake. Browsers open several connections at once, but each of them brings a ticket back.
const TICKETS_SENT: usize = 1;

/// What is wrong with one option; its key stands behind `tls.options.NAME.`.
pub(super) type Problem = (&'static str, String);

/// The provider of cryptography, as the options restrict it.
pub(super) fn provider(options: &TlsOptions, problems: &mut Vec<Problem>) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    choose_suites(&mut provider, &options.cipher_suites, problems);
    if !options.curves.is_empty() {
        let wanted = options.curves.iter().filter_map(|name| {
            let group = group(name);
            if group.is_none() {
                problems.push(("curvePreferences", not_offered(name, &GROUPS)));
            }
            group
        });
        provider.kx_groups = wanted.collect();
    }
    provider
}

/// Leaves these suites, by their names, beside those of TLS 1.3; all of them where there are no names.
pub(super) fn choose_suites(provider: &mut CryptoProvider, names: &[String], problems: &mut Vec<Problem>) {
    if names.is_empty() {
        return;
    }
    let wanted = names.iter().filter_map(|name| {
        let suite = suite(name);
        if suite.is_none() {
            let names = suite_names();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            problems.push(("cipherSuites", not_offered(name, &names)));
        }
        suite
    });
    // Those of TLS 1.3 can't be chosen among, as in Go: every one of them is good.
    let always = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some()).copied();
    provider.cipher_suites = always.chain(wanted.filter(|suite| suite.tls13().is_none())).collect();
}

/// What a server's side of rustls goes by.
pub(super) struct Parts {
    pub(super) provider: Arc<CryptoProvider>,
    pub(super) verifier: Option<Arc<dyn ClientCertVerifier>>,
    pub(super) resolver: Arc<dyn ResolvesServerCert>,
    /// What makes tickets, where there are any.
    pub(super) tickets: Option<Arc<dyn ProducesTickets>>,
    /// Protocols that can be spoken here.
    pub(super) protocols: &'static [&'static str],
}

/// Makes what connections are taken by.
pub(super) fn server_config(options: &TlsOptions, parts: Parts) -> Result<ServerConfig, Problem> {
    if parts.provider.kx_groups.is_empty() {
        return Err(("curvePreferences", "none of them is offered".to_owned()));
    }
    let versions = versions(options.min_version, options.max_version)
        .ok_or_else(|| ("minVersion", "it is above maxVersion: no version is left".to_owned()))?;
    let builder = ServerConfig::builder_with_provider(parts.provider)
        .with_protocol_versions(versions)
        .map_err(|error| ("cipherSuites", format!("no suite is left for these versions: {error}")))?;
    let builder = match parts.verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(parts.resolver);
    let spoken = options.alpn.iter().filter(|name| parts.protocols.contains(&name.as_str()));
    config.alpn_protocols = spoken.map(|name| name.as_bytes().to_vec()).collect();
    // A session is kept by the client, in a ticket that every worker can read: nothing is looked up, nothing shared.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = if parts.tickets.is_some() { TICKETS_SENT } else { 0 };
    if let Some(tickets) = parts.tickets {
        config.ticketer = tickets;
    }
    Ok(config)
}

/// The versions from one to another; `None` where there are none.
pub(super) fn versions(
    least: TlsVersion,
    most: TlsVersion,
) -> Option<&'static [&'static SupportedProtocolVersion]> {
    const OLDER: &[&SupportedProtocolVersion] = &[&version::TLS12];
    const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
    const NEWER: &[&SupportedProtocolVersion] = &[&version::TLS13];
    match (least, most) {
        (TlsVersion::V12, TlsVersion::V12) => Some(OLDER),
        (TlsVersion::V12, TlsVersion::V13) => Some(BOTH),
        (TlsVersion::V13, TlsVersion::V13) => Some(NEWER),
        (TlsVersion::V13, TlsVersion::V12) => None,
    }
}

/// A suite by its IANA name, or by the shorter ones that Go has for two of them.
fn suite(name: &str) -> Option<SupportedCipherSuite> {
    let name = match name {
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305" => "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        name => name,
    };
    aws_lc_rs::ALL_CIPHER_SUITES.iter().find(|suite| suite_name(suite) == name).copied()
}

/// The IANA name. rustls has `TLS13_AES_…` for `TLS_AES_…`.
fn suite_name(suite: &SupportedCipherSuite) -> String {
    suite.suite().as_str().map_or_else(String::new, |name| name.replace("TLS13_", "TLS_"))
}

fn suite_names() -> Vec<String> {
    aws_lc_rs::ALL_CIPHER_SUITES.iter().filter(|suite| suite.tls13().is_none()).map(suite_name).collect()
}

/// What is told of a name that can't be had.
fn not_offered(name: &str, known: &[&str]) -> String {
    let meant = match nearest(name, known.iter().copied()) {
        Some(near) => format!("the nearest is `{near}`; "),
        None => String::new(),
    };
    format!("`{name}` is not offered: {meant}known are {}", known.join(", "))
}

/// Ways to agree on a key, as they are told.
const GROUPS: [&str; 5] = ["X25519", "CurveP256", "CurveP384", "X25519MLKEM768", "SecP256r1MLKEM768"];

/// A way to agree on a key, by Go's name or the one in the RFCs.
fn group(name: &str) -> Option<&'static dyn SupportedKxGroup> {
    use aws_lc_rs::kx_group;
    Some(match name {
        "X25519" | "x25519" => kx_group::X25519,
        "CurveP256" | "P256" | "P-256" | "secp256r1" => kx_group::SECP256R1,
        "CurveP384" | "P384" | "P-384" | "secp384r1" => kx_group::SECP384R1,
        "X25519MLKEM768" => kx_group::X25519MLKEM768,
        "SecP256r1MLKEM768" | "SecP256R1MLKEM768" => kx_group::SECP256R1MLKEM768,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_curves_go_by_the_names_of_traefik() {
        let options = TlsOptions {
            cipher_suites: ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "TLS_RSA_WITH_AES_128_CBC_SHA"]
                .map(str::to_owned)
                .to_vec(),
            curves: ["CurveP256", "CurveP521"].map(str::to_owned).to_vec(),
            ..TlsOptions::default()
        };
        let mut problems = Vec::new();
        let provider = provider(&options, &mut problems);
        let names: Vec<String> = provider.cipher_suites.iter().map(suite_name).collect();
        assert!(names.contains(&"TLS_AES_128_GCM_SHA256".to_owned()), "{names:?}");
        let older: Vec<&String> = names.iter().filter(|name| name.contains("WITH")).collect();
        assert_eq!(older, ["TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"]);
        assert_eq!(provider.kx_groups.len(), 1);
        let keys: Vec<&str> = problems.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ["cipherSuites", "curvePreferences"]);
        assert!(problems[1].1.starts_with("`CurveP521` is not offered"), "{problems:?}");
    }

    #[test]
    fn what_is_not_offered_is_told_with_the_nearest_name() {
        for (name, near) in [("curvep265", Some("CurveP256")), ("X2519", Some("X25519")), ("brainpool", None)]
        {
            let said = not_offered(name, &GROUPS);
            assert_eq!(said.contains("the nearest is"), near.is_some(), "{said}");
            assert!(near.is_none_or(|near| said.contains(&format!("`{near}`"))), "{said}");
            assert!(
                said.ends_with("known are X25519, CurveP256, CurveP384, X25519MLKEM768, SecP256r1MLKEM768")
            );
        }
        assert!(GROUPS.iter().all(|name| group(name).is_some()));
    }
}
