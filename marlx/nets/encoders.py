"""Encoders of observations that have a structure: planes of a grid, and rows of things seen.

Both read a flat observation, as environments give it, and return one vector. What stands in it is
declared in `EnvSpec.planes` and `EnvSpec.entities`.
"""

from __future__ import annotations

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from marlx.types import Array, Entities, Planes

HEADS = 4
"""Attention heads; `hidden` has to be a multiple."""
FILTERS = 32
"""Channels of both convolutions."""
ABSENT = -1e30
"""Score of a row that is absent: its weight is exactly 0."""


class PlanesEncoder(nn.Module):
    """Two convolutions of 3 x 3 over the planes, then a dense layer, f32 [..., F] to [..., size].

    Numbers behind the planes join the dense layer's input.

    Attributes:
      size: width of the result.
      planes: where the image stands in the input.
    """

    size: int
    planes: Planes

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns f32 [..., size]."""
        image, rest = self.planes.split(x)
        for _ in range(2):
            image = nn.relu(nn.Conv(FILTERS, (3, 3))(image))
        flat = image.reshape(*image.shape[:-3], -1)
        result: Array = nn.Dense(self.size)(jnp.concatenate([flat, rest], -1))
        return result


class EntityEncoder(nn.Module):
    """Attention over rows, f32 [..., F] to [..., size].

    The agent's own numbers are a row, and each thing that it sees is one. Rows of a kind share an
    embedding. All rows attend to all rows, then the own row attends to all. So the result does not
    depend on the order of a kind's rows or on their number, and a row that is absent has no weight.

    Attributes:
      size: width of the result and of all layers, a multiple of `HEADS`.
      entities: which numbers are rows; all others are the agent's own.

    Source: Vaswani et al. 2017 (attention); Zambaldi et al. 2018 and Agarwal et al. 2020 for
    attention over entities. The two layers are our reading: the first relates what is seen, the
    second reads it from where the agent stands. Both read
    normalised rows (pre-norm).
    """

    size: int
    entities: tuple[Entities, ...]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns f32 [..., size]."""
        own = take_columns(x, own_columns(self.entities, x.shape[-1]))
        rows = [nn.Dense(self.size, name="own")(own)[..., None, :]]
        there = [jnp.ones((*x.shape[:-1], 1), bool)]
        for kind in self.entities:
            seen = rows_of(kind, x)
            rows.append(nn.Dense(self.size, name=kind.name)(seen))
            there.append(presence(kind, seen))
        embedded, present = nn.relu(jnp.concatenate(rows, -2)), jnp.concatenate(there, -1)
        rows_in = nn.LayerNorm(name="norm_among")(embedded)
        embedded = embedded + Attention(self.size, name="among")(rows_in, rows_in, present)
        refined = nn.Dense(self.size, name="refine")(nn.LayerNorm(name="norm_refine")(embedded))
        embedded = nn.LayerNorm(name="norm_pool")(embedded + nn.relu(refined))
        mine = embedded[..., :1, :]
        seen = Attention(self.size, name="pool")(mine, embedded, present)
        both = jnp.concatenate([mine, seen], -1)[..., 0, :]
        result: Array = nn.Dense(self.size, name="out")(both)
        return result


class Attention(nn.Module):
    """Multi-head attention of rows f32 [..., Q, size] over rows f32 [..., R, size]."""

    size: int

    @nn.compact
    def __call__(self, queries: Array, rows: Array, present: Array) -> Array:
        """Returns f32 [..., Q, size]; `present` bool [..., R], at least one row is."""
        query = by_head(nn.Dense(self.size, use_bias=False, name="query")(queries))
        # a bias of keys adds the same to all scores of a query, so it would change nothing
        key = by_head(nn.Dense(self.size, use_bias=False, name="key")(rows))
        value = by_head(nn.Dense(self.size, use_bias=False, name="value")(rows))
        score = jnp.einsum("...qhd,...rhd->...hqr", query, key) / query.shape[-1] ** 0.5
        score = jnp.where(present[..., None, None, :], score, ABSENT)
        read = jnp.einsum("...hqr,...rhd->...qhd", jax.nn.softmax(score, -1), value)
        result: Array = nn.Dense(self.size, name="out")(read.reshape(queries.shape))
        return result


def by_head(x: Array) -> Array:
    """Returns f32 [..., HEADS, D] of f32 [..., HEADS D]."""
    return x.reshape(*x.shape[:-1], HEADS, -1)


def rows_of(kind: Entities, x: Array) -> Array:
    """Returns the rows of a kind, f32 [..., count, width], of observations f32 [..., F]."""
    count, width = len(kind.columns), len(kind.columns[0])
    flat = take_columns(x, [column for row in kind.columns for column in row])
    return flat.reshape(*x.shape[:-1], count, width)


def presence(kind: Entities, rows: Array) -> Array:
    """Returns bool [..., count], whether each row of `rows_of` is there."""
    if kind.present is None:
        return jnp.ones(rows.shape[:-1], bool)
    return rows[..., kind.present] > kind.above


def own_columns(entities: Sequence[Entities], width: int) -> list[int]:
    """Returns the numbers of `width` that stand in no row: the agent's own."""
    named = {column for kind in entities for row in kind.columns for column in row}
    return [column for column in range(width) if column not in named]


def take_columns(x: Array, columns: Sequence[int]) -> Array:
    """Returns `x[..., columns]`, by slices: gathers are slow on CPUs."""
    runs: list[list[int]] = []
    for column in columns:
        if runs and runs[-1][1] == column:
            runs[-1][1] = column + 1
        else:
            runs.append([column, column + 1])
    if not runs:
        return x[..., :0]
    return jnp.concatenate([x[..., first:last] for first, last in runs], -1)
