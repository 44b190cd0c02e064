"""Tables with one row per learner: all that were trained on a task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import _cells as cells
from _learning_tables import ALGORITHMS, CONTINUOUS, EIGHT, GAMES, PARTICLES, POLICIES, found

LEARNERS = (*ALGORITHMS, "iddpg", "maddpg", "facmac", "isac", "masac", "hasac")


def everyone(task: str) -> str:
    """Returns one row per learner that was trained on a task, by steps and name."""
    both = [(name, one) for name in LEARNERS if (one := found(task, name)) is not None]
    rows = []
    for name, one in sorted(both, key=lambda pair: (cells.asked_steps(pair[1]), pair[0])):
        start = [f"`{name}`", f"{cells.asked_steps(one):,}", str(len(one.rows))]
        greedy = cells.greedy(one) if name in POLICIES else ""
        time = [f"{cells.seconds(one) / 60:.1f}", cells.machine(one)]
        rows.append([*start, kind(name), judged(name, one), greedy, *time])
    head = ["steps", "rows", "actions", "return", "greedy beside it", "minutes", "on"]
    return cells.table(["", *head], rows)


def everyone_in_games() -> str:
    """Returns one row per learner that was trained on matrix games, and a column per game."""
    tasks = [f"matrix/{game}" for game in GAMES]
    rows = []
    for name in LEARNERS:
        results = [found(task, name) for task in tasks]
        some = [one for one in results if one is not None]
        if some:
            values = [judged(name, one) if one else cells.MISSING for one in results]
            seconds = f"{sum(map(cells.seconds, some)) / len(some):.0f}"
            rows.append([f"`{name}`", kind(name), *values, seconds])
    known = [next((one for n in LEARNERS if (one := found(task, n))), None) for task in tasks]
    best = [cells.optimum(one) if one else cells.MISSING for one in known]
    head = ["", "actions", *GAMES, "seconds per game"]
    return cells.table(head, [["optimum", "", *best, ""], *rows])


def kind(name: str) -> str:
    """Returns the actions that a learner is measured with."""
    return "drawn" if name in POLICIES else "greedy"


def judged(name: str, one: cells.Result) -> str:
    """Returns the return of these actions, with its interval."""
    return cells.of_actions(one, kind(name))


TABLES: Mapping[str, Callable[[], str]] = {
    "learning-everyone": functools.partial(everyone, EIGHT),
    "learning-everyone-spread": functools.partial(everyone, PARTICLES[0]),
    "learning-everyone-speaker-listener": functools.partial(everyone, PARTICLES[1]),
    "learning-everyone-continuous": functools.partial(everyone, CONTINUOUS),
    "learning-everyone-games": everyone_in_games,
}
