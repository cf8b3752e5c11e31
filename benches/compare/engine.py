"""A stand-in for a container engine: it tells of one container on the host's network, and of nothing else, ever."""

import json
import os
import socket
import sys
import threading

CONTAINER = "c0ffee" + "0" * 58


def container(port: int, published: int) -> dict:
    labels = {
        "traefik.http.routers.bench.rule": "Host(`bench.test`)",
        "traefik.http.services.bench.loadbalancer.server.port": str(port),
        "portolan.publish": f"127.0.0.1:{published}:{port}",
    }
    return {
        "Id": CONTAINER,
        "Name": "/bench",
        "Created": "2026-01-01T00:00:00Z",
        "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-01T00:00:00Z"},
        "Config": {"Labels": labels, "ExposedPorts": {f"{port}/tcp": {}}},
        "HostConfig": {"NetworkMode": "host"},
        "NetworkSettings": {"Networks": {"host": {"NetworkID": "host", "EndpointID": "host"}}},
    }


def answers(port: int, published: int) -> dict:
    whole = container(port, published)
    listed = {
        "Id": CONTAINER,
        "Names": ["/bench"],
        "Created": 1767225600,
        "State": "running",
        "Status": "Up",
        "Labels": whole["Config"]["Labels"],
        "HostConfig": whole["HostConfig"],
        "NetworkSettings": whole["NetworkSettings"],
    }
    return {
        "_ping": b"OK",
        "version": json.dumps({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode(),
        "info": json.dumps({"SystemTime": "2026-01-01T00:00:00Z"}).encode(),
        "networks": b"[]",
        "containers/json": json.dumps([listed]).encode(),
        f"containers/{CONTAINER}/json": json.dumps(whole).encode(),
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
    path, port, published = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(16)
    known = answers(port, published)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, known), daemon=True).start()


if __name__ == "__main__":
    main()
