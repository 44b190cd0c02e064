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
    agent_return: Tree = ()  # f32 [B, N], of each agent; () where `EnvSpec.rewards_differ` is False


class Finished(NamedTuple):
    """Sums over the episodes that ended in a rollout."""

    episodes: Array  # f32 []
    total_return: Array  # f32 [], of the team
    total_length: Array  # f32 [], steps
    agent_return: Tree  # f32 [N], of each agent; ()
    outcomes: dict[str, Array]  # f32 [] by name, see `EnvSpec.outcomes`


def start(
    env: Environment[Any, Any], params: EnvParams, learner: Learner, key: Array, num_envs: int
) -> Actors:
    """Returns the actors at the start of `num_envs` fresh episodes."""
    obs, env_state = vector_reset(env, params, key, num_envs)
    spec, zeros = env.spec(params), jnp.zeros(num_envs)
    each = jnp.zeros((num_envs, spec.num_agents)) if spec.rewards_differ else ()
    return Actors(env_state, obs, learner.memory(num_envs), zeros, zeros, each)


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
    return rollout_with_outcomes(
        env, params, learner, policy, actors, key, length, explore=explore
    )[:3]


def rollout_with_outcomes(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    actors: Actors,
    key: Array,
    length: int,
    *,
    explore: bool = True,
) -> tuple[Actors, Transition, Finished, dict[str, Array]]:
    """As `rollout`, with `EnvSpec.outcomes` [T, B] at every step, which count where it is done."""
    spec = env.spec(params)
    num_envs = actors.episode_return.shape[0]
    fresh, zeros = learner.memory(num_envs), jnp.zeros(num_envs)

    def step(actors: Actors, key: Array) -> tuple[Actors, tuple[Transition, Array, Array, Tree]]:
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
        outcomes = {name: info[name] for name in spec.outcomes}
        actors = actors._replace(
            env_state=env_state,
            obs=obs,
            memory=memory,
            episode_return=current[0],
            episode_length=current[1],
        )
        return actors, (transition, returns, lengths, outcomes)

    keys = jax.random.split(key, length)
    actors, (transitions, returns, lengths, outcomes) = jax.lax.scan(step, actors, keys)
    # summed after the scan: a sum inside it would synchronise the devices at every step
    done = transitions.done.astype(jnp.float32)
    going_on, each = agent_returns(actors.agent_return, transitions)
    ended = Finished(
        done.sum(),
        (returns * done).sum(),
        (lengths * done).sum(),
        each,
        {name: (values * done).sum() for name, values in outcomes.items()},
    )
    return actors._replace(agent_return=going_on), transitions, ended, outcomes


def agent_returns(before: Tree, t: Transition) -> tuple[Tree, Tree]:
    """Returns each agent's return in the episodes that go on, and in those that ended.

    Of a whole rollout at once, which costs less than a sum at every step.

    Args:
      before: f32 [B, N], of each agent until the rollout, in episodes that were going on; or ().
      t: [T, B, ...].

    Returns:
      f32 [B, N] in the episodes that go on after it; and f32 [N], the sum over those that ended.
      Both () where `before` is.
    """
    if isinstance(before, tuple):
        return (), ()
    reward = t.reward if t.obs.active is None else jnp.where(t.obs.active, t.reward, 0.0)
    over = jnp.flip(jax.lax.cummax(jnp.flip(t.done, 0).astype(jnp.int32)), 0) > 0  # or ends later
    mine, over = jnp.concatenate([before[None], reward]), jnp.concatenate([over[:1], over])
    ended = jnp.where(over[..., None], mine, 0.0)
    return (mine - ended).sum(0), ended.sum((0, 1))
