"""HAProxy."""

from .base import ECHO, ECHO_HOST, ORIGIN, PROXY_CORE, Proxy, Setup, of_one_port, pinned

APT = "haproxy"
PROGRAM = "haproxy"


def start(setup: Setup) -> Proxy:
    ports, folder = setup.ports, setup.folder
    log = "log stdout format raw local0\n    option httplog" if setup.logged else ""
    pem = folder / "both.pem"
    pem.write_text(setup.certificate.read_text() + setup.key.read_text())
    hosts = folder / "hosts.map"
    hosts.write_text("".join(f"{host} origin\n" for host in setup.hosts) + f"{ECHO_HOST} echo\n")
    config = folder / "haproxy.cfg"
    config.write_text(f"""
global
    maxconn 4000
    nbthread 1
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-request 10s
    timeout tunnel 1h
frontend http
    mode http
    {log}
    bind 127.0.0.1:{ports.http}
    bind 127.0.0.1:{ports.tls} ssl crt {pem} alpn h2,http/1.1
    option forwardfor
    option splice-auto
    http-request set-header X-Forwarded-Proto https if {{ ssl_fc }}
    http-request set-header X-Forwarded-Proto http unless {{ ssl_fc }}
    use_backend %[req.hdr(host),field(1,:),lower,map_str({hosts})]
backend origin
    mode http
    http-reuse always
    server origin 127.0.0.1:{ORIGIN}
backend echo
    mode http
    server echo 127.0.0.1:{ECHO}
listen tcp
    mode tcp
    bind 127.0.0.1:{ports.tcp}
    option splice-auto
    server origin 127.0.0.1:{ORIGIN}
""")
    process = pinned(PROXY_CORE, [setup.program, "-f", config], folder / "haproxy.log")
    kinds = of_one_port(ports, "http", "h2c", "tls", "tcp")
    return Proxy("haproxy", process, {**kinds, "routed": ports.tcp, "kernel": ports.tcp})
