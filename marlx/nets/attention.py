"""Attention between the agents of a team, and the blocks of an encoder and a decoder made of it.

Every function works on the axis of agents, `[..., N, F]`. A decoder's block also reads one agent at
a time, with the keys and values of those before it kept (`DecoderBlock.one`); that gives the same
numbers as the whole sequence at once.
"""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from marlx.types import Array

Keep = Callable[[Array], Array]
"""From keys and values of new rows to those of all rows."""


def attend(query: Array, key: Array, value: Array, mask: Array) -> Array:
    """Returns averages of the values, weighted by softmax of scaled products, f32 [..., N, H, D].

    Args:
      query: f32 [..., N, H, D].
      key: f32 [..., M, H, D].
      value: f32 [..., M, H, D].
      mask: bool [..., N, M], what each query may read. The result is 0 where that is nothing.

    Source: Vaswani et al. 2017, eq. 1.
    """
    scores = jnp.einsum("...nhd,...mhd->...hnm", query, key) / jnp.sqrt(query.shape[-1])
    mask = mask[..., None, :, :]
    top = jax.lax.stop_gradient(jnp.where(mask, scores, -jnp.inf).max(-1, keepdims=True))
    top = jnp.where(jnp.isfinite(top), top, 0.0)
    weight = jnp.where(mask, jnp.exp(jnp.where(mask, scores - top, 0.0)), 0.0)
    weight = weight / jnp.maximum(weight.sum(-1, keepdims=True), 1e-30)
    return jnp.einsum("...hnm,...mhd->...nhd", weight, value)


def before_and_own(present: Array) -> Array:
    """Returns bool [..., N, N]: each agent may read those up to itself that are `present`.

    Args:
      present: bool [..., N].
    """
    agents = jnp.arange(present.shape[-1])
    return present[..., None, :] & (agents <= agents[:, None])


class Attention(nn.Module):
    """Multi-head attention.

    Attributes:
      width: of the result, and of all heads together.
      heads: number of heads; `width` must be a multiple.
    """

    width: int
    heads: int

    def setup(self) -> None:  # noqa: D102  flax's hook
        self.query, self.out = nn.Dense(self.width), nn.Dense(self.width)
        self.keys_and_values = nn.Dense(2 * self.width)

    def __call__(self, x: Array, source: Array, mask: Array, keep: Keep = lambda new: new) -> Array:
        """Returns f32 [..., N, width].

        Args:
          x: f32 [..., N, F], what asks.
          source: f32 [..., M, F], what is read.
          mask: bool [..., N, K].
          keep: from keys and values of the M rows f32 [..., M, 2 width] to those of all K rows.
        """
        known = keep(self.keys_and_values(source))
        query, key, value = (
            a.reshape(*a.shape[:-1], self.heads, -1)
            for a in (self.query(x), *jnp.split(known, 2, -1))
        )
        read = attend(query, key, value, mask)
        result: Array = self.out(read.reshape(*read.shape[:-2], self.width))
        return result


class _Dense(nn.Module):
    """Two layers with a residual and a normalisation, as after every attention."""

    width: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        inner = nn.Dense(self.width)(nn.gelu(nn.Dense(self.width)(x)))
        result: Array = nn.LayerNorm()(x + inner)
        return result


class EncoderBlock(nn.Module):
    """Attention of agents to agents, then a dense part, each with a residual."""

    width: int
    heads: int

    @nn.compact
    def __call__(self, x: Array, mask: Array) -> Array:
        """Returns f32 [..., N, width]; mask bool [..., N, N]."""
        x = nn.LayerNorm()(x + Attention(self.width, self.heads)(x, x, mask))
        result: Array = _Dense(self.width)(x)
        return result


class DecoderBlock(nn.Module):
    """Attention of actions to actions before them, then of observations to those, then dense.

    Source: Wen et al. 2022, section 4.2, in the form of its code, where representations of the
    observations are the queries of the second attention.
    """

    width: int
    heads: int

    def setup(self) -> None:  # noqa: D102  flax's hook
        self.own, self.cross = (Attention(self.width, self.heads) for _ in range(2))
        self.first, self.second = nn.LayerNorm(), nn.LayerNorm()
        self.dense = _Dense(self.width)

    def __call__(
        self, x: Array, seen: Array, mask: Array, keep: tuple[Keep, Keep] | None = None
    ) -> Array:
        """Returns f32 [..., N, width].

        Args:
          x: f32 [..., N, width], of the actions before each agent's.
          seen: f32 [..., N, width], of its observations.
          mask: bool [..., N, K], see `before_and_own`.
          keep: of the two attentions, see `Attention`; None: nothing is kept.
        """
        own, cross = keep or (lambda new: new,) * 2
        x = self.first(x + self.own(x, x, mask, own))
        result: Array = self.dense(self.second(seen + self.cross(seen, x, mask, cross)))
        return result

    def one(
        self, kept: tuple[Array, Array], x: Array, seen: Array, mask: Array, agent: Array
    ) -> tuple[Array, tuple[Array, Array]]:
        """Returns the result f32 [..., 1, width] of one agent, and keys and values kept.

        Args:
          kept: f32 [..., N, 2 width] each, of the agents before.
          x: f32 [..., 1, width].
          seen: f32 [..., 1, width].
          mask: bool [..., 1, N].
          agent: int32 [], its index.
        """
        new: list[Array] = []

        def keeping(old: Array) -> Keep:
            def keep(row: Array) -> Array:
                new.append(jax.lax.dynamic_update_slice_in_dim(old, row, agent, -2))
                return new[-1]

            return keep

        result = self(x, seen, mask, (keeping(kept[0]), keeping(kept[1])))
        return result, (new[0], new[1])
