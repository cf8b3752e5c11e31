#!/usr/bin/env python3
"""Datagrams there and back: `serve PORT` echoes them, `load PORT CLIENTS SECONDS` asks it.

Every client has a socket of its own, and a handful of datagrams on their way, as a game or a stream of media has. One
that is lost is sent again, and counted as a fault.
"""

import json
import selectors
import socket
import sys
import time

SIZE = 128
# On their way at a time, for each client.
AHEAD = 8
# Then one that was not answered is taken for lost.
LOST = 0.5


def serve(port: int) -> None:
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    echo.bind(("127.0.0.1", port))
    while True:
        datagram, client = echo.recvfrom(2048)
        echo.sendto(datagram, client)


def load(port: int, count: int, seconds: float) -> dict:
    waiting = selectors.EpollSelector()
    heard: dict[int, float] = {}
    datagram = bytes(SIZE)
    for _ in range(count):
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setblocking(False)
        client.connect(("127.0.0.1", port))
        waiting.register(client, selectors.EVENT_READ)
        heard[client.fileno()] = time.monotonic()
    clients = [key.fileobj for key in waiting.get_map().values()]
    begun = time.monotonic()
    for client in clients:
        for _ in range(AHEAD):
            client.send(datagram)
    answered = errors = 0
    took: list[float] = []
    while (now := time.monotonic()) < begun + seconds:
        ready = waiting.select(LOST)
        for key, _ in ready:
            took.append(now - heard[key.fd])
            heard[key.fd] = now
            for _ in range(AHEAD):
                try:
                    errors += len(key.fileobj.recv(2048)) != SIZE
                except BlockingIOError:
                    break
                except ConnectionRefusedError:
                    errors += 1
                    continue
                answered += 1
                key.fileobj.send(datagram)
        if not ready:
            errors += 1
            for client in clients:
                client.send(datagram)
    lasted = time.monotonic() - begun
    # A time for each datagram, as the rest of the harness counts them: those that came together share theirs.
    spread = sorted(round(each * 1e6) for each in took) or [0]
    took_us = [spread[index * len(spread) // answered] for index in range(answered)]
    return {"seconds": lasted, "errors": errors, "took_us": took_us}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(load(int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
