"""Settings of the training loop, and the schedule that follows from them."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, NamedTuple, TypedDict

from marlx.learner import Learner
from marlx.settings import (
    LARGEST,
    LARGEST_SEED,
    MOST_SEEDS,
    check_settings,
    nearest_names,
    require,
    setting,
)

Eval = Literal["auto", "greedy", "drawn", "both"]
"""Values of the setting `eval`, see `marlx.loop.evaluation.modes`."""
MIN_FINAL_EPISODES = 100
"""Least number of episodes per seed in the last evaluation."""
MOST_ENVIRONMENTS = 2**20
"""Most environments, steps of a rollout and episodes of an evaluation."""


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the training loop; the learner has settings of its own."""

    total_steps: int = setting(500_000, at_least=1, at_most=LARGEST)
    """Environment steps per seed, warm-up included."""
    num_envs: int = setting(32, at_least=1, at_most=MOST_ENVIRONMENTS)
    """Environments stepped in parallel, per seed."""
    rollout_length: int = setting(16, at_least=1, at_most=MOST_ENVIRONMENTS)
    """Steps of each environment between two calls of the learner's update."""
    seeds: int = setting(1, at_least=1, at_most=MOST_SEEDS)
    """Independent runs trained in parallel, with seeds from `seed` upwards."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED)
    """First seed; run i of several equals the single run with seed + i."""
    evals: int = setting(20, at_least=1, at_most=LARGEST)
    """Evaluations during training."""
    eval_episodes: int = setting(128, at_least=1, at_most=MOST_ENVIRONMENTS)
    """Fresh episodes per evaluation and seed; the last evaluation has at least 100."""
    eval: Eval = "auto"
    """Actions of evaluations:
    `auto`: drawn and greedy ones for policy gradients, greedy ones for Q-learners.
    `drawn`: from the policy, or exploring; `greedy`: the best ones.
    `both`: half of the episodes each; `return` is what the algorithm is judged by."""
    warm_start: str | None = None
    """Run folder whose trained parameters the learner begins with; every seed begins with the same.
    """
    warm_start_seed: int | None = setting(None, at_least=0, at_most=LARGEST_SEED)
    """Seed of that run; the one with the best return if not given."""
    warm_start_parts: tuple[str, ...] = ()
    """Parts of the learner that begin with them, such as `actor`, `agents`, `encoder`; all that a
    policy file holds if none are given."""
    warm_start_rate: float = setting(1.0, at_least=0, at_most=1e6)
    """Factor on the step size of what was loaded; 0 freezes it."""

    def __post_init__(self) -> None:
        check_settings(self)
        _check_warm_start(self)
        most = LARGEST_SEED + 1 - self.seeds
        require("seed", self.seed, self.seed <= most, f"at most {most} with {self.seeds} seeds")


def _check_warm_start(config: TrainConfig) -> None:
    """Raises ValueError for settings of a warm start that are of another type, or without one."""
    c, parts = config, config.warm_start_parts
    run = c.warm_start is None or (isinstance(c.warm_start, str) and c.warm_start != "")
    require("warm_start", c.warm_start, run, "the folder of a run, as text")
    names = isinstance(parts, tuple) and all(isinstance(part, str) and part for part in parts)
    require("warm_start_parts", parts, names, "a tuple of names")
    for name in ("warm_start_seed", "warm_start_parts", "warm_start_rate"):
        value, default = getattr(c, name), getattr(type(c), name, None)
        unused = c.warm_start is None and value != default
        require(name, value, not unused, "left out where there is no warm_start")


class TrainSettings(TypedDict, total=False):
    """The settings of `TrainConfig` as keywords, for type checkers."""

    total_steps: int
    num_envs: int
    rollout_length: int
    seeds: int
    seed: int
    evals: int
    eval_episodes: int
    eval: Eval
    warm_start: str | None
    warm_start_seed: int | None
    warm_start_parts: tuple[str, ...]
    warm_start_rate: float


class Schedule(NamedTuple):
    """Lengths of the parts of a run."""

    warm_up_rollouts: int  # before the first update
    block_rollouts: int  # between two evaluations
    blocks: int


def schedule(learner: Learner, config: TrainConfig) -> Schedule:
    """Returns how many rollouts the warm-up and each block have, and how many blocks there are.

    Raises:
      ValueError: there are no steps left after the warm-up.
    """
    c = config
    per_rollout = c.num_envs * c.rollout_length
    rollouts = math.ceil(c.total_steps / per_rollout)
    warm_up = max(1, math.ceil(learner.warmup / per_rollout))
    if warm_up >= rollouts:
        raise ValueError(
            f"total_steps is {c.total_steps}; the learner's warm-up takes {warm_up * per_rollout} "
            f"of them ({warm_up} rollouts of {c.num_envs} x {c.rollout_length}), so it must be more"
        )
    per_block = math.ceil((rollouts - warm_up) / c.evals)
    return Schedule(warm_up, per_block, math.ceil((rollouts - warm_up) / per_block))


def with_total_steps(config: TrainConfig, learner: Learner, total_steps: int) -> TrainConfig:
    """Returns `config` with other `total_steps`, and as many steps between evaluations as before.

    The training between two evaluations is one compiled block. Since blocks keep their length, a
    run that is extended to `total_steps` gives bit for bit the same as one that was started with
    the new config. `total_steps` is rounded up where no number of evaluations gives that length.
    """
    per_block = schedule(learner, config).block_rollouts
    longer = dataclasses.replace(config, total_steps=total_steps, evals=1)
    warm_up, rollouts, _ = schedule(learner, longer)
    evals = math.ceil(rollouts / per_block)
    if math.ceil(rollouts / evals) != per_block:  # no number of evaluations fits: fill the last
        total_steps = (warm_up + evals * per_block) * config.num_envs * config.rollout_length
    return dataclasses.replace(config, total_steps=total_steps, evals=evals)
