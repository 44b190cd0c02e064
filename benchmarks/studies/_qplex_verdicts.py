"""Claims of QPLEX's page: whether it keeps what it has learned, and solves the 8/-12 game."""

from __future__ import annotations

import _cells as cells
import numpy as np
from _verdicts import MISSING, Verdict, above, decided

TASK = "Foraging-8x8-2p-2f-coop-v3"
LONG = f"{TASK}, long"
STOPPED = f"{LONG}, gradient stopped"
POINTS = (400_000, 800_000, 1_200_000, 1_600_000)
FALL = 0.1
"""How far below its best evaluation a seed ends that has forgotten."""


def fallen(found: cells.Result) -> int:
    """Returns how many seeds end further below their best evaluation than `FALL`."""
    return sum(max(row["curve"]) - row["final"] > FALL for row in found.rows)


def claims() -> list[Verdict]:
    """Returns all claims of the page."""
    keeps = f"Keeps what it has learned in long trainings, `{TASK}`"
    solves = "Finds the optimum of the 8/-12 game, every seed"
    long = cells.result("learning", LONG, "qplex")
    game = cells.result("learning", "matrix/qtran", "qplex")
    found = [Verdict(keeps, MISSING), Verdict(solves, MISSING)]
    if long is not None:
        seeds, count = len(long.rows), fallen(long)
        end = (
            f"{count} of {seeds} seeds end more than {FALL} below their best, {cells.greedy(long)}"
        )
        found[0] = decided(keeps, count == 0, end, seeds)
    if game is not None:
        best = float(game.records[0]["optimum"])
        solved = sum(row["final"] >= best - 1e-3 for row in game.rows)
        seeds = len(game.rows)
        found[1] = decided(solves, solved == seeds, f"{solved} of {seeds} seeds", seeds)
    whole, stopped = (cells.result("learning", name, "qplex") for name in (LONG, STOPPED))
    words = "Foraging's preset above the one before, whose gradient was stopped"
    found.append(above(words, whole, stopped))
    return found


def curve() -> str:
    """Returns the table of long trainings: the mean return on the way, and who forgot."""
    rows = []
    for label, comparison in (("whole", LONG), ("stopped", STOPPED)):
        found = cells.result("learning", comparison, "qplex")
        if found is None:
            continue
        best = np.mean([max(row["curve"]) for row in found.rows])
        texts = [cells.at(found, at) for at in POINTS]
        fell = f"{fallen(found)} of {len(found.rows)}"
        rows.append([label, *texts, cells.greedy(found), f"{best:.3f}", fell])
    if not rows:
        return "Not measured."
    head = ["gradient", *(f"after {at:,}" for at in POINTS), "at the end"]
    return cells.table([*head, "best evaluation of each seed", "seeds that fell by 0.1"], rows)
