"""What an agent sees of a part of the board."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax.numpy as jnp

from marlx.envs.foraging.things import Thing, decode, flat, pack, settle_many
from marlx.types import Array

if TYPE_CHECKING:
    from marlx.envs.foraging.world import Foraging


def visible(env: Foraging, me: Thing, foods: list[Thing]) -> list[Array]:
    """Which foods an agent sees, bool [] each."""
    return [
        (food.level > 0)
        & (jnp.abs(food.row - me.row) <= env.view)
        & (jnp.abs(food.col - me.col) <= env.view)
        for food in foods
    ]


def window_view(
    env: Foraging, agents: list[Thing], foods: list[Thing], time: Array, i: Array, me: Thing
) -> Array:
    """f32 [3 F + 3 N] (2 N without levels), what agent `i` sees of a part of the board."""
    sight = env.view
    top, left = jnp.maximum(me.row - sight, 0), jnp.maximum(me.col - sight, 0)

    def shifted(thing: Thing) -> Thing:
        return Thing(thing.row - top, thing.col - left, thing.level)

    near = visible(env, me, foods)
    # Not the same window: near the north and west border agents are seen further.
    others = [shifted(agent) for agent in agents]
    seen = [
        (i != j) & (a.row >= 0) & (a.row <= 2 * sight) & (a.col >= 0) & (a.col <= 2 * sight)
        for j, a in enumerate(others)
    ]
    foods = _packed([shifted(food) for food in foods], near, time)
    others = _packed(others, seen, time)[:-1]  # without the agent itself
    shown = 3 if env.observe_levels else 2
    return flat([*foods, *[agent[:shown] for agent in (shifted(me), *others)]])


def grid_view(env: Foraging, i: int, agents: list[Thing], foods: list[Thing]) -> Array:
    """f32 [3 (2 sight + 1)^2], what agent `i` sees, as three layers centred on it."""
    offsets = jnp.arange(-env.view, env.view + 1)
    row, col = (agents[i].row + offsets)[:, None], (agents[i].col + offsets)[None, :]
    food_layer = agent_layer = jnp.zeros((offsets.size, offsets.size), jnp.int32)
    on_board = (row >= 0) & (row < env.size[0]) & (col >= 0) & (col < env.size[1])
    for food in foods:  # an empty slot writes a 0 beyond the board
        food_layer = jnp.where((row == food.row) & (col == food.col), food.level, food_layer)
    occupied = food_layer > 0
    for agent in agents:  # of two agents in one cell the later one shows
        here = (row == agent.row) & (col == agent.col)
        agent_layer = jnp.where(here, agent.level if env.observe_levels else 1, agent_layer)
        occupied = occupied | here
    layers = jnp.stack([agent_layer, food_layer, (on_board & ~occupied).astype(jnp.int32)])
    return layers.reshape(layers.size).astype(jnp.float32)


def _packed(things: list[Thing], keep: list[Array], time: Array) -> list[Thing]:
    return [decode(code) for code in settle_many(pack(things, keep, time), time)]
