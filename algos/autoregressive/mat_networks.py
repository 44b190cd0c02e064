"""Networks of MAT: attention between agents, nothing remembered from step to step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from marlx.algos.autoregressive.config import MATConfig
from marlx.algos.autoregressive.model import (
    TeamModel,
    TeamModule,
    inputs,
    num_inputs,
    present,
)
from marlx.learning.distributions import distribution
from marlx.nets.attention import DecoderBlock, EncoderBlock, before_and_own
from marlx.types import Array, EnvSpec, Observation, Tree


class Transformer(TeamModule):
    """Encoder and decoder of a team.

    Source: Wen et al. 2022, section 4.2 and figure 2.
    """

    norm = nn.LayerNorm
    block_types = EncoderBlock, DecoderBlock

    def encode(self, x: Array, there: Array) -> tuple[Array, Array]:
        """Returns representations f32 [..., N, D] and values f32 [..., N].

        Args:
          x: f32 [..., N, F].
          there: bool [..., N], agents that others read.
        """
        x = self.observed(x)
        mask = jnp.broadcast_to(there[..., None, :], (*there.shape, there.shape[-1]))
        for block in self.encoder:
            x = block(x, mask)
        return x, self.value(x)[..., 0]

    def decode(self, tokens: Array, seen: Array, there: Array) -> Array:
        """Returns outputs f32 [..., N, O] of all agents, from all tokens."""
        x, mask = self.acted(tokens), before_and_own(there)
        for block in self.decoder:
            x = block(x, seen, mask)
        outputs: Array = self.policy(x)
        return outputs

    def one(
        self, kept: tuple[Any, ...], token: Array, seen: Array, mask: Array, agent: Array
    ) -> tuple[Array, tuple[Any, ...]]:
        """Returns outputs f32 [..., 1, O] of the next agent, and keys and values of each block."""
        x, after = self.acted(token), []
        for block, before in zip(self.decoder, kept, strict=True):
            x, new = block.one(before, x, seen, mask, agent)
            after.append(new)
        return self.policy(x), tuple(after)

    def __call__(self, x: Array, tokens: Array, there: Array) -> tuple[Array, Array]:
        """Returns outputs and values."""
        seen, values = self.encode(x, there)
        return self.decode(tokens, seen, there), values


def transformer(spec: EnvSpec, config: MATConfig) -> TeamModel:
    """Returns the networks of MAT."""
    outputs = distribution(spec, config.bounded).num_outputs(spec.num_actions)
    net = Transformer(outputs, config.hidden, config.heads, config.blocks)
    agents, read = spec.num_agents, functools.partial(inputs, spec, config)

    apply: Callable[..., Any] = net.apply

    def init(key: Array) -> Tree:
        x = jnp.zeros((agents, num_inputs(spec, config)))
        token = jnp.zeros((agents, spec.num_actions + 1))
        return net.init(key, x, token, jnp.ones(agents, bool))

    def memory(num_envs: int) -> Array:
        return jnp.zeros((num_envs, 1, 0))

    def encode(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array, Array]:
        seen, values = apply(params, read(obs), present(obs), method=Transformer.encode)
        return seen, values, memory

    def begin(memory: Array) -> Tree:
        rows = jnp.zeros((*memory.shape[:-2], agents, 2 * config.hidden))
        there = jnp.zeros((*memory.shape[:-2], agents), bool)
        return there, ((rows, rows),) * config.blocks

    def decode(
        params: Tree, carry: Tree, seen: Array, token: Array, there: Array, agent: Array
    ) -> tuple[Array, Tree]:
        so_far, kept = carry
        so_far = jnp.where(jnp.arange(agents) == agent, there, so_far)
        mask = so_far[..., None, :]
        outputs, kept = apply(params, kept, token, seen, mask, agent, method=Transformer.one)
        return outputs, (so_far, kept)

    def values(params: Tree, memory: Array, obs: Observation, done: Array) -> tuple[Array, Array]:
        return encode(params, memory, obs)[1], jnp.zeros((*done.shape, 1, 0))

    def unroll(
        params: Tree, memory: Array, obs: Observation, done: Array, tokens: Array
    ) -> tuple[Array, Array]:
        del memory, done
        return apply(params, read(obs), tokens, present(obs))  # type: ignore[no-any-return]

    return TeamModel(
        init, memory, memory, encode, begin, decode, lambda memory, carry: memory, values, unroll
    )
