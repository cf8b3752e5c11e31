#!/usr/bin/env python3
"""Everybody else: `bystander.py PORT HOST SECONDS` asks at a steady pace and prints how it was answered.

Three keep their connections, one makes a new one each time. A request's time begins when it was due, so that a proxy
that stands still for a while is seen by all that should have been asked meanwhile.
"""

import json
import socket
import sys
import threading
import time

CLIENTS, PACE_SECONDS, TIMEOUT = 4, 0.01, 2


def ask(connection: socket.socket, request: bytes) -> bool:
    connection.sendall(request)
    received = b""
    while not received.endswith(b"a" * 128):
        more = connection.recv(65536)
        if not more:
            return False
        received += more
    return received.startswith(b"HTTP/1.1 200 ")


def client(port: int, host: str, until: float, kept: bool, seen: dict) -> None:
    request = f"GET /small HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    connection, due = None, time.monotonic()
    while due < until:
        time.sleep(max(due - time.monotonic(), 0))
        try:
            if connection is None:
                connection = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            good = ask(connection, request)
        except OSError:
            good = False
        seen["failures"] += not good
        seen["took_ms"].append((time.monotonic() - due) * 1e3)
        if not kept or not good:
            if connection:
                connection.close()
            connection = None
        due += PACE_SECONDS


def main() -> None:
    port, host, seconds = int(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    until = time.monotonic() + seconds
    whole = [{"failures": 0, "took_ms": []} for _ in range(CLIENTS)]
    threads = [
        threading.Thread(target=client, args=(port, host, until, number > 0, seen)) for number, seen in enumerate(whole)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = sorted(each for seen in whole for each in seen["took_ms"])
    print(json.dumps({
        "requests": len(took),
        "failures": sum(seen["failures"] for seen in whole),
        "p99_ms": round(took[int(len(took) * 0.99)], 2),
        "max_ms": round(took[-1], 2),
    }))


if __name__ == "__main__":
    main()
