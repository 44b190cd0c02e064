"""The table of docs/choose.md: a learner for each kind of problem, with stored returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import _cells as cells
from _learning_tables import CONTINUOUS, EIGHT, NAMES, PARTICLES, POLICIES, WORDS, found


class Choice(NamedTuple):
    """A kind of problem, what to take, and the results that show it.

    Attributes:
      problem: in words.
      take: links to the learners' pages.
      task: an environment, or the comparison of another study.
      arms: label and arm of what is compared.
      study: that has them.
      shown: what stands for the task, where it is not the environment's id.
      measured: the measurement that is shown; the return if empty.
    """

    problem: str
    take: str
    task: str
    arms: Mapping[str, str]
    study: str = "learning"
    shown: str = ""
    measured: str = ""


def names(*arms: str) -> dict[str, str]:
    """Returns arms that are called as their learners."""
    return {f"`{arm}`": arm for arm in arms}


CHOICES = (
    Choice(
        "small, discrete, everything in sight",
        "[`vdn`](vdn.md), [`qmix`](qmix.md), [`iql`](iql.md) first",
        EIGHT,
        names("vdn", "qmix", "iql", "qplex"),
    ),
    Choice(
        "what matters is out of sight",
        "[`mappo`](mappo.md), [`qmix`](qmix.md), recurrent as their presets are",
        "Foraging-2s-8x8-2p-2f-coop-v3",
        names("mappo", "qmix", "iql", "vdn"),
    ),
    Choice(
        "the best action depends on what others do",
        "[`qplex`](qplex.md), [`ow_qmix`](weighted-qmix.md), [`qtran`](qtran.md)",
        "matrix/qtran",
        names("qplex", "ow_qmix", "cw_qmix", "qtran", "qmix", "vdn"),
    ),
    Choice(
        "the same, and mistakes together cost much",
        "[`joint_q`](joint-q.md) or [`mat`](mat.md), if acting may be centralised",
        "matrix/climbing",
        names("joint_q", "mat", "qplex", "ow_qmix", "qtran", "qmix"),
    ),
    Choice(
        "larger boards, more agents, many steps",
        "[`mappo`](mappo.md), [`ippo`](ippo.md)",
        "Foraging-10x10-3p-3f-v3",
        names("mappo", "ippo", "qmix", "vdn"),
    ),
    Choice(
        "agents that signal to each other",
        "[`mappo`](mappo.md), [`qmix`](qmix.md)",
        PARTICLES[1],
        names("mappo", "qmix", "qplex", "ippo"),
    ),
    Choice(
        "agents of different kinds",
        "[`happo`](happo.md), whose agents share nothing, beside `mappo`",
        PARTICLES[1],
        names("happo", "mappo"),
    ),
    Choice(
        "all observations are at hand when acting",
        "[`mat`, `sable`](mat.md)",
        EIGHT,
        names("mat", "sable", "ippo"),
    ),
    Choice(
        "no memory for a replay, a GPU full of environments",
        "[`pqn_qmix`, `pqn_vdn`](pqn.md)",
        EIGHT,
        names("pqn_qmix", "pqn_vdn"),
    ),
    Choice(
        "several ways that are equally good",
        "[`teamreg`, `coachreg`](teamreg.md), beside `mappo`",
        PARTICLES[0],
        names("teamreg", "coachreg", "mappo"),
    ),
    Choice(
        "a team with continuous actions",
        "[`masac`, `hasac`, `facmac`, `maddpg`](off-policy.md), `mappo` with squashed actions",
        CONTINUOUS,
        names("masac", "hasac", "facmac", "maddpg", "mappo"),
    ),
    Choice("one agent", "[`ippo`](ippo.md)", "gymnax/CartPole-v1", names("ippo")),
    Choice(
        "one agent, continuous actions, steps are dear",
        "[`isac`, `iddpg`](off-policy.md)",
        "gymnax/Pendulum-v1",
        names("isac", "iddpg"),
    ),
    Choice(
        "partners change from episode to episode",
        "a recurrent [`ippo`](ippo.md), [`liam`, `clam`](clam.md)",
        "coordination, ten seeds",
        {
            "recurrent `ippo`": "recurrent",
            "`liam`": "liam",
            "`clam`": "clam",
            "`ippo`": "none",
            "told the partner": "oracle",
        },
        study="clam",
        shown="a repeated game of coordination",
    ),
    Choice(
        "something far away has to be done first",
        "[`gmah`](gmah.md), where the environment has subgoals",
        "doorkey-256-right",
        {"`gmah`": "adaptive", "flat PPO": "flat"},
        study="gmah",
        shown="DoorKey, goal behind the door",
    ),
    Choice(
        "the same, without subgoals",
        "[`gmah_q`](gmah.md), which learns them",
        "deepsea",
        {"`gmah_q`": "learned", "`qmix`": "flat"},
        study="gmah",
        shown="`gymnax/DeepSea-bsuite`",
    ),
    Choice(
        "centralised decisions cost something",
        "[`mansa`](mansa.md), which learns when to call for them",
        "Foraging-2s-8x8-2p-2f-coop-v3",
        {"`mansa`": "mansa-t01-2m", "`qmix`": "qmix", "`iql`": "iql"},
        study="mansa",
    ),
    Choice(
        "a language is taught in part",
        "[`dynamic_population`](population.md)",
        "lessons",
        {
            "with a population": "population",
            "self-play": "lessons and self-play",
            "lessons only": "lessons only",
        },
        study="signalling",
        shown="`signal/objects-3x5`, unseen objects understood",
        measured="understood",
    ),
    Choice(
        "the old baseline that papers compare with",
        "[`coma`](coma.md)",
        EIGHT,
        names("coma"),
    ),
)


def choose() -> str:
    """Returns the table; learners without stored rows on a task are left out of its evidence."""
    return cells.table(["problem", "take", "evidence"], map(_row, CHOICES))


def _results(choice: Choice) -> list[tuple[str, cells.Result | None]]:
    if choice.study == "learning":
        return [(label, found(choice.task, arm)) for label, arm in choice.arms.items()]
    results = (cells.result(choice.study, choice.task, arm) for arm in choice.arms.values())
    return list(zip(choice.arms, results, strict=True))


def _row(choice: Choice) -> list[str]:
    known = [(label, one) for label, one in _results(choice) if one is not None]
    values = ", ".join(f"{label} {_value(choice, one)}" for label, one in known)
    values = values or "not measured yet"
    shown = choice.shown or f"`{NAMES.get(choice.task, choice.task)}`{WORDS.get(choice.task, '')}"
    return [choice.problem, choice.take, f"{shown}: {values}"]


def _value(choice: Choice, one: cells.Result) -> str:
    if choice.measured:
        return cells.spread(row["measured"][choice.measured] for row in one.rows)
    judged = one.rows[0]["judged"]
    if one.rows[0]["algorithm"] in POLICIES and choice.study == "learning":
        judged = "drawn"
    value = cells.of_actions(one, judged)
    value = cells.greedy(one) if value == cells.MISSING else value
    if not one.rows[0]["calls"]:
        return value
    share = cells.total_calls(one) / one.rows[0]["steps"][-1]
    return f"{value} ({share:.0%} of the steps centralised)"


TABLES: Mapping[str, Callable[[], str]] = {"choose": choose}
