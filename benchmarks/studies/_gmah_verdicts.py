"""The claims that GMAH's page begins with."""

from __future__ import annotations

import _cells as cells
import numpy as np
from _verdicts import MISSING, Verdict, above, decided

from marlx.analysis.result_rows import Row

FLAT = (
    ("Above flat PPO on DoorKey, T = 64", "doorkey-64", "adaptive", "flat"),
    ("Above flat PPO on DoorKey, T = 256", "doorkey-256", "adaptive", "flat"),
    ("Above flat PPO, goal behind the door, T = 256", "doorkey-256-right", "adaptive", "flat"),
    ("Above flat PPO of gamma 0.99 there", "doorkey-256-right", "adaptive", "flat-099"),
    (
        "Above flat PPO of gamma 0.99 there, T = 640",
        "doorkey-640-right",
        "adaptive",
        "flat-099",
    ),
    ("Above flat QMIX at the end of TrashGrid", "trashgrid", "adaptive", "flat"),
    ("Above flat IPPO on TrashGrid", "trashgrid", "adaptive", "flat-ippo"),
    ("Above flat MAPPO on TrashGrid", "trashgrid", "adaptive", "flat-mappo"),
    ("Above flat QMIX on foraging where three lift together", "foraging", "staged", "flat"),
    ("Above flat IPPO on foraging", "foraging", "staged", "flat-ippo"),
    ("Above flat MAPPO on foraging", "foraging", "staged", "flat-mappo"),
)
"""Claim, comparison, the arm that should be above, and the other."""
MIXING = (
    ("Mixing helps on `grid/vault-4p`, made for it", "vault", "mixing", "none"),
    ("Without mixing, less exploration helps in the vault", "vault", "none-quiet", "none"),
    ("Mixing helps on TrashGrid", "trashgrid", "adaptive", "unmixed"),
    ("Mixing helps on TrashGrid in stages", "trashgrid", "staged", "staged-unmixed"),
    ("Mixing helps on foraging", "foraging", "staged", "staged-unmixed"),
)
REFRESH = (
    ("Until achieved better than a fixed period, T = 64", "doorkey-64", "adaptive", "fixed"),
    ("The same, behind the door, T = 256", "doorkey-256-right", "adaptive", "fixed"),
    ("`options` above `achieved`, goal moves", "doorkey-moving", "options", "adaptive"),
    ("`changed` above `achieved`, goal moves", "doorkey-moving", "changed", "adaptive"),
    ("`options` above `achieved`, doors lock", "doorkey-relocking", "options", "adaptive"),
    ("`changed` above `achieved`, doors lock", "doorkey-relocking", "changed", "adaptive"),
    ("Above flat PPO, goal moves", "doorkey-moving", "adaptive", "flat-099"),
    ("Above flat PPO, doors lock", "doorkey-relocking", "adaptive", "flat-099"),
)
LEARNED = (
    ("Learned subgoals above flat QMIX on DeepSea", "deepsea", "learned", "flat"),
    ("Learned subgoals above flat QMIX in a team", "learned-team", "learned", "flat"),
    ("Learned subgoals, unmixed, above flat QMIX in a team", "learned-team", "unmixed", "flat"),
    (
        "Normalised networks above help learned subgoals in a team",
        "learned-team",
        "learned",
        "plain",
    ),
    ("Mixing helps learned subgoals in a team", "learned-team", "learned", "unmixed"),
    ("Hindsight helps learned subgoals on DeepSea", "deepsea", "learned", "no-hindsight"),
    ("Hindsight helps on foraging", "foraging", "hindsight", "adaptive"),
)
NOTES = {
    ("foraging", "staged", "flat"): " (low actions drawn, QMIX greedy)",
    ("foraging", "staged", "flat-ippo"): " (low actions and IPPO's drawn)",
    ("foraging", "staged", "flat-mappo"): " (low actions and MAPPO's drawn)",
}
"""Pairs of arms whose final returns are compared as they are judged, and how that is."""


def arm(comparison: str, name: str) -> cells.Result | None:
    """Returns the rows of an arm of the study `gmah`, None if it was not trained."""
    return cells.result("gmah", comparison, name)


def compared(claim: str, comparison: str, one: str, other: str) -> Verdict:
    """Returns the verdict on "the first arm of a comparison is above the second"."""
    note = NOTES.get((comparison, one, other), "")
    value = _final if note else None
    return above(claim, arm(comparison, one), arm(comparison, other), value=value, note=note)


def _final(row: Row) -> float:
    return float(row["final"])


def sooner(claim: str, comparison: str, one: str, other: str) -> Verdict:
    """Returns the verdict on "the first arm is where the second ends after half of its steps"."""
    first, second = arm(comparison, one), arm(comparison, other)
    if first is None or second is None:
        return Verdict(claim, MISSING)
    curve = np.mean([row["curve"] for row in first.rows], axis=0)
    steps, goal = first.rows[0]["steps"], cells.mean(second)
    asked, seeds = cells.asked_steps(second), len(first.rows)
    if curve.max() < goal:
        return decided(claim, False, f"never at {cells.number(goal)}", seeds)
    at = round(steps[int(np.argmax(curve >= goal))], -3)
    evidence = f"at {cells.number(goal)} after {at:,} of {asked:,} steps"
    return decided(claim, at <= asked / 2, evidence, seeds)


def skilled(claim: str, comparison: str, least: float) -> Verdict:
    """Returns the verdict on "the low level achieves every subgoal in at least this share"."""
    found = arm(comparison, "low")
    if found is None:
        return Verdict(claim, MISSING)
    seeds = [row["measured"]["achieved"] for row in found.rows]
    shares = {name: float(np.mean([seed[name] for seed in seeds])) for name in seeds[0]}
    worst = min(shares, key=shares.__getitem__)
    return decided(claim, shares[worst] >= least, f"`{worst}` {shares[worst]:.2f}", len(seeds))


def claims() -> list[Verdict]:
    """Returns all claims of the page."""
    return [
        *(compared(*one) for one in FLAT),
        sooner(
            "In half of flat QMIX's steps at its end, TrashGrid", "trashgrid", "adaptive", "flat"
        ),
        sooner("In half of flat QMIX's steps at its end, foraging", "foraging", "staged", "flat"),
        *(compared(*one) for one in (*MIXING, *REFRESH, *LEARNED)),
        skilled("Low level at least 0.90 at each subgoal of DoorKey", "doorkey", 0.9),
        skilled("Low level at least 0.90 at each subgoal of TrashGrid", "trashgrid", 0.9),
    ]
