#!/usr/bin/env python3
"""WebSocket (RFC 6455), as much as an echo takes: `serve PORT` echoes, `load PORT HOST CONNECTIONS SECONDS` asks it.

Messages are of one size and come one at a time on a connection, so a read is a message or, seldom, a part of one. The
client masks with zeros, as the standard lets it: what it costs a proxy, which reads none of it, is the same.
"""

import base64
import hashlib
import json
import selectors
import socket
import sys
import time

SIZE = 120
# FIN and text; the length; from the client: the mask bit and a mask.
FROM_CLIENT = bytes([0x81, 0x80 | SIZE]) + bytes(4) + b"e" * SIZE
FROM_SERVER = bytes([0x81, SIZE]) + b"e" * SIZE
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def serve(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    waiting = selectors.EpollSelector()
    waiting.register(listener, selectors.EVENT_READ)
    open_connections: dict[int, list] = {}
    while True:
        for key, _ in waiting.select():
            if key.fileobj is listener:
                connection, _ = listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                waiting.register(connection, selectors.EVENT_READ)
                open_connections[connection.fileno()] = [False, b""]
                continue
            connection, state = key.fileobj, open_connections[key.fd]
            try:
                received = connection.recv(65536)
                if received:
                    echo(connection, state, received)
                    continue
            except OSError:
                pass
            waiting.unregister(connection)
            connection.close()


def echo(connection: socket.socket, state: list, received: bytes) -> None:
    upgraded, before = state
    received = before + received
    if not upgraded:
        head, end, received = received.partition(b"\r\n\r\n")
        if not end:
            state[1] = head
            return
        connection.sendall(accepted(head))
        state[0] = True
    while len(received) >= len(FROM_CLIENT):
        connection.sendall(FROM_SERVER)
        received = received[len(FROM_CLIENT) :]
    state[1] = received


def accepted(head: bytes) -> bytes:
    fields = dict(line.lower().split(b":", 1)[:1] + line.split(b":", 1)[1:] for line in head.split(b"\r\n")[1:])
    key = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"].strip() + GUID).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n"
    )


def opened(port: int, host: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(
        f"GET /echo HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        received = connection.recv(1)
        if not received:
            break
        head += received
    if not head.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"no WebSocket: {head[:100]!r}")
    return connection


def load(port: int, host: str, count: int, seconds: float) -> dict:
    waiting = selectors.EpollSelector()
    sent: dict[int, float] = {}
    for _ in range(count):
        connection = opened(port, host)
        waiting.register(connection, selectors.EVENT_READ, [b""])
    begun = time.monotonic()
    for key in waiting.get_map().values():
        key.fileobj.sendall(FROM_CLIENT)
        sent[key.fd] = time.monotonic()
    took, errors = [], 0
    while time.monotonic() < begun + seconds and waiting.get_map():
        for key, _ in waiting.select(1):
            received = key.data[0] + key.fileobj.recv(4096)
            if len(received) < len(FROM_SERVER):
                if received == key.data[0]:
                    errors += 1
                    waiting.unregister(key.fileobj)
                key.data[0] = received
                continue
            errors += received != FROM_SERVER
            key.data[0] = b""
            now = time.monotonic()
            took.append(now - sent[key.fd])
            sent[key.fd] = now
            key.fileobj.sendall(FROM_CLIENT)
    return {"seconds": time.monotonic() - begun, "errors": errors, "took_us": [round(each * 1e6) for each in took]}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(load(int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))))
