"""The cases: what is asked of every proxy."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    # What makes the load: "wrk", "h2load", "handshakes", "websocket", "datagrams", or "memory" for none.
    by: str
    # Which of a proxy's ports.
    port: str = "http"
    path: str = "/small"
    connections: int = 64
    streams: int = 0
    # A connection for each request; a session resumed.
    close: bool = False
    resumed: bool = False
    upload: int = 0
    # Connections that wait beside the busy ones.
    idle: int = 0
    # A fixed rate: this share of what HAProxy reached in the case `SATURATION`.
    rate: float = 0
    # Which instances: "plain", "logged", or "routers": Portolan with one beside Portolan with many.
    world: str = "plain"
    # What one of what is counted is called.
    unit: str = "request"


SATURATION = "keep-alive 128 B"
IDLE = "memory per idle connection"
# What a published port carries unread, which others call TCP mode.
TCP, TCP_BULK, TCP_NEW = "published port 128 B", "published port 1 MiB", "published port, new connections"
TCP_IDLE = "published port, memory per idle pair"
# The same by a TCP router, where HTTP is bytes as any others.
ROUTED, ROUTED_NEW, ROUTED_IDLE = "TCP router 128 B", "TCP router, new connections", "TCP router, memory per idle pair"
# The same bytes by the kernel, once two connections are established.
TCP_KERNEL = "TCP by sockmap 128 B"
UDP = "UDP echo"
ROUTERS = 1000
MANY = "portolan, 1,000 routers"

CASES: dict[str, Case] = {
    # First: what a proxy keeps from an earlier case would hide what connections cost it.
    IDLE: Case("memory", connections=1000, unit="connection"),
    TCP_IDLE: Case("memory", port="tcp", connections=1000, unit="pair"),
    ROUTED_IDLE: Case("memory", port="routed", connections=1000, unit="pair"),
    SATURATION: Case("wrk"),
    "fixed rate, 60 %": Case("h2load", rate=0.6),
    "fixed rate, 70 %": Case("h2load", rate=0.7),
    "keep-alive 64 KiB": Case("wrk", path="/64k"),
    "keep-alive 1 MiB": Case("wrk", path="/1m", connections=16),
    "upload 1 MiB": Case("wrk", path="/upload", connections=16, upload=1 << 20),
    "connection per request": Case("wrk", close=True),
    "1,000 idle and 64 busy": Case("wrk", idle=1000),
    "TLS full handshake": Case("handshakes", port="tls", connections=8, unit="handshake"),
    "TLS resumed handshake": Case("handshakes", port="tls", connections=8, resumed=True, unit="handshake"),
    "TLS keep-alive 128 B": Case("wrk", port="tls"),
    "HTTP/2 x 32, TLS": Case("h2load", port="tls", connections=4, streams=32),
    "HTTP/2 x 32, h2c": Case("h2load", port="h2c", connections=4, streams=32),
    "WebSocket echo": Case("websocket", unit="message"),
    TCP: Case("wrk", port="tcp"),
    TCP_BULK: Case("wrk", port="tcp", path="/1m", connections=16),
    TCP_NEW: Case("wrk", port="tcp", close=True, unit="connection"),
    ROUTED: Case("wrk", port="routed"),
    ROUTED_NEW: Case("wrk", port="routed", close=True, unit="connection"),
    TCP_KERNEL: Case("wrk", port="kernel"),
    UDP: Case("datagrams", port="udp", connections=64, unit="datagram"),
    "JSON log on, 128 B": Case("wrk", world="logged"),
    "JSON log on, fixed rate 60 %": Case("h2load", rate=0.6, world="logged"),
    "1,000 routers": Case("wrk", world="routers"),
}
