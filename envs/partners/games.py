"""Players of matrix games that have a habit."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from marlx.envs.matrix import MatrixGame
from marlx.envs.roles import Partner, no_memory
from marlx.types import Array, Observation, Tree

MOSTLY = 0.7
"""How often the `mostly_...` of `game_heuristics` follow their habit."""


def game_heuristics(env: MatrixGame) -> tuple[Partner, ...]:
    """Players with a habit: `mostly_2` chooses action 2 in 70% of the steps, `always_2` in all.

    Otherwise any of the other actions, all of them equally likely; an action beyond an agent's own
    is its last. Habits are what there is to learn of a partner in a repeated game, from what it
    did: ours, the field has no set of them that is standard.
    """
    act = functools.partial(_by_habit, env.num_actions)
    return tuple(
        Partner(f"{name}_{i}", no_memory, act, (i, how_often))
        for name, how_often in (("mostly", MOSTLY), ("always", 1.0))
        for i in range(max(env.num_actions))
    )


def _by_habit(
    sizes: Sequence[int], habit: tuple[Array, Array], memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Actions of all agents, by a favourite and how often it is chosen."""
    favourite, how_often = habit
    size = jnp.asarray(sizes)
    favourite = jnp.minimum(favourite, size - 1)
    key_habit, key_other = jax.random.split(key)
    follows = jax.random.uniform(key_habit, size.shape) < how_often
    others = jnp.maximum(size - 1, 1)
    other = jax.random.randint(key_other, size.shape, 0, others)
    other = jnp.minimum(other + (other >= favourite), size - 1)
    return jnp.where(follows, favourite, other).astype(jnp.int32), memory
