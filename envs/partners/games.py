"""Heuristic partners for matrix games."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from marlx.envs.matrix import MatrixGame
from marlx.envs.partners.partner import HeuristicSet, Partner, no_memory
from marlx.types import Array, Observation, Tree

MOSTLY = 0.7
"""Probability of the favourite action of a `mostly_...` partner."""


def game_heuristics(env: MatrixGame) -> tuple[Partner, ...]:
    """Returns partners with a favourite action: `mostly_2` takes action 2 in 70% of the steps.

    `always_2` takes it in all steps. The other actions are equally likely; an action above an
    agent's own counts as its last one. In a repeated game, a habit is what an agent can learn about
    its partner from past actions. The set is our own, since there is no standard one.
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
    """Returns the actions of all agents.

    Args:
      sizes: number of actions of each agent.
      habit: the favourite action and its probability.
      memory: returned as it is.
      obs: not used.
      key: consumed.
    """
    favourite, how_often = habit
    size = jnp.asarray(sizes)
    favourite = jnp.minimum(favourite, size - 1)
    key_habit, key_other = jax.random.split(key)
    follows = jax.random.uniform(key_habit, size.shape) < how_often
    others = jnp.maximum(size - 1, 1)
    other = jax.random.randint(key_other, size.shape, 0, others)
    other = jnp.minimum(other + (other >= favourite), size - 1)
    return jnp.where(follows, favourite, other).astype(jnp.int32), memory


HEURISTICS = HeuristicSet(kind=MatrixGame, make=game_heuristics)
