//! Databases and proxies as they are, through TCP routers: in the clear and by TLS, as their servers come and go, much at
//! a time, and with the client's address kept.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::thread;

use crate::harness::bulk::{self, BLOCK, receive, send};
use crate::harness::{PATIENCE, Portolan, Process, Sandbox, Signal, eventually, require};

const FILE: &str = "/etc/dynamic.yml";

fn start(flags: &str) -> Portolan {
    let fixed = "--source demo --file /etc/dynamic.yml --dns-address off";
    let flags: Vec<&str> = fixed.split_whitespace().chain(flags.split_whitespace()).collect();
    Portolan::start(None, &flags)
}

/// What a program of the sandbox writes, or what it says is wrong.
fn output(sandbox: &Sandbox, program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = sandbox.command(require(program)).args(arguments).output().expect("it starts");
    let (said, wrong) =
        (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr));
    if output.status.success() { Ok(said.trim().to_owned()) } else { Err(format!("{said}\n{wrong}")) }
}

/// Where Debian keeps the programs of the server.
fn postgres(program: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").expect("this test needs postgresql: run ./test");
    let newest = versions.flatten().map(|entry| entry.path()).max().expect("a version");
    newest.join("bin").join(program)
}

/// A directory with a certificate, which belongs to nobody: the user that databases run as.
fn keep(sandbox: &Sandbox) {
    sandbox.shell(
        "mkdir /run/db
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=db.test \
             -keyout /run/db/key.pem -out /run/db/cert.pem 2>/dev/null
         chmod 600 /run/db/key.pem
         chown -R nobody:nogroup /run/db",
    );
}

fn as_nobody(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command(require("setpriv"));
    command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "--"]);
    command
}

fn make_cluster(sandbox: &Sandbox) {
    let mut command = as_nobody(sandbox);
    command.arg(postgres("initdb")).args(["-D", "/run/db/made", "-U", "postgres", "-A", "trust", "-N"]);
    let output = command.output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A server on this port, with a copy of the cluster, by TLS or not as the client likes.
fn serve_postgres(sandbox: &Arc<Sandbox>, port: u16) -> Process {
    sandbox.shell(&format!("[ -d /run/db/{port} ] || cp -a /run/db/made /run/db/{port}"));
    let mut command = as_nobody(sandbox);
    command.arg(postgres("postgres")).args(["-D", &format!("/run/db/{port}"), "-p", &port.to_string()]);
    for setting in [
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "fsync=off",
        "ssl=on",
        "ssl_cert_file=/run/db/cert.pem",
        "ssl_key_file=/run/db/key.pem",
    ] {
        command.args(["-c", setting]);
    }
    let server = sandbox.spawn(&format!("postgres-{port}"), command);
    let target = format!("host=127.0.0.1 port={port} user=postgres sslmode=disable");
    eventually(PATIENCE, "PostgreSQL to answer", || output(sandbox, "psql", &[&target, "-Atc", "select 1"]));
    server
}

fn serve_redis(sandbox: &Arc<Sandbox>, port: u16) -> Process {
    let mut command = as_nobody(sandbox);
    command.arg(require("redis-server"));
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir", "/run/db"]);
    if port == 6380 {
        command.args(["--tls-port", "6390", "--tls-auth-clients", "no"]);
        command.args(["--tls-cert-file", "/run/db/cert.pem", "--tls-key-file", "/run/db/key.pem"]);
        command.args(["--tls-ca-cert-file", "/run/db/cert.pem"]);
    }
    let server = sandbox.spawn(&format!("redis-{port}"), command);
    eventually(PATIENCE, "Redis to answer", || {
        output(sandbox, "redis-cli", &["-p", &port.to_string(), "ping"])
    });
    server
}

#[test]
fn clients_of_databases_get_through_in_the_clear_by_tls_and_by_asking_for_it() {
    let sandbox = Sandbox::enter();
    keep(&sandbox);
    make_cluster(&sandbox);
    let _postgres = serve_postgres(&sandbox, 5432);
    let _redis = serve_redis(&sandbox, 6380);
    let text = "
tcp:
  routers:
    pg: {entryPoints: [pg], rule: HostSNI(`*`), service: pg}
    pg-ended: {entryPoints: [secure], rule: HostSNI(`pg-ended.test`), service: pg, tls: {}}
    pg-passed: {entryPoints: [secure], rule: HostSNI(`pg-passed.test`), service: pg, tls: {passthrough: true}}
    redis: {entryPoints: [redis], rule: HostSNI(`*`), service: redis}
    redis-ended: {entryPoints: [secure], rule: HostSNI(`redis-ended.test`), service: redis, tls: {}}
    redis-passed: {entryPoints: [secure], rule: HostSNI(`redis-passed.test`), service: redis-tls, tls: {passthrough: true}}
  services:
    pg: {loadBalancer: {servers: [{address: '127.0.0.1:5432'}]}}
    redis: {loadBalancer: {servers: [{address: '127.0.0.1:6380'}]}}
    redis-tls: {loadBalancer: {servers: [{address: '127.0.0.1:6390'}]}}
";
    sandbox.write(FILE, text);
    let _portolan = start(
        "--entryPoints.pg.address=:9011 --entryPoints.redis.address=:9012 --entryPoints.secure.address=:9013",
    );
    // Whether the server sees TLS: not where it ended before.
    let by = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";
    for (host, port, mode, expected) in [
        ("db.test", 9011, "disable", "f"),
        ("db.test", 9011, "require", "t"),
        ("pg-ended.test", 9013, "require", "f"),
        ("pg-passed.test", 9013, "require", "t"),
    ] {
        let target = format!("host={host} hostaddr=127.0.0.1 port={port} user=postgres sslmode={mode}");
        assert_eq!(output(&sandbox, "psql", &[&target, "-Atc", by]).as_deref(), Ok(expected), "{target}");
    }
    for arguments in [
        &["-p", "9012"][..],
        &["-p", "9013", "--tls", "--insecure", "--sni", "redis-ended.test"],
        &["-p", "9013", "--tls", "--insecure", "--sni", "redis-passed.test"],
    ] {
        let said = output(&sandbox, "redis-cli", &[arguments, &["ping"]].concat());
        assert_eq!(said.as_deref(), Ok("PONG"), "{arguments:?}");
    }
}

/// Has the services lead to these of two servers each.
fn lead(sandbox: &Sandbox, both: &[u16]) {
    let servers = |base: u16| {
        let addresses = both.iter().map(|number| format!("{{address: '127.0.0.1:{}'}}", base + number));
        addresses.collect::<Vec<_>>().join(", ")
    };
    let text = format!(
        "tcp:\n  routers:\n    pg: {{entryPoints: [pg], rule: HostSNI(`*`), service: pg}}\n    \
         redis: {{entryPoints: [redis], rule: HostSNI(`*`), service: redis}}\n  services:\n    \
         pg: {{loadBalancer: {{servers: [{}]}}}}\n    redis: {{loadBalancer: {{servers: [{}]}}}}\n",
        servers(5432),
        servers(6380)
    );
    sandbox.write(FILE, &text);
}

#[test]
fn servers_are_restarted_one_by_one_under_load_and_nobody_is_refused() {
    let sandbox = Sandbox::enter();
    keep(&sandbox);
    make_cluster(&sandbox);
    let mut servers = [0, 1].map(|n| (serve_postgres(&sandbox, 5432 + n), serve_redis(&sandbox, 6380 + n)));
    lead(&sandbox, &[0, 1]);
    let portolan = start("--entryPoints.pg.address=:9011 --entryPoints.redis.address=:9012");
    sandbox.write("/run/one.sql", "select 1;\n");
    // A connection for each transaction, and for each request.
    let mut pgbench = sandbox.command(require("pgbench"));
    pgbench.args("-h 127.0.0.1 -p 9011 -U postgres -n -C -c 4 -T 600 -f /run/one.sql postgres".split(' '));
    let mut pgbench = sandbox.spawn("pgbench", pgbench);
    let mut redis = sandbox.command(require("redis-benchmark"));
    redis.args("-h 127.0.0.1 -p 9012 -k 0 -c 8 -n 100000000 -t get -q".split(' '));
    let mut redis = sandbox.spawn("redis-benchmark", redis);
    for restarted in [0, 1] {
        let before = connections(&portolan);
        let (pg_port, redis_port) = (5432 + restarted, 6380 + restarted);
        // Whoever is connected to one that leaves stays with it.
        let mut stays = eventually(PATIENCE, "a connection to the one that leaves", || {
            let mut client = TcpStream::connect("127.0.0.1:9012").map_err(|error| error.to_string())?;
            let told = ask(&mut client, "INFO server").unwrap_or_default();
            if told.contains(&format!("tcp_port:{redis_port}\r")) { Ok(client) } else { Err(told) }
        });
        lead(&sandbox, &[1 - restarted]);
        eventually(PATIENCE, "the file to be followed", || {
            let left = format!("portolan_endpoint_up{{endpoint=\"127.0.0.1:{redis_port}\"}}");
            let up = portolan.metric(&left);
            if up < 0.5 { Ok(()) } else { Err(up) }
        });
        assert!(ask(&mut stays, "PING").is_ok_and(|answer| answer.contains("PONG")), "it is broken off");
        drop(stays);
        // Redis breaks off whoever is there: nobody is, once all have finished what they began.
        eventually(PATIENCE, "the one that left to be idle", || {
            let port = redis_port.to_string();
            let told = output(&sandbox, "redis-cli", &["-p", &port, "info", "clients"])?;
            if told.contains("connected_clients:1\r") { Ok(()) } else { Err(told) }
        });
        let (postgres, redis) = &mut servers[usize::from(restarted)];
        for server in [&mut *postgres, &mut *redis] {
            server.signal(Signal::TERM);
            server.wait_exit(PATIENCE);
        }
        (*postgres, *redis) = (serve_postgres(&sandbox, pg_port), serve_redis(&sandbox, redis_port));
        lead(&sandbox, &[0, 1]);
        eventually(PATIENCE, "the load to go on", || {
            let now = connections(&portolan);
            if now.iter().zip(&before).all(|(now, before)| *now > before + 50.0) {
                Ok(())
            } else {
                Err(format!("{now:?}"))
            }
        });
    }
    for load in [&mut pgbench, &mut redis] {
        assert!(load.exited().is_none(), "a client was refused: {}", load.log());
    }
    for service in ["pg", "redis"] {
        let refused = portolan.metric(&format!("portolan_refusals_total{{entrypoint=\"{service}\"}}"));
        assert!(refused < 0.5, "{refused} of {service}");
    }
    // Its own signal: then it says what it did.
    pgbench.signal(Signal::TERM);
    redis.signal(Signal::TERM);
}

fn connections(portolan: &Portolan) -> [f64; 2] {
    ["pg", "redis"].map(|name| {
        portolan.metric(&format!("portolan_entrypoint_connections_ended_total{{entrypoint=\"{name}\"}}"))
    })
}

/// One command of Redis, in its inline form, and the beginning of its answer.
fn ask(client: &mut TcpStream, command: &str) -> std::io::Result<String> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 8192];
    let length = client.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

/// As much as `PORTOLAN_TRANSFER_MIB` says, each way: 32 MiB unless it says more.
#[test]
fn much_arrives_as_it_was_sent_and_one_side_may_end_before_the_other() {
    let blocks = bulk::blocks();
    let sandbox = Sandbox::enter();
    let listener = TcpListener::bind("127.0.0.1:7001").expect("a socket");
    sandbox.write(
        FILE,
        "
tcp:
  routers:
    bulk: {entryPoints: [bulk], rule: HostSNI(`*`), service: bulk}
  services:
    bulk: {loadBalancer: {servers: [{address: '127.0.0.1:7001'}]}}
",
    );
    let portolan = start("--entryPoints.bulk.address=:9011");
    // The server says nothing before the client has ended.
    let server = thread::spawn(move || {
        let (client, _) = listener.accept().expect("a client");
        let received = receive(&client);
        let sent = send(&client, 2, blocks);
        client.shutdown(Shutdown::Both).expect("a connection");
        (received, sent)
    });
    let client = TcpStream::connect("127.0.0.1:9011").expect("an entry point");
    let sent = send(&client, 1, blocks);
    client.shutdown(Shutdown::Write).expect("a connection");
    let received = receive(&client);
    let (by_server, of_server) = server.join().expect("the server is done");
    assert_eq!(by_server, (sent, blocks * BLOCK));
    assert_eq!(received, (of_server, blocks * BLOCK));
    eventually(PATIENCE, "it to be told", || {
        let ended = portolan
            .metric("portolan_entrypoint_connections_ended_total{entrypoint=\"bulk\",reason=\"done\"}");
        if ended >= 1.0 { Ok(()) } else { Err(ended) }
    });
    let bytes = portolan.metric("portolan_entrypoint_received_bytes_total{entrypoint=\"bulk\"}");
    assert!(bytes >= (blocks * BLOCK) as f64, "{bytes}");
}

/// The address that whoever answers at this port takes for the client's, asked by HTTP from 127.0.0.5.
fn seen_at(port: u16) -> Result<String, String> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)
        .map_err(|error| error.to_string())?;
    let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 5), 0));
    rustix::net::bind(&socket, &from).map_err(|error| error.to_string())?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    rustix::net::connect(&socket, &to).map_err(|error| error.to_string())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let (_, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {answer:?}"))?;
    Ok(body.trim().to_owned())
}

#[test]
fn nginx_and_haproxy_read_who_the_client_is_and_are_believed() {
    let sandbox = Sandbox::enter();
    // At 7001 and 7002 they say whom they see; what comes to 71xx they send to the entry point `in`, with a header.
    sandbox.write(
        "/run/nginx.conf",
        "
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; pid /run/nginx.pid; error_log stderr; worker_processes 1;
events {}
http {
  access_log off;
  server { listen 127.0.0.1:7001 proxy_protocol; location / { return 200 $proxy_protocol_addr; } }
}
stream {
  server { listen 127.0.0.1:7101; proxy_pass 127.0.0.1:9019; proxy_protocol on; }
}
",
    );
    sandbox.write(
        "/run/haproxy.cfg",
        "
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
frontend seen
  mode http
  bind 127.0.0.1:7002 accept-proxy
  http-request return status 200 content-type text/plain lf-string %[src]
listen v1
  bind 127.0.0.1:7102
  server portolan 127.0.0.1:9019 send-proxy
listen v2
  bind 127.0.0.1:7103
  server portolan 127.0.0.1:9019 send-proxy-v2
",
    );
    sandbox.write(
        FILE,
        "
tcp:
  routers:
    in: {entryPoints: [in], rule: HostSNI(`*`), service: nginx-v2}
    nginx-v1: {entryPoints: [nginx-v1], rule: HostSNI(`*`), service: nginx-v1}
    haproxy-v1: {entryPoints: [haproxy-v1], rule: HostSNI(`*`), service: haproxy-v1}
    haproxy-v2: {entryPoints: [haproxy-v2], rule: HostSNI(`*`), service: haproxy-v2}
  services:
    nginx-v1: {loadBalancer: {servers: [{address: '127.0.0.1:7001'}], proxyProtocol: {version: 1}}}
    nginx-v2: {loadBalancer: {servers: [{address: '127.0.0.1:7001'}], proxyProtocol: {version: 2}}}
    haproxy-v1: {loadBalancer: {servers: [{address: '127.0.0.1:7002'}], proxyProtocol: {version: 1}}}
    haproxy-v2: {loadBalancer: {servers: [{address: '127.0.0.1:7002'}], proxyProtocol: {version: 2}}}
",
    );
    let mut nginx = sandbox.command(require("nginx"));
    nginx.args(["-p", "/run", "-c", "/run/nginx.conf"]);
    let _nginx = sandbox.spawn("nginx", nginx);
    let mut haproxy = sandbox.command(require("haproxy"));
    haproxy.args(["-db", "-f", "/run/haproxy.cfg"]);
    let _haproxy = sandbox.spawn("haproxy", haproxy);
    let _portolan = start(
        "--entryPoints.in.address=:9019 --entryPoints.in.proxyProtocol.trustedIPs=127.0.0.1/32 \
         --entryPoints.nginx-v1.address=:9011 --entryPoints.haproxy-v1.address=:9012 \
         --entryPoints.haproxy-v2.address=:9013",
    );
    // Read by nginx and HAProxy; then told by them, read here, and told on.
    let mut seen = 0;
    for port in [9011, 9012, 9013, 7101, 7102, 7103] {
        eventually(PATIENCE, &format!("the client's address by {port}"), || match seen_at(port)? {
            client if client == "127.0.0.5" => Ok(()),
            other => Err(other),
        });
        seen += 1;
    }
    assert_eq!(seen, 6);
}
