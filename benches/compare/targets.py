"""What is to be reached, as ratios within one run."""

from dataclasses import dataclass

from cases import IDLE, MANY, ROUTED, ROUTED_IDLE, ROUTED_NEW, SATURATION, TCP, TCP_BULK, TCP_IDLE, TCP_KERNEL, TCP_NEW, UDP


@dataclass(frozen=True)
class Target:
    case: str
    peers: tuple[str, ...]
    # Which figure; "cost" is CPU time for each of what the case counts.
    figure: str
    ratio: float
    # Whether more is better.
    more: bool = False
    ours: str = "portolan"


FIXED = "fixed rate, 60 %"
TARGETS = [
    Target(FIXED, ("haproxy",), "cost", 0.85),
    Target(FIXED, ("envoy",), "cost", 0.45),
    Target(FIXED, ("traefik",), "cost", 0.35),
    Target(FIXED, ("caddy",), "cost", 0.28),
    Target(FIXED, ("haproxy",), "user", 0.55),
    Target(SATURATION, ("haproxy",), "per_second", 1.10, more=True),
    Target("JSON log on, fixed rate 60 %", ("haproxy",), "cost", 0.90),
    Target("JSON log on, 128 B", ("haproxy",), "cost", 0.90),
    Target("keep-alive 64 KiB", ("haproxy",), "cost", 0.95),
    Target("keep-alive 1 MiB", ("haproxy",), "cost", 0.95),
    Target("connection per request", ("haproxy",), "cost", 0.95),
    Target(IDLE, ("nginx",), "cost", 1.0),
    # Handshakes for each CPU-second, turned over: 1.5 times as many are two thirds of the time for one.
    Target("TLS full handshake", ("haproxy",), "cost", 1 / 1.5),
    Target("TLS keep-alive 128 B", ("haproxy",), "cost", 0.90),
    Target("HTTP/2 x 32, TLS", ("haproxy", "nginx", "envoy"), "cost", 0.90),
    Target("HTTP/2 x 32, h2c", ("haproxy", "nginx", "envoy"), "cost", 0.90),
    Target("fixed rate, 70 %", ("haproxy",), "p99_ms", 1.0),
    Target(TCP, ("haproxy",), "cost", 0.95),
    # HAProxy splices.
    Target(TCP_BULK, ("haproxy",), "cost", 0.90),
    # Connections for each CPU-second, turned over as handshakes are.
    Target(TCP_NEW, ("haproxy",), "cost", 1 / 1.10),
    Target(ROUTED, ("haproxy",), "cost", 0.95),
    Target(ROUTED_NEW, ("haproxy",), "cost", 1 / 1.10),
    Target(ROUTED_IDLE, ("haproxy",), "cost", 0.80),
    # What the kernel does for a proxy is not charged to it.
    Target(TCP_KERNEL, ("haproxy",), "machine", 0.70),
    Target(TCP_IDLE, ("haproxy",), "cost", 0.80),
    # Datagrams for each CPU-second, turned over as handshakes are.
    Target(UDP, ("nginx",), "cost", 1 / 1.5),
    Target("1,000 routers", ("portolan",), "cost", 1.05, ours=MANY),
]
WORDS = {"cost": "CPU", "machine": "machine", "user": "user CPU", "per_second": "per second", "p99_ms": "p99"}


@dataclass(frozen=True)
class Verdict:
    target: Target
    peer: str
    ratio: float

    @property
    def reached(self) -> bool:
        return self.ratio >= self.target.ratio if self.target.more else self.ratio <= self.target.ratio


def verdicts(ratio) -> list[Verdict]:
    """`ratio(case, figure, ours, peer)` is our figure over the peer's, or None where one of them was not measured."""
    made = []
    for target in TARGETS:
        ratios = {peer: ratio(target.case, target.figure, target.ours, peer) for peer in target.peers}
        known = {peer: each for peer, each in ratios.items() if each is not None}
        if known:
            # Against the best of several: the one beside which we look worst.
            peer = (min if target.more else max)(known, key=known.get)
            made.append(Verdict(target, peer, known[peer]))
    return made
