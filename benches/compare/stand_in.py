"""What stands in for a container engine: it tells of the containers that it is given, and of nothing else, ever."""

import json
import os
import socket
import threading


def listed(whole: dict) -> dict:
    """A container as the list has it, from what an inspection has."""
    return {
        "Id": whole["Id"],
        "Names": [whole["Name"]],
        "Created": 1767225600,
        "State": whole["State"]["Status"],
        "Status": "Up",
        "Labels": whole["Config"]["Labels"],
        "HostConfig": whole["HostConfig"],
        "NetworkSettings": whole["NetworkSettings"],
    }


# What is asked besides, and answered the same whatever runs.
ALWAYS = {
    "_ping": b"OK",
    "version": json.dumps({"Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12"}).encode(),
    "info": json.dumps({"SystemTime": "2026-01-01T00:00:00Z"}).encode(),
    "networks": b"[]",
}


def answers(containers: list[dict]) -> dict:
    """Bodies by path, without the API's version."""
    return ALWAYS | {
        "containers/json": json.dumps([listed(each) for each in containers]).encode(),
        **{f"containers/{each['Id']}/json": json.dumps(each).encode() for each in containers},
    }


def requests(connection: socket.socket):
    """The paths that are asked for, one after the other."""
    lines = connection.makefile("rb")
    while request := lines.readline():
        while lines.readline().strip():
            pass
        path = request.split()[1].decode().split("?")[0].strip("/")
        yield path.split("/", 1)[1] if path.startswith("v1.") else path


def begin_events(connection: socket.socket) -> None:
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )


def answer(connection: socket.socket, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)


def serve(connection: socket.socket, known: dict) -> None:
    for path in requests(connection):
        if path == "events":
            # Nothing ever happens; the stream stays open.
            begin_events(connection)
        else:
            answer(connection, known.get(path, b"{}"))


def listen(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    if os.path.exists(path):
        os.unlink(path)
    listener.bind(path)
    listener.listen(64)
    return listener


def accept(listener: socket.socket, serve) -> None:
    """Serves every connection, each on a thread of its own."""
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def stand_in(path: str, containers: list[dict]) -> None:
    """Tells of these at a socket, for as long as the process runs."""
    known = answers(containers)
    accept(listen(path), lambda connection: serve(connection, known))
