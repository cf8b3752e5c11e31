//! Asks by HTTP: with HTTP/1.1, or HTTP/2 where the endpoint speaks that; and follows where it is sent.

use std::net::{IpAddr, SocketAddr};

use http::{Request, Uri};
use portolan_config::dynamic::service::HealthCheck;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ask::{Io, Lines};
use super::http2;
use super::probe::Probe;
use crate::http::{Method, fields, parse_response};

/// Redirections that are followed, as many as Go's client follows.
const REDIRECTIONS_MAX: usize = 10;

/// What matters of an answer.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
}

/// Asks.
pub(super) async fn ask(lines: &Lines<'_>, check: &HealthCheck) -> Result<(), String> {
    let probe = lines.probe;
    let mut address = probe.address;
    let mut target =
        if check.path.starts_with('/') { check.path.clone() } else { format!("/{}", check.path) };
    let method = if check.method.is_empty() { "GET" } else { &check.method };
    for _ in 0..=REDIRECTIONS_MAX {
        let line = lines.connect(address).await?;
        let request = request(probe, check, method, &target)?;
        let answer = if line.speaks_http2 {
            http2::ask_http(request, line).await
        } else {
            send(&request, line.io).await
        };
        let answer = answer.map_err(|error| format!("{method} {target}: {error}"))?;
        let redirects = matches!(answer.status, 301 | 302 | 303 | 307 | 308) && check.follow_redirects;
        if let Some(location) = answer.location.filter(|_| redirects) {
            (address, target) = follow(&location, address, &target, probe).ok_or_else(|| {
                format!("{method} {target}: it leads to {location}, which is somebody else")
            })?;
            continue;
        }
        let (fine, expected) = match check.status {
            0 => ((200..400).contains(&answer.status), "200 to 399".to_owned()),
            status => (answer.status == status, status.to_string()),
        };
        if fine {
            return Ok(());
        }
        return Err(format!("{method} {target}: {} (expected {expected})", answer.status));
    }
    Err(format!("{method} {}: redirected more than {REDIRECTIONS_MAX} times", check.path))
}

/// The request, in absolute form for HTTP/2; a check that can't be asked says so.
fn request(probe: &Probe, check: &HealthCheck, method: &str, target: &str) -> Result<Request<()>, String> {
    let own = || if probe.host.is_empty() { probe.address.to_string() } else { probe.host.to_string() };
    let authority = if check.hostname.is_empty() { own() } else { check.hostname.clone() };
    let mut request = Request::builder()
        .method(method)
        .uri(format!("http://{authority}{target}"))
        .header("user-agent", "Portolan");
    for (name, value) in &check.headers {
        if name.eq_ignore_ascii_case("host") {
            request = request.uri(format!("http://{value}{target}"));
        } else {
            request = request.header(name, value);
        }
    }
    request.body(()).map_err(|error| format!("{method} {target}: can't be asked: {error}"))
}

/// Sends it by HTTP/1.1 and reads the head of the answer.
async fn send(request: &Request<()>, mut io: Box<dyn Io>) -> Result<Answer, String> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let authority = request.uri().authority().map_or("", |authority| authority.as_str());
    let mut head =
        format!("{} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n", request.method())
            .into_bytes();
    for (name, value) in request.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    io.write_all(&head).await.map_err(|error| error.to_string())?;
    let mut heard = Vec::new();
    loop {
        let mut room = fields();
        let head = parse_response(&heard, &mut room, Method::parse(request.method().as_str()));
        if let Some(head) = head.map_err(|refused| format!("its answer can't be read: {}", refused.detail))? {
            if head.status >= 200 {
                let location = head.fields.iter().find(|field| field.name.eq_ignore_ascii_case("location"));
                let location = location.map(|field| String::from_utf8_lossy(field.value).into_owned());
                return Ok(Answer { status: head.status, location });
            }
            // Interim: the answer comes behind it.
            let length = head.length;
            heard.drain(..length);
            continue;
        }
        if io.read_buf(&mut heard).await.map_err(|error| error.to_string())? == 0 {
            return Err("it closed the connection without an answer".to_owned());
        }
    }
}

/// Where a redirection leads: elsewhere on the same server, or to another address. `None` for hosts with names of their
/// own, which may be anybody's.
fn follow(location: &str, at: SocketAddr, before: &str, probe: &Probe) -> Option<(SocketAddr, String)> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some((at, location.to_owned()));
    }
    if !location.contains("//") {
        let folder = before.split('?').next()?.rsplit_once('/')?.0;
        return Some((at, format!("{folder}/{location}")));
    }
    let uri: Uri = location.parse().ok()?;
    let host = uri.host()?;
    let own = probe.host.split(':').next().unwrap_or_default();
    let ip = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(ip) => ip,
        Err(_) if host.eq_ignore_ascii_case(own) => at.ip(),
        Err(_) => return None,
    };
    let port = uri.port_u16().unwrap_or_else(|| if ip == at.ip() { at.port() } else { 80 });
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    Some((SocketAddr::new(ip, port), target.to_owned()))
}
