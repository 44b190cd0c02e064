"""Attention over the steps of a trajectory that can be taken in one at a time.

`PooledEncoder` reads a sequence of tokens as a set: every token is encoded by itself, learned seeds
attend to all of them, and a layer mixes the seeds. Since tokens do not attend to tokens, what the
seeds have gathered is a softmax average that can be extended by a token exactly, in time and memory
that do not grow with the sequence (`push`). So what is trained on whole sequences (`__call__`) is
what acts step by step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from marlx.types import Array

NOTHING = -1e30
"""The score of a token that is not there."""


class Pool(NamedTuple):
    """A softmax average under way: of S seeds and H heads, D numbers each."""

    top: Array  # f32 [..., S, H], the largest score so far; every weight is relative to it
    mass: Array  # f32 [..., S, H], sum of the weights
    total: Array  # f32 [..., S, H, D], weighted sum of the values

    @property
    def average(self) -> Array:
        """f32 [..., S, H, D]; 0 where nothing was pooled."""
        return self.total / jnp.maximum(self.mass, 1e-30)[..., None]


def empty(seeds: int, heads: int, width: int, batch: tuple[int, ...] = ()) -> Pool:
    """The pool of no tokens; `width` is that of all heads together."""
    shape = (*batch, seeds, heads)
    return Pool(
        jnp.full(shape, NOTHING), jnp.zeros(shape), jnp.zeros((*shape, width // heads))
    )  # fmt: skip


def push(pool: Pool, score: Array, value: Array) -> Pool:
    """The pool after one token more.

    Args:
      pool: so far.
      score: f32 [..., S, H], of the token.
      value: f32 [..., H, D], of the token.

    Source: the running softmax of Milakov & Gimelshein 2018, arXiv 1805.02867.
    """
    top = jnp.maximum(pool.top, score)
    keep, weight = jnp.exp(pool.top - top), jnp.exp(score - top)
    total = keep[..., None] * pool.total + weight[..., None] * value[..., None, :, :]
    return Pool(top, keep * pool.mass + weight, total)


def pooled(score: Array, value: Array, there: Array) -> Pool:
    """The pool of a whole sequence, the last axis but those of a token.

    Args:
      score: f32 [..., L, S, H].
      value: f32 [..., L, H, D].
      there: bool [..., L], False for padding.
    """
    score = jnp.where(there[..., None, None], score, NOTHING)
    top = score.max(-3)
    weight = jnp.where(there[..., None, None], jnp.exp(score - top[..., None, :, :]), 0.0)
    return Pool(top, weight.sum(-3), jnp.einsum("...lsh,...lhd->...shd", weight, value))


def positions(length: int, width: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """f32 [length, width], sinusoids of the positions 0, 1, ...; a table, since sines are slow.

    Source: Vaswani et al. 2017, section 3.5.
    """
    rate = np.exp(-np.log(10_000.0) * np.arange(0, width, 2) / width)
    angle = np.arange(length)[:, None] * rate
    return np.concatenate([np.sin(angle), np.cos(angle)], -1)[:, :width].astype(np.float32)


class PooledEncoder(nn.Module):
    """A sequence of tokens [L, F] as one vector [size].

    Attributes:
      size: of the result.
      width: of everything within.
      heads: of the attention; they divide `width`.
      seeds: learned queries that pool the tokens.
      length: positions that are told apart; tokens further on have the last one.

    Source: the Set Transformer (Lee et al. 2019, arXiv 1810.00825): row-wise feed-forward layers
    and pooling by multi-head attention with k seeds. Differs from: its encoder, whose tokens attend
    to each other; here they do not, which is what makes `push` exact. And from its decoder, where
    seeds attend to each other: a dense layer over all of them is as general for a fixed number of
    seeds, and a fifth of the cost of every step that acts.
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
        """The pool of no tokens."""
        return empty(self.seeds, self.heads, self.width, batch)

    def token(self, x: Array, position: Array) -> tuple[Array, Array]:
        """Score f32 [..., S, H] and value f32 [..., H, D] of tokens f32 [..., F].

        A seed's query times a token's key is linear in the token, so the two projections are one
        matrix; beside it stand the columns that make values.
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
        """f32 [..., size], what the seeds have gathered."""
        gathered = pool.average
        mixed = nn.relu(self.mix(gathered.reshape(*gathered.shape[:-3], -1)))
        result: Array = self.out(mixed)
        return result

    def step(self, pool: Pool, x: Array, position: Array) -> tuple[Pool, Array]:
        """The pool and the result f32 [..., size] after one token f32 [..., F] more."""
        pool = push(pool, *self.token(x, position))
        return pool, self.read(pool)

    def __call__(self, x: Array, there: Array) -> Array:
        """f32 [..., size] from whole sequences f32 [..., L, F]; `there` bool [..., L]."""
        return self.read(pooled(*self.token(x, jnp.arange(x.shape[-2])), there))
