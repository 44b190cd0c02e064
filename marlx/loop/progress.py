"""Records of a training run: its state after each block, and its result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from marlx.learner import Learner
from marlx.types import Tree


class Progress(NamedTuple):
    """Where a run stands after a block; handed to `report`.

    Attributes:
      steps: environment steps so far, per seed.
      total_steps: what it will end at.
      seconds: since training began, without compiling.
      metrics: each f64 [seeds]; `return` is the greedy team return, `train_return` and
        `episode_length` are of exploring episodes, the rest are the learner's own.
      phases: seconds so far by `compile`, `rollout`, `update`, `evaluation`.
      policies: what acting needs, leading axis [seeds]; call it before the next block starts.
    """

    steps: int
    total_steps: int
    seconds: float
    metrics: dict[str, np.ndarray[Any, Any]]
    phases: dict[str, float]
    policies: Callable[[], Tree]


class Result(NamedTuple):
    """What training returns.

    Attributes:
      history: one `Progress` per evaluation, the first before any update.
      policies: trained, leading axis [seeds]; `learner.act` takes one of them.
      returns: f64 [seeds, episodes], greedy team returns of fresh episodes at the end.
      random_returns: f64 [episodes], the same of uniform legal actions.
      phases: seconds by `compile`, `rollout`, `update`, `evaluation`.
      learner: as given.
    """

    history: list[Progress]
    policies: Tree
    returns: np.ndarray[Any, Any]
    random_returns: np.ndarray[Any, Any]
    phases: dict[str, float]
    learner: Learner
