"""Equations of temporal-difference learning from windows of replayed steps.

Leading axes are [T, b]: T steps, b windows. Values are f32 [T, b] where they are a team's, and
[T, b, N] where each agent has one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from marlx.algos.q_config import QConfig
from marlx.algos.q_items import Item
from marlx.learning.returns import batched_lambda_returns
from marlx.learning.running_moments import Moments
from marlx.nets.mixers import Mixer, Utilities, greedy_actions, window_values
from marlx.types import Array, Tree

Backup = Callable[[Utilities, Utilities, Array], Array]
"""`(choosing, valuing, unit) -> f32 [T, b, N]`, values of next states under a policy that is not
greedy: it acts by the utilities `choosing`, `valuing` are the target network's, and `unit` is
`value_unit`."""


class TDTerms(NamedTuple):
    """Terms of the TD error of each step, all but the values.

    Arrays are [T, b], or [T, b, N] where agents differ. `mask` has the shape of the values.
    """

    reward: Array  # f32, scaled
    discount: Array  # f32, factor on the next value: gamma, 0 at a true end
    ended: Array  # bool, the return is cut here and bootstrapped from the next value
    trace: Array | float  # lambda of TD(lambda)
    mask: Array  # f32, factor of the squared error in the loss; 0 leaves the step out


def td_terms(config: QConfig, items: Item, rewards: Moments, value: Array) -> TDTerms:
    """Returns the terms as the environment defines them, burn-in steps masked out.

    Args:
      config: settings.
      items: a batch of windows [T, b, ...].
      rewards: moments of all rewards observed, for `config.reward_scaling`.
      value: f32 [T, b] or [T, b, N], the values that are learned; only the shape matters.
    """
    learned = (jnp.arange(config.window) >= config.burn_in).astype(jnp.float32)
    return TDTerms(
        reward=scale_reward(config.reward_scaling, rewards, items.reward),
        discount=items.discount,
        ended=items.done,
        trace=config.lambda_,
        mask=learned.reshape(-1, *[1] * (value.ndim - 1)) * jnp.ones_like(value),
    )


def scale_reward(
    mode: Literal["none", "scale", "standardise"], seen: Moments, reward: Array
) -> Array:
    """Returns f32 [...], rewards divided by their running deviation, or standardised."""
    if mode == "none":
        return reward
    centred = reward - seen.mean if mode == "standardise" else reward
    return centred / seen.deviation


def double_q_values(
    mixer: Mixer, online: tuple[Tree, Utilities], target: tuple[Tree, Utilities], double: bool
) -> Array:
    """Returns the values of next states by the target network, f32 [T, b] or [T, b, N].

    Double Q: `Q'(s', argmax_a Q(s', a))`, with Q the online and Q' the target network; where not
    `double`, both are Q'.

    Args:
      mixer: combines utilities.
      online: the online mixer's parameters and the online network's utilities [T, b] of `s'`.
      target: the same of the target network.
      double: whether the online network chooses the action.

    Source: van Hasselt et al. 2016, eq. 4.
    """
    best = jax.vmap(functools.partial(greedy_actions, mixer), (None, 0))
    return window_values(mixer, *target, best(*(online if double else target)))


def next_values(
    config: QConfig,
    backup: Backup | None,
    mixer: Mixer,
    online: tuple[Tree, Utilities],
    target: tuple[Tree, Utilities],
    rewards: Moments,
) -> Array:
    """Returns the values of next states, f32 [T, b] or [T, b, N]: `backup`'s, or of double Q.

    Args:
      config: settings.
      backup: of a learner that does not act greedily; None: the best action's value.
      mixer: combines utilities.
      online: see `double_q_values`.
      target: likewise.
      rewards: moments of all rewards observed.
    """
    if backup is None:
        return double_q_values(mixer, online, target, config.double)
    chooser = online if config.double else target
    return backup(chooser[1], target[1], value_unit(config, rewards))


def value_unit(config: QConfig, rewards: Moments) -> Array:
    """Returns f32 [], what 1 of a learned value is in units of the environment's reward.

    Of the moments of many seeds it returns f32 [seeds], as `Learner.policy` may be asked to.
    """
    unit = rewards.deviation
    return jnp.ones_like(unit) if config.reward_scaling == "none" else unit


def td_targets(
    reward: Array, discount: Array, next_value: Array, ended: Array, trace: float | Array
) -> Array:
    """Returns TD(lambda) targets f32 [T, b] or [T, b, N], without gradient.

    `y_t = r_t + d_t ((1 - l_t) v_{t+1} + l_t y_{t+1})`, with `v_{t+1}` in the place of `y_{t+1}`
    where `ended` and at the last step. With a trace of 0 it is one-step TD.

    Args:
      reward: f32 [T, b] or [T, b, N].
      discount: f32, likewise; factor on the next value, 0 at a true end only.
      next_value: f32 [T, b] or [T, b, N], of each step's own next state, before any reset.
      ended: bool, likewise; the episode ends here, at a true end or a time limit.
      trace: lambda, for all steps or per step.

    Source: Sutton & Barto 2018, eq. 12.18.
    """
    return batched_lambda_returns(reward, discount, next_value, ended, trace)


def masked_td_loss(error: Array, mask: Array, importance: Array) -> Array:
    """Returns f32 [], the mean squared TD error of the steps in `mask`.

    Args:
      error: f32 [T, b] or [T, b, N], value less target.
      mask: f32, same shape; 0 leaves a step out.
      importance: f32 [b], importance weight of each window (1 where windows are drawn uniformly).
    """
    chex.assert_equal_shape([error, mask])
    chex.assert_rank(importance, 1)
    importance = importance.reshape(1, -1, *[1] * (error.ndim - 2))
    return (mask * importance * error**2).sum() / jnp.maximum(mask.sum(), 1.0)


def window_priority(error: Array, mask: Array, burn_in: int = 0) -> Array:
    """Returns f32 [b], a mixture of each window's largest and mean absolute error.

    `0.9 max_t |e_t| + 0.1 mean_t |e_t|`, agents averaged, over the steps after the burn-in.

    Source: Kapturowski et al. 2019, section 2.3.
    """
    chex.assert_equal_shape([error, mask])
    size = jnp.mean(jnp.abs(error) * mask, axis=tuple(range(2, error.ndim)))  # [T, b]
    return 0.9 * size.max(0) + 0.1 * size.sum(0) / (len(size) - burn_in)
