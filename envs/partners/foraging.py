"""Heuristic partners for foraging: the four of lbforaging."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs.foraging import EAST, LOAD, NORTH, SOUTH, WEST, Foraging
from marlx.envs.partners.partner import HeuristicSet, Partner, no_memory
from marlx.types import Array, Observation, Tree

FAR = 1 << 30
"""Larger than any squared distance on a board."""


class Preference(NamedTuple):
    """The food that a heuristic goes to."""

    centre: Any  # bool [], the closest to the centre of the visible agents, not to the agent itself
    limit: Any  # int32 [], highest level: 0 any, 1 its own, 2 the sum of all visible agents'


PREFERENCES = {
    "h1": Preference(False, 0),
    "h2": Preference(True, 0),
    "h3": Preference(False, 1),
    "h4": Preference(True, 2),
}
"""The preference of each heuristic."""


class Sight(NamedTuple):
    """The view of one agent, in scalars; lengths are in cells, rows grow southwards."""

    row: Array  # int32 [], its own position
    col: Array
    level: Array  # int32 [], its own
    centre_row: Array  # int32 [], rounded mean position of the visible agents and itself
    centre_col: Array
    levels: Array  # int32 [], summed over them
    closest: Callable[[Array, Array, Array], tuple[Array, Array, Array]]
    # (row, col, limit) -> the food closest to (row, col) among those of at most that level:
    # whether there is one, bool [], and where, int32 [] each


def foraging_heuristics(env: Foraging) -> tuple[Partner, ...]:
    """Returns lbforaging's heuristics h1 to h4, or h1 and h2 without `observe_levels`.

      - h1 goes to the closest visible food;
      - h2 goes to the food closest to the centre of the visible agents, itself included;
      - h3 is h1 for foods of at most its own level;
      - h4 is h2 for foods that all visible agents together can load.

    Next to their food they load. On the way they walk along the column first. If they are blocked,
    or see no such food, they take a random legal action.

    Source: `lbforaging.agents.heuristic_agent` of lbforaging 2.0.0, also the source of LIAM's
    foraging partners. Differs from the original with `grid` observations, on which it acts: agents
    outside the grid are not seen, and of two agents in one cell only one is.
    """
    act = functools.partial(_forage, env)
    return tuple(
        Partner(name, no_memory, act, preference)
        for name, preference in PREFERENCES.items()
        if env.observe_levels or preference.limit == 0
    )


def _forage(
    env: Foraging, preference: Preference, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns a heuristic's action for each agent, int32 [N], and the memory as it is."""
    see = _see_grid if env.observation == "grid" else _see_vector
    draws = jnp.unstack(jax.random.bits(key, (env.num_agents,)))
    actions = []
    for i, draw in enumerate(draws):
        sees = see(env, obs.local[i])
        legal = jnp.unstack(obs.action_mask[i])
        # A limit of 0 means none, as in the original; levels are at least 1.
        limit = jnp.where(preference.limit == 1, sees.level, sees.levels)
        limit = jnp.where(preference.limit == 0, FAR, limit)
        row = jnp.where(preference.centre, sees.centre_row, sees.row)
        col = jnp.where(preference.centre, sees.centre_col, sees.col)
        found, food_row, food_col = sees.closest(row, col, limit)
        action = _any_of(legal, draw)
        down, right = food_row - sees.row, food_col - sees.col
        for move, wanted in (
            (WEST, right < 0),
            (EAST, right > 0),
            (SOUTH, down > 0),
            (NORTH, down < 0),
        ):  # the last one that is wanted and legal counts
            action = jnp.where(found & wanted & legal[move], move, action)
        beside = jnp.abs(down) + jnp.abs(right) == 1
        actions.append(jnp.where(found & beside, LOAD, action))
    return jnp.stack(actions).astype(jnp.int32), memory


def _see_vector(env: Foraging, local: Array) -> Sight:
    """Returns the view of an agent from a `vector` observation f32 [O]."""
    numbers = [number.astype(jnp.int32) for number in jnp.unstack(local)]
    foods = [numbers[3 * f : 3 * f + 3] for f in range(env.num_food)]
    per_agent = 3 if env.observe_levels else 2
    rest = numbers[3 * env.num_food :]
    agents = [rest[per_agent * i : per_agent * (i + 1)] for i in range(env.num_agents)]
    seen = [agent[0] >= 0 for agent in agents]
    count = sum(seen, start=jnp.int32(0))

    def total(k: int) -> Array:
        return sum(
            (jnp.where(here, agent[k], 0) for here, agent in zip(seen, agents, strict=True)),
            start=jnp.int32(0),
        )

    def closest(row: Array, col: Array, limit: Array) -> tuple[Array, Array, Array]:
        best, best_row, best_col = jnp.int32(FAR), jnp.int32(0), jnp.int32(0)
        for food_row, food_col, level in foods:
            far = (food_row - row) ** 2 + (food_col - col) ** 2
            far = jnp.where((level > 0) & (level <= limit), far, FAR)
            closer = far < best  # the first of equally close ones
            best = jnp.where(closer, far, best)
            best_row = jnp.where(closer, food_row, best_row)
            best_col = jnp.where(closer, food_col, best_col)
        return best < FAR, best_row, best_col

    return Sight(
        row=agents[0][0],
        col=agents[0][1],
        level=agents[0][2] if env.observe_levels else jnp.int32(1),
        centre_row=round_half_even(total(0), count),
        centre_col=round_half_even(total(1), count),
        levels=total(2) if env.observe_levels else count,
        closest=closest,
    )


def _see_grid(env: Foraging, local: Array) -> Sight:
    """Returns the view of an agent from a `grid` observation f32 [3 W^2].

    Positions count from the top left visible cell *of the board*, as in vector observations, since
    rounding half to even makes the centre of two agents depend on the origin.
    """
    width = 2 * env.view + 1
    agents, foods, free = local.reshape(3, width, width).astype(jnp.int32)
    on_board = (agents > 0) | (foods > 0) | (free > 0)
    me = env.view
    top = me - on_board[:me, me].sum(dtype=jnp.int32)  # rows of the grid beyond the board
    left = me - on_board[me, :me].sum(dtype=jnp.int32)
    rows, cols = np.mgrid[:width, :width].astype(np.int32)
    seen = agents > 0
    count = seen.sum(dtype=jnp.int32)
    sum_row = jnp.where(seen, rows, 0).sum(dtype=jnp.int32) - count * top
    sum_col = jnp.where(seen, cols, 0).sum(dtype=jnp.int32) - count * left

    def closest(row: Array, col: Array, limit: Array) -> tuple[Array, Array, Array]:
        far = (rows - top - row) ** 2 + (cols - left - col) ** 2
        far = jnp.where((foods > 0) & (foods <= limit), far, FAR).reshape(width * width)
        place = far.argmin().astype(jnp.int32)
        return far.min() < FAR, place // width - top, place % width - left

    return Sight(
        row=me - top,
        col=me - left,
        level=agents[me, me],
        centre_row=round_half_even(sum_row, count),
        centre_col=round_half_even(sum_col, count),
        levels=agents.sum(dtype=jnp.int32),
        closest=closest,
    )


def round_half_even(total: Array, count: Array) -> Array:
    """Returns int32 [], `total / count` rounded, halves to even; both must not be negative."""
    count = jnp.maximum(count, 1)
    down, twice = total // count, 2 * (total % count)
    up = (twice > count) | ((twice == count) & (down % 2 == 1))
    return jnp.where(up, down + 1, down)


def _any_of(legal: Sequence[Array], draw: Array) -> Array:
    """Returns int32 [], a uniformly random legal action, from 32 random bits."""
    count = sum((may.astype(jnp.uint32) for may in legal), start=jnp.uint32(0))
    rank = (draw % jnp.maximum(count, 1)).astype(jnp.int32)
    action: Array = jnp.int32(0)
    for i, may in enumerate(legal):
        action = jnp.where(may & (rank == 0), i, action)
        rank = rank - may
    return action


HEURISTICS = HeuristicSet(kind=Foraging, make=foraging_heuristics)
