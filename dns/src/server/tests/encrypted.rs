//! Over TLS and over HTTPS, with a certificate made for the test.

use data_encoding::BASE64URL_NOPAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio_rustls::client::TlsStream;

use super::*;

struct Encrypted {
    tls: SocketAddr,
    https: SocketAddr,
    registry: Registry,
    roots: rustls::RootCertStore,
    task: JoinHandle<io::Result<()>>,
    folder: tempfile::TempDir,
}

impl Drop for Encrypted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn start() -> Encrypted {
    let paper = rcgen::generate_simple_self_signed(["ns.example".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, paper.cert.pem()).unwrap();
    std::fs::write(&key, paper.signing_key.serialize_pem()).unwrap();
    let mut settings = Dns { address: "127.0.0.1:0".parse().unwrap(), ..settings() };
    let anywhere = Some("127.0.0.1:0".parse().unwrap());
    settings.options.secure = Some(dns::Secure { tls: anywhere, https: anywhere, certificate, key });
    let registry = Registry::new();
    let zone = shared(&settings);
    zone.store(Arc::new(crate::test_support::zone([container("web", "10.0.0.1")])));
    let server = Server::bind(&settings, zone, Metrics::register(&registry).unwrap()).unwrap();
    let (tls, https) = (server.tls_addr().unwrap(), server.https_addr().unwrap());
    let task = tokio::spawn(server.run(std::future::pending()));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(paper.cert.der().clone()).unwrap();
    Encrypted { tls, https, registry, roots, task, folder }
}

impl Encrypted {
    fn config(&self, protocol: &str) -> Arc<rustls::ClientConfig> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        Arc::new(config)
    }

    async fn connect(&self, address: SocketAddr, protocol: &str) -> TlsStream<TcpStream> {
        let connector = tokio_rustls::TlsConnector::from(self.config(protocol));
        let tcp = TcpStream::connect(address).await.unwrap();
        let stream =
            within(connector.connect(ServerName::try_from("ns.example").unwrap(), tcp)).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
        stream
    }

    async fn request(&self, protocol: &str, request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
        let stream = TokioIo::new(self.connect(self.https, protocol).await);
        let response = if protocol == "h2" {
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
            tokio::spawn(connection);
            within(sender.send_request(request)).await.unwrap()
        } else {
            let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
            tokio::spawn(connection);
            within(sender.send_request(request)).await.unwrap()
        };
        let (parts, body) = response.into_parts();
        (Response::from_parts(parts, ()), within(body.collect()).await.unwrap().to_bytes())
    }
}

#[tokio::test]
async fn names_are_answered_over_tls_with_the_certificate_that_was_named() {
    let running = start();
    let mut stream = running.connect(running.tls, "dot").await;
    for id in 0..3 {
        stream.write_all(&framed(&numbered(id, "web"))).await.unwrap();
        let length = within(stream.read_u16()).await.unwrap();
        let mut bytes = vec![0; length.into()];
        within(stream.read_exact(&mut bytes)).await.unwrap();
        let reply = Message::from_vec(&bytes).unwrap();
        assert_eq!((reply.metadata.id, reply.answers.len()), (id, 1));
    }
    assert_eq!(count(&running.registry, "portolan_dns_requests_total", &["tls", "A"]), "3");
    // Who speaks in the clear is let go.
    let mut clear = TcpStream::connect(running.tls).await.unwrap();
    clear.write_all(&framed(&numbered(1, "web"))).await.unwrap();
    let mut rest = Vec::new();
    let _ = within(clear.read_to_end(&mut rest)).await;
    assert!(Message::from_vec(rest.get(2..).unwrap_or_default()).is_err(), "no answer in the clear");
}

#[tokio::test]
async fn names_are_answered_over_https_by_either_version_and_method() {
    let running = start();
    let asked = numbered(0, "web").to_vec().unwrap();
    for protocol in ["h2", "http/1.1"] {
        let uri = |tail: &str| {
            let path = format!("/dns-query{tail}");
            if protocol == "h2" { format!("https://ns.example{path}") } else { path }
        };
        let get = Request::get(uri(&format!("?dns={}", BASE64URL_NOPAD.encode(&asked))));
        let post = Request::post(uri("")).header("content-type", "application/dns-message");
        for (request, body) in [(get, Bytes::new()), (post, asked.clone().into())] {
            let request = request.header("host", "ns.example").body(Full::new(body)).unwrap();
            let (response, body) = running.request(protocol, request).await;
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["content-type"], "application/dns-message");
            assert_eq!(response.headers()["cache-control"], "max-age=2");
            let reply = Message::from_vec(&body).unwrap();
            assert_eq!(reply.answers[0].data.to_string(), "10.0.0.1");
        }
    }
    assert_eq!(count(&running.registry, "portolan_dns_requests_total", &["https", "A"]), "4");
}

#[tokio::test]
async fn what_is_no_query_over_https_is_refused_as_http_has_it() {
    let running = start();
    let big = Bytes::from(vec![0; 5000]);
    for (method, path, kind, body, status) in [
        (Method::GET, "/", None, Bytes::new(), StatusCode::NOT_FOUND),
        (Method::GET, "/dns-query", None, Bytes::new(), StatusCode::BAD_REQUEST),
        (Method::GET, "/dns-query?dns=!", None, Bytes::new(), StatusCode::BAD_REQUEST),
        (Method::GET, "/dns-query?dns=AAAA", None, Bytes::new(), StatusCode::BAD_REQUEST),
        (Method::POST, "/dns-query", Some("text/plain"), Bytes::new(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::POST, "/dns-query", Some("application/dns-message"), big, StatusCode::PAYLOAD_TOO_LARGE),
        (Method::PUT, "/dns-query", None, Bytes::new(), StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let mut request = Request::builder().method(&method).uri(format!("https://ns.example{path}"));
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        let (response, _) = running.request("h2", request.body(Full::new(body)).unwrap()).await;
        assert_eq!(response.status(), status, "{method} {path} {kind:?}");
    }
}

#[tokio::test]
async fn a_name_server_may_be_asked_over_tls_and_nobody_else_is_believed() {
    use crate::forward::{Secure, Stream};
    let running = start();
    let asked = numbered(77, "web").to_vec().unwrap();
    let secure = |name| Secure::new(running.config("dot"), running.tls, name);
    let stream = Stream::new(running.tls, secure(Some("ns.example")));
    assert!(stream.is_secure());
    let reply = Message::from_vec(&within(stream.ask(&asked)).await.unwrap()).unwrap();
    assert_eq!((reply.metadata.id, reply.answers.len()), (77, 1));
    for other in [Some("other.example"), None] {
        let stream = Stream::new(running.tls, secure(other));
        assert!(within(stream.ask(&asked)).await.is_none(), "{other:?}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_without_a_restart_once_its_key_is_there() {
    let mut running = start();
    let [certificate, key] = ["certificate.pem", "key.pem"].map(|name| running.folder.path().join(name));
    let before = running.connect(running.tls, "dot").await;
    let paper = rcgen::generate_simple_self_signed(["ns.example".to_owned()]).unwrap();
    // As most tools do: one file after the other.
    std::fs::write(&certificate, paper.cert.pem()).unwrap();
    tokio::time::sleep(crate::watched::LOOK * 2).await;
    drop(running.connect(running.tls, "dot").await);
    std::fs::write(&key, paper.signing_key.serialize_pem()).unwrap();
    running.roots = rustls::RootCertStore::empty();
    running.roots.add(paper.cert.der().clone()).unwrap();
    let name = ServerName::try_from("ns.example").unwrap();
    for address in [running.tls, running.https] {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let connector = tokio_rustls::TlsConnector::from(running.config("h2"));
            let tcp = TcpStream::connect(address).await.unwrap();
            let shown = within(connector.connect(name.clone(), tcp)).await;
            // Over TLS that protocol is none; but then the certificate was good.
            if shown.is_ok() || shown.is_err_and(|error| error.to_string().contains("NoApplicationProtocol"))
            {
                break;
            }
            assert!(Instant::now() < deadline, "the new certificate is not shown");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    drop(before);
}
