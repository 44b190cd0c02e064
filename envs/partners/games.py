"""Heuristic partners for matrix games."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs.matrix import MatrixGame
from marlx.envs.matrix.values import last_actions
from marlx.envs.partners.partner import HeuristicSet, Partner, no_memory
from marlx.types import Array, Observation, Tree

MOSTLY = 0.7
"""Probability of the favourite action of a `mostly_...` partner."""
FOLLOWS = 0.9
"""Probability with which a `majority` partner does what most others did."""


def game_heuristics(env: MatrixGame) -> tuple[Partner, ...]:
    """Returns partners with a favourite action: `mostly_2` takes action 2 in 70% of the steps.

    `always_2` takes it in all steps. The other actions are equally likely; an action above an
    agent's own counts as its last one. In a repeated game, a habit is what an agent can learn about
    its partner from past actions. The set is our own, since there is no standard one.

    Where agents see the last actions there is also `majority`, which plays `FOLLOWS` of its steps
    as most of the others did last (ties at random), and all other steps at random: a team that can
    be led astray. A pool has it only where it is named.
    """
    act = functools.partial(_by_habit, env.num_actions)
    habits = tuple(
        Partner(f"{name}_{i}", no_memory, act, (i, how_often))
        for name, how_often in (("mostly", MOSTLY), ("always", 1.0))
        for i in range(max(env.num_actions))
    )
    if env.observation != "last_action":
        return habits
    follow = functools.partial(_by_majority, env.num_actions)
    return (*habits, Partner("majority", no_memory, follow, FOLLOWS))


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


def majority_chances(env: MatrixGame, follows: float = FOLLOWS) -> np.ndarray:
    """Returns f64 [J + 1, N, A], how probable each action of a `majority` partner is.

    Args:
      env: the game.
      follows: probability to do what most others did.

    The first axis is that of `marlx.envs.matrix.values.last_actions`: all joint actions, then none
    yet. The functions there take this table.
    """
    hots = jax.nn.one_hot(last_actions(env), max(env.num_actions))  # 0 where there is none yet
    return np.asarray(jax.vmap(_followed, (0, None, None))(hots, _legal(env.num_actions), follows))


def _by_majority(
    sizes: Sequence[int], follows: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns the actions of all agents; see `majority_chances`.

    Args:
      sizes: number of actions of each agent.
      follows: probability to do what most others did.
      memory: returned as it is.
      obs: of the last actions, which all agents see.
      key: consumed.
    """
    widest, first, hots = max(sizes), 0, []
    for size in sizes:
        hots.append(jnp.pad(obs.local[0, first : first + size], (0, widest - size)))
        first += size
    chances = _followed(jnp.stack(hots), _legal(sizes), follows)
    action = jax.random.categorical(key, jnp.log(chances))
    return action.astype(jnp.int32), memory


def _followed(hots: Array, legal: np.ndarray, follows: Array | float) -> Array:
    """Returns f32 [N, A], chances of actions after one-hots [N, A] of the last ones; 0: none."""
    votes = jnp.where(legal, hots.sum(0) - hots, -1.0)
    most = votes == votes.max(-1, keepdims=True)
    chosen, uniform = (x / x.sum(-1, keepdims=True) for x in (most, legal.astype(np.float32)))
    return jnp.asarray(follows * chosen + (1 - follows) * uniform)


def _legal(sizes: Sequence[int]) -> np.ndarray:
    """Returns bool [N, A], the actions that agents have."""
    return np.arange(max(sizes)) < np.array(sizes)[:, None]


HEURISTICS = HeuristicSet(kind=MatrixGame, make=game_heuristics)
