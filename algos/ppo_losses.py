"""Equations of PPO: advantages, losses, and the normalisation of values and advantages."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp

from marlx.algos.ppo_batch import Batch, GAEInputs
from marlx.algos.ppo_config import PolicyGradientConfig
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOParams
from marlx.learning.returns import batched_lambda_returns
from marlx.learning.running_moments import Moments
from marlx.types import Array


class Values(NamedTuple):
    """Predicted values of a rollout, f32 [T, B, N], in units of reward."""

    now: Array  # of `obs`
    next: Array  # of `next_obs`, before any reset


def advantages(values: Values, steps: GAEInputs) -> tuple[Array, Array]:
    """Returns generalised advantage estimates and lambda-returns, f32 [T, B, N] each.

    Each step is bootstrapped from its own `next_obs`, so a time limit is bootstrapped through and
    an automatic reset does not leak into a value.

    Source: Schulman et al. 2016 (GAE), eq. 16.
    """
    returns = batched_lambda_returns(
        steps.reward, steps.discount, values.next, steps.ended, steps.lambda_
    )
    return returns - values.now, returns


def ppo_loss(new: Array, old: Array, advantage: Array, clip: float) -> Array:
    """Returns the negative clipped surrogate objective, f32 [...].

    Args:
      new: f32 [...], log-probability of the action under the current policy.
      old: f32 [...], under the policy that acted.
      advantage: f32 [...].
      clip: epsilon.

    Source: Schulman et al. 2017, eq. 7.
    """
    ratio = jnp.exp(new - old)
    clipped = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.minimum(ratio * advantage, clipped * advantage)


def value_loss(value: Array, old: Array, target: Array, clip: float) -> Array:
    """Returns half the squared error, the larger of clipped and unclipped, f32 [...].

    Args:
      value: f32 [...], predicted now.
      old: f32 [...], predicted before the update.
      target: f32 [...].
      clip: how far a value may move from `old` before its gradient is 0; 0: never.

    Source: Yu et al. 2022, appendix A.
    """
    error = (value - target) ** 2
    clipped = (old + jnp.clip(value - old, -clip, clip) - target) ** 2
    return 0.5 * jnp.where(clip > 0, jnp.maximum(error, clipped), error)


def kl_estimate(new: Array, old: Array) -> Array:
    """Returns Schulman's estimate of KL(old || new) from log-probabilities, f32 [...] >= 0."""
    gap = new - old
    return jnp.expm1(gap) - gap


def weighted_mean(x: Array, weight: Array | None, axes: tuple[int, ...] | None = None) -> Array:
    """Returns the mean of `x` over `axes`, weighted unless `weight` is None.

    Args:
      x: f32, any shape.
      weight: of the same shape.
      axes: they are kept with length 1; None: over all, to f32 [].
    """
    keep = axes is not None
    if weight is None:
        return x.mean(axes, keepdims=keep)
    total = jnp.maximum(weight.sum(axes, keepdims=keep), 1e-6)
    return (x * weight).sum(axes, keepdims=keep) / total


class ValueScale(NamedTuple):
    """Mean and standard deviation of returns, f32 [] each."""

    mean: Array
    deviation: Array


def value_scale(config: PolicyGradientConfig, returns: Moments) -> ValueScale:
    """Returns the scale of values; 0 and 1 without `config.normalise_value`.

    Source: Yu et al. 2022 (MAPPO), section 5.1. Differs from: its code, which takes a
    bias-corrected moving average; here the moments forget one per cent with every rollout.
    """
    if not config.normalise_value:
        return ValueScale(jnp.float32(0), jnp.float32(1))
    return ValueScale(returns.mean, jnp.where(returns.number > 0, returns.deviation, 1.0))


def normalise(value: Array, scale: ValueScale) -> Array:
    """Returns values in units of the deviation of returns, from their mean."""
    return (value - scale.mean) / scale.deviation


def denormalise(value: Array, scale: ValueScale) -> Array:
    """Returns values in units of reward; the inverse of `normalise`."""
    return value * scale.deviation + scale.mean


def normalise_advantages(
    config: PolicyGradientConfig, advantage: Array, weight: Array | None
) -> Array:
    """Returns advantages f32 [T, b, N] of mean 0 and deviation 1 over the minibatch.

    Agents that learn from different rewards are normalised each by itself. Without
    `config.normalise_advantage` they are returned as they are.
    """
    if not config.normalise_advantage:
        return advantage
    axes = None if config.reward == "team" else (0, 1)
    centred = advantage - weighted_mean(advantage, weight, axes)
    return centred / (jnp.sqrt(weighted_mean(centred**2, weight, axes)) + 1e-8)


def entropy_weight(config: PolicyGradientConfig, steps: Array) -> Any:
    """Returns the weight of the entropy bonus f32 [] after int32 [] environment `steps`."""
    if not config.entropy_steps:
        return config.entropy
    done = jnp.minimum(1.0, steps / config.entropy_steps)
    return config.entropy + done * (config.entropy_end - config.entropy)


def loss(
    params: PPOParams,
    batch: Batch,
    memory: Memories,
    config: PolicyGradientConfig,
    nets: ActorCritic,
) -> tuple[Array, dict[str, Array]]:
    """Returns the loss f32 [] of policy, value and entropy, and metrics.

    Illegal actions and components that an agent lacks have no part in it.
    """
    c, w, mask = config, batch.weight, batch.obs.action_mask
    outputs, value = nets.unroll(params, memory, batch.obs, batch.done, batch.old.raw)
    new, old = nets.distribution.log_prob(outputs, mask, batch.old.raw), batch.old.log_prob
    entropy = weighted_mean(nets.distribution.entropy(outputs, mask, batch.old.raw), w)
    advantage = normalise_advantages(c, batch.advantage, w)
    if batch.factor is not None:
        advantage = batch.factor * advantage
    policy_loss = weighted_mean(ppo_loss(new, old, advantage, c.clip), w)
    errors = value_loss(value, batch.value, batch.target, c.value_clip)
    critic_loss = weighted_mean(errors, batch.value_weight)
    total = policy_loss + c.value_weight * critic_loss - c.entropy * entropy
    return total, {
        "policy_loss": policy_loss,
        "value_loss": critic_loss,
        "entropy": entropy,
        "kl": weighted_mean(kl_estimate(new, old), w),
        "clipped": weighted_mean(jnp.abs(jnp.expm1(new - old)) > c.clip, w),
    }
