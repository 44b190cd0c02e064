"""Speeds against other packages that the documentation claims, beside rows of timings.

The page's table and the exit code of `marlx bench` both come from `CLAIMS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

COUNTS = (1, 64, 1024, 4096)
"""Environments side by side."""
TOLERANCE = 0.9
"""Part of a stored ratio that is claimed where its target was not reached."""
HEAD = ("work", "against", "target", "measured", "claimed", "")


class Case(NamedTuple):
    """A measurement.

    Attributes:
      label: of the case within its claim; empty where it is the only one.
      arm: of its row.
      target: the ratio that was aimed at; None if there is none.
    """

    label: str
    arm: str
    target: float | None


class Claim(NamedTuple):
    """A line of the table.

    Attributes:
      work: what is timed.
      peer: what it is compared with.
      comparison: the script, as its rows name it.
      cases: its measurements.
      ratio: name of the measurement in the row.
    """

    work: str
    peer: str
    comparison: str
    cases: tuple[Case, ...]
    ratio: str = "ratio"


class Judged(NamedTuple):
    """A case beside what was measured.

    Attributes:
      name: of claim and case.
      target: see `Case`.
      measured: the ratio; None if it was not measured.
      claimed: the least ratio that the page promises; None where it promises nothing.
    """

    name: str
    target: float | None
    measured: float | None
    claimed: float | None

    @property
    def verdict(self) -> str:
        """`reached`, `not reached`, `not measured` or, without a target, nothing."""
        if self.measured is None:
            return "not measured"
        if self.target is None:
            return ""
        return "reached" if self.measured >= self.target else "not reached"

    @property
    def behind(self) -> bool:
        """Whether less was measured than is claimed."""
        if self.measured is None or self.claimed is None:
            return False
        return self.measured < self.claimed


def _environments(
    work: str, peer: str, comparison: str, arm: str, one: float | None, many: float
) -> Claim:
    """Returns the claim of an environment's speed: a target for one, and one for all larger."""
    cases = tuple(
        Case(f"{count:,}", arm.format(count), one if count == 1 else many) for count in COUNTS
    )
    return Claim(work, peer, comparison, cases)


def _training(work: str, arm: str, target: float | None) -> Claim:
    return Claim(work, "JaxMARL's script", "speed_jaxmarl", (Case("", arm, target),))


VMAP = ", vmap(env.step)"
"""End of the arms of environments that are stepped by `jax.vmap(env.step)`, not `vector_step`."""
_FORAGING = ("foraging 8x8, 2 players, 2 foods", "jumanji", "speed_foraging")
_PLAYED = "{} environments, as played"
CLAIMS = (
    _environments(f"{_FORAGING[0]}{VMAP}", *_FORAGING[1:], f"{_PLAYED}{VMAP}", 5, 10),
    _environments(f"{_FORAGING[0]}, vector_step", *_FORAGING[1:], _PLAYED, 5, 12),
    *(
        _environments(
            f"{task}, {call}",
            "JaxMARL",
            "speed_mpe",
            f"{task}_v3, {{}} environments{VMAP if 'vmap' in call else ''}",
            one,
            many,
        )
        for task, one, many in (("simple_spread", 8, 15), ("simple_tag", None, 10))
        for call in ("vmap(env.step)", "vector_step")
    ),
    _training("QMIX, training alone", "qmix", 1.3),
    _training("QMIX, evaluations included", "qmix, with evaluations", 1.5),
    _training("VDN, training alone", "vdn", None),
    _training("VDN, evaluations included", "vdn, with evaluations", 1.3),
    _training("IQL, training alone", "iql", None),
    _training("IQL, evaluations included", "iql, with evaluations", None),
    _training("IPPO, feed-forward", "ippo feed-forward", 2),
    _training("IPPO, recurrent, shared trunk as there", "ippo recurrent, shared trunk", 2),
    _training("IPPO, recurrent, two networks", "ippo recurrent, two networks", 1.2),
    _training("MAPPO, recurrent", "mappo recurrent", 2.5),
    Claim(
        "QMIX, four seeds on two workers and cores",
        "one seed",
        "speed_qmix",
        (Case("", "four on two workers", 1.8),),
        "times_one_seed",
    ),
)
"""All lines of the table, in its order."""


def judged(
    claim: Claim, rows: Iterable[Mapping[str, Any]], stored: Iterable[Mapping[str, Any]]
) -> list[Judged]:
    """Returns the cases of a claim beside their rows.

    Args:
      claim: of the table.
      rows: that were measured; of several rows of a case the last one counts.
      stored: that the page is made of. Where a stored ratio reaches its target, the target is
        claimed; where it does not, or there is no target, `TOLERANCE` of the stored ratio is.
    """
    here, page = _ratios(claim, rows), _ratios(claim, stored)
    found = []
    for case in claim.cases:
        ours, theirs = here.get(case.arm), page.get(case.arm)
        claimed = None
        if theirs is not None:
            reached = case.target is not None and theirs >= case.target
            claimed = case.target if reached else TOLERANCE * theirs
        counted = f", {case.label} environments" if case.label else ""
        found.append(Judged(f"{claim.work}{counted}", case.target, ours, claimed))
    return found


def _ratios(claim: Claim, rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    return {
        row["arm"]: float(row["measured"][claim.ratio])
        for row in rows
        if row["comparison"] == claim.comparison and row["measured"].get(claim.ratio) is not None
    }


def all_judged(
    rows: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]
) -> list[Judged]:
    """Returns the cases of all claims, see `judged`."""
    return [one for claim in CLAIMS for one in judged(claim, rows, stored)]


def lines(
    rows: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]
) -> list[list[str]]:
    """Returns the cells of the table, a line for each claim, in the columns of `HEAD`."""
    return [
        [
            claim.work,
            claim.peer,
            _joined(["-" if one.target is None else f"{one.target:g}" for one in cases]),
            _joined([ratio(one.measured) for one in cases]),
            _joined([ratio(one.claimed) for one in cases]),
            _verdict(cases),
        ]
        for claim in CLAIMS
        for cases in [judged(claim, rows, stored)]
    ]


def text(rows: Sequence[Mapping[str, Any]], stored: Sequence[Mapping[str, Any]]) -> str:
    """Returns the table as text for a terminal."""
    cells = [HEAD, *lines(rows, stored)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    padded = (
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in cells
    )
    return "\n".join(line.rstrip() for line in padded)


def failures(judgements: Iterable[Judged]) -> list[str]:
    """Returns a line for each case that is behind what the page claims."""
    return [
        f"{one.name}: {ratio(one.measured)} times, and the page claims {ratio(one.claimed)}"
        for one in judgements
        if one.behind
    ]


def ratio(value: float | None) -> str:
    """Returns a ratio as text; `-` for none."""
    return "-" if value is None else f"{value:.2f}"


def _joined(cells: Sequence[str]) -> str:
    """Returns cells as one, with one alone where all are equal."""
    return cells[0] if len(set(cells)) == 1 else " / ".join(cells)


def _verdict(cases: Sequence[Judged]) -> str:
    """Returns whether the targets of a claim's cases are reached, and of several how many."""
    if all(one.measured is None for one in cases):
        return "not measured"
    aimed = [one for one in cases if one.target is not None]
    reached = sum(one.verdict == "reached" for one in aimed)
    if reached == len(aimed):
        return "reached" if aimed else ""
    return f"{reached} of {len(aimed)} reached" if reached else "not reached"
