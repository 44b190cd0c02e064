"""Batched reset and step of environments, which pay for a reset only where an episode ended."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams, EnvState, Step
from marlx.types import Array, Observation
from marlx.xla.materialise import SMALL_BATCH, call_materialised
from marlx.xla.sharding import DATA, each_share, shares

S = TypeVar("S", bound=EnvState)
P = TypeVar("P", bound=EnvParams)


def vector_reset(
    env: Environment[S, P], params: P, key: Array, num_envs: int
) -> tuple[Observation, S]:
    """Observations and states `[B, ...]` of `num_envs` episodes, each from its own draw."""

    def reset(_: tuple[()], keys: Array) -> tuple[Observation, S]:
        return jax.vmap(env.reset, in_axes=(0, None))(keys, params)

    keys = jax.random.split(key, num_envs)
    return reset((), keys) if shares(num_envs) == 1 else each_share(reset, keys)


def vector_step(env: Environment[S, P], params: P, key: Array, state: S, action: Array) -> Step[S]:
    """`Environment.step` for a batch `[B, ...]`, paying for resets only where episodes end.

    Args:
      env: the environment.
      params: its parameters, shared by the batch.
      key: one key for the whole batch; consumed.
      state: batched states `[B, ...]`.
      action: int32 [B, N], or f32 [B, N, A] where `EnvSpec.continuous`.

    Returns:
      As `Environment.step`, every array with a leading `[B]`.
    """
    num_envs = action.shape[0]
    devices = shares(num_envs)

    def keys_of(key: Array) -> Array:
        # `_reset_where` folds in numbers from 1 on, and only when some episode ends: hashing one
        # key is a good part of a step of few environments.
        return jax.random.split(jax.random.fold_in(key, 0), num_envs)

    def whole(key: Array, state: S, action: Array, params: P) -> Step[S]:
        return _step(env, params, key, (key, keys_of), state, action, lambda done: 0)

    def share(key: Array, keys: Array, state: S, action: Array, device: Array) -> Step[S]:
        earlier = functools.partial(_ended_before, device[0])
        return _step(env, params, key, (keys, lambda keys: keys), state, action, earlier)

    taken: Step[S]
    if devices > 1:
        numbers = jnp.arange(devices)
        taken = each_share(share, keys_of(key), state, action, numbers, together=key)
    elif num_envs < SMALL_BATCH:
        # XLA's CPU compiler runs a loop's body on several threads as soon as it has more than 8
        # kernels and one of them touches more than 512 bytes, which a rollout's inputs do. Handing
        # numbers from core to core then takes longer than the arithmetic. A branch's body is
        # counted by itself.
        taken = call_materialised(whole, state.time, key, state, action, params, whole=True)
    else:
        taken = whole(key, state, action, params)
    return taken


def _step(
    env: Environment[S, P],
    params: P,
    key: Array,
    keys: tuple[Array, Callable[[Array], Array]],
    state: S,
    action: Array,
    earlier: Callable[[Array], Array | int],
) -> Step[S]:
    """`vector_step` of the environments that one device has, all of them or its share.

    Args:
      env: as there, like `params`, `key`, `state` and `action`.
      params: the environment's.
      key: of the whole batch.
      keys: something, and what makes of it the key of each environment.
      state: batched states.
      action: of every agent.
      earlier: the number of fresh episodes that others draw before these, from `done`.
    """

    def step(given: Array, state: S, action: Array, params: P) -> Any:
        return jax.vmap(env.step_env, in_axes=(0, 0, 0, None))(
            keys[1](given), state, action, params
        )

    ended, reward, terminated, info = call_materialised(
        step, state.time, keys[0], state, action, params
    )
    truncated = ended.time >= params.max_steps_in_episode
    final = jax.vmap(env.observe, in_axes=(0, None))(ended, params)
    done = terminated | truncated
    obs, state = _reset_where(env, params, key, done, earlier(done), (final, ended))
    info = {
        **info,
        "final_observation": final,
        "terminated": terminated,
        "truncated": truncated,
    }
    return obs, state, reward, terminated, truncated, info


def _ended_before(device: Array, done: Array) -> Array:
    """int32 [], of the episodes that ended just now, those on the devices before int32 [] `device`.

    Which fresh episode follows must not depend on the devices. These are the only numbers that
    devices tell each other in a step.
    """
    counts = jax.lax.all_gather(done.sum(dtype=jnp.int32), DATA)
    return jnp.where(jnp.arange(len(counts)) < device, counts, 0).sum()


def _reset_where(
    env: Environment[S, P],
    params: P,
    key: Array,
    done: Array,
    earlier: Array | int,
    current: tuple[Observation, S],
) -> tuple[Observation, S]:
    """`current` with a fresh episode wherever `done` bool [B], drawn with `key` and 1, 2, ...

    Numbers begin after the `earlier` episodes that are drawn elsewhere.

    A reset costs more than a step, and episodes of a trained team end at different times, so some
    episode ends on nearly every step. Fresh episodes are therefore drawn in small chunks, as many
    chunks as the episodes that ended need: usually none or one. Only states go through that loop;
    what they show is computed once, after it.
    """
    num_envs = done.shape[0]
    chunk = max(1, num_envs // 8)

    def renew(key: Array, current: tuple[Observation, S]) -> tuple[Observation, S]:
        place = jnp.cumsum(done) - 1  # among the ended, which one this environment is
        total = place[-1] + 1

        def fill(carry: tuple[Array, S]) -> tuple[Array, S]:
            filled, state = carry
            numbers = 1 + earlier + filled + jnp.arange(chunk)
            draws = jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, numbers)
            fresh = jax.vmap(env.reset_env, in_axes=(0, None))(draws, params)
            take = done & (place >= filled) & (place < filled + chunk)
            source = jnp.clip(place - filled, 0, chunk - 1)

            def merge(new: Array, old: Array) -> Array:
                new = new.at[source].get(mode="promise_in_bounds")
                return jnp.where(take.reshape(-1, *[1] * (old.ndim - 1)), new, old)

            return filled + chunk, jax.tree.map(merge, fresh, state)

        start = (jnp.int32(0), current[1])
        state = jax.lax.while_loop(lambda carry: carry[0] < total, fill, start)[1]
        return jax.vmap(env.observe, in_axes=(0, None))(state, params), state

    obs, state = jax.lax.cond(done.any(), renew, lambda _, current: current, key, current)
    return obs, state
