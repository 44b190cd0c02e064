"""The critic of COMA, and the advantages that follow from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.counterfactual_config import COMAConfig
from marlx.algos.last_action import encoded
from marlx.learning.active import zero_inactive
from marlx.nets.agents import AgentNetwork, sharing
from marlx.types import Array, EnvSpec, Observation, Tree


def counterfactual_advantage(q: Array, probability: Array, action: Array) -> Array:
    """Returns `Q(s, u) - sum_a pi(a | o) Q(s, (u without the agent's, a))`, f32 [..., N].

    Args:
      q: f32 [..., N, A], of each action of an agent, the others' as they were taken.
      probability: f32 [..., N, A], the agent's policy; 0 where an action is illegal.
      action: int32 [..., N], taken.

    Source: Foerster et al. 2018, eq. 4.
    """
    taken = jnp.take_along_axis(q, action[..., None], -1)[..., 0]
    return taken - expected_value(q, probability)


def expected_value(q: Array, probability: Array) -> Array:
    """Returns `sum_a pi(a | o) Q(s, (u without the agent's, a))`, f32 [..., N].

    Arguments are those of `counterfactual_advantage`. It is the baseline, and in a next state the
    value that a target is made of.
    """
    return jnp.where(probability > 0, probability * q, 0.0).sum(-1)


def probabilities(outputs: Array, mask: Array) -> Array:
    """Returns the policy f32 [..., N, A] of an actor's outputs; 0 for illegal actions."""
    return jax.nn.softmax(jnp.where(mask, outputs, -jnp.inf), -1)


def critic_inputs(spec: EnvSpec, obs: Observation, action: Array, agent_id: bool) -> Array:
    """Returns f32 [..., N, F]: state, own observation and what the others do, for each agent.

    An agent's own action is not among them: the critic has an output for each. Agents that are not
    there do nothing and see nothing.

    Args:
      spec: of the environment.
      obs: [...].
      action: int32 [..., N].
      agent_id: whether the agent's one-hot index is appended.
    """
    n = spec.num_agents
    state = obs.global_state.astype(jnp.float32)[..., None, :] / spec.scale
    local = zero_inactive(obs.local.astype(jnp.float32) / spec.scale, obs.active)
    shown = encoded(spec, action, obs.active)[..., None, :, :]
    others = shown * (1.0 - jnp.eye(n))[..., None]  # [..., N, N, A]
    others = others.reshape(*others.shape[:-2], n * spec.num_actions)
    ids = jnp.broadcast_to(jnp.eye(n), (*local.shape[:-1], n))
    state = jnp.broadcast_to(state, (*local.shape[:-1], spec.state_size))
    return jnp.concatenate([state, local, others, *([ids] if agent_id else [])], -1)


class Critic(NamedTuple):
    """The network of the critic.

    Attributes:
      init: `(key) -> params`.
      values: `(params, inputs f32 [..., N, F]) -> f32 [..., N, A]`, of each agent's actions.
    """

    init: Callable[[Array], Tree]
    values: Callable[[Tree, Array], Array]


def critic_network(spec: EnvSpec, config: COMAConfig) -> Critic:
    """Returns a critic of `critic_inputs`, shared among agents as the actor is."""
    c, n = config, spec.num_agents
    net = AgentNetwork(spec.num_actions, c.critic_hidden, False, c.layer_norm)
    shared = sharing(c.sharing, spec)
    width = spec.state_size + spec.obs_size + n * spec.num_actions + c.agent_id * n

    def init(key: Array) -> Tree:
        return shared.init(lambda k: net.init(k, jnp.zeros((1, 0)), jnp.zeros((1, width))), key)

    def values(params: Tree, inputs: Array) -> Array:
        none = jnp.zeros((*inputs.shape[:-1], 0))
        q: Array = shared.apply(net.apply, params, none, inputs)[0]
        return q

    return Critic(init, values)
