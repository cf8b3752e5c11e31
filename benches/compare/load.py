"""Starts what makes the load, on its own core, and reads what it saw."""

import json
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from proxies.base import ECHO_HOST, HOST, LOAD_CORE

HERE = Path(__file__).parent
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
}


class Failed(Exception):
    """Nothing was measured: the load could not be made, or nobody answered it."""


@dataclass
class Load:
    """What the load saw. A request is what the case counts: a request, a handshake, a message."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    p999_ms: float
    errors: int


def run(command: list, **environment: str) -> str:
    command = ["taskset", "-c", str(LOAD_CORE), *map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode != 0:
        raise Failed(f"{command[3]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def wrk(url: str, connections: int, seconds: int, close: bool = False, upload: int = 0) -> Load:
    """As fast as answers come."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "-s", HERE / "load.lua", "-H", f"Host: {HOST}"]
    for name, value in (BROWSER | {"Connection": "close"} if close else BROWSER).items():
        command += ["-H", f"{name}: {value}"]
    return of_wrk(run([*command, url], UPLOAD=str(upload)))


def of_wrk(text: str) -> Load:
    seen = json.loads(re.search(r"^RESULT (.*)$", text, re.MULTILINE)[1])
    return Load(per_second=seen["requests"] / seen.pop("seconds"), **seen)


def h2load(
    url: str, port: int, log: Path, connections: int, seconds: int, streams: int = 0, rate: float = 0, verbatim: bool = False
) -> Load:
    """HTTP/2 with so many streams on each connection, else HTTP/1.1; at a fixed rate, if there is one."""
    log.unlink(missing_ok=True)
    command = ["h2load", "-t1", f"-c{connections}", f"-m{streams or 1}", f"-D{seconds}", f"--log-file={log}"]
    command += [] if streams else ["--h1"]
    command += [f"--rps={rate / connections:.4f}"] if rate else []
    for name, value in BROWSER.items():
        command += ["-H", f"{name}: {value}"]
    text = run([*command, f"--connect-to=127.0.0.1:{port}", url])
    return of_h2load(text, log.read_text())


def of_h2load(text: str, log: str) -> Load:
    counts = re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    done, *failed = (int(number) for number in counts.groups())
    statuses = re.search(r"status codes: (\d+) 2xx", text)
    # What was under way when the time was over is not in the log, and not counted.
    took = sorted(int(line.split("\t")[2]) for line in log.splitlines() if line.split("\t")[1] == "200")
    seconds = float(re.search(r"finished in ([\d.]+)s", text)[1])
    return of_times(took, seconds, max(sum(failed), done - int(statuses[1])))


def handshakes(port: int, resumed: bool, processes: int, seconds: int) -> Load:
    kind = "resumed" if resumed else "full"
    seen = json.loads(run([sys.executable, HERE / "handshakes.py", port, HOST, kind, processes, seconds]))
    # One of the other kind is a fault, but for those that a process needs to get its first ticket.
    wrong = seen["full"] - processes if resumed else seen["resumed"]
    return of_times(sorted(seen["took_us"]), seen["seconds"], seen["errors"] + max(wrong, 0))


def websocket(port: int, connections: int, seconds: int) -> Load:
    seen = json.loads(run([sys.executable, HERE / "websocket.py", "load", port, ECHO_HOST, connections, seconds]))
    return of_times(sorted(seen["took_us"]), seen["seconds"], seen["errors"])


def datagrams(port: int, clients: int, seconds: int) -> Load:
    seen = json.loads(run([sys.executable, HERE / "datagrams.py", "load", port, clients, seconds]))
    return of_times(sorted(seen["took_us"]), seen["seconds"], seen["errors"])


def of_times(took_us: list[int], seconds: float, errors: int) -> Load:
    def at(share: float) -> float:
        return took_us[min(int(len(took_us) * share), len(took_us) - 1)] / 1e3 if took_us else 0.0

    return Load(len(took_us), len(took_us) / seconds, at(0.5), at(0.99), at(0.999), errors)


def idle(port: int, count: int) -> list[socket.socket]:
    """So many connections that have had one answer and wait."""
    request = f"GET /small HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()
    waiting = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", port), timeout=5)
        connection.sendall(request)
        received = b""
        while not received.endswith(b"a" * 128):
            more = connection.recv(65536)
            if not more:
                raise Failed(f"port {port} closed a connection: {received!r}")
            received += more
        waiting.append(connection)
    return waiting
