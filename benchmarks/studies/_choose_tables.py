"""The table of docs/choose.md: a learner for each kind of problem, with stored returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import _cells as cells
from _learning_tables import POLICIES, found

EIGHT = "Foraging-8x8-2p-2f-coop-v3"


class Choice(NamedTuple):
    """A kind of problem, what to take, and the task and learners that show it."""

    problem: str
    take: str
    task: str
    arms: tuple[str, ...]


CHOICES = (
    Choice(
        "small, discrete, everything in sight",
        "[`vdn`](vdn.md), [`qmix`](qmix.md), [`iql`](iql.md) first",
        EIGHT,
        ("vdn", "qmix", "iql", "qplex"),
    ),
    Choice(
        "what matters is out of sight",
        "[`mappo`](mappo.md), [`qmix`](qmix.md), recurrent as their presets are",
        "Foraging-2s-8x8-2p-2f-coop-v3",
        ("mappo", "qmix", "iql", "vdn"),
    ),
    Choice(
        "the best action depends on what others do",
        "[`qplex`](qplex.md), [`ow_qmix`](weighted-qmix.md), [`qtran`](qtran.md)",
        "matrix/qtran",
        ("qplex", "ow_qmix", "qtran", "qmix", "vdn"),
    ),
    Choice(
        "the same, and mistakes together cost much",
        "[`joint_q`](joint-q.md), if acting may be centralised",
        "matrix/climbing",
        ("joint_q", "qplex", "ow_qmix", "qtran", "qmix"),
    ),
    Choice(
        "larger boards, more agents, many steps",
        "[`mappo`](mappo.md), [`ippo`](ippo.md)",
        "Foraging-10x10-3p-3f-v3",
        ("mappo", "ippo", "qmix", "vdn"),
    ),
    Choice(
        "agents that signal to each other",
        "[`mappo`](mappo.md), [`qmix`](qmix.md)",
        "mpe/simple_speaker_listener_v4",
        ("mappo", "qmix", "qplex", "ippo"),
    ),
    Choice(
        "no memory for a replay, a GPU full of environments",
        "[`pqn_qmix`, `pqn_vdn`](pqn.md)",
        EIGHT,
        ("pqn_qmix", "pqn_vdn"),
    ),
    Choice("one agent", "[`ippo`](ippo.md)", "gymnax/CartPole-v1", ("ippo",)),
)


def choose() -> str:
    """Returns the table; learners without stored rows on a task are left out of its evidence."""
    return cells.table(["problem", "take", "evidence"], [_row(choice) for choice in CHOICES])


def _row(choice: Choice) -> list[str]:
    values = [(arm, found(choice.task, arm)) for arm in choice.arms]
    shown = [f"`{arm}` {_value(arm, one)}" for arm, one in values if one is not None]
    return [choice.problem, choice.take, f"`{choice.task}`: " + ", ".join(shown)]


def _value(arm: str, one: cells.Result) -> str:
    drawn = cells.drawn(one) if arm in POLICIES else cells.MISSING
    return cells.greedy(one) if drawn == cells.MISSING else drawn


TABLES: Mapping[str, Callable[[], str]] = {"choose": choose}
