"""Heuristic partners for matrix games."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.envs import partners
from marlx.envs.matrix import MatrixGame
from marlx.types import Observation


def test_players_of_games_have_habits() -> None:
    """As often as their names say, and each of the other actions as often as the next."""
    env = MatrixGame(payoff=[[1, 2, 3, 4], [5, 6, 7, 8]], horizon=25)
    known = partners.heuristics(env)
    obs = Observation(jnp.zeros((2, 2)), jnp.ones((2, 4), bool), jnp.zeros(2))

    def often(name: str) -> Any:
        act = functools.partial(known[name].act, known[name].policy, ())
        did, _ = jax.vmap(act, (None, 0))(obs, jax.random.split(jax.random.key(0), 30_000))
        return jax.nn.one_hot(did, 4).mean(0)

    np.testing.assert_allclose(
        often("mostly_2"), [[0.3, 0.7, 0, 0], [0.1, 0.1, 0.7, 0.1]], atol=0.01
    )
    assert often("always_0")[:, 0].tolist() == [1, 1]
