"""Partial views of a foraging board."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.envs.foraging.settings import ForagingSettings
from marlx.envs.foraging.state import Entity, ForagingState
from marlx.types import Array


def sees(env: ForagingSettings, agent: Entity, food: Entity) -> Array:
    """Returns bool, whether an agent sees a food; an empty slot is never seen."""
    down, right = jnp.abs(food.row - agent.row), jnp.abs(food.col - agent.col)
    return (food.level > 0) & (down <= env.view) & (right <= env.view)


def grid_views(env: ForagingSettings, state: ForagingState) -> Array:
    """Returns f32 [N, 3 (2 sight + 1)^2], three layers of cells centred on each agent.

    The board is laid out once, with a margin as wide as the sight, and cut out around each agent.
    """
    rows, cols = env.size
    wide = 2 * env.view + 1
    blank = jnp.zeros((rows + wide - 1, cols + wide - 1), jnp.int32)

    def cells(pos: Array) -> tuple[Array, Array]:
        return pos[:, 0] + env.view, pos[:, 1] + env.view

    # Of two agents in one cell the later one shows; an empty slot writes a 0 beyond the board.
    order = jnp.arange(env.num_agents, dtype=jnp.int32) << 10
    code = order | (state.agent_level if env.observe_levels else 1)
    agents = blank.at[cells(state.agent_pos)].max(code.astype(jnp.int32)) & 1023
    foods = blank.at[cells(state.food_pos)].add(state.food_level.astype(jnp.int32))
    on_board = jnp.pad(jnp.ones(env.size, bool), env.view)
    free = on_board & (agents == 0) & (foods == 0)
    board = jnp.stack([agents, foods, free.astype(jnp.int32)])

    def cut(row: Array, col: Array) -> Array:
        return jax.lax.dynamic_slice(
            board, (jnp.zeros_like(row), row, col), (3, wide, wide)
        ).reshape(3 * wide**2)

    return jax.vmap(cut)(*state.agent_pos.T).astype(jnp.float32)
