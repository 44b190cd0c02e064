"""Metrics of the rollouts that PPO learns from."""

from __future__ import annotations

import jax.numpy as jnp

from marlx.algos.ppo_batch import Batch
from marlx.algos.ppo_config import PolicyGradientConfig
from marlx.algos.ppo_losses import denormalise, value_scale
from marlx.learning.running_moments import Moments
from marlx.types import Array, EnvSpec, Transition


def rollout_metrics(
    spec: EnvSpec,
    config: PolicyGradientConfig,
    rollout: Transition,
    batch: Batch,
    returns: Moments,
) -> dict[str, Array]:
    """Returns metrics of a rollout; `samples` are the steps that the actor learned from.

    Args:
      spec: the environment's.
      config: settings.
      rollout: [T, B, ...].
      batch: the same as training data.
      returns: running moments of returns, by which values are normalised.
    """
    spread = jnp.var(batch.target)
    unexplained = jnp.var(batch.target - batch.value) / jnp.maximum(spread, 1e-8)
    steps = jnp.float32(batch.done.size) if rollout.weight is None else rollout.weight.sum()
    metrics = {
        "value": denormalise(batch.value, value_scale(config, returns)).mean(),
        "explained_variance": 1.0 - unexplained,
        "samples": steps * config.epochs,
    }
    if len(spec.groups) > 1:  # where groups compete, the return of all says little
        for name, members in spec.groups:
            metrics[f"reward_{name}"] = rollout.reward[..., list(members)].mean()
    return metrics
