"""The encoder of an agent's own trajectory: of whole sequences, and one step at a time.

At step t the embedding is that of tokens 0 to t-1 of this episode, at length 1, and 0 before the
first. Acting extends a pooled average by one token (`marlx.nets.set_attention`). Where parameters
change within an episode, tokens that were pooled before stay as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp

from marlx.algos.agent_modelling.tokens import PreviousStep, Tokenizer
from marlx.nets.set_attention import Pool, PooledEncoder
from marlx.types import Array, EnvSpec, Observation, Tree


class EncoderMemory(NamedTuple):
    """Acting memory: a trajectory of any length in a fixed size."""

    pool: Pool  # [B, N, ...]
    embedding: Array  # f32 [B, N, E], of the steps so far; 0 at first
    token: Array  # f32 [B, N, F], the last one; 0 at first
    previous: PreviousStep
    time: Array  # int32 [B], tokens so far


def first_memory(
    spec: EnvSpec, encoder: PooledEncoder, tokenizer: Tokenizer, num_envs: int
) -> EncoderMemory:
    """Returns the acting memory at an episode's start."""
    batch = (num_envs, spec.num_agents)
    return EncoderMemory(
        encoder.empty(batch),
        jnp.zeros((*batch, encoder.size)),
        jnp.zeros((*batch, tokenizer.width)),
        tokenizer.start(num_envs),
        jnp.zeros(num_envs, jnp.int32),
    )


def unit(x: Array) -> Array:
    """Returns vectors f32 [..., E] scaled to length 1; 0 stays 0."""
    return x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)


def with_context(token: Array) -> Array:
    """Returns each token of f32 [..., L, F] beside the one before it (0 at first), [..., L, 2F]."""
    before = jnp.concatenate([jnp.zeros_like(token[..., :1, :]), token[..., :-1, :]], -2)
    return jnp.concatenate([token, before], -1)


def encode(encoder: PooledEncoder, params: Tree, tokens: Array, valid: Array) -> Array:
    """Returns embeddings f32 [..., E], not normalised, of sequences.

    Args:
      encoder: the network.
      params: its parameters.
      tokens: f32 [..., L, F].
      valid: bool [..., L], False for padding.
    """
    apply: Callable[..., Any] = encoder.apply
    embedding: Array = apply(params, with_context(tokens), valid)
    return embedding


def extend(
    encoder: PooledEncoder,
    tokenizer: Tokenizer,
    params: Tree,
    memory: EncoderMemory,
    obs: Observation,
    action: Array,
) -> EncoderMemory:
    """Returns the acting memory after one more step: `encode`, one token at a time."""
    token = tokenizer.unpack(tokenizer.pack(memory.previous, obs))
    x = jnp.concatenate([token, memory.token], -1)
    apply: Callable[..., Any] = encoder.apply
    pool, embedding = apply(params, memory.pool, x, memory.time[:, None], method="step")
    previous = tokenizer.advance(memory.previous, obs, action)
    return EncoderMemory(pool, unit(embedding), token, previous, memory.time + 1)
