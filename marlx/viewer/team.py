"""The page of a run: episodes of its seeds, to step through."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.runs.policies import Policy, load_policy, policy_seeds
from marlx.text import counted, printable, short
from marlx.types import Tree
from marlx.viewer import data
from marlx.viewer.page import WATCHING, page
from marlx.viewer.recording import Recorder, Recording

MOST_SEEDS = 8
"""Most seeds of a run on one page."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Subject:
    """Who is watched: an environment, a learner, and one policy for each seed.

    Attributes:
      env: the environment.
      params: its parameters.
      learner: chooses the actions.
      policies: `(seed, arrays)`, or `(None, arrays)` where there is no seed.
      title: heading of the page.
      subtitle: a line below it.
    """

    env: Environment[Any, Any]
    params: EnvParams
    learner: Learner
    policies: tuple[tuple[int | None, Tree], ...]
    title: str
    subtitle: str


def explores(learner: Learner) -> bool:
    """Returns whether the learner's return is that of drawn actions: so it plays on pages, too."""
    return learner.judged == "drawn"


def run_subject(path: str | Path, policy_seed: int | None = None) -> Subject:
    """Returns the team of a run folder: of one seed, or of the best seeds, the best first.

    Raises:
      ValueError: see `load_policy`.
    """
    seeds = best_seeds(path) if policy_seed is None else [policy_seed]
    policies = [load_policy(path, seed) for seed in seeds]
    first = policies[0]
    how = "drawn" if explores(first.learner) else "greedy"
    count = counted(len(seeds), "seed")
    return Subject(
        env=first.env,
        params=first.params,
        learner=first.learner,
        policies=tuple((policy.seed, policy.arrays) for policy in policies),
        title=title_of(first),
        subtitle=f"{Path(path).name}: {count}, {short(first.steps)} steps, {how} actions",
    )


def best_seeds(path: str | Path) -> list[int]:
    """Returns the seeds of a run with the best returns, best first, at most `MOST_SEEDS`."""
    returns = policy_seeds(path)
    return sorted(returns, key=lambda seed: -_ordered(returns[seed]))[:MOST_SEEDS]


def title_of(policy: Policy) -> str:
    """Returns the heading of a page about a policy."""
    return f"{policy.experiment.algorithm} on {policy.spec.id}"


def team_page(subject: Subject, key: jax.Array, episodes: int) -> str:
    """Returns a page to step through fresh episodes of every policy of `subject`.

    Args:
      subject: who plays.
      key: consumed; every policy plays from the same first states.
      episodes: of each policy.
    """
    recorder = Recorder(
        subject.env, subject.params, subject.learner, explore=explores(subject.learner)
    )
    played = [recorder.record(arrays, key, episodes) for _, arrays in subject.policies]
    return recordings_page(subject, played)


def recordings_page(subject: Subject, played: Sequence[Sequence[Recording]]) -> str:
    """Returns a page to step through episodes; `played` has those of each policy of `subject`."""
    env, params = subject.env, subject.params
    seeds = []
    for (seed, _), recordings in zip(subject.policies, played, strict=True):
        returns = [float(one.reward.sum()) for one in recordings]
        shown = [
            {**data.episode(env, params, one), "return": _number(total)}
            for one, total in zip(recordings, returns, strict=True)
        ]
        mean = _number(sum(returns) / len(returns))
        name = "random play" if seed is None else seed
        seeds.append({"seed": name, "mean": mean, "episodes": shown})
    content = {"board": data.board(env, params, env.spec(params)), "seeds": seeds}
    return page(printable(subject.title), printable(subject.subtitle), content, WATCHING)


def _ordered(value: float | None) -> float:
    return -math.inf if value is None else value


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
