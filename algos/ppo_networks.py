"""Networks of PPO: actor and critic, apart or on a shared trunk."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.ppo_config import PPOConfig
from marlx.learning.distributions import Distribution, distribution
from marlx.nets.agents import TeamNetwork
from marlx.nets.contract import has_memory
from marlx.nets.makers import agents_network, state_network
from marlx.types import Array, EnvSpec, Observation, Tree


class PPOParams(NamedTuple):
    """Trained parameters."""

    actor: Tree  # [G, ...], stacked by parameter set
    critic: Tree  # () on a shared trunk: values are then the actor's last output
    extra: Tree = ()  # of an auxiliary loss (`marlx.algos.ppo_auxiliary`)


class PPOExtras(NamedTuple):
    """Extras of a transition."""

    raw: Array  # sampled action, see `marlx.learning.distributions`: int32 [N] or f32 [N, A]
    log_prob: Array  # f32 [N]


class Memories(NamedTuple):
    """Recurrent memories before a step, f32 [..., N or 1, M] each."""

    actor: Array
    critic: Array


class ActorCritic(NamedTuple):
    """Policy and values of every agent as functions of parameters and observations.

    Attributes:
      distribution: of actions; its parameters are the actor's outputs.
      init: `(key) -> PPOParams`.
      actor_memory: `(B) -> f32 [B, N, M]`, at an episode's start.
      critic_memory: `(B) -> f32 [B, N or 1, M]`, likewise.
      policy: `(PPOParams.actor, memory, obs) -> outputs f32 [B, N, O], memory`, one step.
      value: `(PPOParams, memory, obs) -> f32 [..., N]`, one step.
      values: `(PPOParams, memory, obs, done) -> f32 [T, B, N], memories`, a sequence; memories are
        those after each step and before any reset.
      unroll: `(PPOParams, Memories, obs, done, raw) -> outputs f32 [T, B, N, O], values f32
        [T, B, N]`; `raw` [T, B, N, ...] are the actions taken, which the outputs may depend on.
      team_value: whether all agents have the same value, that of the team.
      values_everywhere: whether values are fitted on steps of `Transition.weight` 0 too.
    """

    distribution: Distribution
    init: Callable[[Array], PPOParams]
    actor_memory: Callable[[int], Array]
    critic_memory: Callable[[int], Array]
    policy: Callable[[Tree, Array, Observation], tuple[Array, Array]]
    value: Callable[[PPOParams, Array, Observation], Array]
    values: Callable[[PPOParams, Array, Observation, Array], tuple[Array, Array]]
    unroll: Callable[[PPOParams, Memories, Observation, Array, Array], tuple[Array, Array]]
    team_value: bool = False
    values_everywhere: bool = False

    @property
    def remembers(self) -> bool:
        """Whether actor or critic has a memory, so that it learns from windows of steps."""
        memories = jax.eval_shape(lambda: (self.actor_memory(1), self.critic_memory(1)))
        return has_memory(memories)


def actor_critic(spec: EnvSpec, config: PPOConfig, *, central: bool) -> ActorCritic:
    """Returns the networks that `config.trunk` names.

    Args:
      spec: the environment's.
      config: settings.
      central: whether the critic reads the global state.

    Raises:
      ValueError: a shared trunk for a critic of the global state.
    """
    if config.trunk == "separate":
        return separate_networks(spec, config, central)
    if central:
        raise ValueError(
            "trunk is 'shared'; it must be 'separate' where the critic reads the global state"
        )
    return shared_networks(spec, config)


def separate_networks(spec: EnvSpec, config: PPOConfig, central: bool) -> ActorCritic:
    """Returns an actor and a critic of its own.

    A central critic is computed once per state, not once per agent. It has one output per agent,
    or a single one where all agents receive the team's reward.
    """
    actions = distribution(spec, config.bounded)
    actor = _actor(spec, config, actions.num_outputs(spec.num_actions))
    outputs = (1 if config.reward == "team" else spec.num_agents) if central else 1
    critic = (state_network if central else agents_network)(spec, config, outputs)

    def by_agent(outputs: Array) -> Array:
        values = outputs[..., 0, :] if central else outputs[..., 0]
        return jnp.broadcast_to(values, (*values.shape[:-1], spec.num_agents))

    def init(key: Array) -> PPOParams:
        key_actor, key_critic = jax.random.split(key)
        return PPOParams(actor.init(key_actor), critic.init(key_critic))

    def policy(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array]:
        outputs, _, memory = actor.step(params, memory, obs)
        return outputs, memory

    def value(params: PPOParams, memory: Array, obs: Observation) -> Array:
        return by_agent(critic.step(params.critic, memory, obs)[0])

    def values(
        params: PPOParams, memory: Array, obs: Observation, done: Array
    ) -> tuple[Array, Array]:
        outputs, _, memories = critic.unroll(params.critic, memory, obs, done)
        return by_agent(outputs), memories

    def unroll(
        params: PPOParams, memory: Memories, obs: Observation, done: Array, raw: Array
    ) -> tuple[Array, Array]:
        del raw
        outputs, _, _ = actor.unroll(params.actor, memory.actor, obs, done)
        return outputs, values(params, memory.critic, obs, done)[0]

    return ActorCritic(
        actions, init, actor.memory, critic.memory, policy, value, values, unroll,
        team_value=central and config.reward == "team",
    )  # fmt: skip


def shared_networks(spec: EnvSpec, config: PPOConfig) -> ActorCritic:
    """Returns one network whose last output is the value, the others those of the policy."""
    actions = distribution(spec, config.bounded)
    net = _actor(spec, config, actions.num_outputs(spec.num_actions) + 1)

    def init(key: Array) -> PPOParams:
        key_actor, _ = jax.random.split(key)
        return PPOParams(net.init(key_actor), ())

    def policy(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array]:
        outputs, _, memory = net.step(params, memory, obs)
        return outputs[..., :-1], memory

    def value(params: PPOParams, memory: Array, obs: Observation) -> Array:
        return net.step(params.actor, memory, obs)[0][..., -1]

    def values(
        params: PPOParams, memory: Array, obs: Observation, done: Array
    ) -> tuple[Array, Array]:
        outputs, _, memories = net.unroll(params.actor, memory, obs, done)
        return outputs[..., -1], memories

    def unroll(
        params: PPOParams, memory: Memories, obs: Observation, done: Array, raw: Array
    ) -> tuple[Array, Array]:
        del raw
        outputs, _, _ = net.unroll(params.actor, memory.actor, obs, done)
        return outputs[..., :-1], outputs[..., -1]

    return ActorCritic(actions, init, net.memory, net.memory, policy, value, values, unroll)


def act(
    nets: ActorCritic, policy: Tree, memory: Array, obs: Observation, key: Array, explore: bool
) -> tuple[Array, Array, PPOExtras]:
    """Returns actions, the next memory and extras; see `marlx.learner.Act`."""
    outputs, memory = nets.policy(policy, memory, obs)
    actions, mask = nets.distribution, obs.action_mask
    raw = actions.sample(key, outputs, mask) if explore else actions.mode(outputs, mask)
    return actions.action(raw, mask), memory, PPOExtras(raw, actions.log_prob(outputs, mask, raw))


def extras(spec: EnvSpec, nets: ActorCritic, num_envs: int) -> PPOExtras:
    """Returns extras of the shapes that `act` gives."""
    mask = jnp.ones((num_envs, spec.num_agents, spec.num_actions), bool)
    outputs = jnp.zeros((*mask.shape[:-1], nets.distribution.num_outputs(spec.num_actions)))
    raw = nets.distribution.mode(outputs, mask)
    return PPOExtras(raw, nets.distribution.log_prob(outputs, mask, raw))


def _actor(spec: EnvSpec, config: PPOConfig, outputs: int) -> TeamNetwork:
    return agents_network(spec, config, outputs, head_scale=0.01)
