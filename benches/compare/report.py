"""The figures as tables of text."""

from cases import CASES
from figures import in_order, medians, ratio
from targets import WORDS, verdicts

ROW = "{:<37} {:<23} {:>9} {:>8} {:>8} {:>9} {:>8} {:>8} {:>8} {:>6} {:>5} {:>6}"
HEAD = ROW.format(
    "case", "proxy", "CPU µs", "user", "system", "per s", "p50 ms", "p99 ms", "p99.9", "errors", "busy", "ratio"
)


def print_all(results: dict) -> None:
    print()
    for name, version in results["programs"].items():
        print(f"{name}: {version}")
    for line in results["notes"]:
        print(line)
    print(f"the machine was {results['busy']:.0%} busy before the run; {results['seconds']} s a measurement")
    print("ratio: the proxy's CPU time (or memory) over Portolan's; busy: of the proxy's core\n")
    print(HEAD)
    for case in in_order(results, list(CASES)):
        for name, taken in results["rounds"][case].items():
            print(row(results, case, name, medians(taken)))
    print_verdicts(results)


def row(results: dict, case: str, name: str, figure: dict) -> str:
    to_ours = ratio(results, case, "cost", name, "portolan")
    shown = f"{to_ours:.2f}" if to_ours is not None else "-"
    if CASES[case].by == "memory":
        return ROW.format(case, name, f"{figure['cost']:.2f}KiB", *[""] * 8, shown)
    return ROW.format(
        case,
        name,
        f"{figure['cost']:.2f}",
        f"{figure['user']:.2f}",
        f"{figure['system']:.2f}",
        f"{figure['per_second']:.0f}",
        f"{figure['p50_ms']:.2f}",
        f"{figure['p99_ms']:.2f}",
        f"{figure['p999_ms']:.2f}",
        f"{figure['errors']:.0f}",
        f"{figure['busy']:.0%}",
        shown,
    )


def print_verdicts(results: dict) -> None:
    made = verdicts(lambda *which: ratio(results, which[0], which[1], which[2], which[3]))
    if not made:
        return
    line = "{:<37} {:<11} {:<10} {:>7} {:>8}  {}"
    print("\n" + line.format("target: Portolan's ratio to", "peer", "figure", "ratio", "target", "reached"))
    for verdict in made:
        target = verdict.target
        print(line.format(
            target.case,
            "itself" if verdict.peer == "portolan" else verdict.peer,
            WORDS[target.figure],
            f"{verdict.ratio:.2f}",
            f"{'≥' if target.more else '≤'} {target.ratio:.2f}",
            "yes" if verdict.reached else "no",
        ))
