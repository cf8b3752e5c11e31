"""The network namespace of a run: loopback, and TCP as Linux has it unless told otherwise."""

import subprocess
from pathlib import Path

import tools

# The first of several that can be had. A machine may pace what it sends, or have windows in which 1 MiB bodies fall out
# of the processor's cache: on loopback both weigh more than anything that a proxy does. Reno does there what Cubic does,
# and every network namespace may use it.
TCP = {
    "tcp_congestion_control": ["cubic", "reno"],
    "tcp_rmem": ["4096 131072 6291456"],
    "tcp_wmem": ["4096 16384 4194304"],
}


def up() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for name, values in TCP.items():
        file = Path("/proc/sys/net/ipv4") / name
        if not any(written(file, value) for value in values):
            tools.note(f"{name} stays {file.read_text().strip()}")


def written(file: Path, value: str) -> bool:
    try:
        file.write_text(value)
    except OSError:
        return False
    return True
