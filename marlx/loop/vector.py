"""Batched reset and step of environments, where a reset is paid only where an episode ended."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams, EnvState, Step, require_environment
from marlx.types import Array, Observation
from marlx.xla.auto_reset import renewed
from marlx.xla.materialise import SMALL_BATCH, call_materialised
from marlx.xla.sharding import DATA, map_shards, num_shards

S = TypeVar("S", bound=EnvState)
P = TypeVar("P", bound=EnvParams)


def vector_reset(
    env: Environment[S, P], params: P, key: Array, num_envs: int
) -> tuple[Observation, S]:
    """Returns observations and states `[B, ...]` of `num_envs` fresh episodes.

    Args:
      env: the environment.
      params: its parameters, shared by the batch.
      key: split into one key for each episode; consumed.
      num_envs: B.
    """
    require_environment(env)

    def reset(_: tuple[()], keys: Array) -> tuple[Observation, S]:
        return jax.vmap(env.reset, in_axes=(0, None))(keys, params)

    keys = jax.random.split(key, num_envs)
    return reset((), keys) if num_shards(num_envs) == 1 else map_shards(reset, keys)


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
    require_environment(env)
    num_envs = action.shape[0]
    if num_shards(num_envs) > 1:
        return _step_sharded(env, params, key, state, action)
    if num_envs >= SMALL_BATCH:
        return _step_batch(env, params, key, state, action)

    # XLA's CPU compiler runs a loop's body on several threads as soon as it has more than 8
    # kernels and one of them touches more than 512 bytes, which a rollout's inputs do. Moving few
    # numbers between cores takes longer than the arithmetic. A branch's body is counted by itself.
    def step(key: Array, state: S, action: Array, params: P) -> Step[S]:
        return _step_batch(env, params, key, state, action)

    result: Step[S] = call_materialised(step, state.time, key, state, action, params, whole=True)
    return result


class _BeforeReset(NamedTuple):
    """Results of a batched step before ended episodes are replaced."""

    state: Any
    reward: Array  # f32 [B, N]
    terminated: Array  # bool [B]
    truncated: Array  # bool [B]
    info: dict[str, Any]

    @property
    def done(self) -> Array:
        return self.terminated | self.truncated


def _step_batch(env: Environment[S, P], params: P, key: Array, state: S, action: Array) -> Step[S]:
    """`vector_step` of environments that one device has all of."""

    def step(key: Array, state: S, action: Array, params: P) -> Any:
        return _step_envs(env, _step_keys(key, action.shape[0]), state, action, params)

    result = call_materialised(step, state.time, key, state, action, params)
    return _auto_reset(env, params, key, _with_time_limit(params, *result), first=0)


def _step_sharded(
    env: Environment[S, P], params: P, key: Array, state: S, action: Array
) -> Step[S]:
    """`vector_step` of environments that are sharded over devices; the same numbers."""

    def step(keys: Array, state: S, action: Array, params: P) -> Any:
        return _step_envs(env, keys, state, action, params)

    def step_shard(key: Array, keys: Array, state: S, action: Array, device: Array) -> Step[S]:
        result = call_materialised(step, state.time, keys, state, action, params)
        stepped = _with_time_limit(params, *result)
        first = _resets_before(device[0], stepped.done)
        return _auto_reset(env, params, key, stepped, first)

    num_envs = action.shape[0]
    keys, devices = _step_keys(key, num_envs), jnp.arange(num_shards(num_envs))
    result: Step[S] = map_shards(step_shard, keys, state, action, devices, replicated=key)
    return result


def _step_keys(key: Array, num_envs: int) -> Array:
    """Keys [B] of one step.

    0 is folded in here and numbers from 1 on in `_auto_reset`, there only when an episode ends:
    hashing one key is a good part of a step of few environments.
    """
    return jax.random.split(jax.random.fold_in(key, 0), num_envs)


def _step_envs(env: Environment[S, P], keys: Array, state: S, action: Array, params: P) -> Any:
    return jax.vmap(env.step_env, in_axes=(0, 0, 0, None))(keys, state, action, params)


def _with_time_limit(
    params: EnvParams, state: Any, reward: Array, terminated: Array, info: dict[str, Any]
) -> _BeforeReset:
    truncated = state.time >= params.max_steps_in_episode
    return _BeforeReset(state, reward, terminated, truncated, info)


def _resets_before(device: Array, done: Array) -> Array:
    """int32 [], number of episodes that ended in this step on devices before int32 [] `device`.

    Which fresh episode an environment gets must not depend on the devices. These counts are all
    that devices exchange in a step.
    """
    counts = jax.lax.all_gather(done.sum(dtype=jnp.int32), DATA)
    return jnp.where(jnp.arange(len(counts)) < device, counts, 0).sum()


def _auto_reset(
    env: Environment[S, P], params: P, key: Array, stepped: _BeforeReset, first: Array | int
) -> Step[S]:
    """Returns the step with a fresh episode wherever one ended.

    Args:
      env: the environment.
      params: its parameters.
      key: of the whole batch; fresh episode i of the batch is drawn with `fold_in(key, 1 + i)`.
      stepped: the environments of this device.
      first: the number of fresh episodes that other devices draw before these.
    """
    final = jax.vmap(env.observe, in_axes=(0, None))(stepped.state, params)

    def keys_of(numbers: Array, _: Array) -> Array:
        return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, first + numbers)

    obs, state = renewed(env, params, stepped.done, (final, stepped.state), keys_of)
    info = {
        **stepped.info,
        "final_observation": final,
        "terminated": stepped.terminated,
        "truncated": stepped.truncated,
    }
    return obs, state, stepped.reward, stepped.terminated, stepped.truncated, info
