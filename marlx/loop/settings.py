"""Settings of the training loop, and the schedule that follows from them."""

from __future__ import annotations

import dataclasses
import math

from marlx.learner import Learner
from marlx.settings import check_settings, setting

MIN_FINAL_EPISODES = 100
"""Fewest episodes of the last evaluation."""
LARGEST = 2**31 - 1
"""Counters are int32."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of the training loop; the learner has settings of its own."""

    total_steps: int = setting(500_000, at_least=1, at_most=LARGEST)
    """Environment steps per seed, warm-up included."""
    num_envs: int = setting(32, at_least=1, at_most=LARGEST)
    """Environments stepped in parallel, per seed."""
    rollout_length: int = setting(16, at_least=1, at_most=LARGEST)
    """Steps of each environment between two calls of the learner's update."""
    seeds: int = setting(1, at_least=1, at_most=LARGEST)
    """Independent runs trained in parallel, with seeds from `seed` upwards."""
    seed: int = setting(0, at_least=0, at_most=LARGEST)
    """First seed; run i of several equals the single run with seed + i."""
    evals: int = setting(20, at_least=1, at_most=LARGEST)
    """Greedy evaluations during training."""
    eval_episodes: int = setting(128, at_least=1, at_most=LARGEST)
    """Fresh episodes per evaluation and seed; the last evaluation has at least 100."""

    def __post_init__(self) -> None:
        check_settings(self)


def schedule(learner: Learner, config: TrainConfig) -> tuple[int, int, int]:
    """Returns the rollouts of the warm-up, the rollouts of a block, and the number of blocks.

    Raises:
      ValueError: there are no steps left after the warm-up.
    """
    c = config
    per_rollout = c.num_envs * c.rollout_length
    rollouts = math.ceil(c.total_steps / per_rollout)
    warm = max(1, math.ceil(learner.warmup / per_rollout))
    if warm >= rollouts:
        raise ValueError(
            f"total_steps is {c.total_steps}; the learner's warm-up takes {warm * per_rollout} of "
            f"them ({warm} rollouts of {c.num_envs} x {c.rollout_length}), so it must be more"
        )
    per_block = math.ceil((rollouts - warm) / c.evals)
    return warm, per_block, math.ceil((rollouts - warm) / per_block)


def with_total_steps(config: TrainConfig, learner: Learner, total_steps: int) -> TrainConfig:
    """Returns `config` with other `total_steps` and the same steps between two evaluations.

    The steps between two evaluations are one compiled block. With blocks of the same size, a run
    that is continued to `total_steps` equals, to the bit, a run that had the new config from the
    start.
    """
    _, per_block, _ = schedule(learner, config)
    longer = dataclasses.replace(config, total_steps=total_steps, evals=1)
    warm, rollouts, _ = schedule(learner, longer)
    evals = math.ceil(rollouts / per_block)
    if math.ceil(rollouts / evals) != per_block:  # then train to the end of the last block
        total_steps = (warm + evals * per_block) * config.num_envs * config.rollout_length
    return dataclasses.replace(config, total_steps=total_steps, evals=evals)
