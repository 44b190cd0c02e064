"""Batched steps and resets of grid environments for tests, and shortest ways on a board."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.envs.grid import EAST, NORTH, SOUTH, WEST

AHEAD = {EAST: (0, 1), SOUTH: (1, 0), WEST: (0, -1), NORTH: (-1, 0)}
"""Rows down and columns right of the cell in front, by heading."""
Cell = tuple[int, int]


@functools.cache
def stepper(env: Any) -> Any:
    """`(states, actions) -> observations before, states after, rewards, ends`, of a batch."""
    params = env.default_params

    def one(state: Any, action: jax.Array) -> Any:
        after, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        return env.observe(state, params), after, reward, terminated

    return jax.jit(jax.vmap(one))


@functools.cache
def resetter(env: Any) -> Any:
    params = env.default_params
    return jax.jit(lambda keys: jax.vmap(lambda key: env.reset_env(key, params))(keys))


def resets(env: Any, count: int, seed: int = 0) -> Any:
    """`count` random first states, stacked."""
    return jax.device_get(resetter(env)(jax.random.split(jax.random.key(seed), count)))


def stack(states: list[Any]) -> Any:
    return jax.tree.map(lambda *x: np.stack(x), *map(jax.device_get, states))


class Moves(NamedTuple):
    """The numbers of an environment's moves."""

    left: int
    right: int
    forward: int


def shortest_way(
    start: tuple[int, int, int],
    arrived: Callable[[Cell, Cell], bool],
    free: Callable[[Cell], bool],
    moves: Moves,
) -> list[int] | None:
    """Fewest turns and moves from (row, column, heading), or None if there is no way.

    `arrived` takes the agent's cell and the one in front; `free` says which cells it may enter.
    """
    queue, seen = deque([(start, [])]), {start}
    while queue:
        (row, col, heading), acts = queue.popleft()
        down, right = AHEAD[heading]
        ahead = (row + down, col + right)
        if arrived((row, col), ahead):
            return acts
        after = [
            ((row, col, (heading - 1) % 4), moves.left),
            ((row, col, (heading + 1) % 4), moves.right),
        ]
        if free(ahead):
            after.append(((*ahead, heading), moves.forward))
        for place, act in after:
            if place not in seen:
                seen.add(place)
                queue.append((place, [*acts, act]))
    return None
