"""Records of a training run: its progress after each evaluation, and its result."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.learner import Judged, Learner
from marlx.types import Tree


def policies_gone() -> Tree:
    """Stands for `Progress.policies` after pickle, which leaves the run behind.

    Raises:
      ValueError: always.
    """
    raise ValueError(
        "the policies of a pickled Progress stayed in the process that trained; those of the end "
        "are in Result.policies"
    )


class Progress(NamedTuple):
    """A run's steps, metrics and times after an evaluation; loggers and `report` get it.

    Attributes:
      steps: environment steps so far, per seed.
      total_steps: those at the end of the run.
      seconds: time of training so far, without compilation.
      metrics: each f64 [seeds]; `return` is the team return, of drawn or of greedy actions as
        `Result.judged` says; with both, `greedy_return` or `drawn_return` stands beside it.
        `agent_0_return` and so on are each agent's, where they may differ; `success_rate`,
        `win_rate` and the like are the environment's (`EnvSpec.outcomes`). With `train_` before
        them, they and `episode_length` are means over the exploring episodes since the evaluation
        before. The rest are the learner's own.
      phases: seconds so far by `compile`, `rollout`, `update`, `evaluation`.
      policies: returns the policies (`Learner.policy`), leading axis [seeds]; it must be called
        before the next block starts, and in the process that trains.
    """

    steps: int
    total_steps: int
    seconds: float
    metrics: dict[str, np.ndarray[Any, Any]]
    phases: dict[str, float]
    policies: Callable[[], Tree]

    def __reduce__(self) -> tuple[Any, ...]:
        return Progress, (*self[:-1], policies_gone)


class Result(NamedTuple):
    """A trained run. It can be pickled, with its arrays as NumPy's.

    Attributes:
      history: one `Progress` per evaluation, the first before any update.
      policies: trained, leading axis [seeds]; `learner.act` takes one of them.
      returns: f64 [seeds, episodes], team returns of fresh episodes at the end.
      random_returns: f64 [episodes], team returns of the uniform policy over legal actions.
      phases: seconds by `compile`, `rollout`, `update`, `evaluation`.
      judged: the actions of `returns` and of the metric `return`: `drawn` from the policy, or
        `greedy`.
      evaluated: metrics f64 [seeds, episodes] of the same evaluation by name: `return`, which is
        `returns`, `greedy_return` or `drawn_return` where both were measured, and the others of
        `Progress.metrics` that an evaluation has.
      learner: the learner that was trained. After pickle it is made again from its name, settings
        and environment; a learner of your own functions that pickle refuses becomes None.
    """

    history: list[Progress]
    policies: Tree
    returns: np.ndarray[Any, Any]
    random_returns: np.ndarray[Any, Any]
    phases: dict[str, float]
    judged: Judged
    evaluated: dict[str, np.ndarray[Any, Any]]
    learner: Learner

    def __reduce__(self) -> tuple[Any, ...]:
        policies = jax.tree.map(np.asarray, self.policies)
        try:
            pickle.dumps(self.learner)
        except (pickle.PicklingError, AttributeError, TypeError):
            return Result, (self.history, policies, *self[2:-1], None)
        return Result, (self.history, policies, *self[2:])
