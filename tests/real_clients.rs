//! Clients and servers that people use, over the built binary: Python's websockets and grpcio, curl in its ways to send,
//! nghttp and h2load.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::thread;

use crate::harness::{ENTRY_POINT, FakeEngine, Portolan, Recording, python, require};

/// Where the server of these tests is: an address of the loopback network, as if it was a container's.
const SERVER: &str = "127.0.0.5";

/// Where TLS is spoken.
const SECURE: &str = "127.0.0.1:8443";

/// Portolan in front of a service `web`, whose one container is at [`SERVER`].
fn in_front_of_server() -> (FakeEngine, Portolan) {
    in_front_of_one_labelled(&[])
}

/// The same, with these labels on the container.
fn in_front_of_one_labelled(labels: &[(&str, &str)]) -> (FakeEngine, Portolan) {
    let engine = FakeEngine::start();
    let mut life = Recording::read().of_number(1);
    life.running["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] = SERVER.into();
    for (name, value) in labels {
        life.running["Config"]["Labels"][name] = (*value).into();
        life.listed["Labels"][name] = (*value).into();
    }
    engine.put(&life.running, &life.listed);
    let portolan = Portolan::start(None, &[]);
    portolan.await_state(&Recording::name(1), "ready");
    (engine, portolan)
}

/// The same, by TLS as well, with the certificate that Portolan makes itself.
fn in_front_of_server_by_tls_too() -> (FakeEngine, Portolan) {
    let engine = FakeEngine::start();
    let mut life = Recording::read().of_number(1);
    life.running["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] = SERVER.into();
    engine.put(&life.running, &life.listed);
    let address = format!("--entryPoints.secure.address={SECURE}");
    let web = format!("--entryPoints.web.address={ENTRY_POINT}");
    let flags = [
        &web,
        &address,
        "--entryPoints.secure.http.tls=true",
        "--entryPoints.secure.asDefault=true",
        "--entryPoints.web.asDefault=true",
    ];
    let portolan = Portolan::start(None, &flags);
    portolan.await_state(&Recording::name(1), "ready");
    (engine, portolan)
}

/// Runs a program to its end in the test's own network; gives what it said.
fn run(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}\n{complaints}", output.status);
    said
}

#[test]
fn websockets_of_python_talk_through_it() {
    let (_engine, portolan) = in_front_of_server();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/websocket.py");
    let (address, port) = ENTRY_POINT.split_once(':').expect("an address and a port");
    let said = run(Command::new(python()).args([script, SERVER, address, port, "web.localhost"]));
    assert!(said.ends_with("done\n"), "{said}");
    let upgraded = portolan.metric("portolan_entrypoint_requests_total{code=\"101\"}");
    assert!((upgraded - 53.0).abs() < 0.5, "{upgraded} connections");
    assert!(portolan.metric("portolan_refusals_total") < 0.5);
}

/// HTTP/2 in the clear, and by TLS on another entry point.
#[test]
fn websockets_over_http2_talk_through_it() {
    let (_engine, portolan) = in_front_of_server_by_tls_too();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/websocket_http2.py");
    for (at, by) in [(ENTRY_POINT, &[][..]), (SECURE, &["tls"])] {
        let (address, port) = at.split_once(':').expect("an address and a port");
        let arguments = [&[script, SERVER, address, port, "web.localhost"], by].concat();
        let said = run(Command::new(python()).args(arguments));
        assert!(said.ends_with("done\n"), "{said}");
    }
    let opened = portolan.metric("portolan_entrypoint_requests_total{code=\"200\",protocol=\"h2\"}");
    assert!((opened - 46.0).abs() < 0.5, "{opened} WebSockets");
}

#[test]
fn calls_of_grpc_pass_from_end_to_end() {
    let (_engine, portolan) =
        in_front_of_one_labelled(&[("portolan.http.services.web.loadbalancer.server.scheme", "h2c")]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/calls.py");
    let (address, port) = ENTRY_POINT.split_once(':').expect("an address and a port");
    let said = run(Command::new(python()).args([script, SERVER, address, port, "web.localhost"]));
    assert!(said.ends_with("done\n"), "{said}");
    assert!(portolan.metric("portolan_entrypoint_requests_total{code=\"200\"}") > 300.0);
    assert!(portolan.metric("portolan_service_retries_total") < 0.5);
}

#[test]
fn nghttp_and_h2load_are_served() {
    let (_engine, portolan) = in_front_of_server();
    serve_echo();
    let url = format!("http://{ENTRY_POINT}/a?b=c");
    let said = run(Command::new(require("nghttp")).args(["-v", "-H", ":authority: web.localhost", &url]));
    assert!(said.contains("GET /a?b=c HTTP/1.1") && said.contains(":status: 200"), "{said}");
    let said = run(Command::new(require("h2load")).args([
        "-n",
        "500",
        "-c",
        "5",
        "-m",
        "20",
        "-H",
        ":authority: web.localhost",
        &url,
    ]));
    assert!(said.contains("500 succeeded, 0 failed, 0 errored, 0 timeout"), "{said}");
    assert!(portolan.metric("portolan_refusals_total") < 0.5);
}

/// curl in its versions, nghttp and h2load by TLS; each of them checks for itself that what it speaks was agreed on.
#[test]
fn by_tls_each_version_is_spoken() {
    let (_engine, portolan) = in_front_of_server_by_tls_too();
    serve_echo();
    let body = "x".repeat(300_000);
    let file = std::env::temp_dir().join(format!("portolan-curl-tls-{}", std::process::id()));
    std::fs::write(&file, &body).expect("a file can be written");
    let (upload, path) = (format!("@{}", file.display()), file.display().to_string());
    let resolve = format!("web.localhost:8443:{}", SECURE.split_once(':').expect("a port").0);
    let url = "https://web.localhost:8443/a?b=c";
    for (version, told) in [("--http1.1", "1.1"), ("--http2", "2")] {
        for (options, in_request) in [
            (&["--data-binary", &upload][..], "Content-Length: 300000\r\n"),
            (&["--data-binary", &upload, "-H", "Expect: 100-continue"], "X-Forwarded-Proto: https\r\n"),
            (&["-X", "DELETE"], "DELETE /a?b=c HTTP/1.1\r\n"),
        ] {
            let said = run(Command::new(require("curl"))
                .args(["-sS", "--fail", "-k", "-m", "20", "-w", "\n%{http_version}", version])
                .args(["--resolve", &resolve])
                .args(options)
                .arg(url));
            let sent_on = said.to_ascii_lowercase();
            assert!(sent_on.contains(&in_request.to_ascii_lowercase()), "{version} {options:?}: {said:.600}");
            assert!(
                said.ends_with(&format!("\n{told}")),
                "{version} {options:?}: {:?}",
                said.rsplit('\n').next()
            );
            assert!(
                !options.contains(&upload.as_str()) || said.contains(&body),
                "{version} {options:?}: a body"
            );
        }
    }
    let by_address = format!("https://{SECURE}/a?b=c");
    let authority = ["-H", ":authority: web.localhost"];
    let said = run(Command::new(require("nghttp"))
        .args(["-v", "--no-verify-peer", "-d", &path])
        .args(authority)
        .arg(&by_address));
    assert!(said.contains(":status: 200"), "{said:.2000}");
    for (versions, count) in [(&["-m", "10"][..], "300"), (&["--h1"], "100")] {
        let said = run(Command::new(require("h2load"))
            .args(["-n", count, "-c", "4"])
            .args(versions)
            .args(authority)
            .arg(&by_address));
        let all = format!("{count} succeeded, 0 failed, 0 errored, 0 timeout");
        assert!(said.contains(&all), "{versions:?}: {said}");
    }
    let _ = std::fs::remove_file(&file);
    let refused = portolan.metrics();
    assert!(portolan.metric("portolan_refusals_total") < 0.5, "{refused}");
}

/// curl by HTTP/2 in the clear: by prior knowledge, and asking for it by an upgrade, which is left unheard.
#[test]
fn curl_by_http2_in_the_clear_is_served() {
    let (_engine, portolan) = in_front_of_server();
    serve_echo();
    let url = format!("http://{ENTRY_POINT}/a/b?c=d");
    let body = "x".repeat(300_000);
    let file = std::env::temp_dir().join(format!("portolan-curl-h2c-{}", std::process::id()));
    std::fs::write(&file, &body).expect("a file can be written");
    let (upload, path) = (format!("@{}", file.display()), file.display().to_string());
    for (options, in_request, version) in [
        (&["--http2-prior-knowledge"][..], "GET /a/b?c=d HTTP/1.1\r\n", "2"),
        (&["--http2-prior-knowledge", "-I"], "", "2"),
        (&["--http2-prior-knowledge", "--data-binary", &upload], "content-length: 300000\r\n", "2"),
        (&["--http2-prior-knowledge", "-T", &path], "PUT /a/b?c=d HTTP/1.1\r\n", "2"),
        (
            &["--http2-prior-knowledge", "-T", &path, "-H", "Expect: 100-continue"],
            "expect: 100-continue\r\n",
            "2",
        ),
        (
            &["--http2-prior-knowledge", "-F", &format!("file={upload}")],
            "multipart/form-data; boundary=",
            "2",
        ),
        (&["--http2"], "GET /a/b?c=d HTTP/1.1\r\n", "1.1"),
    ] {
        let said = run(Command::new(require("curl"))
            .args(["-sS", "--fail", "-m", "20", "-H", "Host: web.localhost", "-w", "\n%{http_version}"])
            .args(options)
            .arg(&url));
        assert!(said.contains(in_request), "{options:?}: {said:.600}");
        assert!(said.ends_with(&format!("\n{version}")), "{options:?}: {:?}", said.rsplit('\n').next());
    }
    let _ = std::fs::remove_file(&file);
    assert!(portolan.metric("portolan_refusals_total") < 0.5);
}

/// Takes one request a connection, and answers with what was sent, byte by byte.
fn serve_echo() {
    let listener = TcpListener::bind((SERVER, 80)).expect("the port is free");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut received = Vec::new();
            let mut room = vec![0; 65_536];
            let whole = |bytes: &[u8]| {
                let text = String::from_utf8_lossy(bytes).into_owned();
                let (head, body) = text.split_once("\r\n\r\n")?;
                let head = head.to_ascii_lowercase();
                let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
                let chunked = head.contains("transfer-encoding: chunked");
                let done = match length {
                    _ if chunked => body.ends_with("0\r\n\r\n"),
                    Some(length) => body.len() >= length.parse::<usize>().ok()?,
                    None => true,
                };
                (done && !head.starts_with("head ")).then(|| text.clone()).or(done.then(String::new))
            };
            let mut invited = false;
            let answer = loop {
                if let Some(answer) = whole(&received) {
                    break answer;
                }
                let head_is_here = received.windows(4).any(|window| window == b"\r\n\r\n");
                if head_is_here && !invited && String::from_utf8_lossy(&received).contains("100-continue") {
                    let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
                    invited = true;
                }
                match stream.read(&mut room) {
                    Ok(count @ 1..) => received.extend_from_slice(&room[..count]),
                    _ => break String::new(),
                }
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len());
            let _ = stream.write_all(format!("{head}{answer}").as_bytes());
        }
    });
}

#[test]
fn curl_is_served_in_whatever_way_it_sends() {
    let (_engine, portolan) = in_front_of_server();
    serve_echo();
    let body = "x".repeat(100_000);
    let file = std::env::temp_dir().join(format!("portolan-curl-{}", std::process::id()));
    std::fs::write(&file, &body).expect("a file can be written");
    let upload = format!("@{}", file.display());
    let path = file.display().to_string();
    let url = format!("http://{ENTRY_POINT}/a/b?c=d");
    for (options, in_request) in [
        (&["-X", "GET"][..], "GET /a/b?c=d HTTP/1.1\r\n"),
        (&["--http1.0"], "X-Forwarded-For: 127.0.0.1\r\n"),
        (&["-I"], ""),
        (&["--data-binary", &upload], "Content-Length: 100000\r\n"),
        (&["--data-binary", &upload, "-H", "Expect: 100-continue"], "Expect: 100-continue\r\n"),
        (&["--data-binary", &upload, "-H", "Transfer-Encoding: chunked"], "Transfer-Encoding: chunked\r\n"),
        (&["-T", &path, "--limit-rate", "200k"], "PUT /a/b?c=d HTTP/1.1\r\n"),
        (&["-F", &format!("file={upload}")], "multipart/form-data; boundary="),
        (&["-H", "Connection: close", "-H", "X: y"], "X: y\r\n"),
        (&["--path-as-is", "--request-target", "/a/../a/./b?c=d"], "GET /a/b?c=d HTTP/1.1\r\n"),
        (&["--request-target", "http://web.localhost/a/b?c=d"], "Host: web.localhost\r\n"),
        (&["-H", "X-Forwarded-For: 6.6.6.6"], "X-Forwarded-For: 127.0.0.1\r\n"),
    ] {
        let mut curl = Command::new(require("curl"));
        let said = run(curl
            .args(["-sS", "--fail", "-m", "20", "-H", "Host: web.localhost"])
            .args(options)
            .arg(&url));
        assert!(said.contains(in_request), "{options:?}: {}", &said[..said.len().min(600)]);
        if options.contains(&upload.as_str()) && !options.contains(&"Transfer-Encoding: chunked") {
            assert!(said.ends_with(&body), "{options:?}: the body is not whole");
        }
    }
    let _ = std::fs::remove_file(&file);
    let refused = portolan.metrics();
    assert!(portolan.metric("portolan_refusals_total") < 0.5, "{refused}");
}
