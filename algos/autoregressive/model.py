"""Common parts of MAT and Sable: inputs, the order of actions, and drawing agent by agent.

The probability of a joint action is the product of the agents' probabilities, each given the
actions of the agents before it:

    pi(a_1, ..., a_N | o) = prod_i pi(a_i | o, a_1, ..., a_{i-1})

Acting draws one agent after the other (`draw`). An update knows all actions, so that one pass gives
all distributions (`TeamModel.unroll`); they are the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from marlx.algos.autoregressive.config import MATConfig
from marlx.algos.ppo_networks import ActorCritic, Memories, PPOExtras, PPOParams
from marlx.learning.active import zero_inactive
from marlx.learning.distributions import Distribution, distribution
from marlx.types import Array, EnvSpec, Observation, Tree


class TeamModel(NamedTuple):
    """Encoder of a team's observations and decoder of its actions, as functions.

    A token is what the decoder reads of the agent before, f32 [..., W], see `tokens`.

    Attributes:
      init: `(key) -> params`.
      memory: `(B) -> f32 [B, 1, M]`, of encoder and decoder at an episode's start.
      critic_memory: `(B) -> f32 [B, 1, C]`, of the encoder alone.
      encode: `(params, memory [..., 1, C or M], obs) -> seen f32 [..., N, D], values f32 [..., N],
        encoder memory`, one step. The memory may be that of both.
      begin: `(memory) -> carry`, before the first agent of a step.
      decode: `(params, carry, seen [..., 1, D], token [..., 1, W], present bool [..., 1], agent) ->
        outputs f32 [..., 1, O], carry`, for the next agent, of index int32 [].
      end: `(encoder memory, carry) -> memory`, after the last agent.
      values: `(params, memory, obs, done) -> values f32 [T, B, N], memories of the encoder`, see
        `ActorCritic`.
      unroll: `(params, memory, obs, done, tokens) -> outputs, values`, over a sequence.
    """

    init: Callable[[Array], Tree]
    memory: Callable[[int], Array]
    critic_memory: Callable[[int], Array]
    encode: Callable[[Tree, Array, Observation], tuple[Array, Array, Array]]
    begin: Callable[[Array], Tree]
    decode: Callable[[Tree, Tree, Array, Array, Array, Array], tuple[Array, Tree]]
    end: Callable[[Array, Tree], Array]
    values: Callable[[Tree, Array, Observation, Array], tuple[Array, Array]]
    unroll: Callable[[Tree, Array, Observation, Array, Array], tuple[Array, Array]]


class Embedding(nn.Module):
    """A normalised layer."""

    width: int
    norm: type[nn.Module]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns f32 [..., width]."""
        result: Array = self.norm()(nn.gelu(nn.Dense(self.width)(x)))
        return result


class Head(nn.Module):
    """A hidden layer and a linear one, whose initial weights are `scale` times LeCun's."""

    width: int
    outputs: int
    norm: type[nn.Module]
    scale: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns f32 [..., outputs]."""
        x = self.norm()(nn.gelu(nn.Dense(self.width)(x)))
        scaled = nn.initializers.variance_scaling(self.scale**2, "fan_in", "truncated_normal")
        result: Array = nn.Dense(self.outputs, kernel_init=scaled)(x)
        return result


class TeamModule(nn.Module):
    """Layers of an encoder and a decoder of a team.

    Attributes:
      outputs: numbers that an agent's distribution has.
      hidden: width.
      heads: of each attention or retention.
      blocks: of the encoder, and of the decoder.
      norm: how layers are normalised.
      block_types: of a block of the encoder, and of one of the decoder.
    """

    outputs: int
    hidden: int
    heads: int
    blocks: int
    norm: ClassVar[type[nn.Module]]
    block_types: ClassVar[tuple[Callable[..., Any], Callable[..., Any]]]

    def setup(self) -> None:  # noqa: D102  flax's hook
        self.observed = Embedding(self.hidden, self.norm)
        self.acted = Embedding(self.hidden, self.norm)
        of_encoder, of_decoder = self.block_types
        self.encoder = [of_encoder(self.hidden, self.heads) for _ in range(self.blocks)]
        self.decoder = [of_decoder(self.hidden, self.heads) for _ in range(self.blocks)]
        self.value = Head(self.hidden, 1, self.norm)
        self.policy = Head(self.hidden, self.outputs, self.norm, scale=0.01)


def inputs(spec: EnvSpec, config: MATConfig, obs: Observation) -> Array:
    """Returns what the encoder reads of each agent, f32 [..., N, F]; zeros while it is inactive."""
    local = zero_inactive(obs.local.astype(jnp.float32) / spec.scale, obs.active)
    if not config.agent_id:
        return local
    ids = jnp.broadcast_to(jnp.eye(spec.num_agents), (*local.shape[:-1], spec.num_agents))
    return jnp.concatenate([local, ids], -1)


def num_inputs(spec: EnvSpec, config: MATConfig) -> int:
    """Returns F of `inputs`."""
    return spec.obs_size + config.agent_id * spec.num_agents


def present(obs: Observation) -> Array:
    """Returns bool [..., N], agents that are there."""
    return jnp.ones(obs.local.shape[:-1], bool) if obs.active is None else obs.active


def actions_read(spec: EnvSpec, actions: Distribution, raw: Array, mask: Array) -> Array:
    """Returns what the decoder reads of actions, f32 [..., N, W]; the first number is 0.

    Args:
      spec: the environment's.
      actions: the distribution that `raw` is of.
      raw: int32 [..., N], which becomes one-hot, or f32 [..., N, A].
      mask: bool [..., N, A].
    """
    taken = actions.action(raw, mask)
    numbers = taken if spec.continuous else jax.nn.one_hot(taken, spec.num_actions)
    return jnp.pad(numbers, [(0, 0)] * (numbers.ndim - 1) + [(1, 0)])


def first_token(spec: EnvSpec) -> Array:
    """Returns the token of the first agent, f32 [W]: 1 and zeros."""
    return jnp.zeros(spec.num_actions + 1).at[0].set(1.0)


def tokens(spec: EnvSpec, read: Array, there: Array) -> Array:
    """Returns the agents' tokens, f32 [..., N, W]: each the action of the last active one before.

    So what an inactive agent would have done is read by nobody, and it takes no place in the order.

    Args:
      spec: the environment's.
      read: f32 [..., N, W], from `actions_read`.
      there: bool [..., N], active agents.
    """
    start = jnp.broadcast_to(first_token(spec), (*read.shape[:-2], 1, read.shape[-1]))
    rows = jnp.concatenate([start, read], -2)
    last = jnp.where(there, jnp.arange(1, spec.num_agents + 1), 0)
    last = jax.lax.cummax(last, last.ndim - 1)
    last = jnp.pad(last[..., :-1], [(0, 0)] * (last.ndim - 1) + [(1, 0)])
    return jnp.take_along_axis(rows, last[..., None], -2)


def draw(
    spec: EnvSpec,
    actions: Distribution,
    model: TeamModel,
    params: Tree,
    memory: Array,
    obs: Observation,
    key: Array | None,
) -> tuple[Array, Array, Array]:
    """Returns `raw` actions, drawn agent by agent, outputs f32 [..., N, O], and the next memory.

    Args:
      spec: the environment's.
      actions: the distribution.
      model: networks.
      params: theirs.
      memory: f32 [..., 1, M].
      obs: of one step.
      key: consumed; None: every agent takes its most probable action.
    """
    seen, _, encoded = model.encode(params, memory, obs)
    keys = None if key is None else jax.random.split(key, spec.num_agents)

    def turn(carry: tuple[Tree, Array], at: Tree) -> tuple[tuple[Tree, Array], tuple[Array, Array]]:
        inner, token = carry
        seen, mask, there, agent, key = at
        outputs, inner = model.decode(params, inner, seen, token, there, agent)
        raw = actions.mode(outputs, mask) if key is None else actions.sample(key, outputs, mask)
        read = actions_read(spec, actions, raw, mask)
        return (inner, jnp.where(there[..., None], read, token)), (raw, outputs)

    def by_agent(x: Array, axis: int) -> Array:  # [N, ..., 1, F]
        return jnp.expand_dims(jnp.moveaxis(x, axis, 0), axis)

    there = present(obs)
    each = (
        by_agent(seen, -2),
        by_agent(obs.action_mask, -2),
        by_agent(there, -1),
        jnp.arange(spec.num_agents),
        keys,
    )
    token = jnp.broadcast_to(first_token(spec), (*there.shape[:-1], 1, spec.num_actions + 1))
    (inner, _), (raw, outputs) = jax.lax.scan(turn, (model.begin(memory), token), each)
    axis = there.ndim - 1  # of the agents, where the scan has put them first
    raw, outputs = (jnp.moveaxis(jnp.squeeze(x, axis + 1), 0, axis) for x in (raw, outputs))
    return raw, outputs, model.end(encoded, inner)


def networks(spec: EnvSpec, config: MATConfig, model: TeamModel) -> ActorCritic:
    """Returns policy and values as the PPO core takes them.

    Parameters are one tree, that of the actor. `policy` gives outputs with each agent's most
    probable action before the next agent's.
    """
    actions = distribution(spec, config.bounded)

    def policy(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array]:
        _, outputs, memory = draw(spec, actions, model, params, memory, obs, None)
        return outputs, memory

    def value(params: PPOParams, memory: Array, obs: Observation) -> Array:
        return model.encode(params.actor, memory, obs)[1]

    def values(
        params: PPOParams, memory: Array, obs: Observation, done: Array
    ) -> tuple[Array, Array]:
        return model.values(params.actor, memory, obs, done)

    def unroll(
        params: PPOParams, memory: Memories, obs: Observation, done: Array, raw: Array
    ) -> tuple[Array, Array]:
        read = actions_read(spec, actions, raw, obs.action_mask)
        read = tokens(spec, read, present(obs))
        return model.unroll(params.actor, memory.actor, obs, done, read)

    return ActorCritic(
        actions,
        lambda key: PPOParams(model.init(key), ()),
        model.memory,
        model.critic_memory,
        policy,
        value,
        values,
        unroll,
    )


def act(
    spec: EnvSpec,
    actions: Distribution,
    model: TeamModel,
    policy: Tree,
    memory: Array,
    obs: Observation,
    key: Array,
    explore: bool,
) -> tuple[Array, Array, PPOExtras]:
    """Returns actions, the next memory and extras; see `marlx.learner.Act`."""
    raw, outputs, memory = draw(spec, actions, model, policy, memory, obs, key if explore else None)
    mask = obs.action_mask
    return actions.action(raw, mask), memory, PPOExtras(raw, actions.log_prob(outputs, mask, raw))
