"""Networks of the Q-learner: the utilities of every agent's actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.q_config import QConfig
from marlx.learning.active import choosable, zero_inactive
from marlx.nets.makers import agents_network
from marlx.nets.mixers import Utilities
from marlx.types import Array, EnvSpec, Observation, Tree


class QNetwork(NamedTuple):
    """The agents' network as functions of its parameters, stacked by parameter set.

    Attributes:
      init: `(key) -> params [G, ...]`.
      memory: `(B) -> f32 [B, N, M]`, the memory at the start of an episode.
      step: `(params, memory [..., N, M], obs [..., N, ...]) -> Utilities, memory`, one step.
      unroll: `(params, memory [b, N, M], obs [T, b, N, ...], done [T, b]) -> Utilities, memories`,
        a window that may span episodes. `memories` [T, b, N, M] are those *after* each step.
    """

    init: Callable[[Array], Tree]
    memory: Callable[[int], Array]
    step: Callable[[Tree, Array, Observation], tuple[Utilities, Array]]
    unroll: Callable[[Tree, Array, Observation, Array], tuple[Utilities, Array]]


def unroll_after(
    net: QNetwork, params: Tree, start: Array, obs: Observation, done: Array, burn_in: int
) -> tuple[Utilities, Array]:
    """Returns `net.unroll` of windows [T, b, ...] whose first `burn_in` steps pass no gradient.

    These steps only bring the memory up to date (Kapturowski et al. 2019, section 3).

    Args:
      net: of the agents' utilities.
      params: its parameters.
      start: f32 [b, N, M], memories at the first step.
      obs: [T, b, N, ...].
      done: bool [T, b].
      burn_in: steps, less than T.
    """
    if not burn_in:
        return net.unroll(params, start, obs, done)
    first, rest = (
        jax.tree.map(lambda x, part=part: x[part], (obs, done))
        for part in (slice(None, burn_in), slice(burn_in, None))
    )
    before = jax.lax.stop_gradient(net.unroll(params, start, *first))
    ended = done[burn_in - 1].reshape(-1, *[1] * (start.ndim - 1))
    memory = jnp.where(ended, jnp.zeros_like(start), before[1][-1])
    after = net.unroll(params, memory, *rest)
    both: tuple[Utilities, Array] = jax.tree.map(
        lambda a, b: jnp.concatenate([a, b]), before, after
    )
    return both


def q_network(spec: EnvSpec, config: QConfig) -> QNetwork:
    """Returns the network that gives each agent its utilities, shared as `config.sharing` says.

    Utilities and features of an inactive agent are 0, and it has one action: a mixer gets 0 from it
    and passes no gradient to it.

    Raises:
      ValueError: actions are continuous, or the network reads what is not declared.
    """
    if spec.continuous:
        raise ValueError(
            f"{spec.id} has continuous actions; Q-learning chooses among discrete ones"
        )
    team = agents_network(spec, config, spec.num_actions)

    def utilities(q: Array, features: Array, obs: Observation) -> Utilities:
        state = obs.global_state.astype(jnp.float32) / spec.scale
        q, features = zero_inactive(q, obs.active), zero_inactive(features, obs.active)
        return Utilities(q, features, choosable(obs), state)

    def step(params: Tree, memory: Array, obs: Observation) -> tuple[Utilities, Array]:
        q, features, memory = team.step(params, memory, obs)
        return utilities(q, features, obs), memory

    def unroll(
        params: Tree, memory: Array, obs: Observation, done: Array
    ) -> tuple[Utilities, Array]:
        q, features, memories = team.unroll(params, memory, obs, done)
        return utilities(q, features, obs), memories

    return QNetwork(team.init, team.memory, step, unroll)
