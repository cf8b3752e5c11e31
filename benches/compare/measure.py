"""What a proxy spent, and what the load saw."""

import os
import re
import subprocess
from dataclasses import dataclass

from proxies import LOAD_CORE

BROWSER = {
    "Host": "bench.test",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Cookie": "session=0123456789abcdef0123456789abcdef; theme=dark",
}


@dataclass
class Spent:
    total_us: float
    user_us: float


@dataclass
class Load:
    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    pids = [pid]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/children") as children:
            for child in children.read().split():
                pids += tree(int(child))
    return pids


def spent(pid: int) -> Spent:
    """CPU time of a process tree so far: whole from the scheduler's own account, the user's part by its ticks' share."""
    total = user = system = 0
    for member in tree(pid):
        for thread in os.listdir(f"/proc/{member}/task"):
            base = f"/proc/{member}/task/{thread}"
            with open(f"{base}/schedstat") as file:
                total += int(file.read().split()[0])
            with open(f"{base}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            user += int(fields[11])
            system += int(fields[12])
    share = user / max(user + system, 1)
    return Spent(total / 1000, total / 1000 * share)


def private_kib(pid: int) -> int:
    kib = 0
    for member in tree(pid):
        with open(f"/proc/{member}/smaps_rollup") as file:
            for line in file:
                if line.startswith(("Private_Clean", "Private_Dirty")):
                    kib += int(line.split()[1])
    return kib


def wrk(port: int, path: str, connections: int, seconds: int, close: bool) -> Load:
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds}"]
    headers = dict(BROWSER, Connection="close") if close else BROWSER
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    text = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], check=True, capture_output=True, text=True).stdout
    errors = sum(int(number) for number in re.findall(r"(?:connect|read|write|timeout) (\d+)", text))
    errors += sum(int(number) for number in re.findall(r"Non-2xx or 3xx responses: (\d+)", text))
    return Load(
        requests=int(re.search(r"(\d+) requests in", text)[1]),
        per_second=float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
        p50_ms=milliseconds(re.search(r"50%\s+([\d.]+)(\w+)", text)),
        p99_ms=milliseconds(re.search(r"99%\s+([\d.]+)(\w+)", text)),
        errors=errors,
    )


def milliseconds(found: re.Match) -> float:
    return float(found[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}[found[2]]
