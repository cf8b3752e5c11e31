"""What an attack did to a proxy, and whether that keeps what Portolan promises."""

from kinds import KINDS, QUIET, SLOW, UNREAD

ORIGIN_MAX = 1
CPU_SECONDS_MAX = 0.1
UNREAD_MIB_MAX = 25
SLOW_SECONDS_MAX = 11
OTHERS_P99_MS_MAX = 50
# Of a second. Nothing is exactly nothing: a timer may tick.
IDLE_MS_MAX = 2

ROW = "{:<31} {:<5} {:<9} {:>7} {:>7} {:>9} {:>8} {:>9} {:>7} {:>8} {:>8}  {}"
HEAD = ROW.format(
    "attack", "over", "proxy", "origin", "CPU s", "GOAWAY", "closed s", "grew MiB", "failed", "p99 ms", "idle ms", "broken"
)


def broken(seen: dict) -> list[str]:
    """Which of the promises did not hold, a word each."""
    faults = []
    if seen["failures"]:
        faults.append("others")
    if seen["p99_ms"] > OTHERS_P99_MS_MAX:
        faults.append("p99")
    if seen["idle_ms"] > IDLE_MS_MAX:
        faults.append("idle")
    if seen["ended"]:
        faults.append("ended")
    if seen["kind"] in KINDS:
        if seen["origin"] > ORIGIN_MAX:
            faults.append("origin")
        if seen["cpu_s"] >= CPU_SECONDS_MAX:
            faults.append("CPU")
        if seen["goaway"] is None:
            faults.append("GOAWAY")
        if not seen["closed"]:
            faults.append("open")
    elif seen["kind"] == UNREAD and seen["grew_mib"] >= UNREAD_MIB_MAX:
        faults.append("memory")
    elif seen["kind"] in SLOW and not (seen["closed"] and seen["closed_after_s"] <= SLOW_SECONDS_MAX):
        faults.append("slow")
    return faults


def print_all(results: dict) -> None:
    print()
    for name, version in results["programs"].items():
        print(f"{name}: {version}")
    for line in results["notes"]:
        print(line)
    print(
        "\norigin: requests there beyond those the attacker saw answered; CPU s: beyond what the others cost;"
        "\nfailed, p99: of the others; idle ms: CPU of a second, after; broken: which promises did not hold\n"
    )
    print(HEAD)
    for seen in results["outcomes"]:
        print(row(seen))
    for name in results["programs"]:
        theirs = [seen for seen in results["outcomes"] if seen["proxy"] == name and seen["kind"] != QUIET]
        kept = sum(not broken(seen) for seen in theirs)
        print(f"{name}: {kept} of {len(theirs)} attacks left every promise whole")


def row(seen: dict) -> str:
    closed = seen["closed_after_s"]
    return ROW.format(
        seen["kind"],
        seen["over"],
        seen["proxy"],
        seen["origin"],
        f"{seen['cpu_s']:.2f}",
        "-" if seen["goaway"] is None else f"code {seen['goaway']}",
        f"{closed:.2f}" if closed is not None else ("yes" if seen["closed"] else "-"),
        f"{seen['grew_mib']:.1f}",
        seen["failures"],
        f"{seen['p99_ms']:.1f}",
        f"{seen['idle_ms']:.1f}",
        " ".join(broken(seen)) or "none",
    )
