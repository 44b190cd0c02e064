"""How long and how wide to train: the settings of the training loop, and its schedule."""

from __future__ import annotations

import dataclasses
import math

from marlx.learner import Learner

MIN_FINAL_EPISODES = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long and how wide to train; the learner's own settings are its own."""

    total_steps: int = 500_000
    """Environment steps per seed, warm-up included."""
    num_envs: int = 32
    """Environments stepped at once, per seed."""
    rollout_length: int = 16
    """Steps in each environment between two looks at the learner."""
    seeds: int = 1
    """Runs trained at once, from `seed` upwards."""
    seed: int = 0
    """First seed: run i of several is exactly the single run with seed + i."""
    evals: int = 20
    """Greedy evaluations on the way."""
    eval_episodes: int = 128
    """Fresh episodes in each, per seed; the last one has at least 100."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, least = getattr(self, field.name), 0 if field.name == "seed" else 1
            if not least <= value < 2**31:
                raise ValueError(f"{field.name} is {value}; it must be {least} to {2**31 - 1}")


def schedule(learner: Learner, config: TrainConfig) -> tuple[int, int, int]:
    """Rollouts of the warm-up, rollouts of a block, and blocks.

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
    """`config` for other `total_steps`, with evaluations as far apart as they are now.

    What is trained between two evaluations is one compiled block. With blocks as they were, a run
    that goes on to `total_steps` is, to the bit, the run that was given the new config at once.
    """
    _, per_block, _ = schedule(learner, config)
    longer = dataclasses.replace(config, total_steps=total_steps, evals=1)
    warm, rollouts, _ = schedule(learner, longer)
    evals = math.ceil(rollouts / per_block)
    if math.ceil(rollouts / evals) != per_block:  # then no number of evaluations fits: fill up
        total_steps = (warm + evals * per_block) * config.num_envs * config.rollout_length
    return dataclasses.replace(config, total_steps=total_steps, evals=evals)
