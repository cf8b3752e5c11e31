//! How servers are spoken to where no router says otherwise, as meant.

use std::time::Duration;

use super::provider::pem;
use super::read::Reader;
use crate::tls::{Pem, ServersTransport};

/// `tcpServersTransport`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TcpServersTransport {
    /// `dialTimeout`; unless written, the data plane's own.
    pub dial_timeout: Option<Duration>,
    /// `dialKeepAlive`: between TCP's own probes; unless written, the system's choice.
    pub keep_alive: Option<Duration>,
    /// `terminationDelay`: how long one direction goes on after the other ended; unless written, the data plane's own.
    pub termination_delay: Option<Duration>,
    /// `tls.insecureSkipVerify`: any certificate will do.
    pub insecure_skip_verify: bool,
    /// `tls.rootCAs`: who must have signed the server's certificate; none is the system's.
    pub root_cas: Vec<Pem>,
}

pub(super) fn http(reader: &mut Reader<'_>) -> ServersTransport {
    let at = |option: &str| format!("serversTransport.{option}");
    ServersTransport {
        insecure_skip_verify: reader.flag(&at("insecureSkipVerify"), false),
        root_cas: certificates(reader, &at("rootCAs")),
        max_idle_per_target: reader
            .number::<i64>(&at("maxIdleConnsPerHost"), "a number of connections, -1 for none kept")
            // Zero is Traefik's way of leaving it open.
            .filter(|number| *number != 0)
            .map(|number| usize::try_from(number).unwrap_or(0)),
        dial_timeout: reader.duration(&at("forwardingTimeouts.dialTimeout")),
        response_head_timeout: reader.duration(&at("forwardingTimeouts.responseHeaderTimeout")),
        pool_idle_timeout: reader.duration(&at("forwardingTimeouts.idleConnTimeout")),
        ..ServersTransport::default()
    }
}

pub(super) fn tcp(reader: &mut Reader<'_>) -> TcpServersTransport {
    let at = |option: &str| format!("tcpServersTransport.{option}");
    TcpServersTransport {
        dial_timeout: reader.duration(&at("dialTimeout")),
        keep_alive: reader.duration(&at("dialKeepAlive")),
        termination_delay: reader.duration(&at("terminationDelay")),
        insecure_skip_verify: reader.flag(&at("tls.insecureSkipVerify"), false),
        root_cas: certificates(reader, &at("tls.rootCAs")),
    }
}

fn certificates(reader: &mut Reader<'_>, path: &str) -> Vec<Pem> {
    reader.list(path).unwrap_or_default().iter().map(|text| pem(text)).collect()
}
