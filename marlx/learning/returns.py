"""Return targets and action choices."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from marlx.types import Array, EnvSpec


def masked_argmax(values: Array, legal: Array) -> Array:
    """Returns int32 [...], the legal index of the highest value.

    Args:
      values: f32 [..., A].
      legal: bool [..., A].
    """
    return jnp.where(legal, values, -jnp.inf).argmax(-1).astype(jnp.int32)


def uniform_legal(key: Array, legal: Array) -> Array:
    """Returns int32 [...], uniform random legal indices; legal bool [..., A]."""
    return jnp.where(legal, jax.random.uniform(key, legal.shape), -1.0).argmax(-1).astype(jnp.int32)


def uniform_action(key: Array, spec: EnvSpec, mask: Array) -> Array:
    """Returns a uniform random action of every agent; mask bool [..., N, A].

    int32 [..., N], or f32 [..., N, A] in [0, 1) where actions are continuous.
    """
    if spec.continuous:
        return jnp.where(mask, jax.random.uniform(key, mask.shape), 0.0)
    return uniform_legal(key, mask)


def epsilon_greedy(key: Array, greedy: Array, legal: Array, epsilon: Array) -> Array:
    """Returns int32 [...], `greedy` or, with probability `epsilon`, a uniform legal action.

    Args:
      key: consumed.
      greedy: int32 [...], legal.
      legal: bool [..., A].
      epsilon: f32 [], in [0, 1].
    """
    key_coin, key_action = jax.random.split(key)
    explore = jax.random.uniform(key_coin, greedy.shape) < epsilon
    return jnp.where(explore, uniform_legal(key_action, legal), greedy)


def lambda_returns(
    reward: Array, discount: Array, next_value: Array, done: Array, lambda_: float | Array
) -> Array:
    """Returns the TD(lambda) targets f32 [T] of successive steps, without gradient.

    `G_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda G_{t+1})`, where `G_{t+1}` is replaced by
    `v_{t+1}` at the end of an episode and at the last step. At a true end `d_t` is 0. At a time
    limit it is not, since the state that was reached still has a value.

    Args:
      reward: f32 [T].
      discount: f32 [T], factor on the next value: gamma, 0 at a true end.
      next_value: f32 [T], value of each step's `next_obs`, before any reset.
      done: bool [T], the episode ended at this step, at a true end or a time limit.
      lambda_: in [0, 1]; 0 is one-step TD. f32 [T] gives each step its own. With 1 at all steps of
        an action that lasts tau steps but the last, its target is
        `sum_k gamma^k r_k + gamma^tau v`.

    Source: Sutton & Barto 2018, eq. 12.18. Differs from: implementations that set `d_t` to 0 at
    time limits too, or that let the return run across the end.
    """
    chex.assert_rank([reward, discount, next_value, done], 1)

    def back(later: Array, step: tuple[Array, ...]) -> tuple[Array, Array]:
        reward, discount, value, done, keep = step
        later = jnp.where(done, value, (1.0 - keep) * value + keep * later)
        target = reward + discount * later
        return target, target

    steps = (reward, discount, next_value, done, jnp.broadcast_to(lambda_, reward.shape))
    _, targets = jax.lax.scan(back, next_value[-1], steps, reverse=True)
    return jax.lax.stop_gradient(targets)


def batched_lambda_returns(
    reward: Array, discount: Array, next_value: Array, done: Array, lambda_: float | Array
) -> Array:
    """Returns `lambda_returns` of a batch: [T, b], or [T, b, N] where each agent has a value.

    Where `next_value` is [T, b, N], inputs that are the same for all agents may be [T, b].
    `lambda_` may be a number.
    """
    inputs = reward, discount, next_value, done, jnp.asarray(lambda_)
    batched = jax.vmap(lambda_returns, [1 if x.ndim else None for x in inputs], 1)
    if next_value.ndim == 3:
        batched = jax.vmap(batched, [2 if x.ndim == 3 else None for x in inputs], 2)
    return batched(*inputs)
