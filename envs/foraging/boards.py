"""Drawing fresh boards: agents anywhere, foods apart from each other and off the border."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import settle
from marlx.envs.foraging.things import WORD, Thing, bits, nth_bit
from marlx.envs.plain import below
from marlx.types import Array

if TYPE_CHECKING:
    from marlx.envs.foraging.world import Foraging


def agent_cells(env: Foraging, draws: list[Array]) -> list[Array]:
    """Distinct cells, int32 [] each: one of the free ones, counted past those taken."""
    cells: list[Array] = []
    taken: list[Array] = []  # ascending
    for i, draw in enumerate(draws):
        cell = below(draw, env.size[0] * env.size[1] - i)
        for other in taken:
            cell = cell + (cell >= other)
        cells.append(cell)
        for k, other in enumerate(taken):
            taken[k], cell = jnp.minimum(other, cell), jnp.maximum(other, cell)
        taken.append(cell)
    return cells


def food_levels(env: Foraging, levels: list[Array]) -> tuple[Array, Array]:
    """Lowest and highest level of the episode's foods, int32 [] each."""
    if env.max_food_level is None:
        three: list[Array] = []  # the three lowest levels, ascending
        for level in levels:
            for k, other in enumerate(three):
                three[k], level = jnp.minimum(other, level), jnp.maximum(other, level)
            three = [*three, level][:3]
        highest = sum(three, start=jnp.int32(0))
    else:
        highest = jnp.int32(env.max_food_level)
    return (highest if env.force_coop else jnp.int32(env.min_food_level)), highest


def food_places(
    env: Foraging, agents: list[Thing], draws: list[Array]
) -> list[tuple[Array, Array]]:
    """(row, column) of each food in the order of their draw, (-1, -1) where no cell is left.

    The cells a food may take are bits, a word for every 32 columns of a board row, so that
    counting them and finding the n-th are a few integer operations per row.
    """
    row, first = np.mgrid[1 : env.size[0] - 1, 1 : env.size[1] - 1 : WORD].reshape(2, -1)
    widths = np.minimum(WORD, env.size[1] - 1 - first)
    free = jnp.asarray([(1 << int(width)) - 1 for width in widths], jnp.uint32)
    for agent in agents:
        free = free & ~jnp.where(agent.row == row, bits(agent.col - first, 0, most=0), 0)
    places = []
    for draw in draws:
        counts = jax.lax.population_count(free).astype(jnp.int32)
        before = jnp.where(np.tri(row.size, k=-1, dtype=bool), counts, 0).sum(1)
        total = counts.sum()
        rank = below(draw, jnp.maximum(total, 1)) - before  # among each word's cells
        here = (rank >= 0) & (rank < counts)
        place_row = jnp.where(here, row, 0).sum()
        place_col = jnp.where(here, first + nth_bit(free, rank), 0).sum()
        off = jnp.abs(place_row - row)
        wide = jnp.where(off > 2, -1, 2 - off)  # columns to either side that become too close
        free = free & ~jnp.where(total > 0, bits(place_col - first, wide, most=2), 0)
        free, place_row, place_col, total = settle(
            (free, place_row, place_col, total), agents[0].row
        )
        places.append((jnp.where(total > 0, place_row, -1), jnp.where(total > 0, place_col, -1)))
    return places
