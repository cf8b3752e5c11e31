"""A stand-in for a container engine: it tells of two containers on the host's network, and of nothing else, ever.

One is the origin, by one host or by many; the other echoes WebSocket messages.
"""

import json
import os
import socket
import sys
import threading

from proxies.base import ECHO, ECHO_HOST, ORIGIN, hosts


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


def listed(whole: dict) -> dict:
    return {
        "Id": whole["Id"],
        "Names": [whole["Name"]],
        "Created": 1767225600,
        "State": "running",
        "Status": "Up",
        "Labels": whole["Config"]["Labels"],
        "HostConfig": whole["HostConfig"],
        "NetworkSettings": whole["NetworkSettings"],
    }


def answers(known: list[dict]) -> dict:
    return {
        "_ping": b"OK",
        "version": json.dumps({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode(),
        "info": json.dumps({"SystemTime": "2026-01-01T00:00:00Z"}).encode(),
        "networks": b"[]",
        "containers/json": json.dumps([listed(each) for each in known]).encode(),
        **{f"containers/{each['Id']}/json": json.dumps(each).encode() for each in known},
    }


def serve(connection: socket.socket, known: dict) -> None:
    lines = connection.makefile("rb")
    while request := lines.readline():
        while lines.readline().strip():
            pass
        path = request.split()[1].decode().split("?")[0].strip("/")
        if path.startswith("v1."):
            path = path.split("/", 1)[1]
        if path == "events":
            # Nothing ever happens; the stream stays open.
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head)
            continue
        body = known.get(path, b"{}")
        head = f"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def main() -> None:
    path, published, routers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(16)
    known = answers(containers(published, hosts(routers)))
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, known), daemon=True).start()


if __name__ == "__main__":
    main()
