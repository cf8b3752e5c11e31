"""A stand-in for a container engine: it tells of many containers, and of nothing else, ever."""

import json
import os
import socket
import sys
import threading
import time

ALONE, SERVICES, REPLICAS = 1000, 100, 4


def address(number: int) -> str:
    return f"10.{64 + number // 65536}.{number // 256 % 256}.{number % 256}"


def containers() -> list[tuple[str, str, dict]]:
    """Names, addresses and labels: some alone, some four to a service."""
    found = [(f"app-{n}", address(n), {}) for n in range(ALONE)]
    for service in range(SERVICES):
        for replica in range(REPLICAS):
            number = ALONE + service * REPLICAS + replica
            found.append((f"svc-{service}-{replica}", address(number), {"portolan.service": f"svc-{service}"}))
    return found


def whole(name: str, ip: str, labels: dict) -> dict:
    identity = name.encode().hex().rjust(64, "0")[::-1]
    attachment = {"NetworkID": "n" * 64, "EndpointID": identity[::-1], "IPAddress": ip, "Aliases": []}
    return {
        "Id": identity,
        "Name": f"/{name}",
        "Created": "2026-01-01T00:00:00Z",
        "State": {"Status": "running", "Running": True, "StartedAt": "2026-01-01T00:00:00Z"},
        "Config": {"Labels": labels, "ExposedPorts": {"80/tcp": {}}},
        "HostConfig": {"NetworkMode": "bench"},
        "NetworkSettings": {"Networks": {"bench": attachment}},
    }


def answers() -> dict:
    every = [whole(*container) for container in containers()]
    listed = [
        {
            "Id": each["Id"],
            "Names": [each["Name"]],
            "Created": 1767225600,
            "State": "running",
            "Status": "Up",
            "Labels": each["Config"]["Labels"],
            "HostConfig": each["HostConfig"],
            "NetworkSettings": each["NetworkSettings"],
        }
        for each in every
    ]
    known = {
        "_ping": b"OK",
        "version": json.dumps({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode(),
        "info": json.dumps({"SystemTime": "2026-01-01T00:00:00Z"}).encode(),
        "networks": b"[]",
        "containers/json": json.dumps(listed).encode(),
    }
    known |= {f"containers/{each['Id']}/json": json.dumps(each).encode() for each in every}
    return known


def serve(connection: socket.socket, known: dict) -> None:
    lines = connection.makefile("rb")
    while request := lines.readline():
        while lines.readline().strip():
            pass
        path = request.split()[1].decode().split("?")[0].strip("/")
        if path.startswith("v1."):
            path = path.split("/", 1)[1]
        if path == "events":
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
            connection.sendall(head)
            threading.Event().wait()
        body = known.get(path, b"{}")
        head = f"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)


def main() -> None:
    path = sys.argv[1]
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(16)
    known = answers()
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=serve, args=(connection, known), daemon=True).start()


if __name__ == "__main__":
    main()
