"""Starts the proxies of a world, and sees that each does what it says before it is measured."""

import os
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import proxies
from cases import MANY, ROUTERS
from proxies.base import HOST, Ports, Proxy, Setup

PATIENCE = 15


@contextmanager
def running(world: str, programs: dict[str, str], folder: Path) -> Iterator[list[Proxy]]:
    """The proxies that answer, for as long as they are needed. What one can't do is in its notes."""
    wanted = [(name, name, 1) for name in programs]
    if world == "routers":
        wanted = [("portolan", "portolan", 1), (MANY, "portolan", ROUTERS)] if "portolan" in programs else []
    started: list[Proxy] = []
    try:
        start(wanted, world, programs, folder, started)
        for proxy in started:
            check(proxy)
        yield [proxy for proxy in started if "http" in proxy.ports]
    finally:
        stop(started)


def start(wanted: list, world: str, programs: dict[str, str], folder: Path, started: list[Proxy]) -> None:
    for number, (name, program, routers) in enumerate(wanted):
        own = folder / f"{world}-{number}"
        own.mkdir()
        own.chmod(0o777)
        ports = Ports(7100 + 100 * number)
        setup = Setup(Path(programs[program]), own, ports, world == "logged", routers, world == "guarded")
        proxy = proxies.ALL[program].start(setup)
        proxy.name = name
        started.append(proxy)


def stop(started: list[Proxy]) -> None:
    for proxy in started:
        # Told to stop, not killed: a master takes its workers with it.
        proxy.process.terminate()
    for proxy in started:
        try:
            proxy.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            proxy.process.kill()
            proxy.process.wait()


def check(proxy: Proxy) -> None:
    """Takes out of a proxy's ports what does not answer."""
    probes = {"http": over_http, "tcp": over_http, "routed": over_http, "kernel": over_http, "tls": over_tls, "h2c": over_h2c, "udp": over_udp}
    if not eventually(lambda: over_http(proxy.ports["http"]), PATIENCE):
        proxy.notes.append("does not answer")
        proxy.ports.clear()
    for kind, port in list(proxy.ports.items()):
        if not eventually(lambda: probes[kind](port), 3):
            proxy.notes.append(f"no answer over {kind}")
            del proxy.ports[kind]


def eventually(condition, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def over_http(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
            return answered(connection)
    except OSError:
        return False


def over_udp(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        client.connect(("127.0.0.1", port))
        try:
            client.send(b"there")
            return client.recv(100) == b"there"
        except OSError:
            return False


def over_tls(port: int) -> bool:
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    tls.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
            with tls.wrap_socket(plain, server_hostname=HOST) as connection:
                return answered(connection)
    except OSError:
        return False


def answered(connection: socket.socket) -> bool:
    connection.sendall(f"GET /small HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
    received = b""
    while more := connection.recv(65536):
        received += more
    return received.startswith(b"HTTP/1.1 200 ")


def over_h2c(port: int) -> bool:
    command = ["h2load", "-n1", "-c1", "-T2", "-N2", f"--connect-to=127.0.0.1:{port}", f"http://{HOST}/small"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=os.environ)
    return "status codes: 1 2xx" in done.stdout
