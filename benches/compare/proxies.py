"""The proxies, each configured to do the same: keep connections to the origin, add two fields, write no log."""

import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

ORIGIN = 7000
# Where each takes HTTP, and where it passes TCP on.
PORTS = {"portolan": (7101, 7102), "haproxy": (7201, 7202), "nginx": (7301, 7302)}
PROXY_CORE, LOAD_CORE = 0, 1


@dataclass
class Proxy:
    name: str
    process: subprocess.Popen
    http: int
    tcp: int


def pinned(core: int, command: list[str], log: Path) -> subprocess.Popen:
    """Starts a program on one core; it dies with this one."""
    command = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *command]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log.open("w"), stderr=subprocess.STDOUT)


def origin(folder: Path) -> subprocess.Popen:
    for name, size in (("small", 128), ("64k", 64 << 10), ("1m", 1 << 20)):
        (folder / name).write_bytes(b"a" * size)
    config = folder / "origin.conf"
    config.write_text(f"""
        worker_processes 1; daemon off; pid {folder}/origin.pid; error_log {folder}/origin.err;
        events {{ worker_connections 8192; }}
        http {{
            access_log off; default_type text/plain; sendfile on; tcp_nopush on;
            keepalive_requests 1000000000; keepalive_timeout 3600s;
            server {{ listen 127.0.0.1:{ORIGIN}; root {folder}; }}
        }}""")
    return pinned(LOAD_CORE, ["nginx", "-c", str(config)], folder / "origin.log")


def haproxy(folder: Path, logged: bool) -> Proxy:
    http, tcp = PORTS["haproxy"]
    config = folder / "haproxy.cfg"
    log = "log stdout format raw local0\n    option httplog" if logged else ""
    config.write_text(f"""
global
    maxconn 4000
    nbthread 1
defaults
    timeout connect 5s
    timeout client 75s
    timeout server 75s
    timeout http-request 10s
frontend http
    mode http
    {log}
    bind 127.0.0.1:{http}
    option forwardfor
    option splice-auto
    http-request set-header X-Forwarded-Proto http
    http-request deny unless {{ hdr(host) -i bench.test }}
    default_backend origin
backend origin
    mode http
    http-reuse always
    server origin 127.0.0.1:{ORIGIN}
listen tcp
    mode tcp
    bind 127.0.0.1:{tcp}
    server origin 127.0.0.1:{ORIGIN}
""")
    process = pinned(PROXY_CORE, ["haproxy", "-f", str(config)], folder / "haproxy.log")
    return Proxy("haproxy", process, http, tcp)


def nginx(folder: Path, logged: bool) -> Proxy:
    http, tcp = PORTS["nginx"]
    config = folder / "nginx.conf"
    log = f"{folder}/nginx.access" if logged else "off"
    config.write_text(f"""
        worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
        events {{ worker_connections 8192; }}
        http {{
            access_log {log}; keepalive_requests 1000000000; keepalive_timeout 75s;
            client_header_timeout 10s; client_max_body_size 0;
            upstream origin {{ server 127.0.0.1:{ORIGIN}; keepalive 256; keepalive_requests 1000000000; }}
            server {{
                listen 127.0.0.1:{http}; server_name bench.test;
                location / {{
                    proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
                    proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr;
                    proxy_set_header X-Forwarded-Proto http;
                }}
            }}
        }}""")
    process = pinned(PROXY_CORE, ["nginx", "-c", str(config)], folder / "nginx.log")
    return Proxy("nginx", process, http, tcp)


def portolan(folder: Path, logged: bool, binary: Path) -> Proxy:
    http, tcp = PORTS["portolan"]
    socket = folder / "engine.sock"
    here = Path(__file__).parent
    pinned(LOAD_CORE, [sys.executable, str(here / "engine.py"), str(socket), str(ORIGIN), str(tcp)], folder / "engine.log")
    command = [str(binary), "run", "--workers", "1", "--docker-host", f"unix://{socket}", "--dns-address", "off"]
    command += ["--admin-address", "127.0.0.1:7109", "--entry-point", f"web=127.0.0.1:{http}"]
    if logged:
        command += ["--access-log", str(folder / "portolan.access"), "--access-log-format", "json"]
    return Proxy("portolan", pinned(PROXY_CORE, command, folder / "portolan.log"), http, tcp)


def await_answer(port: int, seconds: float = 15) -> None:
    """Returns once the origin answers through this port."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/small", headers={"Host": "bench.test"})
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(request, timeout=1) as answer:
                answer.read()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"nothing answers on port {port}: {error}") from error
            time.sleep(0.05)
