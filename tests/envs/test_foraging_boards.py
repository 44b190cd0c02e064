"""First states of foraging have the documented distribution."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
import pytest
from foraging_cases import assert_distributed, resets

from marlx.envs.foraging import (
    Foraging,
    boards,
)


def test_reset_draws_the_documented_distribution_exactly() -> None:
    """All boards of a small world, with the exact probability of each."""
    env = Foraging(size=(5, 5), num_agents=1, num_food=2)
    cells = list(itertools.product(range(5), range(5)))
    inside = [(r, c) for r, c in cells if 0 < r < 4 and 0 < c < 4]
    probability: dict[Any, float] = {}
    for agent in cells:
        free = [f for f in inside if f != agent]
        for one in free:
            rest = [f for f in free if abs(f[0] - one[0]) + abs(f[1] - one[1]) > 2]
            for two in rest or [(-1, -1)]:
                board = (agent, *sorted([one, two], key=lambda f: (f[0] < 0, f)))
                chance = 1 / 25 / len(free) / max(1, len(rest))
                probability[board] = probability.get(board, 0.0) + chance
    assert sum(probability.values()) == pytest.approx(1)
    count = 40_000
    states = resets(env, count)
    rows = np.concatenate([states.agent_pos[:, 0], states.food_pos.reshape(count, 4)], 1)
    boards, counts = np.unique(rows, axis=0, return_counts=True)
    order = {board: k for k, board in enumerate(probability)}
    seen = np.zeros(len(order))
    for board, times in zip(boards.tolist(), counts, strict=True):
        seen[order[tuple(board[:2]), tuple(board[2:4]), tuple(board[4:])]] = times
    assert_distributed(seen, count * np.array(list(probability.values())))


def test_reset_places_every_agent_uniformly_and_apart() -> None:
    env = Foraging(size=(5, 6), num_agents=4, num_food=1)
    states = resets(env, 30_000)
    cells = states.agent_pos[..., 0] * 6 + states.agent_pos[..., 1]
    for i in range(4):
        assert_distributed(np.bincount(cells[:, i], minlength=30), np.full(30, 1000))
        for j in range(i):
            assert (cells[:, i] != cells[:, j]).all()
            joint = np.bincount(cells[:, i] * 30 + cells[:, j], minlength=900).reshape(30, 30)
            assert_distributed(joint, (1 - np.eye(30)) * 30_000 / 870)


def test_reset_draws_levels_by_the_rules() -> None:
    for env in (
        Foraging(num_agents=4, num_food=3, max_player_level=3, size=(9, 9)),
        Foraging(num_agents=2, num_food=2, force_coop=True),
        Foraging(num_agents=4, num_food=2, force_coop=True),
        Foraging(num_agents=3, num_food=2, min_food_level=2, max_food_level=5),
        Foraging(num_agents=2, num_food=2, max_food_level=3, force_coop=True),
    ):
        states = resets(env, 6_000)
        choices = env.max_player_level - env.min_player_level + 1
        levels = states.agent_level
        for i in range(env.num_agents):
            counts = np.bincount(levels[:, i] - env.min_player_level, minlength=choices)
            assert_distributed(counts, np.full(choices, 6_000 / choices))
        if env.max_food_level is None:
            top = np.sort(levels, axis=1)[:, :3].sum(1)
        else:
            top = np.full(6_000, env.max_food_level)
        for f in range(env.num_food):
            there = states.food_level[:, f] > 0
            if env.force_coop:
                assert (states.food_level[there, f] == top[there]).all()
                continue
            for most in np.unique(top):
                drawn = states.food_level[there & (top == most), f] - env.min_food_level
                width = most - env.min_food_level + 1
                if len(drawn) > 20 * width:
                    counts = np.bincount(drawn, minlength=width)
                    assert_distributed(counts, np.full(width, len(drawn) / width))
        np.testing.assert_array_equal(states.food_spawned, states.food_level.sum(1))


@pytest.mark.parametrize("size", [(7, 7), (6, 40), (40, 6)])
def test_reset_keeps_foods_apart_and_off_the_border(size: tuple[int, int]) -> None:
    env = Foraging(size=size, num_agents=3, num_food=4)
    states = resets(env, 3_000)
    assert (
        np.unique(states.food_pos[..., 0])
        == [-1, *range(1, size[0] - 1)][-len(np.unique(states.food_pos[..., 0])) :]
    ).all()
    there = states.food_level > 0
    for f, g in itertools.combinations(range(4), 2):
        pair = there[:, f] & there[:, g]
        off = np.abs(states.food_pos[pair, f] - states.food_pos[pair, g]).sum(1)
        assert (off > 2).all()
        order = states.food_pos[pair] @ np.array([1000, 1])
        assert (order[:, f] < order[:, g]).all()
        assert not (~there[:, f] & there[:, g]).any()
    for f, i in itertools.product(range(4), range(3)):
        assert (states.food_pos[:, f] != states.agent_pos[:, i]).any(1).all()
    row, col = states.food_pos[there].T
    assert row.min() == col.min() == 1 and (row.max(), col.max()) == (size[0] - 2, size[1] - 2)


def test_a_board_too_small_for_its_foods_has_fewer() -> None:
    """The original: 5x5 with two foods has only one in about 12 % of resets."""
    states = resets(Foraging(size=(5, 5), num_food=2), 20_000)
    assert np.mean(states.food_level[:, 1] == 0) == pytest.approx(0.12, abs=0.015)
    assert (states.food_level[:, 0] > 0).all()


def test_reset_counts_free_cells_also_for_many() -> None:
    env = Foraging(size=(7, 9), num_agents=20, num_food=8)
    draws = jax.random.bits(jax.random.key(5), (20,))
    got = jax.jit(lambda draws: boards.agent_cells(env, draws))(draws)
    free = list(range(7 * 9))
    np.testing.assert_array_equal(got, [free.pop(int(draw) % len(free)) for draw in draws])
