"""Greedy evaluation on fresh episodes, and the uniform policy as a baseline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams, require_environment
from marlx.learner import Learner, stateless
from marlx.learning.returns import uniform_action
from marlx.loop.rollout import Actors, rollout, start
from marlx.types import Array, EnvSpec, Observation, Tree


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
      learner: its `act` chooses the actions.
      policy: from `learner.policy`.
      key: consumed.
      episodes: number of episodes, all at once.
      explore: act as in training instead of greedily.
    """
    require_environment(env)
    spec = env.spec(params)

    class Carry(NamedTuple):
        actors: Actors
        key: Array
        alive: Array  # bool [episodes]
        returns: Array  # f32 [episodes]
        time: Array  # int32 []

    def unfinished(carry: Carry) -> Array:
        return carry.alive.any() & (carry.time < spec.horizon)

    def step(carry: Carry) -> Carry:
        key, key_step = jax.random.split(carry.key)
        actors, transition, _ = rollout(
            env, params, learner, policy, carry.actors, key_step, 1, explore=explore
        )
        step_of = (transition.reward, transition.obs.active)
        reward = spec.team_reward(*jax.tree.map(lambda x: x[0], step_of))
        returns = carry.returns + jnp.where(carry.alive, reward, 0.0)
        return Carry(actors, key, carry.alive & ~transition.done[0], returns, carry.time + 1)

    key_start, key = jax.random.split(key)
    actors = start(env, params, learner, key_start, episodes)
    alive, returns = jnp.ones(episodes, bool), jnp.zeros(episodes)
    first = Carry(actors, key, alive, returns, jnp.int32(0))
    return jax.lax.while_loop(unfinished, step, first).returns


def random_learner(spec: EnvSpec) -> Learner:
    """Returns the uniform policy over legal actions, as a learner that never learns."""

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        del policy, explore
        return uniform_action(key, spec, obs.action_mask), memory, ()

    return stateless(act)


def random_evaluation(
    env: Environment[Any, Any], params: EnvParams, episodes: int
) -> Callable[[Array], Array]:
    """Returns a compiled `(key) -> f32 [episodes]`, returns of the uniform policy."""
    learner = random_learner(env.spec(params))
    return jax.jit(lambda key: evaluate(env, params, learner, (), key, episodes))
