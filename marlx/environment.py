"""The environment contract: gymnax 1.0's, for teams. Auto-reset and time limits live here, once.

An environment is written for **one** episode and no batch, as three pure functions
(`reset_env`, `step_env`, `observe`); everything else is derived:

* `Environment.reset` / `Environment.step`: gymnax 1.0's calls, unbatched, with auto-reset.
* `vector_reset` / `vector_step`: the same for `B` environments, where a reset is paid only for the
  episodes that ended.

For speed on a CPU, write per-agent arithmetic as Python loops over agents (they unroll) and stack
at the end, instead of arrays whose last axis is 2 or 3: those do not vectorise.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.sharding import DATA, each_share, shares
from marlx.types import Array, EnvSpec, Observation, Subgoals, Tree


@flax.struct.dataclass
class EnvState:
    """What every environment state has; subclasses add their fields."""

    time: Array  # int32 [], steps since reset


@flax.struct.dataclass
class EnvParams:
    """What can vary without another environment object; subclasses add their fields."""

    max_steps_in_episode: int = 1


S = TypeVar("S", bound=EnvState)
P = TypeVar("P", bound=EnvParams)
Step = tuple[Observation, S, Array, Array, Array, dict[str, Any]]

FEW = 16
"""Episodes below which launching kernels and threads, not arithmetic, is what a step costs."""


class Environment(abc.ABC, Generic[S, P]):
    """Base of every environment: subclasses write five members and inherit the gymnax calls.

    Source: gymnax 1.0's environment contract. Differs from: gymnax, whose observation is one
    agent's; here it is an `Observation`, so that `info["final_observation"]` keeps the last action
    mask and the last global state too, and `reward` is f32 [N].
    """

    @property
    @abc.abstractmethod
    def default_params(self) -> P:
        """The parameters `reset` and `step` use when none are given."""

    @abc.abstractmethod
    def spec(self, params: P | None = None) -> EnvSpec:
        """Static facts for learners."""

    @abc.abstractmethod
    def reset_env(self, key: Array, params: P) -> S:
        """A fresh episode's first state, drawn with `key`."""

    @abc.abstractmethod
    def step_env(
        self, key: Array, state: S, action: Array, params: P
    ) -> tuple[S, Array, Array, dict[str, Any]]:
        """One step, without time limit or reset.

        Args:
          key: consumed; ignored where the environment is deterministic.
          state: of one episode.
          action: int32 [N], or f32 [N, A] where `EnvSpec.continuous`.
          params: the environment's parameters.

        Returns:
          The next state with `time` advanced by one, reward f32 [N], terminated bool [], and a
          dictionary of arrays for `info` (the same keys at every step).
        """

    @abc.abstractmethod
    def observe(self, state: S, params: P) -> Observation:
        """What `state` shows."""

    @property
    def unwrapped(self) -> Environment[Any, Any]:
        """The environment whose settings this one's are; itself, unless it only adds to another."""
        return self

    def render(self, state: S, params: P | None = None) -> np.ndarray:
        """uint8 [height, width, 3], a picture of one (unbatched) state."""
        raise ValueError(f"{type(self).__name__} has no picture; write its `render` method")

    def subgoals(self, params: P | None = None) -> Subgoals | None:
        """The subgoals that this environment declares; None where it declares none."""
        del params
        return None

    def reset(self, key: Array, params: P | None = None) -> tuple[Observation, S]:
        """The first observation and state of a fresh episode."""
        params = self.default_params if params is None else params
        state = self.reset_env(key, params)
        return self.observe(state, params), state

    def step(self, key: Array, state: S, action: Array, params: P | None = None) -> Step[S]:
        """One step; an ended episode is replaced by a fresh one.

        Returns:
          obs and state (already of the next episode where this one ended), reward f32 [N],
          terminated and truncated bool [] (both may be True at once: a true end has no value beyond
          it, whatever the clock says), and info with `final_observation`: the observation after the
          step and before any reset, the same structure at every step.
        """
        params = self.default_params if params is None else params
        key_step, key_reset = jax.random.split(key)
        ended, reward, terminated, info = self.step_env(key_step, state, action, params)
        truncated = ended.time >= params.max_steps_in_episode
        final = self.observe(ended, params)
        fresh_obs, fresh = self.reset(key_reset, params)
        done = terminated | truncated
        obs, state = jax.tree.map(
            lambda new, old: jnp.where(done, new, old), (fresh_obs, fresh), (final, ended)
        )
        info = {
            **info,
            "final_observation": final,
            "terminated": terminated,
            "truncated": truncated,
        }
        return obs, state, reward, terminated, truncated, info


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
    elif num_envs < FEW:
        # XLA's CPU compiler runs a loop's body on several threads as soon as it has more than 8
        # kernels and one of them touches more than 512 bytes, which a rollout's inputs do. Handing
        # numbers from core to core then takes longer than the arithmetic. A branch's body is
        # counted by itself.
        taken = settled(whole, state.time, key, state, action, params, whole=True)
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

    ended, reward, terminated, info = settled(step, state.time, keys[0], state, action, params)
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


def settled(function: Callable[..., Tree], time: Array, *args: Tree, whole: bool = False) -> Tree:
    """`function(*args)`, computed once before anything that uses it.

    XLA's CPU compiler computes an element-wise intermediate again inside each of its consumers, and
    drops `optimization_barrier` before it does. With many small numbers that depend on each other
    this repeats most of a step a dozen times over (measured on foraging: a factor of four). It
    cannot see through a branch, so `function` becomes the body of one that is always taken.

    Args:
      function: pure; all that depends on the state must come through `args`, not by closure.
      time: int32, any array with values that are never negative, such as a state's `time`.
      args: pytrees of arrays.
      whole: a branch even for a few numbers, which by default are computed again instead.
    """

    @jax.custom_batching.custom_vmap
    def call(time: Array, *args: Tree) -> Tree:
        shapes = jax.eval_shape(function, *args)
        if time.size < FEW and len(jax.tree.leaves(shapes)) <= 16 and not whole:
            return function(*args)  # a few numbers are computed again faster than a branch is taken

        def branch(time: Array, *args: Tree) -> Tree:
            always = time.reshape(time.size)[0] >= 0
            never = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
            return jax.lax.cond(always, function, lambda *_: never, *args)

        return jax.lax.platform_dependent(
            time, *args, cpu=branch, default=lambda _, *args: function(*args)
        )

    @call.def_vmap
    def batch(size: int, batched: Any, time: Array, *args: Tree) -> tuple[Tree, Tree]:
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched[1:]))
        mapped = jax.vmap(function, axes, axis_size=size)
        result = settled(mapped, time, *args, whole=whole)
        return result, jax.tree.map(lambda _: True, result)

    return call(time, *args)


def settle(tree: Tree, time: Array) -> Tree:
    """`tree` itself, computed once: `settled` for what is computed already, at a copy more."""
    return settled(lambda tree: tree, time, tree)
