"""The tables of the learning study."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import _cells as cells

Q_LEARNERS = ("iql", "vdn", "qmix", "qplex", "joint_q")
ALGORITHMS = (*Q_LEARNERS, "ippo", "mappo")
"""Algorithms whose pages have a table."""
GAMES = ("two_step", "qtran", "climbing", "penalty-0", "penalty-25", "penalty-100")
SMALL = (
    *(f"matrix/{game}" for game in GAMES),
    "Foraging-8x8-2p-2f-coop-v3",
    "Foraging-2s-8x8-2p-2f-coop-v3",
)
PARTICLES = (
    "mpe/simple_spread_v3",
    "mpe/simple_speaker_listener_v4",
    "mpe/simple_reference_v3",
)
LARGE = (
    "Foraging-10x10-3p-3f-v3",
    "Foraging-15x15-4p-3f-v3",
    "Foraging-15x15-4p-5f-v3",
    "Foraging-15x15-3p-5f-v3",
)
GRADIENT_TASKS = (
    "Foraging-8x8-2p-2f-coop-v3",
    "Foraging-2s-8x8-2p-2f-coop-v3",
    "Foraging-10x10-3p-3f-v3",
    "Foraging-2s-10x10-3p-3f-v3",
    "Foraging-15x15-3p-5f-v3",
    "Foraging-15x15-4p-3f-v3",
    "Foraging-15x15-4p-5f-v3",
    *PARTICLES,
    "gymnax/CartPole-v1",
)
OPPONENTS = {
    "partners/mpe/simple_tag_v3": "predators learn",
    "partners/mpe/simple_adversary_v3": "good agents learn",
}
WORDS = {"mpe/simple_spread_v3": " (mean over agents)"}
NOTES = {
    ("Foraging-8x8-2p-2f-coop-v3", "qmix"): " (a)",
    ("Foraging-8x8-2p-2f-coop-v3", "qplex"): " (b)",
    ("Foraging-2s-8x8-2p-2f-coop-v3", "qmix"): " (c)",
}
"""Footnotes of the page, by task and algorithm."""


def small() -> str:
    """Returns the table of games and 8x8 boards."""
    head = ["task", "random", "optimum", *Q_LEARNERS]
    return cells.table(head, [_small_row(task) for task in SMALL])


def _small_row(task: str) -> list[str]:
    some = _any(task, Q_LEARNERS)
    values = [_greedy(task, name) for name in Q_LEARNERS]
    return [task, cells.random_return(some), cells.optimum(some), *values]


def large() -> str:
    """Returns the table of particles and larger boards, after 2 million steps."""
    names = Q_LEARNERS[:4]
    rows = []
    for task in (*PARTICLES, *LARGE):
        found = [cells.result("learning", task, name) for name in names]
        label = task + WORDS.get(task, "")
        random = cells.random_return(_any(task, names))
        rows.append([label, random, *map(cells.greedy, found)])
        if task in LARGE:
            rows.append(["the same, exploring", "", *map(cells.exploring, found)])
    return cells.table(["task", "random", *names], rows)


def gradients() -> str:
    """Returns the table of MAPPO and IPPO, with greedy and with drawn actions."""
    names = ("mappo", "ippo")
    rows = []
    for task in GRADIENT_TASKS:
        some = _any(task, names)
        found = [cells.result("learning", task, name) for name in names]
        millions = f"{some.rows[0]['steps'][-1] / 1e6:.1f}"
        machine = "CPU" if "cpu" in some.rows[0]["device"] else "GPU"
        start = [f"{task}{WORDS.get(task, '')}, greedy", machine, millions]
        rows.append([*start, cells.random_return(some), *map(cells.greedy, found)])
        if any(cells.drawn(one) != cells.MISSING for one in found):
            rows.append(["the same, drawn", "", "", "", *map(cells.drawn, found)])
    return cells.table(["task", "machine", "million steps", "random", *names], rows)


def opponents() -> str:
    """Returns the table of learning against fixed opponents."""
    rows = []
    for task, side in OPPONENTS.items():
        found = [cells.need("learning", task, name) for name in ("mappo", "ippo")]
        values = [text(one) for one in found for text in (cells.greedy, cells.drawn)]
        rows.append([f"{task}, {side}", cells.random_return(found[0]), *values])
    head = ["task", "random", "mappo, greedy", "drawn", "ippo, greedy", "drawn"]
    return cells.table(head, rows)


def algorithm(name: str) -> str:
    """Returns the table of all stored results of an algorithm, without opponents."""
    tasks = dict.fromkeys((*SMALL, *PARTICLES, *LARGE, *GRADIENT_TASKS))
    draws = name in ("mappo", "ippo")
    rows = []
    for task in tasks:
        found = cells.result("learning", task, name)
        if found is None:
            continue
        steps = f"{found.records[0]['settings']['total_steps']:,}"
        values = [cells.greedy(found), *([cells.drawn(found)] if draws else [])]
        label = f"`{task}`{WORDS.get(task, '')}"
        rows.append([label, steps, cells.random_return(found), *values, cells.optimum(found)])
    head = ["greedy", "drawn"] if draws else [name]
    return cells.table(["task", "steps", "random", *head, "optimum"], rows)


def _greedy(task: str, name: str) -> str:
    return cells.greedy(cells.result("learning", task, name)) + NOTES.get((task, name), "")


def _any(task: str, names: Sequence[str]) -> cells.Result:
    found = (cells.result("learning", task, name) for name in names)
    return next(one for one in found if one is not None)


TABLES: Mapping[str, Callable[[], str]] = {
    "learning-small": small,
    "learning-large": large,
    "learning-gradients": gradients,
    "learning-opponents": opponents,
    **{f"algorithm-{name}": functools.partial(algorithm, name) for name in ALGORITHMS},
}
