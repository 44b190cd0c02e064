"""The claims that CLAM's page begins with."""

from __future__ import annotations

from collections.abc import Sequence

import _cells as cells
import numpy as np
from _verdicts import MISSING, REACHED, Verdict, above, all_of, decided

RIVALS = (
    ("GRU", "recurrent"),
    ("LIAM", "liam"),
    ("random encoder", "random"),
    ("no model", "none"),
)
"""Arms to beat: a policy with a memory, a model with as many updates, and less."""
GAMES = (
    "acquaint/kept-10",
    "acquaint/sparse-50",
    "acquaint/delay-4",
    "acquaint/delay-8",
    "acquaint/delay-16",
    "acquaint/delay-32",
    "coordination, ten seeds",
    "rps, ten seeds",
)
"""Comparisons with the present preset."""
ACQUAINT, DELAYS = GAMES[:6], GAMES[2:6]
PREDATORS = "tag-pool, ten seeds"
"""Tag against predators trained by several algorithms."""
LISTENER = "a listener among 120 languages"
"""A task of the study `signalling`."""
IN_LISTENER = {"recurrent": "GRU", "none": "no memory"}
"""Names there of arms here, where they differ."""
OWN_ACTIONS = "acquaint/kept-10, own actions too"
"""The comparison whose encoders read what the agent itself did."""


def arm(comparison: str, name: str) -> cells.Result | None:
    """Returns the rows of an arm on a task, None if it was not trained."""
    if comparison == LISTENER:
        return cells.result("signalling", "listeners", IN_LISTENER.get(name, name))
    return cells.result("clam", comparison, name)


def rivals(comparison: str) -> Verdict:
    """Returns the verdict on "CLAM is above all its rivals on this task"."""
    own = arm(comparison, "clam")
    parts = [above(name, own, arm(comparison, rival)) for name, rival in RIVALS]
    return all_of(f"Above a GRU, LIAM, a random encoder and no model: `{comparison}`", parts)


def memory_beaten(comparison: str) -> Verdict:
    """Returns the verdict on "CLAM is above a policy with a memory of its own on this task"."""
    found = [arm(comparison, name) for name in ("clam", "recurrent")]
    return above(f"Above a GRU: `{comparison}`", *found)


def anywhere(games: Sequence[Verdict], least: int) -> Verdict:
    """Returns the verdict on "CLAM is above all its rivals on so many tasks"."""
    claim = "Above a GRU, LIAM, a random encoder and no model on two tasks"
    known = [one for one in games if one.verdict != MISSING]
    if not known:
        return Verdict(claim, MISSING)
    count = sum(one.verdict == REACHED for one in known)
    evidence = f"on {count} of {len(known)} measured, below"
    left = len(games) - len(known)
    return decided(claim, True if count >= least else None if left else False, evidence, "10")


def restored(comparison: str) -> Verdict:
    """Returns the verdict on "a window as long as an episode makes the GRU better"."""
    return above(
        f"A window as long as the episode helps the GRU: `{comparison}`",
        arm(comparison, "recurrent-horizon"),
        arm(comparison, "recurrent"),
    )


def as_fast(comparison: str) -> Verdict:
    """Returns the verdict on "CLAM is at 90% of the oracle's return as soon as a GRU"."""
    claim = f"At 90% of the oracle as soon as a GRU: `{comparison}`"
    found = [arm(comparison, name) for name in ("clam", "recurrent")]
    steps = []
    for one in found:
        if one is None or any("steps_to_90" not in row["measured"] for row in one.rows):
            return Verdict(claim, MISSING)
        every = [row["measured"]["steps_to_90"] for row in one.rows]
        steps.append(float(np.median([np.inf if x is None else x for x in every])))
    if np.isinf(steps[0]) and np.isinf(steps[1]):
        seeds = len(cells.known(found[0]).rows)
        return decided(claim, None, "fewer than half of either's seeds come there", seeds)
    texts = [f"{round(x, -3):,.0f}" if np.isfinite(x) else "more" for x in steps]
    true = steps[0] <= steps[1]
    evidence = f"median after {texts[0]} steps against {texts[1]}"
    return decided(claim, true, evidence, len(cells.known(found[0]).rows))


def elsewhere() -> Sequence[Verdict]:
    """Returns the claims of other tasks, and of what the encoder's training adds."""
    ten = "coordination, ten seeds"
    pool, tag = "foraging-pool, ten seeds", PREDATORS
    kept = GAMES[0]
    return [
        above(
            "CLAM's present preset above the one before: `acquaint/kept-10`",
            arm(kept, "clam"),
            arm(OWN_ACTIONS, "clam"),
        ),
        above(
            "LIAM without its own actions above LIAM with them: `acquaint/kept-10`",
            arm(kept, "liam"),
            arm(OWN_ACTIONS, "liam"),
        ),
        above("Training the encoder helps, kept-10", arm(kept, "clam"), arm(kept, "random")),
        above("Above no model, coordination", arm(ten, "clam"), arm(ten, "none")),
        above("Above no model, rock-paper-scissors", arm("rps", "clam"), arm("rps", "none")),
        above("Training the encoder helps, coordination", arm(ten, "clam"), arm(ten, "random")),
        above("Above no model, spread", arm("spread", "clam"), arm("spread", "none")),
        above("Above no model, speakers", arm("speakers", "clam"), arm("speakers", "none")),
        above("An oracle gains, foraging", arm("foraging", "oracle"), arm("foraging", "none")),
        above("An oracle gains, trained partners", arm(pool, "oracle"), arm(pool, "none")),
        above("Above no model, trained partners", arm(pool, "clam"), arm(pool, "none")),
        above("Above a GRU, trained partners", arm(pool, "clam"), arm(pool, "recurrent")),
        above("An oracle gains, trained predators", arm(tag, "oracle"), arm(tag, "none")),
        above("Above no model, trained predators", arm(tag, "clam"), arm(tag, "none")),
        above("Above a GRU, trained predators", arm(tag, "clam"), arm(tag, "recurrent")),
        above("An oracle gains, tag", arm("tag", "oracle"), arm("tag", "none")),
    ]  # fmt: skip


def claims() -> list[Verdict]:
    """Returns all claims of the page."""
    games = [rivals(game) for game in (*GAMES, LISTENER, PREDATORS)]
    return [
        *(memory_beaten(game) for game in ACQUAINT),
        anywhere(games, 2),
        *games,
        *(as_fast(game) for game in GAMES),
        *(restored(game) for game in DELAYS),
        *elsewhere(),
    ]
