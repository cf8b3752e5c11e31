//! The entry points by name, with what is asked of every router on them and the limits that hold there. A limit that is
//! not written is shown as what the data plane does.

use std::time::Duration;

use portolan_config::settings::EntryPoint;
use portolan_config::{Protocol, Settings};
use portolan_proxy::limits;
use serde_json::{Value, json};

use super::spelling::as_traefik;

/// All of them, the one of Portolan's own too, where it is there.
pub fn all(settings: &Settings, entry_points: &[EntryPoint]) -> Vec<Value> {
    let own = settings.internal.address.map(|address| EntryPoint::plain("traefik", address));
    let mut shown: Vec<Value> =
        entry_points.iter().chain(&own).map(|entry_point| shown(entry_point, settings)).collect();
    shown.sort_by(|a, b| a["name"].as_str().cmp(&b["name"].as_str()));
    shown
}

fn shown(entry_point: &EntryPoint, settings: &Settings) -> Value {
    let EntryPoint { limits: written, cleaning, forwarded, .. } = entry_point;
    let udp = if entry_point.protocol == Protocol::Udp { "/udp" } else { "" };
    let span = |span: Option<Duration>, usual: Duration| shown_span(span.unwrap_or(usual));
    let tls = entry_point.tls.as_ref().map(|tls| {
        let domains = tls.domains.iter().map(|one| json!({ "main": one.main, "sans": one.sans }));
        let domains: Vec<Value> = domains.collect();
        as_traefik(json!({ "options": tls.options, "certResolver": tls.resolver, "domains": domains }))
    });
    let redirections = entry_point.redirection.as_ref().map(|to| {
        as_traefik(json!({ "entryPoint": {
            "to": to.to, "scheme": to.scheme, "permanent": to.permanent, "priority": to.priority,
        } }))
    });
    let mut item = as_traefik(json!({
        "name": entry_point.name,
        "address": format!("{}{udp}", entry_point.address),
        "asDefault": entry_point.as_default,
        "reusePort": entry_point.reuse_port,
        "transport": {
            "lifeCycle": {
                "requestAcceptGraceTimeout": span(Some(entry_point.life_cycle.accept_grace), Duration::ZERO),
                "graceTimeOut": span(entry_point.life_cycle.grace, settings.drain_timeout),
            },
            "respondingTimeouts": {
                "readTimeout": span(written.read_timeout, Duration::ZERO),
                "writeTimeout": span(written.write_timeout, Duration::ZERO),
                "idleTimeout": span(written.idle_timeout, limits::CLIENT_IDLE_TIMEOUT),
            },
            "keepAliveMaxTime": span(written.keep_alive_max_time, Duration::ZERO),
            "keepAliveMaxRequests": written.keep_alive_max_requests,
            "maxConnections": written.connections_max,
            "maxConnectionsPerClient": written.connections_per_client_max,
        },
        "proxyProtocol": entry_point.proxy_protocol.as_ref().map(|protocol| json!({
            "insecure": protocol.insecure, "trustedIPs": networks(&protocol.trusted),
        })),
        "http": {
            "middlewares": entry_point.middlewares,
            "encodeQuerySemicolons": cleaning.encode_query_semicolons,
            "sanitizePath": cleaning.sanitize_path,
            "maxHeaderBytes": written.head_bytes_max.unwrap_or(limits::HEAD_BYTES_MAX),
            "maxBodyBytes": written.body_bytes_max,
        },
        "http2": {
            "maxConcurrentStreams": written.http2_streams_max.unwrap_or(limits::HTTP2_STREAMS_MAX),
            "maxDecoderHeaderTableSize": written.http2_header_table_max.unwrap_or(4096),
        },
        "udp": { "timeout": span(entry_point.udp_timeout, limits::UDP_SESSION_IDLE) },
    }));
    // These are shown also where nothing is in them.
    item["forwardedHeaders"] = as_traefik(json!({
        "insecure": forwarded.insecure,
        "trustedIPs": networks(&forwarded.trusted),
        "connection": forwarded.connection,
        "notAppendXForwardedFor": forwarded.not_append,
    }));
    if let Some(tls) = tls {
        item["http"]["tls"] = tls;
    }
    if let Some(redirections) = redirections {
        item["http"]["redirections"] = redirections;
    }
    item
}

fn networks(networks: &[impl ToString]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

/// As Go writes a duration: `1m30s`. Nothing is shown of none.
fn shown_span(span: Duration) -> Option<String> {
    if span.is_zero() {
        return None;
    }
    let whole = span.as_secs();
    if whole == 0 || span.subsec_nanos() > 0 {
        return Some(format!("{}ms", span.as_millis()));
    }
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    Some(match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    })
}
