"""Which partner plays which agent, on a matrix game of three agents with partners by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.envs.matrix import MatrixGame
from marlx.envs.partners import Partner, no_memory
from marlx.envs.partners.cast import Kind, act_cast, act_partner, initial_memory, make_cast

GAME = MatrixGame(payoff=np.zeros((4, 4, 4)))


def fixed(policy: Any, memory: Any, obs: Any, key: Any) -> Any:
    """Every agent takes the action `policy`."""
    return jnp.full(3, policy, jnp.int32), memory


def counting(policy: Any, memory: Any, obs: Any, key: Any) -> Any:
    """Every agent takes the number of steps so far, plus `policy`."""
    return jnp.full(3, policy + memory, jnp.int32), memory + 1


def zero() -> Any:
    return jnp.int32(0)


POOL = (
    Partner("one", no_memory, fixed, jnp.int32(1)),
    Partner("two", no_memory, fixed, jnp.int32(2)),
    Partner("steps", zero, counting, jnp.int32(0)),
)
OBS = GAME.reset(jax.random.key(0))[0]


def play(cast: Any, team: int, steps: int = 2) -> list[list[int]]:
    """Actions of the agents that are not the learner's, step by step."""
    memory, rows = initial_memory(cast), []
    for t in range(steps):
        actions, memory = act_cast(cast, memory, jnp.int32(team), OBS, jax.random.key(t))
        rows.append([int(action) for action in actions])
    return rows


def test_partners_of_one_program_are_one_kind() -> None:
    cast = make_cast(GAME, POOL, (0,))
    assert [kind.size for kind in cast.kinds] == [2, 1]
    assert cast.others == (1, 2) and cast.names == ("one", "two", "steps")


def test_all_agents_of_a_seat_follow_the_partner_of_the_episode() -> None:
    cast = make_cast(GAME, POOL, (0,))
    assert [seat.agents for seat in cast.seats] == [(1, 2)]
    assert [play(cast, team) for team in range(3)] == [
        [[1, 1], [1, 1]],
        [[2, 2], [2, 2]],
        [[0, 0], [1, 1]],
    ]


def test_agents_of_a_team_have_a_seat_each() -> None:
    cast = make_cast(GAME, POOL, (1,), teams=((0, 2), (2, 1)))
    assert [seat.agents for seat in cast.seats] == [(0,), (2,)]
    assert cast.names == ("one + steps", "steps + two")
    assert play(cast, 0) == [[1, 0], [1, 1]] and play(cast, 1) == [[0, 2], [1, 2]]


@pytest.mark.parametrize(("size", "want"), [(1, 5), (2, 6)])
def test_a_partner_acts_with_its_own_parameters(size: int, want: int) -> None:
    """A kind of one partner ignores the place, which may be one in another kind."""
    kind = Kind(no_memory, fixed, jnp.array([5, 6][:size], jnp.int32), size)
    action, memory = act_partner(kind, jnp.int32(1), (), OBS, jax.random.key(0))
    assert action.tolist() == [want] * 3 and memory == ()
