"""A step with auto-reset that pays, under `vmap`, for resets only where episodes ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree
from marlx.xla.materialise import SMALL_BATCH, call_materialised


class Episodes(Protocol):
    """The part of an environment that a step with auto-reset needs."""

    def reset_env(self, key: Array, params: Any) -> Any:
        """Returns the state of a fresh episode."""

    def step_env(self, key: Array, state: Any, action: Array, params: Any) -> Any:
        """Returns state, reward, terminated and info."""

    def observe(self, state: Any, params: Any) -> Any:
        """Returns the observation."""


class Inputs(NamedTuple):
    """Arguments of a step: of one environment, or `[B, ...]`."""

    key: Array
    state: Any
    action: Array


def auto_reset_step(env: Episodes, params: Any, inputs: Inputs) -> Tree:
    """Returns observation, state, reward, terminated, truncated and info of a step.

    Without `vmap`, and where `vmap` is over the parameters, a reset is computed at every step.
    Under any other `vmap`, nested ones too, it is computed in chunks of an eighth of the batch, as
    many as the ended episodes need: usually none or one. The numbers are the same either way.

    The derivative is that of the plain step.

    Args:
      env: the environment.
      params: its parameters.
      inputs: of one environment.
    """

    def plain(inputs: Inputs, params: Any) -> Tree:
        return _step(env, params, inputs)

    @jax.custom_batching.custom_vmap
    def step(inputs: Inputs, params: Any) -> Tree:
        return plain(inputs, params)

    @step.def_vmap
    def batch(size: int, batched: Any, inputs: Inputs, params: Any) -> tuple[Tree, Tree]:
        if any(jax.tree.leaves(batched[1])):
            result = jax.vmap(plain, _axes(batched), axis_size=size)(inputs, params)
        else:
            result = _step_batch(env, params, _with_axis(size, batched[0], inputs))
        return result, jax.tree.map(lambda _: True, result)

    def tangent(given: Any, tangents: Any) -> Any:
        return jax.jvp(plain, given, tangents)

    differentiable = jax.custom_jvp(step)
    differentiable.defjvp(tangent)
    result: Tree = differentiable(inputs, params)
    return result


def _step(env: Episodes, params: Any, inputs: Inputs) -> Tree:
    """A step of one environment."""
    key_step, key_reset = jax.random.split(inputs.key)
    ended, reward, terminated, info = env.step_env(key_step, inputs.state, inputs.action, params)
    truncated = ended.time >= params.max_steps_in_episode
    final = env.observe(ended, params)
    fresh, done = env.reset_env(key_reset, params), terminated | truncated
    obs, state = jax.tree.map(
        lambda new, old: jnp.where(done, new, old),
        (env.observe(fresh, params), fresh),
        (final, ended),
    )
    info = {**info, "final_observation": final, "terminated": terminated, "truncated": truncated}
    return obs, state, reward, terminated, truncated, info


def _step_batch(env: Episodes, params: Any, inputs: Inputs) -> Tree:
    """`_step` of environments [B, ...]; another `vmap` makes a larger batch of it."""

    @jax.custom_batching.custom_vmap
    def step(inputs: Inputs, params: Any) -> Tree:
        def rows(inputs: Inputs, params: Any) -> Tree:
            return _step_rows(env, params, inputs)

        if inputs.state.time.size >= SMALL_BATCH:
            return rows(inputs, params)
        return call_materialised(rows, inputs.state.time, inputs, params, whole=True)

    @step.def_vmap
    def batch(size: int, batched: Any, inputs: Inputs, params: Any) -> tuple[Tree, Tree]:
        if any(jax.tree.leaves(batched[1])):
            plain: Any = jax.vmap(lambda inputs, params: _step(env, params, inputs), (0, None))
            result = jax.vmap(plain, _axes(batched), axis_size=size)(inputs, params)
        else:
            inputs = _with_axis(size, batched[0], inputs)
            flat = jax.tree.map(lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:]), inputs)
            shape = inputs.key.shape
            result = jax.tree.map(
                lambda x: x.reshape(*shape, *x.shape[1:]), _step_batch(env, params, flat)
            )
        return result, jax.tree.map(lambda _: True, result)

    return step(inputs, params)


def _step_rows(env: Episodes, params: Any, inputs: Inputs) -> Tree:
    """`_step` of environments [B, ...] that draws only the fresh episodes it needs."""

    def advance(inputs: Inputs, params: Any) -> Any:
        keys = jax.vmap(jax.random.split)(inputs.key)[:, 0]  # here, since XLA drops unused ones
        return jax.vmap(env.step_env, (0, 0, 0, None))(keys, inputs.state, inputs.action, params)

    stepped = call_materialised(advance, inputs.state.time, inputs, params)
    ended, reward, terminated, info = stepped
    truncated = ended.time >= params.max_steps_in_episode
    final = jax.vmap(env.observe, (0, None))(ended, params)

    def keys_of(_: Array, rows: Array) -> Array:
        own = inputs.key[jnp.minimum(rows, len(inputs.key) - 1)]
        return jax.vmap(jax.random.split)(own)[:, 1]

    obs, state = renewed(env, params, terminated | truncated, (final, ended), keys_of)
    info = {**info, "final_observation": final, "terminated": terminated, "truncated": truncated}
    return obs, state, reward, terminated, truncated, info


def renewed(
    env: Episodes,
    params: Any,
    done: Array,
    current: Tree,
    keys_of: Callable[[Array, Array], Array],
) -> Tree:
    """Returns observations and states [B, ...] with a fresh episode wherever one ended.

    A reset costs more than a step, and episodes of a trained team end at different times, so some
    episode ends on nearly every step. Fresh episodes are therefore drawn in chunks of B/8, as many
    chunks as the ended episodes need: usually none or one. Only states go through that loop;
    observations are computed once, after it.

    Args:
      env: the environment.
      params: its parameters.
      done: bool [B], the episode ended.
      current: observations and states [B, ...] before that.
      keys_of: `(numbers, rows) -> keys`, each [B/8], of some of the fresh episodes: their numbers,
        counted from 1 in the order of the batch, and the environments that they are for. Behind the
        last one the row is B, and the key is not used.
    """
    size = done.shape[0]
    chunk = max(1, size // 8)

    def renew(current: Tree) -> Tree:
        number = jnp.cumsum(done)  # of an ended episode, from 1

        def fill(carry: tuple[Array, Tree]) -> tuple[Array, Tree]:
            filled, state = carry
            numbers = filled + 1 + jnp.arange(chunk)
            keys = keys_of(numbers, jnp.searchsorted(number, numbers))
            fresh = jax.vmap(env.reset_env, (0, None))(keys, params)
            take = done & (number > filled) & (number <= filled + chunk)
            source = jnp.clip(number - 1 - filled, 0, chunk - 1)
            return filled + chunk, jax.tree.map(
                lambda new, old: _take_rows(take, source, new, old), fresh, state
            )

        start = (jnp.int32(0), current[1])
        state = jax.lax.while_loop(lambda carry: carry[0] < number[-1], fill, start)[1]
        return jax.vmap(env.observe, (0, None))(state, params), state

    return jax.lax.cond(done.any(), renew, lambda current: current, current)


def _take_rows(take: Array, source: Array, new: Array, old: Array) -> Array:
    """Returns rows `new[source]` where `take` bool [B], else those of `old` [B, ...]."""
    new = new.at[source].get(mode="promise_in_bounds")
    return jnp.where(take.reshape(-1, *[1] * (old.ndim - 1)), new, old)


def _axes(batched: Any) -> Any:
    """Axes for `jax.vmap` of arguments of which `batched` says whether they have one."""
    return jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched))


def _with_axis(size: int, batched: Any, tree: Tree) -> Tree:
    """`tree` with a leading axis of `size` on every leaf."""
    return jax.tree.map(
        lambda has, x: x if has else jnp.broadcast_to(x, (size, *x.shape)), batched, tree
    )
