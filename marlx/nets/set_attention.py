"""Attention pooling of a trajectory, over whole sequences or one token at a time.

`PooledEncoder` reads a sequence of tokens as a set: every token is encoded by itself, learned seeds
attend to all of them, and a layer mixes the seeds. Tokens do not attend to tokens, so the result of
the attention is a softmax average that can be extended by a token exactly (`push`), in time and
memory that do not grow with the sequence. It is trained on whole sequences (`__call__`) and acts
step by step (`step`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from marlx.types import Array

MASKED_SCORE = -1e30
"""Score of padding."""


class Pool(NamedTuple):
    """Running softmax average for S seeds and H heads, D numbers each."""

    top: Array  # f32 [..., S, H], largest score so far; weights are relative to it
    mass: Array  # f32 [..., S, H], sum of the weights
    total: Array  # f32 [..., S, H, D], weighted sum of the values

    @property
    def average(self) -> Array:
        """The average f32 [..., S, H, D]; 0 for an empty pool."""
        return self.total / jnp.maximum(self.mass, 1e-30)[..., None]


def empty(seeds: int, heads: int, width: int, batch: tuple[int, ...] = ()) -> Pool:
    """Returns an empty pool; `width` is that of all heads together."""
    shape = (*batch, seeds, heads)
    return Pool(
        jnp.full(shape, MASKED_SCORE), jnp.zeros(shape), jnp.zeros((*shape, width // heads))
    )  # fmt: skip


def push(pool: Pool, score: Array, value: Array) -> Pool:
    """Returns the pool after one more token.

    Args:
      pool: of the tokens before.
      score: f32 [..., S, H], of the token.
      value: f32 [..., H, D], of the token.

    Source: the running softmax of Milakov & Gimelshein 2018, arXiv 1805.02867.
    """
    top = jnp.maximum(pool.top, score)
    keep, weight = jnp.exp(pool.top - top), jnp.exp(score - top)
    total = keep[..., None] * pool.total + weight[..., None] * value[..., None, :, :]
    return Pool(top, keep * pool.mass + weight, total)


def pooled(score: Array, value: Array, valid: Array) -> Pool:
    """Returns the pool of a whole sequence of L tokens.

    Args:
      score: f32 [..., L, S, H].
      value: f32 [..., L, H, D].
      valid: bool [..., L], False for padding.
    """
    score = jnp.where(valid[..., None, None], score, MASKED_SCORE)
    top = score.max(-3)
    weight = jnp.where(valid[..., None, None], jnp.exp(score - top[..., None, :, :]), 0.0)
    return Pool(top, weight.sum(-3), jnp.einsum("...lsh,...lhd->...shd", weight, value))


def positions(length: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Returns sinusoidal encodings of positions 0, 1, ..., f32 [length, width].

    They are a constant table, since sines are slow to compute.

    Source: Vaswani et al. 2017, section 3.5.
    """
    rate = np.exp(-np.log(10_000.0) * np.arange(0, width, 2) / width)
    angle = np.arange(length)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)[:, :width].astype(np.float32)


class PooledEncoder(nn.Module):
    """Encoder of a sequence of tokens f32 [L, F] to one vector f32 [size].

    Attributes:
      size: width of the result.
      width: of all hidden layers.
      heads: of the attention; `width` must be a multiple.
      seeds: number of learned queries that pool the tokens.
      length: number of positions; later tokens have the last one.

    Source: the Set Transformer (Lee et al. 2019, arXiv 1810.00825): row-wise feed-forward layers
    and pooling by multi-head attention with k seeds. Differs from: its encoder, whose tokens attend
    to each other; here they do not, so that `push` is exact. Its decoder, whose seeds attend to
    each other; a dense layer over all seeds is as general for a fixed number of them, and takes a
    fifth of the time per acting step.
    """

    size: int
    width: int = 64
    heads: int = 4
    seeds: int = 4
    length: int = 1_024

    def setup(self) -> None:  # noqa: D102  flax's hook
        self.embed, self.refine = nn.Dense(self.width), nn.Dense(self.width)
        self.scores_and_values = nn.Dense(self.seeds * self.heads + self.width)
        self.mix, self.out = nn.Dense(self.width), nn.Dense(self.size)

    def empty(self, batch: tuple[int, ...] = ()) -> Pool:
        """Returns an empty pool."""
        return empty(self.seeds, self.heads, self.width, batch)

    def token(self, x: Array, position: Array) -> tuple[Array, Array]:
        """Returns score f32 [..., S, H] and value f32 [..., H, D] of tokens f32 [..., F].

        A seed's query times a token's key is linear in the token, so one matrix has the columns of
        scores and of values.
        """
        place = jnp.asarray(positions(self.length, self.width))[position]  # clipped, by JAX
        x = nn.relu(self.embed(x) + place)
        x = x + nn.relu(self.refine(x))
        score, value = jnp.split(self.scores_and_values(x), [self.seeds * self.heads], -1)
        return (
            score.reshape(*x.shape[:-1], self.seeds, self.heads),
            value.reshape(*x.shape[:-1], self.heads, self.width // self.heads),
        )

    def read(self, pool: Pool) -> Array:
        """Returns the result f32 [..., size] of a pool."""
        average = pool.average
        mixed = nn.relu(self.mix(average.reshape(*average.shape[:-3], -1)))
        result: Array = self.out(mixed)
        return result

    def step(self, pool: Pool, x: Array, position: Array) -> tuple[Pool, Array]:
        """Returns the pool and the result f32 [..., size] after one more token f32 [..., F]."""
        pool = push(pool, *self.token(x, position))
        return pool, self.read(pool)

    def __call__(self, x: Array, valid: Array) -> Array:
        """Returns f32 [..., size] for sequences f32 [..., L, F]; `valid` bool [..., L]."""
        return self.read(pooled(*self.token(x, jnp.arange(x.shape[-2])), valid))
