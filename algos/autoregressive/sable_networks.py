"""Networks of Sable: retention over agents and over the steps of an episode."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from marlx.algos.autoregressive.config import SableConfig
from marlx.algos.autoregressive.model import (
    TeamModel,
    TeamModule,
    inputs,
    num_inputs,
    present,
)
from marlx.learning.distributions import distribution
from marlx.nets import retention
from marlx.nets.retention import Retain, RetentionDecoderBlock, RetentionEncoderBlock
from marlx.nets.set_attention import positions
from marlx.types import Array, EnvSpec, Observation, Tree

PLACES = 1_024
"""Steps of an episode that are told apart; later ones count as the last."""


class Retainer(TeamModule):
    """Encoder and decoder of a team; how blocks retain is an argument.

    Source: Mahjoub et al. 2024, section 4.
    """

    norm = nn.RMSNorm
    block_types = RetentionEncoderBlock, RetentionDecoderBlock

    def encode(
        self, x: Array, there: Array, count: Array, retain: tuple[Retain, ...]
    ) -> tuple[Array, Array, tuple[Array, ...]]:
        """Returns representations f32 [..., N, D], values f32 [..., N] and matrices of each block.

        Args:
          x: f32 [..., N, F].
          there: bool [..., N], agents that others read.
          count: f32 [...], steps since the episode began.
          retain: of each block.
        """
        x, after = self.observed(x), []
        for block, how in zip(self.encoder, retain, strict=True):
            x, matrix = block(x, self._place(count), there, how)
            after.append(matrix)
        return x, self.value(x)[..., 0], tuple(after)

    def decode(
        self,
        tokens: Array,
        seen: Array,
        there: Array,
        count: Array,
        retain: tuple[tuple[Retain, Retain], ...],
    ) -> tuple[Array, tuple[Array, ...]]:
        """Returns outputs f32 [..., N, O], and matrices of each block, two of each."""
        x = self.acted(tokens)
        after: list[Array] = []
        for block, how in zip(self.decoder, retain, strict=True):
            x, matrices = block(x, seen, self._place(count), there, how)
            after.extend(matrices)
        return self.policy(x), tuple(after)

    def _place(self, count: Array) -> Array:
        table = jnp.asarray(positions(PLACES, self.hidden))
        return table[jnp.minimum(count, PLACES - 1).astype(jnp.int32)][..., None, :]

    def __call__(self, x: Array, tokens: Array) -> Array:
        """Returns outputs of one team that remembers nothing; for `init`."""
        size = self.hidden // self.heads
        zero = jnp.zeros((self.heads, size, size))
        there, retain = jnp.ones(x.shape[:-1], bool), retention.in_turn(zero)
        count = jnp.zeros(x.shape[:-2])
        seen, _, _ = self.encode(x, there, count, (retain,) * self.blocks)
        return self.decode(tokens, seen, there, count, ((retain, retain),) * self.blocks)[0]


def counts(start: Array, done: Array) -> Array:
    """Returns the number of steps since the episode began at each step, f32 [T, b].

    Args:
      start: f32 [b], at the first step.
      done: bool [T, b], the episode ended at that step.
    """

    def step(count: Array, done: Array) -> tuple[Array, Array]:
        return jnp.where(done, 0.0, count + 1.0), count

    return jax.lax.scan(step, start, done)[1]


class Memory:
    """Layout of the acting memory f32 [..., 1, M]: a step count, and matrices of all blocks.

    Attributes:
      encoder: numbers of the encoder's part, which is the first.
      total: numbers of all; 0 where nothing is remembered.
    """

    def __init__(self, config: SableConfig) -> None:
        size = config.hidden // config.heads
        self.shape, self.blocks = (config.heads, size, size), config.blocks
        one = config.heads * size * size
        self.encoder = (1 + config.blocks * one) * config.recurrent
        self.total = self.encoder + 2 * config.blocks * one * config.recurrent

    def zeros(self, width: int, num_envs: int) -> Array:
        """Returns the memory at an episode's start, f32 [B, 1, width]."""
        return jnp.zeros((num_envs, 1, width))

    def read_encoder(self, memory: Array) -> tuple[Array, tuple[Array, ...]]:
        """Returns the step count f32 [...] and the encoder's matrices f32 [..., H, K, V]."""
        if not self.total:
            return jnp.zeros(memory.shape[:-2]), self._matrices(memory, self.blocks)
        part = memory[..., : self.encoder]
        return part[..., 0, 0], self._matrices(part[..., 1:], self.blocks)

    def read_decoder(self, memory: Array) -> tuple[Array, ...]:
        """Returns the decoder's matrices f32 [..., H, K, V], two of each block."""
        return self._matrices(memory[..., self.encoder :], 2 * self.blocks)

    def written(self, count: Array | None, matrices: tuple[Array, ...], batch: Any) -> Array:
        """Returns a part of the memory f32 [*batch, 1, ...]: a step count, if any, and matrices."""
        if not self.total:
            return jnp.zeros((*batch, 1, 0))
        rows = [] if count is None else [count[..., None, None]]
        return jnp.concatenate([*rows, *(m.reshape(*batch, 1, -1) for m in matrices)], -1)

    def joined(self, encoder: Array, matrices: tuple[Array, ...]) -> Array:
        """Returns the memory of an encoder's part and the decoder's matrices."""
        return jnp.concatenate([encoder, self.written(None, matrices, encoder.shape[:-2])], -1)

    def ends(self, done: Array) -> Array:
        """Returns bool of the shape of `done`, steps after which all is forgotten."""
        return done if self.total else jnp.ones_like(done)

    def _matrices(self, part: Array, number: int) -> tuple[Array, ...]:
        batch = part.shape[:-2]
        if not self.total:
            return (jnp.zeros((*batch, *self.shape)),) * number
        cut = jnp.split(part[..., 0, :], number, -1)
        return tuple(x.reshape(*batch, *self.shape) for x in cut)


def retainer(spec: EnvSpec, config: SableConfig) -> TeamModel:
    """Returns the networks of Sable."""
    outputs = distribution(spec, config.bounded).num_outputs(spec.num_actions)
    net = Retainer(outputs, config.hidden, config.heads, config.blocks)
    layout, read = Memory(config), functools.partial(inputs, spec, config)
    apply: Callable[..., Any] = net.apply
    kept = retention.decays(config.heads, config.decay)

    def init(key: Array) -> Tree:
        x = jnp.zeros((spec.num_agents, num_inputs(spec, config)))
        return net.init(key, x, jnp.zeros((spec.num_agents, spec.num_actions + 1)))

    def encode(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array, Array]:
        count, matrices = layout.read_encoder(memory)
        how = tuple(retention.together(m, kept) for m in matrices)
        there = present(obs)
        seen, values, after = apply(params, read(obs), there, count, how, method=Retainer.encode)
        return seen, values, layout.written(count + 1.0, after, there.shape[:-1])

    def begin(memory: Array) -> Tree:
        count, _ = layout.read_encoder(memory)
        return count, tuple(kept[:, None, None] * m for m in layout.read_decoder(memory))

    def decode(
        params: Tree, carry: Tree, seen: Array, token: Array, there: Array, agent: Array
    ) -> tuple[Array, Tree]:
        del agent
        count, matrices = carry
        how = _pairs([retention.in_turn(m) for m in matrices])
        outputs, after = apply(params, token, seen, there, count, how, method=Retainer.decode)
        return outputs, (count, after)

    def end(encoder: Array, carry: Tree) -> Array:
        return layout.joined(encoder, carry[1])

    values, unroll = _over_rollouts(apply, layout, read, kept)
    return TeamModel(
        init,
        functools.partial(layout.zeros, layout.total),
        functools.partial(layout.zeros, layout.encoder),
        encode, begin, decode, end, values, unroll,
    )  # fmt: skip


def _over_rollouts(
    apply: Callable[..., Any], layout: Memory, read: Callable[[Observation], Array], kept: Array
) -> tuple[Callable[..., tuple[Array, Array]], Callable[..., tuple[Array, Array]]]:
    """Returns `TeamModel.values` and `TeamModel.unroll`.

    Args:
      apply: of the module `Retainer`.
      layout: of the memory.
      read: observations to the encoder's inputs.
      kept: f32 [H], what is left of each head's past after a step.
    """

    def encoded(
        params: Tree, memory: Array, obs: Observation, done: Array, retain: Callable[..., Retain]
    ) -> tuple[Array, Array, tuple[Array, ...], Array]:
        """Returns representations, values, matrices of the encoder, and step counts [T, b]."""
        count, matrices = layout.read_encoder(memory)
        how = tuple(retain(m, layout.ends(done), kept) for m in matrices)
        count = counts(count, layout.ends(done))
        found = apply(params, read(obs), present(obs), count, how, method=Retainer.encode)
        return *found, count

    def values(params: Tree, memory: Array, obs: Observation, done: Array) -> tuple[Array, Array]:
        _, found, after, count = encoded(params, memory, obs, done, retention.together_over_steps)
        return found, layout.written(count + 1.0, after, done.shape)

    def unroll(
        params: Tree, memory: Array, obs: Observation, done: Array, tokens: Array
    ) -> tuple[Array, Array]:
        together = functools.partial(retention.over_steps, turns=False)
        seen, found, _, count = encoded(params, memory, obs, done, together)
        ends = layout.ends(done)
        how = [retention.over_steps(m, ends, kept, True) for m in layout.read_decoder(memory)]
        outputs, _ = apply(
            params, tokens, seen, present(obs), count, _pairs(how), method=Retainer.decode
        )
        return outputs, found

    return values, unroll


def _pairs(how: list[Retain]) -> tuple[tuple[Retain, Retain], ...]:
    return tuple(zip(how[::2], how[1::2], strict=True))
