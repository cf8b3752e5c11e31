"""HTTP/2 as bytes (RFC 9113 §4 and §6, RFC 7541): only what an attacker writes, and as much reading as tells what came
of it. It checks nothing on purpose: most of what is made with it is wrong."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
INITIAL_WINDOW_SIZE = 0x4
CANCEL = 8
# What an entry costs in the dynamic table beyond its name and value.
ENTRY_OVERHEAD = 32


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(**values: int) -> bytes:
    known = {"initial_window_size": INITIAL_WINDOW_SIZE}
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", known[name], value) for name, value in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def reset(stream: int) -> bytes:
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL))


def priority(stream: int, on: int) -> bytes:
    return frame(PRIORITY, 0, stream, struct.pack(">IB", on, 15))


def integer(value: int, bits: int, first: int) -> bytes:
    """RFC 7541 §5.1: `first` holds what stands above the prefix."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    made = bytearray([first | most])
    value -= most
    while value >= 128:
        made.append(value % 128 + 128)
        value //= 128
    made.append(value)
    return bytes(made)


def string(value: bytes) -> bytes:
    return integer(len(value), 7, 0) + value


def literal(name: bytes, value: bytes, indexed: bool = False) -> bytes:
    """A field with its name spelt out, put in the dynamic table if `indexed`."""
    return bytes([0x40 if indexed else 0x00]) + string(name) + string(value)


def request(method: str, scheme: str, host: str, path: str) -> bytes:
    """A header block's beginning: the four pseudo-header fields, by the static table's names."""
    return (
        (b"\x82" if method == "GET" else b"\x83")
        + (b"\x87" if scheme == "https" else b"\x86")
        + b"\x01"
        + string(host.encode())
        + b"\x04"
        + string(path.encode())
    )


@dataclass
class Reader:
    """What came back, counted."""

    rest: bytes = b""
    frames: int = 0
    # Streams whose answer came whole.
    completed: set = field(default_factory=set)
    resets: int = 0
    goaway: int | None = None
    acks_due: int = 0
    settled: bool = False

    def take(self, received: bytes) -> None:
        for kind, flags, stream, payload in self.split(received):
            self.frames += 1
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.completed.add(stream)
            elif kind == RST_STREAM:
                self.resets += 1
            elif kind == GOAWAY and len(payload) >= 8:
                # A first one without an error only announces the end.
                self.goaway = struct.unpack(">I", payload[4:8])[0]
            elif kind == SETTINGS and not flags & ACK:
                self.acks_due += 1
                self.settled = True

    def split(self, received: bytes) -> Iterator[tuple[int, int, int, bytes]]:
        data, at = self.rest + received, 0
        while at + 9 <= len(data):
            length = int.from_bytes(data[at : at + 3], "big")
            if at + 9 + length > len(data):
                break
            kind, flags, stream = struct.unpack(">BBI", data[at + 3 : at + 9])
            yield kind, flags, stream & 0x7FFFFFFF, data[at + 9 : at + 9 + length]
            at += 9 + length
        self.rest = data[at:]
