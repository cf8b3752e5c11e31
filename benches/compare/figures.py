"""What the rounds come to: medians, and ratios round by round.

Results are `{"programs": {proxy: version}, "rounds": {case: {proxy: [figures of a round]}}, …}`, as in the JSON file.
"""

import statistics


def medians(taken: list[dict]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in taken) for key in taken[0]}


def ratio(results: dict, case: str, figure: str, one: str, other: str) -> float | None:
    """One proxy's figure over another's: the median of each round's own ratio, so that a machine that became slower
    between two rounds does not count. None where there is nothing to compare."""
    rounds = results["rounds"].get(case, {})
    pairs = zip(rounds.get(one, []), rounds.get(other, []), strict=False)
    ratios = [mine[figure] / theirs[figure] for mine, theirs in pairs if theirs.get(figure)]
    return statistics.median(ratios) if ratios else None


def in_order(results: dict, cases: list[str]) -> list[str]:
    """The cases that were measured, in the harness's order."""
    return [case for case in cases if results["rounds"].get(case)]


def merged(parts: list[dict]) -> dict:
    """Several runs as one: of a case that several have, the last counts, whole."""
    whole: dict = {"programs": {}, "notes": [], "rounds": {}}
    for part in parts:
        rounds = whole["rounds"] | part["rounds"]
        programs = whole["programs"] | part["programs"]
        notes = list(dict.fromkeys(whole["notes"] + part["notes"]))
        whole = whole | part | {"rounds": rounds, "programs": programs, "notes": notes}
    return whole
