#!/usr/bin/env python3
"""Makes TLS 1.3 connections one after another, in several processes, and counts full and resumed handshakes.

`handshakes.py PORT HOST full|resumed PROCESSES SECONDS`. No request is sent, but for one by which a process gets the
first ticket; a resumed handshake uses the newest ticket. The count is of what the client's library says was done.
"""

import json
import multiprocessing
import socket
import ssl
import sys
import time


def context() -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    made.set_alpn_protocols(["http/1.1"])
    return made


def ticket(tls: ssl.SSLContext, port: int, host: str) -> ssl.SSLSession:
    """The tickets have come when the answer has."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
        with tls.wrap_socket(plain, server_hostname=host) as secured:
            secured.sendall(f"GET /small HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            while secured.recv(65536):
                pass
            return secured.session


def connections(port: int, host: str, resumed: bool, until: float) -> dict:
    tls = context()
    seen = {"full": 0, "resumed": 0, "errors": 0, "took_us": []}
    session = ticket(tls, port, host) if resumed else None
    if resumed:
        seen["full"] += 1
    while time.monotonic() < until:
        begun = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as plain:
                plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                secured = tls.wrap_socket(plain, server_hostname=host, session=session, do_handshake_on_connect=False)
                secured.do_handshake()
                seen["took_us"].append(round((time.monotonic() - begun) * 1e6))
                seen["resumed" if secured.session_reused else "full"] += 1
                session = closed(secured, session) if resumed else closed(secured, None)
        except OSError:
            seen["errors"] += 1
    return seen


def closed(secured: ssl.SSLSocket, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """Ends a connection in order: the other end's close, and the tickets before it, are awaited."""
    try:
        secured.unwrap().close()
    except OSError:
        # It closed without a word. The handshake was made.
        secured.close()
    return session and (secured.session or session)


def work(pipe, *arguments) -> None:
    pipe.send(connections(*arguments))


def main() -> None:
    port, host, kind, processes, seconds = sys.argv[1:]
    begun = time.monotonic()
    until = begun + float(seconds)
    running = []
    for _ in range(int(processes)):
        here, there = multiprocessing.Pipe(False)
        process = multiprocessing.Process(target=work, args=(there, int(port), host, kind == "resumed", until))
        process.start()
        running.append((process, here))
    whole = {"full": 0, "resumed": 0, "errors": 0, "took_us": []}
    for process, pipe in running:
        for key, value in pipe.recv().items():
            whole[key] += value
        process.join()
    print(json.dumps({"seconds": time.monotonic() - begun, **whole}))


if __name__ == "__main__":
    main()
