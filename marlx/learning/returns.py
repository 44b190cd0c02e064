"""Targets and action choices as formulas for one sequence or one state; callers `vmap`."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp

from marlx.types import Array, EnvSpec


def masked_argmax(values: Array, legal: Array) -> Array:
    """int32 [...], the legal index of highest value; values f32 [..., A], legal bool [..., A]."""
    return jnp.where(legal, values, -jnp.inf).argmax(-1).astype(jnp.int32)


def uniform_legal(key: Array, legal: Array) -> Array:
    """int32 [...], uniform over the legal indices of bool [..., A]."""
    return jnp.where(legal, jax.random.uniform(key, legal.shape), -1.0).argmax(-1).astype(jnp.int32)


def uniform_action(key: Array, spec: EnvSpec, mask: Array) -> Array:
    """A uniform action of every agent, of the kind that `spec` says; mask bool [..., N, A]."""
    if spec.continuous:
        return jnp.where(mask, jax.random.uniform(key, mask.shape), 0.0)
    return uniform_legal(key, mask)


def epsilon_greedy(key: Array, greedy: Array, legal: Array, epsilon: Array) -> Array:
    """int32 [...], `greedy` or, with probability `epsilon` each, a uniform legal action.

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
    """f32 [T], TD(lambda) targets of one stretch of steps, without gradient.

    `G_t = r_t + d_t ((1 - lambda) v_{t+1} + lambda G_{t+1})`, where `G_{t+1}` is replaced by
    `v_{t+1}` at an episode's end and at the stretch's end. At a true end `d_t` is 0, at a time
    limit it is not: the value of the state that was reached still counts.

    Args:
      reward: f32 [T].
      discount: f32 [T], what multiplies the next value: gamma, 0 at a true end.
      next_value: f32 [T], value of each step's `next_obs`, before any reset.
      done: bool [T], the episode ended there, for either reason.
      lambda_: in [0, 1]; 0 is one-step TD. f32 [T] gives each step its own: with 1 where a choice
        goes on, the target of the step it was made at is `sum_k gamma^k r_k + gamma^tau v`, over
        the tau steps that it lasts.

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
    """`lambda_returns` for [T, b], or for [T, b, N] where every agent has a value of its own.

    What is the same for all agents has no agents' axis, and `lambda_` may be a number.
    """
    inputs = reward, discount, next_value, done, jnp.asarray(lambda_)
    batched = jax.vmap(lambda_returns, [1 if x.ndim else None for x in inputs], 1)
    if next_value.ndim == 3:
        batched = jax.vmap(batched, [2 if x.ndim == 3 else None for x in inputs], 2)
    return batched(*inputs)
