"""The tables of attacks on teams."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping

import _cells as cells
import numpy as np

NEAR = 0.06
"""An attack on the sparse game is near the best where it is within this of it; else 5 %."""
ARMS = {
    "lambda 0": "PPO, lambda 0",
    "ami": "AMI",
    "taken": "AMI, influence of the action taken",
    "drawn": "AMI, oracle learns from its own proposals",
    "random": "AMI, random targets",
    "shuffled": "AMI, shuffled targets",
    "untargeted": "AMI, no targets: any deviation",
    "log": "AMI, log-probability of the target",
}
EXACT = {
    "none": "none: plays by the same rule",
    "random": "random",
    "constant": "the same action in all steps",
    "best": "the best attack there is",
}
GAMES = ("consensus", "consensus-sparse")
TEAMS = {"simple_spread_v3": "spread", "Foraging-8x8-3p-2f-v3": "foraging"}
KINDS = {
    "none": "no attack",
    "random": "random",
    "still": "stands still",
    "lambda0": "PPO, lambda 0",
    "ami": "AMI",
}


def _victims(found: cells.Result | None) -> str:
    """Returns the others' mean return and interval: minus that of the attackers."""
    if found is None:
        return cells.MISSING
    run = found.runs[0]
    low, high = run["interval"]
    return cells.interval(-run["mean"], -high, -low)


def _steps_to(found: cells.Result | None, game: str) -> str:
    """Returns after how many steps the mean of the seeds is first near the best return."""
    if found is None:
        return cells.MISSING
    best = found.runs[0]["extra"]["best"]
    others = -np.mean([row["curve"] for row in found.rows], axis=0)
    near = np.flatnonzero(others <= (best + NEAR if game.endswith("sparse") else 1.05 * best))
    return f"{found.rows[0]['steps'][near[0]]:,}" if len(near) else "not reached"


def attack_exact() -> str:
    """Returns the table of attacks on teams whose best attack is known."""
    rows = []
    first = {game: cells.result("attack", game, "ami") for game in GAMES}
    for name, label in EXACT.items():
        row = [label]
        for game in GAMES:
            one = first[game]
            value = cells.MISSING if one is None else cells.number(one.runs[0]["extra"][name])
            row += [value, ""]
        rows.append(row)
    for name, label in ARMS.items():
        found = {game: cells.result("attack", game, name) for game in GAMES}
        if any(found.values()):
            values = [(_victims(one), _steps_to(one, game)) for game, one in found.items()]
            rows.append([label, *itertools.chain(*values)])
    head = ["attack", "every step", "steps to within 5 %", "last step", "steps to within 0.06"]
    return cells.table(head, rows)


def attack_teams() -> str:
    """Returns the table of attacks on trained teams."""
    rows = []
    for kind, label in KINDS.items():
        row = [label]
        for task in TEAMS:
            found = cells.result("attack", task, kind)
            extra = None if found is None else found.runs[0]["extra"]
            row.append(
                cells.MISSING
                if extra is None
                else cells.interval(extra["mean"], *extra["interval"])
            )
        rows.append(row)
    return cells.table(["the attacked agent", *TEAMS.values()], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "attack-exact": attack_exact,
    "attack-teams": attack_teams,
}
