"""Claims with a verdict: reached, refuted or undecided, by rules that stored rows decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import _cells as cells
import numpy as np

from marlx import statistics
from marlx.analysis.result_rows import Row

REACHED, REFUTED, UNDECIDED, MISSING = "**reached**", "refuted", "undecided", "not measured"

Value = Callable[[Row], float]


class Verdict(NamedTuple):
    """A claim, what the rows say of it, and by what.

    Attributes:
      claim: a sentence.
      verdict: one of `REACHED`, `REFUTED`, `UNDECIDED` and `MISSING`.
      evidence: numbers.
      seeds: how many; empty where nothing is measured.
    """

    claim: str
    verdict: str
    evidence: str = cells.MISSING
    seeds: str = cells.MISSING


def table(verdicts: Iterable[Verdict]) -> str:
    """Returns the table of claims that a page begins with, and a list of those without rows.

    Claims that differ after a colon only, as in their task, are one item of that list.
    """
    every = list(verdicts)
    rows = [list(one) for one in every if one.verdict != MISSING]
    made = cells.table(["claim", "verdict", "evidence", "seeds"], rows)
    missing: dict[str, list[str]] = {}
    for one in every:
        if one.verdict == MISSING:
            what, _, where = one.claim.partition(": ")
            missing.setdefault(what, []).extend([where] if where else [])
    items = [f"- {what}{': ' if of else ''}{'; '.join(of)}" for what, of in missing.items()]
    return "\n".join([made, "", "Not measured:", "", *items]) if items else made


def above(
    claim: str,
    one: cells.Result | None,
    other: cells.Result | None,
    *,
    value: Value | None = None,
    least: float = 0.0,
    note: str = "",
) -> Verdict:
    """Returns the verdict on "the first is above the second" by the interval of their difference.

    Reached where the whole 95% bootstrap interval over seeds is above `least`, refuted where none
    of it is, undecided where it has `least` inside, or where one of the two has a single seed.

    Args:
      claim: the sentence.
      one: rows of the arm that should be above; None, not measured.
      other: rows of the arm that it is compared with; None, not measured.
      value: of a row; None: its final return, of greedy actions where both have it.
      least: the difference to exceed.
      note: end of the evidence.
    """
    if one is None or other is None:
        return Verdict(claim, MISSING)
    read = value or _final_of(one, other)
    first, second = (np.array([read(row) for row in found.rows], float) for found in (one, other))
    low, high = difference_interval(first, second)
    verdict, gap = UNDECIDED, f"{first.mean() - second.mean():+.3g}"
    if min(len(first), len(second)) > 1:
        verdict = REACHED if low > least else REFUTED if high <= least else UNDECIDED
        gap += f" [{low:.3g}, {high:.3g}]"
    means = [cells.number(float(x.mean())) for x in (first, second)]
    counts = dict.fromkeys([str(len(first)), str(len(second))])
    evidence = f"{means[0]} against {means[1]}: {gap}{note}"
    return Verdict(claim, verdict, evidence, " and ".join(counts))


def difference_interval(first: np.ndarray, second: np.ndarray) -> tuple[float, float]:
    """Returns the 95% bootstrap interval of the difference of the means of two samples [seeds]."""
    low, high = statistics.stratified_interval(
        lambda a, b: a[0].mean(-1) - b[0].mean(-1), [first], [second]
    )
    return float(low), float(high)


def _final_of(one: cells.Result, other: cells.Result) -> Value:
    """Returns the final return of a row, of greedy actions if the two were judged differently."""
    if len({row["judged"] for row in (*one.rows, *other.rows)}) == 1:
        return lambda row: float(row["final"])

    def greedy(row: Row) -> float:
        found = row["final"] if row["judged"] == "greedy" else row["measured"].get("greedy_return")
        return float(row["final"] if found is None else found)

    return greedy


def decided(claim: str, true: bool | None, evidence: str, seeds: int | str) -> Verdict:
    """Returns the verdict of a rule that is either met or not; None: it cannot be told."""
    verdict = UNDECIDED if true is None else REACHED if true else REFUTED
    return Verdict(claim, verdict, evidence, str(seeds))


def all_of(claim: str, parts: Sequence[Verdict]) -> Verdict:
    """Returns the verdict on a claim that has to hold in every part.

    Not measured where no part is, refuted where a part is, reached where all are, else undecided.
    """
    known = [part for part in parts if part.verdict != MISSING]
    if not known:
        return Verdict(claim, MISSING)
    verdict = UNDECIDED
    if any(part.verdict == REFUTED for part in known):
        verdict = REFUTED
    elif all(part.verdict == REACHED for part in parts):
        verdict = REACHED
    evidence = "; ".join(f"{part.claim} {part.evidence}" for part in known)
    missing = [part.claim for part in parts if part.verdict == MISSING]
    if missing:
        evidence += f"; not measured: {', '.join(missing)}"
    seeds = dict.fromkeys(one for part in known for one in part.seeds.split(" and "))
    return Verdict(claim, verdict, evidence, " and ".join(seeds))
