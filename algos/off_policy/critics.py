"""Critics: values of joint actions, and what an actor's gradient passes through.

An independent critic reads what its agent sees and does. A central one reads the state, or all
observations, and what all agents do. A factored one mixes the values of independent critics.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos.off_policy.config import CriticInput, OffPolicyConfig, Others
from marlx.learning.active import zero_inactive
from marlx.nets.agents import AgentNetwork, Sharing, sharing
from marlx.nets.mixers import Mixer, Utilities
from marlx.types import Array, EnvSpec, Observation, Tree

ALL_ROWS = Sharing(np.zeros((1, 1), np.int32), np.zeros(1, np.int32))
"""One parameter set for any number of rows."""


class Critic(NamedTuple):
    """A critic as functions of its parameters; actions f32 [..., N, A] are those critics read.

    Attributes:
      init: `(key) -> params`.
      value: `(params, obs, action) -> f32 [..., V]`, V = N where each agent has a value, else 1.
      improved: `(params, obs, taken, drawn) -> f32 [..., N or 1]`, what actors maximise. Of
        `taken`, the joint action of the replay, and `drawn`, that of the present policies, the
        latter passes gradients.
      per_agent: whether each agent has a value of its own, which ends where the agent leaves.
      uses_state: whether the global state is read; if not, replays need not store it.
    """

    init: Callable[[Array], Tree]
    value: Callable[[Tree, Observation, Array], Array]
    improved: Callable[[Tree, Observation, Array, Array], Array]
    per_agent: bool
    uses_state: bool


def own_replaced(joint: Array, own: Array) -> Array:
    """Returns f32 [..., N, N, A]: row i is `joint` with agent i's action from `own`.

    Args:
      joint: f32 [..., N, A].
      own: f32 [..., N, A].

    Source: Lowe et al. 2017, eq. 6: an actor's gradient passes through its own action alone.
    """
    mine = jnp.eye(joint.shape[-2], dtype=bool)[..., None]
    return jnp.where(mine, own[..., None, :, :], joint[..., None, :, :])


def observed(spec: EnvSpec, obs: Observation) -> Array:
    """Returns f32 [..., N, O], scaled observations; 0 of agents that are not there."""
    return zero_inactive(obs.local.astype(jnp.float32) / spec.scale, obs.active)


class Rows(NamedTuple):
    """Two dense layers and a head for rows f32 [..., M, F]."""

    init: Callable[[Array], Tree]
    outputs: Callable[[Tree, Array], Array]  # f32 [..., M, O]


def _rows(config: OffPolicyConfig, shared: Sharing, width: int, outputs: int) -> Rows:
    net = AgentNetwork(outputs, config.critic_hidden, False, config.layer_norm)

    def init(key: Array) -> Tree:
        return shared.init(lambda k: net.init(k, jnp.zeros((1, 0)), jnp.zeros((1, width))), key)

    def apply(params: Tree, inputs: Array) -> Array:
        none = jnp.zeros((*inputs.shape[:-1], 0))
        found: Array = shared.apply(net.apply, params, none, inputs)[0]
        return found

    return Rows(init, apply)


def independent(spec: EnvSpec, config: OffPolicyConfig) -> Critic:
    """Returns a critic of each agent's own observation and action, shared as the actors are."""
    n = spec.num_agents
    width = spec.obs_size + config.agent_id * n + spec.num_actions
    net = _rows(config, sharing(config.sharing, spec), width, 1)

    def value(params: Tree, obs: Observation, action: Array) -> Array:
        local = observed(spec, obs)
        ids = jnp.broadcast_to(jnp.eye(n), (*local.shape[:-1], n))
        parts = [local, *([ids] if config.agent_id else []), action]
        return net.outputs(params, jnp.concatenate(parts, -1))[..., 0]

    def improved(params: Tree, obs: Observation, taken: Array, drawn: Array) -> Array:
        del taken
        return value(params, obs, drawn)

    return Critic(net.init, value, improved, per_agent=True, uses_state=False)


def central(
    spec: EnvSpec, config: OffPolicyConfig, reads: CriticInput, others: Others = "policy"
) -> Critic:
    """Returns a critic of the joint action, with an output for each agent where rewards differ.

    Args:
      spec: of the environment.
      config: settings.
      reads: what it reads besides.
      others: the other agents' actions in `improved`.

    Source: Lowe et al. 2017, section 4.1. Differs from: it in one network with N outputs where
    agents' rewards differ, and one output where they learn from the team's.
    """
    n, own = spec.num_agents, config.reward == "own"
    seen = spec.state_size if reads == "state" else n * spec.obs_size
    net = _rows(config, ALL_ROWS, seen + n * spec.num_actions, n if own else 1)

    def values(params: Tree, obs: Observation, joint: Array) -> Array:
        """Returns f32 [..., M, O] of joint actions f32 [..., M, N, A]."""
        x = observed(spec, obs).reshape(*obs.local.shape[:-2], -1)
        if reads == "state":
            x = obs.global_state.astype(jnp.float32) / spec.scale
        flat = joint.reshape(*joint.shape[:-2], -1)
        x = jnp.broadcast_to(x[..., None, :], (*flat.shape[:-1], seen))
        return net.outputs(params, jnp.concatenate([x, flat], -1))

    def value(params: Tree, obs: Observation, action: Array) -> Array:
        return values(params, obs, action[..., None, :, :])[..., 0, :]

    def improved(params: Tree, obs: Observation, taken: Array, drawn: Array) -> Array:
        base = taken if others == "taken" else jax.lax.stop_gradient(drawn)
        found = values(params, obs, own_replaced(base, drawn))
        return (found * jnp.eye(n)).sum(-1) if own else found[..., 0]

    return Critic(net.init, value, improved, per_agent=own, uses_state=reads == "state")


def factored(spec: EnvSpec, config: OffPolicyConfig, mixer: Mixer) -> Critic:
    """Returns the team's value that `mixer` makes of independent critics.

    Actors maximise it with all actions from their present policies at once.

    Args:
      spec: of the environment.
      config: settings.
      mixer: of a team value; it gets 0 from agents that are not there.

    Source: Peng et al. 2021 (FACMAC), eqs. 5 and 7.
    """
    agents = independent(spec, config)

    def init(key: Array) -> Tree:
        key_agents, key_mixer = jax.random.split(key)
        return agents.init(key_agents), mixer.init(key_mixer)

    def mix(params: Tree, q: Array, state: Array) -> Array:
        """Returns f32 [] of one state."""
        one = Utilities(q[:, None], jnp.zeros((len(q), 0)), jnp.ones((len(q), 1), bool), state)
        return mixer.value(params, one, jnp.zeros(len(q), jnp.int32))

    def value(params: Tree, obs: Observation, action: Array) -> Array:
        of_agents, of_mixer = params
        q = agents.value(of_agents, obs, action)
        q = q if obs.active is None else jnp.where(obs.active, q, 0.0)
        state = obs.global_state.astype(jnp.float32) / spec.scale
        rows = math.prod(q.shape[:-1])  # no -1 below: a state that is not read has width 0
        flat = q.reshape(rows, q.shape[-1]), state.reshape(rows, state.shape[-1])
        return jax.vmap(mix, (None, 0, 0))(of_mixer, *flat).reshape(*q.shape[:-1], 1)

    def improved(params: Tree, obs: Observation, taken: Array, drawn: Array) -> Array:
        del taken
        return value(params, obs, drawn)

    return Critic(init, value, improved, per_agent=False, uses_state=mixer.uses_state)


class Critics(NamedTuple):
    """Several critics of one kind, whose smallest value counts; parameters are [K, ...].

    Attributes:
      init: `(key) -> params`.
      values: `(params, obs, action) -> f32 [K, ..., V]`, of each.
      value: the smallest of them, f32 [..., V].
      improved: the smallest of `Critic.improved`.
      per_agent: see `Critic`.
      uses_state: likewise.
    """

    init: Callable[[Array], Tree]
    values: Callable[[Tree, Observation, Array], Array]
    value: Callable[[Tree, Observation, Array], Array]
    improved: Callable[[Tree, Observation, Array, Array], Array]
    per_agent: bool
    uses_state: bool


def several(critic: Critic, count: int) -> Critics:
    """Returns `count` critics, initialised each by itself.

    Source: Fujimoto et al. 2018 (TD3), eq. 10, for two. Differs from: TD3 in the actors' loss,
    which takes the first one's value there; here, as in soft actor-critic, the smallest.
    """
    values = jax.vmap(critic.value, (0, None, None))

    def value(params: Tree, obs: Observation, action: Array) -> Array:
        return values(params, obs, action).min(0)

    def improved(params: Tree, obs: Observation, taken: Array, drawn: Array) -> Array:
        return jax.vmap(critic.improved, (0, None, None, None))(params, obs, taken, drawn).min(0)

    def init(key: Array) -> Tree:
        return jax.vmap(critic.init)(jax.random.split(key, count))

    return Critics(init, values, value, improved, critic.per_agent, critic.uses_state)
