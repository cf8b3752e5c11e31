#!/usr/bin/env python3
"""What the harness reads and reckons, without a proxy: `python3 -m unittest discover -s benches/compare`."""

import unittest
from xml.dom.minidom import parseString

import chart
import engine
import figures
import load
import report
import targets
import websocket
from cases import CASES, MANY, SATURATION

H2LOAD = """
finished in 2.00s, 3.00 req/s, 1.00MB/s
requests: 6 total, 6 started, 6 done, 5 succeeded, 1 failed, 0 errored, 0 timeout
status codes: 5 2xx, 0 3xx, 0 4xx, 1 5xx
"""


def a_round(cost: float, **other: float) -> dict:
    known = {"user": cost / 2, "system": cost / 2, "machine": 2 * cost, "busy": 1.0, "others": 0.0, "requests": 10, "per_second": 1 / cost}
    return {"cost": cost, **known, "p50_ms": 1.0, "p99_ms": 2.0, "p999_ms": 3.0, "errors": 0, **other}


def results() -> dict:
    """Every case, Portolan twice as cheap as all others."""
    names = ("portolan", "haproxy", "nginx", "envoy", "traefik", "caddy")
    rounds = {case: {name: [a_round(5 if name == "portolan" else 10)] for name in names} for case in CASES}
    for name in (name for name, case in CASES.items() if case.by == "memory"):
        rounds[name] = {proxy: [{"cost": 1.0 if proxy == "portolan" else 2.0}] for proxy in names}
    rounds["1,000 routers"] = {"portolan": [a_round(5)], MANY: [a_round(5.1)]}
    return {
        "machine": "a < b",
        "busy": 0.0,
        "seconds": 1,
        "notes": [],
        "programs": {"nginx": "nginx version: nginx/1.22.1"},
        "rounds": rounds,
    }


class Parsers(unittest.TestCase):
    def test_wrk(self) -> None:
        seen = load.of_wrk(
            'Running …\nRESULT {"requests": 30, "seconds": 1.5, "errors": 2, "p50_ms": 1, "p99_ms": 2, "p999_ms": 3}\n'
        )
        self.assertEqual((seen.requests, seen.per_second, seen.errors, seen.p99_ms), (30, 20.0, 2, 2))

    def test_h2load_counts_what_was_answered_well(self) -> None:
        log = "".join(f"1\t200\t{1000 * number}\n" for number in range(1, 6)) + "1\t503\t9000\n"
        seen = load.of_h2load(H2LOAD, log)
        self.assertEqual((seen.requests, seen.per_second, seen.errors), (5, 2.5, 1))
        self.assertEqual((seen.p50_ms, seen.p999_ms), (3.0, 5.0))

    def test_nothing_seen_is_no_fault_of_the_parser(self) -> None:
        self.assertEqual(load.of_times([], 1.0, 4), load.Load(0, 0.0, 0.0, 0.0, 0.0, 4))

    def test_websocket_accepts_as_the_standard_shows(self) -> None:
        head = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        self.assertIn(b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", websocket.accepted(head))

    def test_the_engine_tells_of_every_host(self) -> None:
        first, _ = engine.containers(7102, ["a.test", "b.test"])
        rules = [value for name, value in first["Config"]["Labels"].items() if name.endswith(".rule")]
        self.assertEqual(rules, ["Host(`a.test`)", "Host(`b.test`)"])


class Figures(unittest.TestCase):
    def test_a_ratio_is_of_each_round(self) -> None:
        # The machine was half as fast in the second round: 2, 2 and 3 are the ratios.
        case = {"a": [a_round(2), a_round(4), a_round(3)], "b": [a_round(1), a_round(2), a_round(1)]}
        self.assertEqual(figures.ratio({"rounds": {"c": case}}, "c", "cost", "a", "b"), 2)
        self.assertIsNone(figures.ratio({"rounds": {"c": case}}, "c", "cost", "a", "z"))

    def test_the_last_of_several_runs_counts(self) -> None:
        whole = figures.merged([{**results(), "busy": 0.5}, {**results(), "rounds": {SATURATION: {"portolan": []}}}])
        self.assertEqual(whole["rounds"][SATURATION], {"portolan": []})
        self.assertEqual(len(whole["rounds"]), len(CASES))

    def test_every_target_is_of_a_case(self) -> None:
        for target in targets.TARGETS:
            self.assertIn(target.case, CASES)

    def test_verdicts(self) -> None:
        made = targets.verdicts(lambda *which: figures.ratio(results(), *which))
        self.assertEqual(len(made), len(targets.TARGETS))
        missed = [(verdict.target.case, verdict.peer) for verdict in made if not verdict.reached]
        # Half as much is not 0.45 of it.
        self.assertEqual(missed, [(targets.FIXED, peer) for peer in ("envoy", "traefik", "caddy")])

    def test_the_best_peer_is_the_one_to_beat(self) -> None:
        target = next(target for target in targets.TARGETS if len(target.peers) == 3)
        ours = {"haproxy": 0.8, "nginx": 0.95, "envoy": 0.3}
        made = targets.verdicts(lambda case, _, __, peer: ours[peer] if case == target.case else None)
        self.assertEqual([(verdict.peer, verdict.reached) for verdict in made], [("nginx", False)])


class Shown(unittest.TestCase):
    def test_the_chart_is_well_formed_and_has_every_panel(self) -> None:
        drawn = parseString(chart.svg(results()))
        words = [node.firstChild.data for node in drawn.getElementsByTagName("text")]
        for _, title, _ in chart.PANELS:
            self.assertIn(title, words)
        self.assertEqual(len(drawn.getElementsByTagName("rect")), len(chart.PANELS) * len(chart.NAMES))
        self.assertIn("nginx 1.22.1", words)

    def test_a_row_has_its_ratio_last(self) -> None:
        taken = results()["rounds"][SATURATION]["haproxy"]
        self.assertTrue(report.row(results(), SATURATION, "haproxy", figures.medians(taken)).endswith("2.00"))


if __name__ == "__main__":
    unittest.main()
