"""Random first states: agents anywhere, foods apart from each other and off the border."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs.foraging.cells import EMPTY, WORD_BITS, bits, decode, encode, nth_bit
from marlx.envs.foraging.settings import ForagingSettings
from marlx.envs.foraging.state import Entity, ForagingState
from marlx.envs.integers import below
from marlx.types import Array
from marlx.xla.materialise import materialise


def first_state(env: ForagingSettings, key: Array) -> ForagingState:
    """Returns the random first state of an episode; see `Foraging.reset_env`."""
    n, f = env.num_agents, env.num_food
    draws = jnp.split(jax.random.bits(key, (2 * (n + f),)), (n, 2 * n, 2 * n + f))
    level = env.min_player_level + below(draws[0], env.max_player_level - env.min_player_level + 1)
    cell = agent_cells(env, draws[1])
    agents = materialise(Entity(cell // env.size[1], cell % env.size[1], level), cell)
    lowest, highest = food_levels(env, level)
    row, col = food_places(env, agents, draws[2])
    food_level = lowest + below(draws[3], highest - lowest + 1)
    code = materialise(jnp.where(row < 0, EMPTY, encode(Entity(row, col, food_level))), cell)
    before = (code[:, None] < code).sum(0)  # ascending is row by row
    foods = decode(jnp.where(before[:, None] == jnp.arange(f), code[:, None], EMPTY).min(0))
    return ForagingState(
        time=jnp.int32(0),
        agent_pos=jnp.stack([agents.row, agents.col], 1),
        agent_level=agents.level,
        food_pos=jnp.stack([foods.row, foods.col], 1),
        food_level=foods.level,
        food_spawned=foods.level.sum(),
    )


def agent_cells(env: ForagingSettings, draws: Array) -> Array:
    """Returns int32 [N], distinct cells, uniform over the board.

    Each agent draws a rank among the cells that earlier agents left free; ranks are then moved past
    the occupied cells, from the last agent to the first.

    Args:
      env: the settings.
      draws: uint32 [N], random bits.
    """
    numbers = jnp.arange(env.num_agents)

    def past(k: Array, cell: Array) -> Array:
        i = env.num_agents - 1 - k
        return cell + ((numbers > i) & (cell >= cell[i]))

    cells: Array = below(draws, env.size[0] * env.size[1] - numbers)
    cells = jax.lax.fori_loop(1, env.num_agents, past, cells, unroll=env.unrolled)
    return cells


def food_levels(env: ForagingSettings, levels: Array) -> tuple[Array, Array]:
    """Returns the lowest and highest level of the episode's foods, int32 [] each."""
    if env.max_food_level is None:
        order = levels * env.num_agents + jnp.arange(env.num_agents)
        three = (order[:, None] < order).sum(0) < 3  # the lowest
        highest = jnp.where(three, levels, 0).sum()
    else:
        highest = jnp.int32(env.max_food_level)
    return (highest if env.force_coop else jnp.int32(env.min_food_level)), highest


def food_places(env: ForagingSettings, agents: Entity, draws: Array) -> tuple[Array, Array]:
    """Returns rows and columns of the foods, int32 [F] each, -1 where no cell is left.

    The free cells are bits, a word for every 32 columns of a board row, so that counting them and
    finding the n-th are a few integer operations per row.

    Args:
      env: the settings.
      agents: int32 [N] each.
      draws: uint32 [F], random bits; foods are placed in this order.
    """
    row, first = np.mgrid[1 : env.size[0] - 1, 1 : env.size[1] - 1 : WORD_BITS].reshape(2, -1)
    widths = np.minimum(WORD_BITS, env.size[1] - 1 - first)
    occupied = bits(agents.col[:, None] - first, 0, max_radius=0)
    # The sum is a union, since agents are in different cells and no bit comes twice.
    occupied = jnp.where(agents.row[:, None] == row, occupied, 0).sum(0, dtype=jnp.uint32)
    free = jnp.asarray([(1 << int(width)) - 1 for width in widths], jnp.uint32) & ~occupied

    def place(free: Array, draw: Array) -> tuple[Array, tuple[Array, Array]]:
        counts = jax.lax.population_count(free).astype(jnp.int32)
        before = jnp.where(np.tri(row.size, k=-1, dtype=bool), counts, 0).sum(1)
        total = counts.sum()
        rank = below(draw, jnp.maximum(total, 1)) - before  # among each word's cells
        here = (rank >= 0) & (rank < counts)
        place_row = jnp.where(here, row, 0).sum()
        place_col = jnp.where(here, first + nth_bit(free, rank), 0).sum()
        off = jnp.abs(place_row - row)
        radius = jnp.where(off > 2, -1, 2 - off)  # columns on either side that are too close now
        free = free & ~jnp.where(total > 0, bits(place_col - first, radius, max_radius=2), 0)
        free, place_row, place_col, total = materialise(
            (free, place_row, place_col, total), agents.row
        )
        return free, (jnp.where(total > 0, place_row, -1), jnp.where(total > 0, place_col, -1))

    return jax.lax.scan(place, free, draws, unroll=env.unrolled)[1]
