"""What every proxy's configuration is made from, and how a program is started on its core."""

import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

PROXY_CORE, LOAD_CORE = 0, 1
# The origin's services, and the hosts by which a proxy tells those of HTTP apart.
ORIGIN, ECHO, UDP_ECHO = 7000, 7001, 7002
HOST, ECHO_HOST = "bench.test", "ws.test"
# Connections to the origin that a proxy keeps, at the least; more than any case's load has.
KEPT = 256


def hosts(count: int) -> list[str]:
    """So many hosts, HOST in the middle of them."""
    others = [f"host-{number}.test" for number in range(count - 1)]
    half = len(others) // 2
    return [*others[:half], HOST, *others[half:]]


@dataclass(frozen=True)
class Ports:
    """Where one proxy listens. What a proxy can't do has no port in the `Proxy` that it becomes."""

    base: int

    @property
    def http(self) -> int:
        return self.base + 1

    @property
    def tcp(self) -> int:
        return self.base + 2

    @property
    def tls(self) -> int:
        return self.base + 3

    @property
    def h2c(self) -> int:
        return self.base + 4

    @property
    def udp(self) -> int:
        return self.base + 5

    @property
    def kernel(self) -> int:
        return self.base + 6

    @property
    def routed(self) -> int:
        return self.base + 7

    @property
    def admin(self) -> int:
        return self.base + 9


@dataclass(frozen=True)
class Setup:
    """What one instance is to be."""

    program: Path
    folder: Path
    ports: Ports
    logged: bool = False
    # How many hosts are told apart, all of the same origin; HOST is one of them.
    routers: int = 1
    # Set up for hostile clients rather than for speed, where a proxy's one is not the other's.
    guarded: bool = False

    @property
    def certificate(self) -> Path:
        return self.folder.parent / "cert.pem"

    @property
    def key(self) -> Path:
        return self.folder.parent / "key.pem"

    @property
    def hosts(self) -> list[str]:
        return hosts(self.routers)


@dataclass
class Proxy:
    name: str
    process: subprocess.Popen
    # By kind: "http", "h2c", "tls", "tcp", "udp", "routed" (TCP by a router), and "kernel": TCP whose bytes the kernel passes on, if the proxy can have that.
    # A kind that is not there is not had.
    ports: dict[str, int]
    # What it said when a kind could not be had.
    notes: list[str] = field(default_factory=list)


def pinned(core: int, command: list, log: Path, **environment: str) -> subprocess.Popen:
    """Starts a program on one core; it dies with this one."""
    command = ["setpriv", "--pdeathsig", "KILL", "taskset", "-c", str(core), *map(str, command)]
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )


def of_one_port(ports: Ports, *kinds: str) -> dict[str, int]:
    """The ports by kind, for a proxy that takes HTTP/2 by prior knowledge where it takes HTTP/1."""
    return {kind: ports.http if kind == "h2c" else getattr(ports, kind) for kind in kinds}
