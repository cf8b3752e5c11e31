"""Portolan: the release binary as users run it. It finds the origin the way it finds containers (`engine.py`)."""

import json
import subprocess
import sys
from pathlib import Path

from .base import LOAD_CORE, ORIGIN, PROXY_CORE, UDP_ECHO, Proxy, Setup, of_one_port, pinned

ENGINE = Path(__file__).parent.parent / "engine.py"
# How long a binary that doesn't know a flag takes to say so, at the most.
REFUSAL_SECONDS = 2


def start(setup: Setup) -> Proxy:
    ports, folder = setup.ports, setup.folder
    socket = folder / "engine.sock"
    pinned(LOAD_CORE, [sys.executable, ENGINE, socket, ports.tcp, setup.routers], folder / "engine.log")
    dynamic = folder / "portolan.yml"
    certificate = {"certFile": str(setup.certificate), "keyFile": str(setup.key)}
    # JSON is YAML.
    options = {"default": {"minVersion": "VersionTLS13"}}
    udp = {
        "routers": {"echo": {"entryPoints": ["datagrams"], "service": "echo"}},
        "services": {"echo": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{UDP_ECHO}"}]}}},
    }
    server = {"servers": [{"address": f"127.0.0.1:{ORIGIN}"}]}
    ways = {"routed": server, "kernel": {**server, "dataPath": "sockmap"}}
    tcp = {
        "routers": {way: {"rule": "HostSNI(`*`)", "entryPoints": [way], "service": way} for way in ways},
        "services": {way: {"loadBalancer": balancer} for way, balancer in ways.items()},
    }
    tls = {"certificates": [certificate], "options": options}
    dynamic.write_text(json.dumps({"tls": tls, "tcp": tcp, "udp": udp}))
    common = [setup.program, "run", "--workers", "1", "--dns-address", "off"]
    common += ["--admin-address", f"127.0.0.1:{ports.admin}"]
    if setup.logged:
        common += ["--access-log", folder / "portolan.access", "--access-log-format", "json"]
    secured = [
        *common,
        f"--entryPoints.web.address=127.0.0.1:{ports.http}",
        f"--entryPoints.websecure.address=127.0.0.1:{ports.tls}",
        "--entryPoints.websecure.http.tls=true",
        f"--entryPoints.routed.address=127.0.0.1:{ports.routed}",
        f"--entryPoints.kernel.address=127.0.0.1:{ports.kernel}",
        f"--entryPoints.datagrams.address=127.0.0.1:{ports.udp}/udp",
        f"--providers.docker.endpoint=unix://{socket}",
        f"--providers.file.filename={dynamic}",
    ]
    log = folder / "portolan.log"
    process = pinned(PROXY_CORE, secured, log)
    try:
        process.wait(REFUSAL_SECONDS)
    except subprocess.TimeoutExpired:
        return Proxy("portolan", process, of_one_port(ports, "http", "h2c", "tls", "tcp", "udp", "routed", "kernel"))
    said = log.read_text().strip().splitlines()
    notes = [f"no TLS: {said[0] if said else 'it ended'}"]
    plain = [*common, "--docker-host", f"unix://{socket}", "--entry-point", f"web=127.0.0.1:{ports.http}"]
    return Proxy("portolan", pinned(PROXY_CORE, plain, log), of_one_port(ports, "http", "h2c", "tcp"), notes)
