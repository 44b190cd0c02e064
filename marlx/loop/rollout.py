"""Rollouts: acting and stepping `B` environments for `T` steps, in one scan."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner, where_done
from marlx.loop.vector import vector_reset, vector_step
from marlx.types import Array, Observation, Transition, Tree


class Actors(NamedTuple):
    """State of `B` environments and their acting between two rollouts."""

    env_state: Tree  # [B, ...]
    obs: Observation  # [B, ...]
    memory: Tree  # [B, ...], acting memory
    episode_return: Array  # f32 [B], of the team, in the current episode so far
    episode_length: Array  # f32 [B], steps of the current episode so far


class Finished(NamedTuple):
    """Sums over the episodes that ended in a rollout."""

    episodes: Array  # f32 []
    total_return: Array  # f32 [], of the team
    total_length: Array  # f32 [], steps


def start(
    env: Environment[Any, Any], params: EnvParams, learner: Learner, key: Array, num_envs: int
) -> Actors:
    """Returns the actors at the start of `num_envs` fresh episodes."""
    obs, env_state = vector_reset(env, params, key, num_envs)
    return Actors(
        env_state, obs, learner.memory(num_envs), jnp.zeros(num_envs), jnp.zeros(num_envs)
    )


def rollout(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    actors: Actors,
    key: Array,
    length: int,
    *,
    explore: bool = True,
) -> tuple[Actors, Transition, Finished]:
    """Acts for `length` steps in every environment.

    Args:
      env: the environment.
      params: its parameters.
      learner: its `act` chooses the actions.
      policy: from `learner.policy`.
      actors: state of the environments.
      key: consumed.
      length: T.
      explore: False acts greedily.

    Returns:
      The next `actors`, the transitions `[T, B, ...]`, and sums over the episodes that ended.
    """
    spec = env.spec(params)
    num_envs = actors.episode_return.shape[0]
    fresh, zeros = learner.memory(num_envs), jnp.zeros(num_envs)

    def step(actors: Actors, key: Array) -> tuple[Actors, tuple[Transition, Array, Array]]:
        key_act, key_step = jax.random.split(key)
        action, memory, extras = learner.act(policy, actors.memory, actors.obs, key_act, explore)
        obs, env_state, reward, terminated, truncated, info = vector_step(
            env, params, key_step, actors.env_state, action
        )
        transition = Transition(
            actors.obs,
            action,
            reward,
            terminated,
            truncated,
            info["final_observation"],
            actors.memory,
            extras,
        )
        done = transition.done
        returns = actors.episode_return + spec.team_reward(reward, actors.obs.active)
        lengths = actors.episode_length + 1.0
        memory, *current = where_done(done, (fresh, zeros, zeros), (memory, returns, lengths))
        return Actors(env_state, obs, memory, *current), (transition, returns, lengths)

    keys = jax.random.split(key, length)
    actors, (transitions, returns, lengths) = jax.lax.scan(step, actors, keys)
    # summed after the scan: a sum inside it would synchronise the devices at every step
    done = transitions.done.astype(jnp.float32)
    ended = Finished(done.sum(), (returns * done).sum(), (lengths * done).sum())
    return actors, transitions, ended
