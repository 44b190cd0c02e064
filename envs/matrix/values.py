"""Exact values of matrix games in which all agents but one follow a rule that is known.

The rule may depend on the last joint action. Then the game is a Markov decision process of stages
and last joint actions, small enough for dynamic programming over its tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from marlx.envs.matrix.game import MatrixGame


class Attack(NamedTuple):
    """The play of one agent that leaves the others the lowest expected return."""

    value: float  # the others' expected return, undiscounted
    policy: np.ndarray  # int [H, K, J + 1]: by step, stage and last joint action


def last_actions(game: MatrixGame) -> np.ndarray:
    """Returns int [J + 1, N], all joint actions in order, then -1 for none yet."""
    joint = list(itertools.product(*map(range, game.num_actions)))
    return np.array([*joint, (-1,) * len(game.num_actions)])


def best_attack(game: MatrixGame, attacker: int, chances: np.ndarray) -> Attack:
    """Returns the play of one agent that leaves all others the lowest return, by value iteration.

    It may depend on step, stage and last joint action.

    Args:
      game: the game; its horizon is that of the return.
      attacker: index of the agent.
      chances: f64 [J + 1, N, A], how probable each action of each agent is after each of
        `last_actions(game)`; the attacker's are not read.

    Raises:
      ValueError: there is no such agent, or it is alone.
    """
    chosen = []

    def lowest(values: np.ndarray) -> np.ndarray:
        chosen.append(values.argmin(-1))
        least: np.ndarray = values.min(-1)
        return least

    value = _backwards(game, attacker, chances, lowest)
    return Attack(value, np.stack(chosen[::-1]))


def value_against(game: MatrixGame, attacker: int, chances: np.ndarray, plays: np.ndarray) -> float:
    """Returns the expected return of all agents but one, which plays by a rule of its own.

    Args:
      game: the game.
      attacker: index of that agent.
      chances: as for `best_attack`.
      plays: f64 [J + 1, A] or [A], how probable each of its actions is.

    Raises:
      ValueError: there is no such agent, or it is alone.
    """
    return _backwards(game, attacker, chances, lambda values: (values * plays).sum(-1))


def _backwards(
    game: MatrixGame,
    attacker: int,
    chances: np.ndarray,
    choose: Callable[[np.ndarray], np.ndarray],
) -> float:
    """Returns the value of the first state, by backward induction over the horizon.

    Args:
      game: the game.
      attacker: index of an agent.
      chances: as for `best_attack`.
      choose: `(f64 [K, J + 1, A] values of the attacker's actions) -> f64 [K, J + 1]`.
    """
    facts = game.facts()
    sizes, payoff, following = game.num_actions, facts["payoff"], facts["next"]
    count, stages = len(sizes), len(payoff)
    if not 0 <= attacker < count or count < 2:
        raise ValueError(f"attacker is {attacker}; it must be 0 to {count - 1}, one of 2 or more")
    others = [i for i in range(count) if i != attacker]
    joint = last_actions(game)[:-1]
    paid = payoff[..., others].mean(-1).reshape(stages, -1)  # [K, J]
    after = following.reshape(stages, -1)
    likely = np.prod([chances[:, i, joint[:, i]] for i in others], axis=0)  # [J + 1, J]
    mine = joint[:, attacker] == np.arange(sizes[attacker])[:, None]  # [A, J]
    value = np.zeros((stages, len(joint) + 1))
    for _ in range(game.horizon):
        later = np.where(after < 0, 0.0, value[after, np.arange(len(joint))])
        expected = np.einsum("lj,kj,aj->kla", likely, paid + later, mine, optimize=True)
        value = choose(expected)
    return float(value[0, -1])
