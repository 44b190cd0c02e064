"""Greedy evaluation on fresh episodes, and the random policy that returns are held against."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner
from marlx.learning.returns import uniform_action
from marlx.loop.rollout import Actors, rollout, start
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


def evaluate(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
    *,
    explore: bool = False,
) -> Array:
    """f32 [episodes], the team return of `episodes` fresh, whole episodes.

    Each environment plays exactly one episode, so that short episodes are not counted more often
    than long ones.

    Args:
      env: the environment.
      params: its parameters.
      learner: whose `act` chooses.
      policy: from `learner.policy`.
      key: consumed.
      episodes: number of episodes, all at once.
      explore: act as in training instead of greedily.
    """
    spec = env.spec(params)

    class Playing(NamedTuple):
        actors: Actors
        key: Array
        alive: Array  # bool [episodes]
        returns: Array  # f32 [episodes]
        time: Array  # int32 []

    def going_on(now: Playing) -> Array:
        return now.alive.any() & (now.time < spec.horizon)

    def step(now: Playing) -> Playing:
        key, key_step = jax.random.split(now.key)
        actors, taken, _ = rollout(
            env, params, learner, policy, now.actors, key_step, 1, explore=explore
        )
        returns = now.returns + jnp.where(now.alive, spec.team_reward(taken.reward[0]), 0.0)
        return Playing(actors, key, now.alive & ~taken.done[0], returns, now.time + 1)

    key_start, key = jax.random.split(key)
    actors = start(env, params, learner, key_start, episodes)
    alive, returns = jnp.ones(episodes, bool), jnp.zeros(episodes)
    return jax.lax.while_loop(
        going_on, step, Playing(actors, key, alive, returns, jnp.int32(0))
    ).returns


def random_learner(spec: EnvSpec) -> Learner:
    """The uniform policy over legal actions: the bar that any learner has to clear."""

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        del policy, explore
        return uniform_action(key, spec, obs.action_mask), memory, ()

    def observe(state: Tree, rollout: Transition) -> Tree:
        return state

    return Learner(
        init=lambda key, example: (),
        memory=lambda num_envs: (),
        policy=lambda state: (),
        act=act,
        observe=observe,
        update=lambda state, key: (state, {}),
    )
