//! Entry points as written, into entry points as meant.

use super::{
    Cleaning, EncodedCharacters, EntryPoint, EntryPointLimits, EntryPointTls, Forwarded, LifeCycle,
    Observability, ProxyProtocol, Redirection, TlsDomain, Underscores,
};
use crate::settings::read::Reader;
use crate::{ListenAddress, Protocol};

/// The priority of a redirection that has none written: the most there is but one, as in Traefik.
const REDIRECTION_PRIORITY: i64 = i64::MAX - 1;

/// Every entry point that is written, but the one named `internal`, which is not for routers.
pub(in crate::settings) fn entry_points(reader: &mut Reader<'_>, internal: &str) -> Vec<EntryPoint> {
    let names = reader.names("entryPoints");
    let mut entry_points: Vec<EntryPoint> = Vec::new();
    for name in &names {
        let base = format!("entryPoints.{name}");
        if name != internal && reader.section(&base) != Some(false) {
            entry_points.extend(entry_point(reader, name, &base));
        }
    }
    for index in 0..entry_points.len() {
        let redirection = redirection(reader, &entry_points, index, &names);
        entry_points[index].redirection = redirection;
    }
    entry_points
}

/// Where the entry point `name` listens, and for what.
pub(in crate::settings) fn address(reader: &mut Reader<'_>, name: &str) -> Option<(ListenAddress, Protocol)> {
    let path = format!("entryPoints.{name}.address");
    if reader.text(&path).is_none() {
        let otherwise = format!("entryPoints.{name}");
        reader.fault(&path, &otherwise, format!("an entry point needs an address, such as `{path}=:80`"));
        return None;
    }
    reader.parsed(&path, |text| {
        let (address, protocol) = match text.rsplit_once('/') {
            Some((address, protocol)) => (address, protocol.parse()?),
            None => (text, Protocol::Tcp),
        };
        let address = match address.strip_prefix("localhost:") {
            Some(port) => format!("127.0.0.1:{port}").parse()?,
            None => address.parse()?,
        };
        Ok((address, protocol))
    })
}

fn entry_point(reader: &mut Reader<'_>, name: &str, base: &str) -> Option<EntryPoint> {
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')) {
        let path = format!("{base}.address");
        reader.fault(&path, base, format!("`{name}` is not a name: use letters, digits, `-` and `_`"));
        return None;
    }
    let at = |option: &str| format!("{base}.{option}");
    let address = address(reader, name);
    // Whatever else is wrong is said too.
    let entry_point = EntryPoint {
        name: name.to_owned(),
        address: address.map_or(ListenAddress { ip: None, port: 0 }, |(address, _)| address),
        protocol: address.map_or(Protocol::Tcp, |(_, protocol)| protocol),
        as_default: reader.flag(&at("asDefault"), false),
        tls: tls(reader, &at("http.tls")),
        redirection: None,
        middlewares: reader.list(&at("http.middlewares")).unwrap_or_default(),
        cleaning: cleaning(reader, &at("http")),
        forwarded: forwarded(reader, &at("forwardedHeaders")),
        proxy_protocol: proxy_protocol(reader, &at("proxyProtocol")),
        limits: limits(reader, base),
        life_cycle: LifeCycle {
            accept_grace: reader
                .duration(&at("transport.lifeCycle.requestAcceptGraceTimeout"))
                .unwrap_or_default(),
            grace: reader.duration(&at("transport.lifeCycle.graceTimeOut")),
        },
        observability: Observability {
            access_logs: reader.flag(&at("observability.accessLogs"), true),
            metrics: reader.flag(&at("observability.metrics"), true),
        },
        reuse_port: reader.flag(&at("reusePort"), false),
        udp_timeout: reader.parsed(&at("udp.timeout"), |text| match crate::settings::parse_duration(text)? {
            timeout if timeout.is_zero() => {
                Err("a session lasts longer than nothing: expected one such as `30s`".to_owned())
            }
            timeout => Ok(timeout),
        }),
    };
    address.map(|_| entry_point)
}

fn tls(reader: &mut Reader<'_>, base: &str) -> Option<EntryPointTls> {
    if reader.section(base) != Some(true) {
        return None;
    }
    let mut domains = Vec::new();
    // Indices that are written; a gap ends them, as a list has none.
    while domains.len() < 1000 && reader.is_written(&format!("{base}.domains[{}]", domains.len())) {
        let domain = format!("{base}.domains[{}]", domains.len());
        domains.push(TlsDomain {
            main: reader.text(&format!("{domain}.main")).unwrap_or_default(),
            sans: reader.list(&format!("{domain}.sans")).unwrap_or_default(),
        });
    }
    Some(EntryPointTls {
        options: reader.text(&format!("{base}.options")),
        resolver: reader.text(&format!("{base}.certResolver")),
        domains,
    })
}

fn redirection(
    reader: &mut Reader<'_>,
    all: &[EntryPoint],
    index: usize,
    names: &[String],
) -> Option<Redirection> {
    let base = format!("entryPoints.{}.http.redirections.entryPoint", all[index].name);
    if !reader.is_written(&base) {
        return None;
    }
    let to = format!("{base}.to");
    // Whatever else is wrong is said too.
    let scheme = reader.choice(&format!("{base}.scheme"), &[("https", "https"), ("http", "http")]);
    let permanent = reader.flag(&format!("{base}.permanent"), true);
    let priority = reader.number(&format!("{base}.priority"), "a whole number");
    let Some(target) = reader.text(&to) else {
        reader.fault(&to, &base, "a redirection needs `to`: an entry point, or a port such as `:443`");
        return None;
    };
    let port = match target.strip_prefix(':') {
        Some(port) => port.parse().ok(),
        None => all.iter().find(|other| other.name == target).map(|other| other.address.port),
    };
    // One that is written, and at fault itself, is a fault already.
    if port.is_none() && !names.contains(&target) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let message = match crate::settings::nearest::nearest(&target, names.iter().copied()) {
            Some(name) => format!("there is no entry point `{target}`; did you mean `{name}`?"),
            None => format!("there is no entry point `{target}`; there are {}", names.join(", ")),
        };
        reader.fault(&to, &to, message);
    }
    Some(Redirection {
        port: port?,
        to: target,
        scheme: scheme.unwrap_or("https").to_owned(),
        permanent,
        priority: priority.unwrap_or(REDIRECTION_PRIORITY),
    })
}

fn cleaning(reader: &mut Reader<'_>, base: &str) -> Cleaning {
    let mut allowed =
        |character: &str| reader.flag(&format!("{base}.encodedCharacters.allowEncoded{character}"), true);
    let encoded = EncodedCharacters {
        slash: allowed("Slash"),
        backslash: allowed("BackSlash"),
        null: allowed("NullCharacter"),
        semicolon: allowed("Semicolon"),
        percent: allowed("Percent"),
        question_mark: allowed("QuestionMark"),
        hash: allowed("Hash"),
    };
    let strategies =
        [("keep", Underscores::Keep), ("delete", Underscores::Delete), ("reject", Underscores::Reject)];
    Cleaning {
        sanitize_path: reader.flag(&format!("{base}.sanitizePath"), true),
        encode_query_semicolons: reader.flag(&format!("{base}.encodeQuerySemicolons"), false),
        encoded,
        underscores: reader
            .choice(&format!("{base}.underscoreHeadersStrategy"), &strategies)
            .unwrap_or_default(),
    }
}

fn forwarded(reader: &mut Reader<'_>, base: &str) -> Forwarded {
    let not_append = reader.flag("global.notAppendXForwardedFor", false);
    let connection = reader.list(&format!("{base}.connection")).unwrap_or_default();
    Forwarded {
        insecure: reader.flag(&format!("{base}.insecure"), false),
        trusted: reader.networks(&format!("{base}.trustedIPs")),
        connection: connection.into_iter().map(|field| field.to_ascii_lowercase()).collect(),
        not_append: reader.flag(&format!("{base}.notAppendXForwardedFor"), not_append),
    }
}

fn proxy_protocol(reader: &mut Reader<'_>, base: &str) -> Option<ProxyProtocol> {
    (reader.section(base) == Some(true)).then(|| ProxyProtocol {
        insecure: reader.flag(&format!("{base}.insecure"), false),
        trusted: reader.networks(&format!("{base}.trustedIPs")),
    })
}

fn limits(reader: &mut Reader<'_>, base: &str) -> EntryPointLimits {
    let at = |option: &str| format!("{base}.{option}");
    EntryPointLimits {
        read_timeout: reader.duration(&at("transport.respondingTimeouts.readTimeout")),
        write_timeout: reader.duration(&at("transport.respondingTimeouts.writeTimeout")),
        idle_timeout: reader.duration(&at("transport.respondingTimeouts.idleTimeout")),
        keep_alive_max_requests: reader
            .number(&at("transport.keepAliveMaxRequests"), "a number of requests, 0 for any"),
        keep_alive_max_time: reader.duration(&at("transport.keepAliveMaxTime")),
        head_bytes_max: reader.number(&at("http.maxHeaderBytes"), "a number of bytes"),
        body_bytes_max: reader.number(&at("http.maxBodyBytes"), "a number of bytes, 0 for any"),
        http2_streams_max: reader.number(&at("http2.maxConcurrentStreams"), "a number of streams"),
        http2_header_table_max: reader.number(&at("http2.maxDecoderHeaderTableSize"), "a number of bytes"),
        connections_max: reader.number(&at("transport.maxConnections"), "a number of connections, 0 for any"),
        connections_per_client_max: reader
            .number(&at("transport.maxConnectionsPerClient"), "a number of connections, 0 for any"),
        tcp_idle: reader.duration(&at("transport.tcpIdleTimeout")),
    }
}
