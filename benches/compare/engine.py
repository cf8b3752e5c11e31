"""A stand-in for a container engine: it tells of two containers on the host's network, and of nothing else, ever.

One is the origin, by one host or by many; the other echoes WebSocket messages.
"""

import sys

from proxies.base import ECHO, ECHO_HOST, ORIGIN, hosts
from stand_in import stand_in


def container(name: str, number: int, port: int, labels: dict) -> dict:
    return {
        "Id": f"{number:064x}",
        "Name": f"/{name}",
        "Created": "2026-01-01T00:00:00Z",
        "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-01T00:00:00Z"},
        "Config": {"Labels": labels, "ExposedPorts": {f"{port}/tcp": {}}},
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Networks": {"host": {"NetworkID": "host", "EndpointID": "host"}}},
    }


def containers(published: int, names: list[str]) -> list[dict]:
    labels = {f"traefik.http.routers.bench-{number}.rule": f"Host(`{host}`)" for number, host in enumerate(names)}
    labels["traefik.http.services.bench.loadbalancer.server.port"] = str(ORIGIN)
    labels["portolan.publish"] = f"127.0.0.1:{published}:{ORIGIN}"
    echo = {
        "traefik.http.routers.echo.rule": f"Host(`{ECHO_HOST}`)",
        "traefik.http.services.echo.loadbalancer.server.port": str(ECHO),
    }
    return [container("bench", 0xC0FFEE, ORIGIN, labels), container("echo", 0xDECAF, ECHO, echo)]


def main() -> None:
    path, published, routers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    stand_in(path, containers(published, hosts(routers)))


if __name__ == "__main__":
    main()
