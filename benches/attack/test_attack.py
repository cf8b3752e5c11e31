#!/usr/bin/env python3
"""What the attacker writes and reads, without a proxy: `python3 -m unittest discover -s benches/attack`."""

import unittest

import frames
import kinds
import outcome


class Frames(unittest.TestCase):
    def test_integers_are_those_of_rfc_7541_c_1(self) -> None:
        self.assertEqual(frames.integer(10, 5, 0), b"\x0a")
        self.assertEqual(frames.integer(1337, 5, 0), b"\x1f\x9a\x0a")
        self.assertEqual(frames.integer(42, 8, 0), b"\x2a")

    def test_a_literal_is_that_of_rfc_7541_c_2_1(self) -> None:
        made = frames.literal(b"custom-key", b"custom-header", indexed=True)
        self.assertEqual(made, b"\x40\x0acustom-key\x0dcustom-header")

    def test_what_comes_in_pieces_is_read_whole(self) -> None:
        answer = frames.frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x88") + frames.frame(frames.DATA, 1, 1, b"x" * 300)
        goaway = frames.frame(frames.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\x0bwhy")
        reader = frames.Reader()
        for byte in frames.settings() + answer + goaway:
            reader.take(bytes([byte]))
        self.assertEqual((reader.frames, reader.completed, reader.goaway, reader.acks_due), (4, {1}, 11, 1))
        self.assertTrue(reader.settled)


class Kinds(unittest.TestCase):
    def test_each_is_frames_and_nothing_else(self) -> None:
        seen = 0
        for make in kinds.KINDS.values():
            chunks = make(kinds.Goal("http", "bench.test", "/attacked"))
            reader = frames.Reader()
            for _ in range(3):
                reader.take(next(chunks))
            self.assertEqual(reader.rest, b"")
            self.assertGreater(reader.frames, 0)
            seen += 1
        self.assertGreaterEqual(seen, 19)

    def test_no_stream_begins_twice(self) -> None:
        chunks = kinds.hpack_bomb(kinds.Goal("http", "bench.test", "/attacked"))
        whole = b"".join(next(chunks) for _ in range(50))
        begun = [stream for kind, _, stream, _ in frames.Reader().split(whole) if kind == frames.HEADERS]
        self.assertEqual(begun, sorted(set(begun)))


class Outcome(unittest.TestCase):
    WELL = {
        "kind": "rapid reset", "failures": 0, "p99_ms": 1, "idle_ms": 0, "ended": False, "origin": 1, "cpu_s": 0.01,
        "goaway": 11, "closed": True, "closed_after_s": 0.1, "grew_mib": 0,
    }

    def test_promises(self) -> None:
        self.assertEqual(outcome.broken(self.WELL), [])
        worse = {"failures": 1, "p99_ms": 51, "idle_ms": 3, "ended": True, "origin": 2, "cpu_s": 0.1, "goaway": None, "closed": False}
        for name, value in worse.items():
            self.assertEqual(len(outcome.broken(self.WELL | {name: value})), 1, name)
        self.assertEqual(outcome.broken(self.WELL | {"kind": kinds.UNREAD, "grew_mib": 25}), ["memory"])
        for kind in kinds.SLOW:
            self.assertEqual(outcome.broken(self.WELL | {"kind": kind, "closed_after_s": 11}), [])
            self.assertEqual(outcome.broken(self.WELL | {"kind": kind, "closed_after_s": 11.5}), ["slow"])


if __name__ == "__main__":
    unittest.main()
