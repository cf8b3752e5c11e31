//! Fuzz targets: each is a plain function of bytes, which panics where something is not as it must be.

use std::collections::BTreeMap;

use portolan_config::Rule;
use portolan_config::labels::Labels;
use portolan_config::rule::RequestView;
use portolan_proxy::fuzz::{
    answers as read_answers, client_hello, over_http2, proxy_header, requests, translated,
};

mod differential;
mod differential_answers;
mod names;

pub use differential::differential;
pub use differential_answers::differential_answers;
pub use names::{name_servers, queries};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: [Target; 12] = [
    ("heads", heads),
    ("chunks", chunks),
    ("answers", answers),
    ("translation", translation),
    ("differential", differential),
    ("differential_answers", differential_answers),
    ("rules", rules),
    ("labels", labels),
    ("queries", names::queries),
    ("name_servers", names::name_servers),
    ("hellos", hellos),
    ("proxy_headers", proxy_headers),
];

/// Inputs longer than this teach nothing new, and meet limits that depend on how the bytes come.
const BYTES_MAX: usize = 8 * 1024;

/// The bytes in pieces, as the first of them say.
fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let size = usize::from(bytes.first().copied().unwrap_or(1)) % 97 + 1;
    bytes.chunks(size)
}

/// Requests: read alike in whatever pieces, and what is sent on is read again as the same.
pub fn heads(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let whole = requests([bytes]);
    assert_eq!(requests(pieces(bytes)), whole, "it depends on where the bytes are split");
    for sent_on in &whole.requests {
        let again = requests([sent_on.head.as_slice(), sent_on.body.as_slice()]);
        assert!(!again.refused, "what is sent on is refused by ourselves");
        assert_eq!(again.requests.len(), 1, "one request is sent on as several, or as none");
        let (first, second) = (sent_on, &again.requests[0]);
        assert_eq!(
            (&first.method, &first.target, &first.host, &first.content),
            (&second.method, &second.target, &second.host, &second.content),
            "what is sent on means something else"
        );
    }
}

/// Chunked bodies: read alike in whatever pieces.
pub fn chunks(bytes: &[u8]) {
    const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let whole = requests([HEAD, bytes]);
    assert_eq!(
        requests([HEAD].into_iter().chain(pieces(bytes))),
        whole,
        "it depends on where the bytes are split"
    );
    if let Some(first) = whole.requests.first() {
        assert!(first.body.ends_with(b"\r\n\r\n"), "a body ends with its last line");
        assert!(first.content.len() < first.body.len(), "content is less than its framing and itself");
    }
}

/// Answers: read alike in whatever pieces.
pub fn answers(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    for method in ["GET", "HEAD"] {
        let whole = read_answers(method, [bytes]);
        assert_eq!(read_answers(method, pieces(bytes)), whole, "it depends on where the bytes are split");
    }
}

/// A request by HTTP/2, as lines: method, target, authority, fields, and behind an empty one the body. What it becomes in
/// HTTP/1.1 is one request that says the same, and would be the same over HTTP/2 again.
pub fn translation(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    let Some(request) = http2_request(bytes) else { return };
    let Some(sent_on) = translated(&request, first % 2 == 0) else { return };
    let again = requests([sent_on.head.as_slice(), sent_on.body.as_slice()]);
    assert!(!again.refused, "what is sent on is refused by ourselves");
    assert_eq!(again.requests.len(), 1, "one request is sent on as several, or as none");
    let found = &again.requests[0];
    assert_eq!(
        (&sent_on.method, &sent_on.target, &sent_on.host, &sent_on.content),
        (&found.method, &found.target, &found.host, &found.content),
        "what is sent on means something else"
    );
    let Some(back) = over_http2(&sent_on.head) else { return };
    assert_eq!(back.method(), request.method(), "it is another request over HTTP/2");
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"] {
        assert!(!back.headers().contains_key(name), "{name} is said over HTTP/2");
    }
}

/// What the stack could hand over: it has refused what is no request at all.
fn http2_request(bytes: &[u8]) -> Option<http::Request<Vec<u8>>> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let method = http::Method::from_bytes(lines.next()?).ok()?;
    let target = http::uri::PathAndQuery::try_from(lines.next()?).ok()?;
    let authority = lines.next()?;
    let mut uri = http::uri::Parts::default();
    uri.path_and_query = Some(target);
    if !authority.is_empty() {
        uri.authority = Some(http::uri::Authority::try_from(authority).ok()?);
        uri.scheme = Some(http::uri::Scheme::HTTP);
    }
    let mut request = http::Request::new(Vec::new());
    *request.method_mut() = method;
    *request.uri_mut() = http::Uri::from_parts(uri).ok()?;
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let at = line.iter().position(|byte| *byte == b':')?;
        let name = http::HeaderName::from_bytes(&line[..at]).ok()?;
        let about_the_connection =
            ["connection", "transfer-encoding", "upgrade", "keep-alive", "proxy-connection"];
        if about_the_connection.contains(&name.as_str()) || request.method() == http::Method::CONNECT {
            return None;
        }
        request.headers_mut().append(name, http::HeaderValue::from_bytes(line[at + 1..].trim_ascii()).ok()?);
    }
    *request.body_mut() = lines.collect::<Vec<_>>().join(&b'\n');
    Some(request)
}

/// First messages of TLS clients: read alike in whatever pieces.
pub fn hellos(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    assert_eq!(client_hello(pieces(bytes)), client_hello([bytes]), "it depends on where the bytes are split");
}

/// PROXY headers: one that is whole says the same whatever follows it, and none is whole before its end.
pub fn proxy_headers(bytes: &[u8]) {
    let bytes = &bytes[..bytes.len().min(BYTES_MAX)];
    if let Ok(Some((length, client))) = proxy_header(bytes) {
        assert_eq!(proxy_header(&bytes[..length]), Ok(Some((length, client))), "it depends on what follows");
        assert_eq!(proxy_header(&bytes[..length - 1]), Ok(None), "it is whole before its end");
    }
}

/// Rules: whatever is written is read or refused, and what was read can be asked.
pub fn rules(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(rule) = Rule::parse(&text) {
        for (host, path) in [("", ""), ("a.test", "/"), ("x.a.test", "/a/b")] {
            let request = RequestView::get(host, path);
            assert_eq!(rule.matches(&request), rule.matches(&request), "a rule has one answer");
        }
    }
}

/// Labels: whatever is written, one a line, is read or is a fault.
pub fn labels(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let labels: BTreeMap<String, String> = text
        .lines()
        .map(|line| line.split_once('=').unwrap_or((line, "")))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let _ = Labels::decode(&labels);
}
