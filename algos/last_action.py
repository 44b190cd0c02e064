"""The agent's previous action as part of what its network sees (`last_action`).

It is added around a learner, not inside: the learner gets observations that are wider by one number
for each action. So acting, replays and training windows read the same numbers, with and without
recurrence.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.learner import Learner
from marlx.learning.active import zero_inactive
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class LastActionMemory(NamedTuple):
    """Acting memory."""

    learner: Tree  # the learner's own
    last: Array  # f32 [B, N, A], see `encoded`; 0 at an episode's start


def encoded(spec: EnvSpec, action: Array, active: Array | None = None) -> Array:
    """Returns actions as networks see them, f32 [..., N, A].

    A one-hot of a discrete action, a continuous action as it is, and 0 for an agent that was
    inactive and so chose nothing.

    Args:
      spec: of the environment.
      action: int32 [..., N], or f32 [..., N, A].
      active: bool [..., N], `Observation.active` of the observation that the action was chosen for.
    """
    shown = action if spec.continuous else jax.nn.one_hot(action, spec.num_actions)
    return zero_inactive(shown, active)


def wider_spec(spec: EnvSpec) -> EnvSpec:
    """Returns `spec` with observations that end with the previous action.

    Observations are divided by `spec.scale` when they are read, so the action is multiplied by it
    beforehand. Where that is no small integer, replays hold f32.
    """
    width, kind = spec.obs_size + spec.num_actions, np.dtype(spec.storage)
    exact = not spec.continuous and float(spec.scale).is_integer()
    fits = kind.kind == "f" or (exact and spec.scale <= np.iinfo(kind).max)
    return dataclasses.replace(
        spec,
        obs_size=width,
        obs_sizes=(width,) * spec.num_agents,  # padding stays in the middle
        storage=spec.storage if fits else "float32",
    )


def append_action(spec: EnvSpec, obs: Observation, last: Array) -> Observation:
    """Returns `obs` with `last` f32 [..., N, A] behind each agent's observation."""
    local = obs.local.astype(jnp.float32)
    return obs._replace(local=jnp.concatenate([local, last * spec.scale], -1))


def wider_rollout(spec: EnvSpec, t: Transition) -> Transition:
    """Returns the rollout [T, B, ...] that the learner inside gets.

    The next observation ends with the action of the step itself, also before a time limit.
    """
    return t._replace(
        obs=append_action(spec, t.obs, t.memory.last),
        next_obs=append_action(spec, t.next_obs, encoded(spec, t.action, t.obs.active)),
        memory=t.memory.learner,
    )


def with_last_action(spec: EnvSpec, build: Callable[[EnvSpec], Learner]) -> Learner:
    """Returns a learner whose agents also see their previous action.

    Args:
      spec: of the environment.
      build: makes the learner for a spec with wider observations, see `wider_spec`.
    """
    learner, widen = build(wider_spec(spec)), functools.partial(wider_rollout, spec)

    def act(
        policy: Tree, memory: LastActionMemory, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, LastActionMemory, Tree]:
        seen = append_action(spec, obs, memory.last)
        action, after, extras = learner.act(policy, memory.learner, seen, key, explore)
        return action, LastActionMemory(after, encoded(spec, action, obs.active)), extras

    def memory(num_envs: int) -> LastActionMemory:
        last = jnp.zeros((num_envs, spec.num_agents, spec.num_actions))
        return LastActionMemory(learner.memory(num_envs), last)

    def inspect(
        policy: Tree, memory: LastActionMemory, obs: Observation, extras: Tree
    ) -> dict[str, Array]:
        assert learner.inspect is not None
        seen = append_action(spec, obs, memory.last)
        return learner.inspect(policy, memory.learner, seen, extras)

    return learner._replace(
        init=lambda key, example: learner.init(key, jax.eval_shape(widen, example)),
        memory=memory,
        act=act,
        observe=lambda state, t: learner.observe(state, widen(t)),
        inspect=None if learner.inspect is None else inspect,
    )


def refuse_last_action(**parts: bool) -> None:
    """Raise ValueError where a part of a composite learner is to read its last action.

    Its memory holds the action that it proposed, which need not be the one that was taken.
    """
    for name, wanted in parts.items():
        if wanted:
            raise ValueError(
                f"{name}.last_action is true; it must be false in learners that are made of others"
            )
