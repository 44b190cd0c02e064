"""The tables of the learning study."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import _cells as cells
import numpy as np

Q_LEARNERS = ("iql", "vdn", "qmix", "qplex", "joint_q")
CENTRAL = ("ow_qmix", "cw_qmix", "qtran")
PARALLEL = ("pqn_vdn", "pqn_qmix")
POLICIES = ("ippo", "mappo", "happo", "haa2c", "coma", "mat", "sable", "teamreg", "coachreg")
"""Learners that are judged by drawn actions; their tables have both kinds of return."""
ALGORITHMS = (*Q_LEARNERS, *CENTRAL, *PARALLEL, *POLICIES)
"""Algorithms whose pages have a table."""
GAMES = ("two_step", "qtran", "climbing", "penalty-0", "penalty-25", "penalty-100")
EIGHT = "Foraging-8x8-2p-2f-coop-v3"
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
CONTINUOUS = "mpe/simple_spread_v3-continuous"
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
NAMES = {CONTINUOUS: "mpe/simple_spread_v3"}
"""Environments of tasks that are one with settings."""
WORDS = {
    "mpe/simple_spread_v3": " (mean over agents)",
    CONTINUOUS: ", continuous actions (mean over agents)",
}
NOTES = {
    ("Foraging-8x8-2p-2f-coop-v3", "qmix"): " (a)",
    ("Foraging-2s-8x8-2p-2f-coop-v3", "qmix"): " (b)",
}
"""Footnotes of the page, by task and algorithm."""


POOLED = {("Foraging-8x8-2p-2f-coop-v3", "qmix"): ("mansa", "qmix-800k")}
"""Study and arm of a second run with the same settings and seeds, which is pooled."""


def found(task: str, name: str) -> cells.Result | None:
    """Returns the rows of an algorithm on a task, of all runs with these settings."""
    first = cells.result("learning", task, name)
    if first is None or (task, name) not in POOLED:
        return first
    study, arm = POOLED[task, name]
    second = cells.need(study, task, arm)
    return cells.Result([*first.rows, *second.rows], [*first.records, *second.records])


def small() -> str:
    """Returns the table of games and 8x8 boards."""
    head = ["task", "random", "optimum", *Q_LEARNERS, *CENTRAL]
    return cells.table(head, [_small_row(task) for task in SMALL])


def _small_row(task: str) -> list[str]:
    some = _any(task, Q_LEARNERS)
    values = [_greedy(task, name) for name in (*Q_LEARNERS, *CENTRAL)]
    return [task, cells.random_return(some), cells.optimum(some), *values]


def large() -> str:
    """Returns the table of particles and larger boards, after 2 million steps."""
    names = Q_LEARNERS[:4]
    rows = []
    for task in (*PARTICLES, *LARGE):
        values = [cells.result("learning", task, name) for name in names]
        label = task + WORDS.get(task, "")
        random = cells.random_return(_any(task, names))
        rows.append([label, random, *map(cells.greedy, values)])
        if task in LARGE:
            rows.append(["the same, exploring", "", *map(cells.exploring, values)])
    return cells.table(["task", "random", *names], rows)


def gradients() -> str:
    """Returns the table of MAPPO and IPPO, with greedy and with drawn actions."""
    names = ("mappo", "ippo")
    rows = []
    for task in GRADIENT_TASKS:
        some = _any(task, names)
        results = [cells.result("learning", task, name) for name in names]
        millions = f"{some.rows[0]['steps'][-1] / 1e6:.1f}"
        machine = "CPU" if "cpu" in some.rows[0]["device"] else "GPU"
        start = [f"{task}{WORDS.get(task, '')}, greedy", machine, millions]
        rows.append([*start, cells.random_return(some), *map(cells.greedy, results)])
        if any(cells.drawn(one) != cells.MISSING for one in results):
            rows.append(["the same, drawn", "", "", "", *map(cells.drawn, results)])
    return cells.table(["task", "machine", "million steps", "random", *names], rows)


def opponents() -> str:
    """Returns the table of learning against fixed opponents."""
    rows = []
    for task, side in OPPONENTS.items():
        both = [cells.need("learning", task, name) for name in ("mappo", "ippo")]
        values = [text(one) for one in both for text in (cells.greedy, cells.drawn)]
        rows.append([f"{task}, {side}", cells.random_return(both[0]), *values])
    head = ["task", "random", "mappo, greedy", "drawn", "ippo, greedy", "drawn"]
    return cells.table(head, rows)


def algorithm(name: str) -> str:
    """Returns the table of all stored results of an algorithm, without opponents."""
    tasks = dict.fromkeys((*SMALL, *PARTICLES, CONTINUOUS, *LARGE, *GRADIENT_TASKS))
    draws = name in POLICIES
    rows = []
    for task in tasks:
        one = found(task, name)
        if one is None:
            continue
        steps = f"{cells.asked_steps(one):,}"
        values = [cells.greedy(one), *([cells.drawn(one)] if draws else [])]
        label = f"`{NAMES.get(task, task)}`{WORDS.get(task, '')}"
        rows.append([label, steps, cells.random_return(one), *values, cells.optimum(one)])
    head = ["greedy", "drawn"] if draws else [name]
    return cells.table(["task", "steps", "random", *head, "optimum"], rows)


def _greedy(task: str, name: str) -> str:
    return cells.greedy(found(task, name)) + NOTES.get((task, name), "")


def _any(task: str, names: Sequence[str]) -> cells.Result:
    results = (cells.result("learning", task, name) for name in names)
    return next(one for one in results if one is not None)


LOCK = {
    "base": "the preset: feed-forward, gamma 0.99, entropy bonus 0.01",
    "gru": "GRU (windows of 25 steps)",
    "last": "last action as input",
    "grulast": "GRU and last action",
    "ent": "entropy bonus falls to 0.001",
    "neg": "entropy bonus falls to -0.01",
    "gamma": "gamma 0.97",
}
"""Arms of the study `greedy_lock`, each with one change of the preset."""


def greedy_lock() -> str:
    """Drawn and greedy returns of MAPPO, one change of the preset per row."""
    rows = []
    for arm, label in LOCK.items():
        one = cells.result("greedy_lock", "Foraging-10x10-3p-3f-v3", arm)
        if one is None:
            continue
        both = [
            [row["measured"][f"{how}_return"] for row in one.rows] for how in ("drawn", "greedy")
        ]
        gap = cells.number(float(np.mean(both[0]) - np.mean(both[1])))
        rows.append([label, str(len(one.rows)), *map(cells.spread, both), gap])
    return cells.table(["MAPPO", "seeds", "drawn", "greedy", "gap"], rows)


def off_policy() -> str:
    """Returns of off-policy actor-critics with continuous actions."""
    rows = []
    for task in ("gymnax/Pendulum-v1",):
        for name in ("isac", "iddpg"):
            one = cells.result("learning", task, name)
            if one is not None:
                steps, seeds = f"{cells.asked_steps(one):,}", str(len(one.rows))
                values = [cells.random_return(one), cells.greedy(one)]
                rows.append([f"`{task}`", f"`{name}`", steps, seeds, *values])
    return cells.table(["task", "", "steps", "seeds", "random", "greedy return"], rows)


def pqn() -> str:
    """Returns of PQN beside those of the replay-based learners with the same mixers."""
    task, rows = EIGHT, []
    for name in ("pqn_vdn", "vdn", "pqn_qmix", "qmix"):
        one = cells.need("learning", task, name)
        steps = f"{cells.asked_steps(one):,}"
        rows.append([f"`{name}`", str(len(one.rows)), steps, cells.greedy(one)])
    return cells.table(["", "seeds", "steps", "greedy return"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "off-policy": off_policy,
    "pqn": pqn,
    "greedy-lock": greedy_lock,
    "learning-small": small,
    "learning-large": large,
    "learning-gradients": gradients,
    "learning-opponents": opponents,
    **{f"algorithm-{name}": functools.partial(algorithm, name) for name in ALGORITHMS},
}
