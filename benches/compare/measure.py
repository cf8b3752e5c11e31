"""What a process tree spent and holds, from the kernel's own account."""

import os
import time
from dataclasses import dataclass

TICKS = os.sysconf("SC_CLK_TCK")
# What all of the kernel's threads descend from.
KERNEL = 2


@dataclass
class Spent:
    total_us: float
    user_us: float

    def __sub__(self, other: "Spent") -> "Spent":
        """Between two moments: whole from the scheduler's nanoseconds, the user's part by the share of ticks."""
        total, user, system = (now - then for now, then in zip(self.raw, other.raw, strict=True))
        made = Spent(total, total * user / max(user + system, 1))
        made.raw = (total, user, system)
        return made

    raw: tuple = (0, 0, 0)


def tree(pid: int) -> list[int]:
    """A process and its descendants."""
    pids = [pid]
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as children:
                for child in children.read().split():
                    pids += tree(int(child))
    except FileNotFoundError:
        pass
    return pids


def spent(pid: int) -> Spent:
    """CPU time of a process tree since it began."""
    total = user = system = 0
    for member in tree(pid):
        for thread in os.listdir(f"/proc/{member}/task"):
            base = f"/proc/{member}/task/{thread}"
            with open(f"{base}/schedstat") as file:
                total += int(file.read().split()[0]) / 1000
            with open(f"{base}/stat") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            user += int(fields[11])
            system += int(fields[12])
    return Spent(total, 0, (total, user, system))


def private_kib(pid: int) -> int:
    """Memory that a process tree wrote to and shares with nobody. Pages of its program are not counted: the first
    request that takes a new way through it would look like memory of a connection."""
    kib = 0
    for member in tree(pid):
        with open(f"/proc/{member}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Private_Dirty"):
                    kib += int(line.split()[1])
    return kib


def busy_seconds() -> float:
    """CPU seconds that this machine spent on anything since it began."""
    with open("/proc/stat") as file:
        fields = [int(field) for field in file.readline().split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICKS


class Others:
    """How much of the machine went to what is no part of a measurement, as a share of one core."""

    def __init__(self) -> None:
        self.begun, self.whole, self.mine = time.monotonic(), busy_seconds(), self.own()

    def share(self) -> float:
        busy, own = busy_seconds() - self.whole, self.own() - self.mine
        return max(busy - own, 0) / (time.monotonic() - self.begun)

    @staticmethod
    def own() -> float:
        """This process, what it started, what that started and has ended; and the kernel's own threads, which work for
        whoever uses the network."""
        times = os.times()
        ended = times.children_user + times.children_system
        return ended + sum(ticks(pid) for pid in tree(os.getpid()) + tree(KERNEL))


def ticks(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
    except FileNotFoundError:
        return 0
    return (int(fields[11]) + int(fields[12])) / TICKS
