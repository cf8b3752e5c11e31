//! How servers are spoken to where no router says otherwise, as meant.

use super::provider::pem;
use super::read::Reader;
use crate::dynamic::tcp::TcpTransport;
use crate::tls::{Pem, ServersTransport};

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

pub(super) fn tcp(reader: &mut Reader<'_>) -> TcpTransport {
    let at = |option: &str| format!("tcpServersTransport.{option}");
    let usual = TcpTransport::default();
    TcpTransport {
        connections: ServersTransport {
            dial_timeout: reader.duration(&at("dialTimeout")),
            insecure_skip_verify: reader.flag(&at("tls.insecureSkipVerify"), false),
            root_cas: certificates(reader, &at("tls.rootCAs")),
            ..ServersTransport::default()
        },
        keep_alive: reader.duration(&at("dialKeepAlive")).or(usual.keep_alive),
        termination_delay: reader.duration(&at("terminationDelay")).or(usual.termination_delay),
        proxy_protocol: None,
    }
}

fn certificates(reader: &mut Reader<'_>, path: &str) -> Vec<Pem> {
    reader.list(path).unwrap_or_default().iter().map(|text| pem(text)).collect()
}
