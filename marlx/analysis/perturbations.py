"""Failures of a trained team that need no training: its return against their strength.

Each is a way to act instead: a learner whose actions or observations are disturbed. The policies
stay as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.learner import Act, Judged, Learner, acting
from marlx.learning.returns import uniform_action
from marlx.loop.rollout import rollout, start
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Tree

MOST_STEPS = 128
"""Steps over which the deviation of observations is measured."""


class Team(NamedTuple):
    """A trained team: what acts, and where."""

    env: Environment  # type: ignore[type-arg]
    params: EnvParams
    learner: Learner
    judged: Judged

    @property
    def spec(self) -> EnvSpec:
        """Of the environment."""
        return self.env.spec(self.params)

    @property
    def act(self) -> Act:
        """How the team acts where it is judged, drawn or greedy."""
        return acting(self.learner, self.judged)

    def acts(self, act: Act, memory: Callable[[int], Tree] | None = None) -> Learner:
        """Returns the learner with another way to act, whatever `explore` says."""
        memory = self.learner.memory if memory is None else memory
        return self.learner._replace(act=act, act_drawn=None, memory=memory)


class Started(NamedTuple):
    """Acting memory of a perturbation that has something to remember."""

    inner: Tree  # of the team
    fresh: Array  # bool [B], the episode has not begun
    kept: Array  # [B, N, ...]: actions before, or which agents are out


def nothing(spec: EnvSpec, mask: Array) -> Array:
    """Returns the actions of agents that stand still, for masks bool [B, N, A].

    The first legal action, which is doing nothing where an environment has that; continuous: zeros.
    """
    if spec.continuous:
        return jnp.zeros(mask.shape, jnp.float32)
    return mask.argmax(-1).astype(jnp.int32)


def pick(which: Array, yes: Array, no: Array) -> Array:
    """Returns actions of `yes` where bool [B, N], else of `no`."""
    return jnp.where(which.reshape(*which.shape, *[1] * (no.ndim - 2)), yes, no)


def in_seats(team: Team, agents: tuple[int, ...], kind: str) -> Learner:
    """Returns the team with some agents that act at `random`, or stand `still`."""
    spec = team.spec
    taken = jnp.zeros(spec.num_agents, bool).at[jnp.array(agents)].set(True)

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        key_act, key_other = jax.random.split(key)
        action, memory, extras = team.act(policy, memory, obs, key_act, explore)
        other = nothing(spec, obs.action_mask)
        if kind == "random":
            other = uniform_action(key_other, spec, obs.action_mask)
        which = jnp.broadcast_to(taken, obs.action_mask.shape[:2])
        return pick(which, other, action), memory, extras

    return team.acts(act)


def sticky(team: Team, strength: Array) -> Learner:
    """Returns the team whose agents repeat their last action with a probability, where legal."""
    spec = team.spec
    shape = (spec.num_agents, spec.num_actions) if spec.continuous else (spec.num_agents,)
    dtype = jnp.float32 if spec.continuous else jnp.int32

    def memory(num_envs: int) -> Started:
        before = jnp.zeros((num_envs, *shape), dtype)
        return Started(team.learner.memory(num_envs), jnp.ones(num_envs, bool), before)

    def act(
        policy: Tree, memory: Started, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Started, Tree]:
        key_act, key_stick = jax.random.split(key)
        action, inner, extras = team.act(policy, memory.inner, obs, key_act, explore)
        stuck = jax.random.uniform(key_stick, action.shape[:2]) < strength
        stuck = stuck & ~memory.fresh[:, None]
        if not spec.continuous:
            last = memory.kept[..., None]
            stuck = stuck & jnp.take_along_axis(obs.action_mask, last, -1)[..., 0]
        action = pick(stuck, memory.kept, action)
        return action, Started(inner, jnp.zeros_like(memory.fresh), action), extras

    return team.acts(act, memory)


def dropped(team: Team, strength: Array, kind: str = "still") -> Learner:
    """Returns the team of which a share stands `still`, or acts at `random`.

    Which agents is drawn for each episode.
    """
    spec = team.spec

    def memory(num_envs: int) -> Started:
        out = jnp.zeros((num_envs, spec.num_agents), bool)
        return Started(team.learner.memory(num_envs), jnp.ones(num_envs, bool), out)

    def act(
        policy: Tree, memory: Started, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Started, Tree]:
        key_act, key_out = jax.random.split(key)
        other = nothing(spec, obs.action_mask)
        if kind == "random":
            other = uniform_action(jax.random.fold_in(key, 2), spec, obs.action_mask)
        action, inner, extras = team.act(policy, memory.inner, obs, key_act, explore)
        numbers = jax.random.uniform(key_out, memory.kept.shape)
        rank = (numbers[:, :, None] > numbers[:, None, :]).sum(-1)
        drawn = rank < jnp.round(strength * spec.num_agents)
        out = jnp.where(memory.fresh[:, None], drawn, memory.kept)
        action = pick(out, other, action)
        return action, Started(inner, jnp.zeros_like(memory.fresh), out), extras

    return team.acts(act, memory)


def noise(team: Team, strength: Array, deviation: Array) -> Learner:
    """Returns the team with Gaussian noise on what each agent observes.

    Args:
      team: the team.
      strength: of the noise, in deviations of each number.
      deviation: f32 [N, O], see `deviations`. A number that never changes gets no noise; the
        global state and legal actions get none either.
    """

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        key_act, key_noise = jax.random.split(key)
        local = obs.local.astype(jnp.float32)
        local = local + strength * deviation * jax.random.normal(key_noise, local.shape)
        return team.act(policy, memory, obs._replace(local=local), key_act, explore)

    return team.acts(act)


def deviations(team: Team, arrays: Tree, key: Array, episodes: int) -> Array:
    """Returns f32 [N, O], the standard deviation of each number that an agent observes.

    Args:
      team: the team.
      arrays: its policy.
      key: consumed.
      episodes: played at once, for at most `MOST_STEPS` steps.
    """
    key_start, key_roll = jax.random.split(key)
    learner = team.acts(team.act)
    steps = min(team.spec.horizon, MOST_STEPS)
    actors = start(team.env, team.params, learner, key_start, episodes)
    played = rollout(team.env, team.params, learner, arrays, actors, key_roll, steps)[1]
    found: Array = played.obs.local.astype(jnp.float32).std((0, 1))
    return found


PERTURBATIONS = ("sticky", "dropped", "erratic", "noise")
"""Names of the perturbations, in their order."""


def strengths_of(kind: str, num_agents: int) -> tuple[float, ...]:
    """Returns the strengths at which a perturbation is measured, from 0 on.

    Raises:
      ValueError: there is no such perturbation.
    """
    if kind in ("dropped", "erratic"):
        return tuple(count / num_agents for count in range(num_agents + 1))
    if kind in ("sticky", "noise"):
        return (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    raise unknown("perturbation", kind, PERTURBATIONS)


def perturbed(kind: str, team: Team, strength: Array, deviation: Array) -> Learner:
    """Returns the team under the perturbation of that name."""
    makers: dict[str, Callable[[], Learner]] = {
        "sticky": functools.partial(sticky, team, strength),
        "dropped": functools.partial(dropped, team, strength),
        "erratic": functools.partial(dropped, team, strength, "random"),
        "noise": functools.partial(noise, team, strength, deviation),
    }
    return makers[kind]()
