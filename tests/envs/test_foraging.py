"""Foraging against lbforaging, state by state, and against its own documentation."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.envs import foraging
from marlx.envs.foraging import (
    EAST,
    LOAD,
    NONE,
    NORTH,
    SOUTH,
    WEST,
    Foraging,
    ForagingState,
    arrays,
    boards,
    unrolled,
)
from marlx.loop.vector import vector_reset, vector_step

CONFIGS = {
    "8x8-2p-2f": Foraging(),
    "8x8-2p-2f-coop-pen": Foraging(force_coop=True, penalty=0.1),
    "2s-8x8-3p-2f": Foraging(sight=2, num_agents=3),
    "1s-6x7-3p-2f-raw": Foraging(
        sight=1, size=(6, 7), num_agents=3, normalize_reward=False, penalty=0.5
    ),
    "2s-9x6-4p-3f-hidden": Foraging(
        sight=2, size=(9, 6), num_agents=4, num_food=3, observe_levels=False
    ),
    "7s-8x8-2p-4f": Foraging(sight=7, num_food=4, max_player_level=3, max_food_level=5),
    "grid-2s-8x8-3p-3f": Foraging(observation="grid", sight=2, num_agents=3, num_food=3),
    "2s-9x9-8p-4f-pen": Foraging(sight=2, size=(9, 9), num_agents=8, num_food=4, penalty=0.1),
    "grid-6x6-2p-2f-hidden": Foraging(observation="grid", size=(6, 6), observe_levels=False),
}


@dataclasses.dataclass
class Board:
    """One state and joint action, in plain numbers."""

    pos: list[tuple[int, int]]
    level: list[int]
    grid: np.ndarray
    action: list[int]
    step: int = 0
    spawned: int | None = None


# ---------------------------------------------------------------- the original


def original(env: Foraging) -> Any:
    """lbforaging's environment with the same settings."""
    module = pytest.importorskip("lbforaging.foraging.environment")
    import gymnasium

    cls = module.ForagingEnv
    if env.observation == "grid":
        # lbforaging 2.0.0 asks current gymnasium for a grid space of a wrong shape.
        class GridEnv(cls):
            def _get_observation_space(self):
                shape = (3, 2 * self.sight + 1, 2 * self.sight + 1)
                return gymnasium.spaces.Box(0, 1000, shape, np.float32)

        cls = GridEnv
    ref = cls(
        players=env.num_agents,
        min_player_level=env.min_player_level,
        max_player_level=env.max_player_level,
        min_food_level=env.min_food_level,
        max_food_level=env.max_food_level,
        field_size=env.size,
        max_num_food=env.num_food,
        sight=env.view,
        max_episode_steps=env.horizon,
        force_coop=env.force_coop,
        normalize_reward=env.normalize_reward,
        grid_observation=env.observation == "grid",
        observe_agent_levels=env.observe_levels,
        penalty=env.penalty,
    )
    ref.reset(seed=0)
    return ref


def seen(ref: Any) -> tuple[np.ndarray, np.ndarray]:
    """The original's observations [N, O] and masks [N, 6] in its present state."""
    obs = np.stack([np.asarray(o).reshape(-1) for o in ref._make_gym_obs()])
    mask = np.zeros((len(ref.players), 6), bool)
    for i, player in enumerate(ref.players):
        for action in ref._valid_actions[player]:
            mask[i, action.value] = True
    return obs, mask


def play(ref: Any, board: Board) -> dict[str, np.ndarray]:
    """What the original shows of a board, and after one step of it."""
    ref.field = np.array(board.grid, np.int32)
    for player, pos, level in zip(ref.players, board.pos, board.level, strict=True):
        player.position = (int(pos[0]), int(pos[1]))
        player.level, player.reward, player.score = int(level), 0, 0
    ref._food_spawned = int(ref.field.sum()) if board.spawned is None else board.spawned
    ref.current_step = board.step
    ref._game_over = False
    ref._gen_valid_moves()
    before, mask_before = seen(ref)
    _, reward, done, _, _ = ref.step([int(a) for a in board.action])
    after, mask_after = seen(ref)
    return {
        "before": before,
        "mask_before": mask_before,
        "after": after,
        "mask_after": mask_after,
        "reward": np.array(reward, np.float64),
        "done": np.array(done),
        "pos": np.array([p.position for p in ref.players]),
        "grid": np.array(ref.field),
    }


# ---------------------------------------------------------------- boards


def random_board(env: Foraging, rng: np.random.Generator) -> Board:
    """A legal board with the agents crowded around the foods, and actions that lean to loading."""
    rows, cols = env.size
    grid = np.zeros(env.size, int)
    top = env.max_food_level or 3 * env.max_player_level
    for _ in range(rng.integers(1, env.num_food + 1)):
        r, c = rng.integers(1, rows - 1), rng.integers(1, cols - 1)
        apart = all(abs(r - a) + abs(c - b) > 2 for a, b in np.argwhere(grid))
        if apart:
            grid[r, c] = rng.integers(1, min(top, 2 * env.max_player_level) + 1)
    foods = np.argwhere(grid)
    pos: list[tuple[int, int]] = []
    while len(pos) < env.num_agents:
        centre = foods[rng.integers(len(foods))] if rng.random() < 0.8 else (0, 0)
        reach = 2 if rng.random() < 0.8 else max(env.size)
        r, c = np.array(centre) + rng.integers(-reach, reach + 1, 2)
        if 0 <= r < rows and 0 <= c < cols and not grid[r, c]:
            pos.append((int(r), int(c)))  # two agents in one cell happen
    level = rng.integers(env.min_player_level, env.max_player_level + 1, env.num_agents)
    action = np.where(rng.random(env.num_agents) < 0.4, LOAD, rng.integers(0, 6, env.num_agents))
    spawned = int(grid.sum() + rng.integers(0, 4))
    return Board(
        pos, level.tolist(), grid, action.tolist(), int(rng.integers(0, env.horizon)), spawned
    )


def sampled_boards(env: Foraging, count: int, rng: np.random.Generator) -> list[Board]:
    """Boards of our own resets."""
    keys = jax.random.split(jax.random.key(3), count)
    states = jax.device_get(jax.jit(jax.vmap(env.reset_env, (0, None)))(keys, env.default_params))
    boards = []
    for b in range(count):
        grid = np.zeros(env.size, int)
        for (r, c), level in zip(states.food_pos[b], states.food_level[b], strict=True):
            if level:
                grid[r, c] = level
        pos = [(int(r), int(c)) for r, c in states.agent_pos[b]]
        action = rng.integers(0, 6, env.num_agents).tolist()
        boards.append(Board(pos, states.agent_level[b].tolist(), grid, action))
    return boards


def stacked(env: Foraging, boards: list[Board]) -> tuple[ForagingState, jax.Array]:
    """All boards as one batched state, and their actions."""
    states = [
        jax.device_get(env.make_state(b.pos, b.level, b.grid, b.step, b.spawned)) for b in boards
    ]
    return (
        jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *states),
        jnp.asarray([b.action for b in boards], jnp.int32),
    )


@functools.cache
def stepper(env: Foraging) -> Any:
    """Observation before, step, observation after, of a batch, without reset."""
    params = env.default_params

    def one(state: ForagingState, action: jax.Array) -> Any:
        after, reward, terminated, _ = env.step_env(jax.random.key(0), state, action, params)
        grid = env.food_grid(after)
        return (
            env.observe(state, params),
            after,
            env.observe(after, params),
            reward,
            terminated,
            grid,
        )

    return jax.jit(jax.vmap(one))


def assert_parity(env: Foraging, boards: list[Board]) -> None:
    before, after, obs, reward, terminated, grid = jax.device_get(
        stepper(env)(*stacked(env, boards))
    )
    ref = original(env)
    theirs = [play(ref, board) for board in boards]
    want = {k: np.stack([t[k] for t in theirs]) for k in theirs[0]}
    np.testing.assert_array_equal(before.local, want["before"])
    np.testing.assert_array_equal(before.action_mask, want["mask_before"])
    np.testing.assert_array_equal(after.agent_pos, want["pos"])
    np.testing.assert_array_equal(grid, want["grid"])
    np.testing.assert_array_equal(obs.local, want["after"])
    np.testing.assert_array_equal(obs.action_mask, want["mask_after"])
    np.testing.assert_allclose(reward, want["reward"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(terminated, want["grid"].sum((1, 2)) == 0)
    # Their one flag is our two: no food left, or out of time.
    timeout = np.array([b.step + 1 >= env.horizon for b in boards])
    np.testing.assert_array_equal(terminated | timeout, want["done"])
    full = [
        [n for r, c in np.argwhere(t["grid"]) for n in (r, c, t["grid"][r, c])]
        + [-1, -1, 0] * (env.num_food - np.count_nonzero(t["grid"]))
        + [n for p, level in zip(t["pos"], b.level, strict=True) for n in (*p, level)]
        for t, b in zip(theirs, boards, strict=True)
    ]
    np.testing.assert_array_equal(obs.global_state, np.array(full, np.float32))
    assert obs.local.dtype == obs.global_state.dtype == np.float32
    assert obs.action_mask.dtype == bool and reward.dtype == np.float32


@pytest.mark.parametrize("config", CONFIGS)
def test_parity_with_the_original(config: str) -> None:
    env = CONFIGS[config]
    rng = np.random.default_rng(1)
    boards = [random_board(env, rng) for _ in range(600)] + sampled_boards(env, 150, rng)
    assert_parity(env, boards)


# ---------------------------------------------------------------- corner cases

CORNERS = Foraging(num_agents=3, num_food=3, penalty=0.1, max_player_level=3, max_food_level=9)
AWAY = (7, 7)


def corner(pos: Any, action: Any, foods: Any = (), level: Any = (1, 2, 3), **more: Any) -> Board:
    grid = np.zeros(CORNERS.size, int)
    for row, col, value in [*foods, (1, 6, 9)]:  # the last keeps the episode going
        grid[row, col] = value
    return Board(list(pos), list(level), grid, list(action), **more)


MOVES = {
    "swap": (corner([(3, 3), (3, 4), AWAY], [EAST, WEST, NONE]), [(3, 4), (3, 3), AWAY]),
    "follow": (corner([(3, 3), (3, 4), AWAY], [EAST, EAST, NONE]), [(3, 4), (3, 5), AWAY]),
    "chain": (corner([(3, 2), (3, 3), (3, 4)], [EAST, EAST, NONE]), [(3, 3), (3, 3), (3, 4)]),
    "chain back": (corner([(3, 4), (3, 3), (3, 2)], [NONE, EAST, EAST]), [(3, 4), (3, 3), (3, 3)]),
    "same target": (corner([(3, 3), (3, 5), AWAY], [EAST, WEST, NONE]), [(3, 3), (3, 5), AWAY]),
    "three to one": (
        corner([(3, 3), (3, 5), (2, 4)], [EAST, WEST, SOUTH]),
        [(3, 3), (3, 5), (2, 4)],
    ),
    "stands in the way": (
        corner([(3, 3), (3, 4), AWAY], [EAST, NONE, NONE]),
        [(3, 3), (3, 4), AWAY],
    ),
    "loads in the way": (
        corner([(3, 3), (3, 4), AWAY], [EAST, LOAD, NONE], [(4, 4, 9)]),
        [(3, 3), (3, 4), AWAY],
    ),
    "leave a shared cell": (
        corner([(3, 3), (3, 3), AWAY], [EAST, WEST, NONE]),
        [(3, 4), (3, 2), AWAY],
    ),
    "one leaves": (corner([(3, 3), (3, 3), AWAY], [EAST, NONE, NONE]), [(3, 4), (3, 3), AWAY]),
    "both stay": (corner([(3, 3), (3, 3), AWAY], [NONE, LOAD, NONE]), [(3, 3), (3, 3), AWAY]),
    "board's edge": (
        corner([(0, 0), (7, 7), (0, 7)], [NORTH, EAST, NORTH]),
        [(0, 0), (7, 7), (0, 7)],
    ),
    "edge, other way": (
        corner([(0, 0), (7, 7), (7, 0)], [WEST, SOUTH, WEST]),
        [(0, 0), (7, 7), (7, 0)],
    ),
    "food in the way": (
        corner([(3, 3), (4, 4), (3, 5)], [EAST, NORTH, WEST], [(3, 4, 1)]),
        [(3, 3), (4, 4), (3, 5)],
    ),
    "eaten too late": (
        corner([(3, 3), (2, 4), AWAY], [EAST, LOAD, NONE], [(3, 4, 1)]),
        [(3, 3), (2, 4), AWAY],
    ),
}

LOADS = {
    "together": (
        corner([(3, 3), (2, 4), AWAY], [LOAD, LOAD, NONE], [(3, 4, 3)]),
        [1 / 12, 2 / 12, 0],
    ),
    "all three": (
        corner([(3, 3), (2, 4), (4, 4)], [LOAD] * 3, [(3, 4, 6)]),
        [6 * k / 6 / 15 for k in (1, 2, 3)],
    ),
    "more than enough": (
        corner([(3, 3), AWAY, (2, 4)], [LOAD, NONE, LOAD], [(3, 4, 2)]),
        [0.5 / 11, 0, 1.5 / 11],
    ),
    "one alone": (corner([(3, 3), AWAY, (0, 0)], [LOAD, NONE, NONE], [(3, 4, 1)]), [0.1, 0, 0]),
    "idle neighbour": (
        corner([(3, 3), (2, 4), AWAY], [LOAD, NONE, NONE], [(3, 4, 3)]),
        [-0.1, 0, 0],
    ),
    "fails": (corner([(3, 3), (2, 4), AWAY], [LOAD, LOAD, NONE], [(3, 4, 4)]), [-0.1, -0.1, 0]),
    "nothing near": (corner([(3, 3), (3, 2), AWAY], [LOAD, LOAD, LOAD], [(5, 5, 1)]), [0, 0, 0]),
    "in one cell": (
        corner([(3, 3), (3, 3), AWAY], [LOAD, LOAD, NONE], [(3, 4, 3)]),
        [1 / 12, 2 / 12, 0],
    ),
    "two foods": (
        corner([(3, 3), (5, 2), AWAY], [LOAD, LOAD, NONE], [(3, 4, 1), (5, 3, 2)]),
        [1 / 12, 2 / 12, 0],
    ),
    "one of two": (
        corner([(3, 3), (5, 2), AWAY], [LOAD, LOAD, NONE], [(3, 4, 2), (5, 3, 2)]),
        [-0.1, 2 / 13, 0],
    ),
    "earlier food counts": (
        corner([(3, 3), AWAY, (0, 0)], [LOAD, NONE, NONE], [(3, 4, 1)], spawned=20),
        [0.05, 0, 0],
    ),
    "north first": (
        corner([(3, 3), AWAY, (0, 0)], [LOAD, NONE, NONE], [(2, 3, 1), (4, 3, 1)]),
        [1 / 11, 0, 0],
    ),
    "then south": (
        corner([(3, 3), AWAY, (0, 0)], [LOAD, NONE, NONE], [(4, 3, 1), (3, 2, 1)]),
        [1 / 11, 0, 0],
    ),
    "then west": (
        corner([(3, 3), AWAY, (0, 0)], [LOAD, NONE, NONE], [(3, 2, 1), (3, 4, 1)]),
        [1 / 11, 0, 0],
    ),
}


def test_corner_cases_are_the_originals() -> None:
    boards = [board for board, _ in [*MOVES.values(), *LOADS.values()]]
    assert_parity(CORNERS, boards)
    for env in (
        dataclasses.replace(CORNERS, sight=1),
        dataclasses.replace(CORNERS, normalize_reward=False),
        dataclasses.replace(CORNERS, sight=2, observation="grid"),
    ):
        assert_parity(env, boards)


def test_corner_cases_by_hand() -> None:
    names = [*MOVES, *LOADS]
    boards = [board for board, _ in [*MOVES.values(), *LOADS.values()]]
    _, after, _, reward, terminated, grid = jax.device_get(
        stepper(CORNERS)(*stacked(CORNERS, boards))
    )
    for b, name in enumerate(names):
        if name in MOVES:
            assert [tuple(p) for p in after.agent_pos[b].tolist()] == MOVES[name][1], name
        else:
            np.testing.assert_allclose(reward[b], LOADS[name][1], atol=1e-6, err_msg=name)
    left = {
        name: [tuple(map(int, p)) for p in np.argwhere(grid[names.index(name)])] for name in LOADS
    }
    assert left["north first"] == [(1, 6), (4, 3)]
    assert left["then south"] == [(1, 6), (3, 2)]
    assert left["then west"] == [(1, 6), (3, 4)]
    assert not terminated.any()


def test_agents_next_to_two_foods_load_in_agent_order() -> None:
    """Only hand-made boards have such agents; the original's order is that of a Python set."""
    env = Foraging(num_agents=2, num_food=2)
    grid = np.zeros(env.size, int)
    grid[3, 3], grid[5, 3] = 3, 1
    # Both stand between the foods' columns; agent 0 faces north and takes agent 1 with it.
    state = env.make_state([(4, 3), (3, 2)], [1, 2], grid)
    after, reward, _, _ = env.step_env(
        jax.random.key(0), state, jnp.array([LOAD, LOAD]), env.default_params
    )
    np.testing.assert_allclose(reward, [1 / 4, 2 / 4], atol=1e-6)
    assert after.food_pos.tolist() == [[5, 3], [-1, -1]]


def test_eaten_food_moves_the_later_ones_up_and_the_last_ends_the_episode() -> None:
    env = Foraging(num_agents=2, num_food=3)
    grid = np.zeros(env.size, int)
    grid[1, 1], grid[2, 5], grid[5, 2] = 1, 1, 2
    state = env.make_state([(0, 1), (2, 4)], [1, 1], grid)
    params = env.default_params
    both = jnp.array([LOAD, LOAD])
    after, reward, terminated, _ = env.step_env(jax.random.key(0), state, both, params)
    assert after.food_pos.tolist() == [[5, 2], [-1, -1], [-1, -1]]
    assert after.food_level.tolist() == [2, 0, 0] and not terminated
    assert env.observe(after, params).local[0, :9].tolist() == [5, 2, 2, -1, -1, 0, -1, -1, 0]
    grid[:] = 0
    grid[5, 2] = 2
    state = env.make_state([(5, 1), (4, 2)], [1, 1], grid, step=9, food_spawned=4)
    _, reward, terminated, _ = env.step_env(jax.random.key(0), state, both, params)
    np.testing.assert_allclose(reward, [0.25, 0.25])
    assert terminated


def test_sight_is_asymmetric_near_the_border_for_agents_but_not_for_foods() -> None:
    env = Foraging(sight=2, num_agents=2, num_food=1)
    grid = np.zeros(env.size, int)
    grid[4, 1] = 1
    state = env.make_state([(0, 0), (4, 0)], [1, 2], grid)
    local = env.observe(state, env.default_params).local
    assert local[0].tolist() == [-1, -1, 0, 0, 0, 1, 4, 0, 2]
    assert local[1].tolist() == [2, 1, 1, 2, 0, 2, -1, -1, 0]


# ---------------------------------------------------------------- resets


def resets(env: Foraging, count: int, seed: int = 0) -> ForagingState:
    keys = jax.random.split(jax.random.key(seed), count)
    return jax.device_get(jax.jit(jax.vmap(env.reset_env, (0, None)))(keys, env.default_params))


def assert_distributed(counts: Any, expected: Any) -> None:
    """Pearson's statistic within five standard deviations of its mean under the null."""
    counts, expected = np.asarray(counts, float).ravel(), np.asarray(expected, float).ravel()
    assert counts[expected == 0].sum() == 0
    counts, expected = counts[expected > 0], expected[expected > 0]
    assert expected.min() > 5
    degrees = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees), (statistic, degrees)


def test_reset_draws_the_documented_distribution_exactly() -> None:
    """All boards of a small world, with the probability of each worked out draw by draw."""
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


# ---------------------------------------------------------------- few and many


def crowded(env: Foraging, rng: np.random.Generator) -> ForagingState:
    """A board whose foods may be so close that agents are next to two or more."""
    inner = [(r, c) for r in range(1, env.size[0] - 1) for c in range(1, env.size[1] - 1)]
    grid = np.zeros(env.size, int)
    for r, c in rng.permutation(inner)[: env.num_food]:
        grid[r, c] = rng.integers(1, 5)
    pos = rng.permutation(np.argwhere(grid == 0))[: env.num_agents]
    pos[-1] = pos[rng.integers(env.num_agents)]  # two agents in one cell happen
    level = rng.integers(1, 3, env.num_agents)
    return env.make_state(pos, level, grid, food_spawned=int(grid.sum()) + 2)


@pytest.mark.parametrize(
    "settings",
    [
        {"penalty": 0.1, "subgoal_kind": "load"},
        {"sight": 2, "observe_levels": False, "normalize_reward": False},
        {"sight": 1, "observation": "grid", "subgoal_kind": "load", "force_coop": True},
        {"observation": "grid", "observe_levels": False},
        {"observe_levels": False, "max_food_level": 2, "horizon": 5},
    ],
)
def test_arrays_and_single_numbers_agree_to_the_bit(settings: Any) -> None:
    env = Foraging(size=(6, 6), num_agents=4, num_food=3, **settings)

    def play(rules: Any, state: ForagingState, action: jax.Array) -> Any:
        ended, reward, terminated = rules.step(env, state, action)
        subgoals = rules.beside(env, ended), rules.visible(env, ended)
        return ended, reward, terminated, rules.observe(env, ended), subgoals

    both = [jax.jit(jax.vmap(functools.partial(play, rules))) for rules in (unrolled, arrays)]
    keys = jax.random.split(jax.random.key(0), 64)
    fresh = jax.jit(jax.vmap(lambda key: env.reset_env(key, env.default_params)))
    rng = np.random.default_rng(0)
    by_hand = jax.tree.map(lambda *x: jnp.stack(x), *(crowded(env, rng) for _ in range(64)))
    paid = ends = 0
    for t in range(24):
        if t in (0, 12):
            state = by_hand if t == 0 else fresh(keys)
        action = rng.choice(6, (64, 4), p=[0.1, 0.15, 0.15, 0.15, 0.15, 0.3])
        one, other = (jax.device_get(play(state, action)) for play in both)
        jax.tree.map(np.testing.assert_array_equal, one, other)
        state, reward, terminated, *_ = one
        paid, ends = paid + (reward != 0).sum(), ends + terminated.sum()
    assert paid > 40 and ends > 0, (paid, ends)


@pytest.mark.parametrize("settings", [{}, {"sight": 2}, {"sight": 2, "observation": "grid"}])
def test_programs_hardly_grow_with_agents_and_foods(settings: Any) -> None:
    def lines(agents: int, foods: int) -> int:
        env = Foraging(size=(20, 20), num_agents=agents, num_food=foods, **settings)
        params, action = env.default_params, jnp.zeros((8, agents), jnp.int32)
        state = jax.eval_shape(lambda key: vector_reset(env, params, key, 8)[1], jax.random.key(0))
        step = jax.jit(lambda key, state: vector_step(env, params, key, state, action))
        return len(step.lower(jax.random.key(0), state).as_text().splitlines())

    assert lines(64, 40) < 1.3 * lines(8, 8)


# ---------------------------------------------------------------- time limit and auto-reset


def batch_of(env: Foraging, num_envs: int, seed: int) -> tuple[ForagingState, jax.Array, jax.Array]:
    """States at random times, actions, and a key."""
    keys = jax.random.split(jax.random.key(seed), 4)
    _, state = vector_reset(env, env.default_params, keys[0], num_envs)
    time = jax.random.randint(keys[1], (num_envs,), 0, env.horizon)
    action = jax.random.randint(keys[2], (num_envs, env.num_agents), 0, 6)
    return state.replace(time=time), action, keys[3]


@pytest.mark.parametrize("num_envs", [1, pytest.param(48, marks=pytest.mark.slow)])
def test_vector_step_is_a_step_and_a_fresh_episode_where_one_ended(num_envs: int) -> None:
    env = Foraging(num_agents=3, horizon=3)
    params = env.default_params
    step = jax.jit(lambda key, state, action: vector_step(env, params, key, state, action))
    plain = jax.jit(jax.vmap(lambda s, a: env.step_env(jax.random.key(0), s, a, params)))
    observe = jax.jit(jax.vmap(lambda s: env.observe(s, params)))
    ends = []
    for seed in range(12):
        state, action, key = batch_of(env, num_envs, seed)
        ended, reward, terminated, _ = plain(state, action)
        obs, after, got_reward, got_terminated, truncated, info = step(key, state, action)
        done = np.asarray(terminated | (ended.time >= 3))
        ends.append(done)
        same = jax.tree.map(
            np.testing.assert_array_equal, info["final_observation"], observe(ended)
        )
        del same
        np.testing.assert_array_equal(got_reward, reward)
        np.testing.assert_array_equal(got_terminated, terminated)
        np.testing.assert_array_equal(truncated, ended.time >= 3)
        np.testing.assert_array_equal(info["truncated"], truncated)
        jax.tree.map(np.testing.assert_array_equal, obs, observe(after))
        jax.tree.map(
            lambda a, b, done=done: np.testing.assert_array_equal(a[~done], b[~done]), after, ended
        )
        assert (after.time[done] == 0).all()
        fresh = np.asarray(after.agent_pos)[done].reshape(done.sum(), 6)
        assert len(np.unique(fresh, axis=0)) >= done.sum() - 1, "fresh episodes repeat a draw"
    assert 0 < np.mean(ends) < 1


def test_time_limit_truncates_and_does_not_terminate() -> None:
    env = Foraging(horizon=2)
    params = env.default_params
    obs, state = env.reset(jax.random.key(0))
    still = jnp.zeros(2, jnp.int32)
    _, state, _, terminated, truncated, _ = env.step(jax.random.key(1), state, still, params)
    assert not terminated and not truncated and state.time == 1
    _, state, _, terminated, truncated, info = env.step(jax.random.key(2), state, still, params)
    assert truncated and not terminated and state.time == 0
    jax.tree.map(np.testing.assert_array_equal, info["final_observation"], obs)


def test_vector_step_under_vmap_is_the_same_for_each_seed() -> None:
    env = Foraging(horizon=3)
    params = env.default_params

    def step(key, state, action):
        return vector_step(env, params, key, state, action)

    batches = [batch_of(env, 20, seed) for seed in range(3)]
    together = jax.tree.map(lambda *x: jnp.stack(x), *batches)
    got = jax.jit(jax.vmap(step))(together[2], together[0], together[1])
    for k, (state, action, key) in enumerate(batches):
        alone = jax.jit(step)(key, state, action)
        jax.tree.map(lambda a, b, k=k: np.testing.assert_array_equal(a[k], b), got, alone)


def test_episodes_are_independent_of_each_other_and_of_the_last() -> None:
    env = Foraging(size=(3, 4), num_agents=1, num_food=1, horizon=1)
    params = env.default_params

    def body(state, key):
        _, state, *_ = vector_step(env, params, key, state, jnp.zeros((32, 1), jnp.int32))
        return state, state.agent_pos[:, 0, 0] * 4 + state.agent_pos[:, 0, 1]

    _, state = vector_reset(env, params, jax.random.key(0), 32)
    keys = jax.random.split(jax.random.key(1), 1000)
    cells = np.asarray(jax.jit(lambda: jax.lax.scan(body, state, keys)[1])())  # [T, B]
    for first, second in (
        (cells[:-1], cells[1:]),
        (cells[:, :-1], cells[:, 1:]),
        (cells[1:, :-1], cells[:-1, 1:]),
    ):
        joint = np.bincount((first * 12 + second).ravel(), minlength=144)
        assert_distributed(joint, np.full(144, first.size / 144))


# ---------------------------------------------------------------- settings, ids, pictures


def test_spec_says_what_observations_are() -> None:
    for env in CONFIGS.values():
        spec = env.spec()
        obs, _ = env.reset(jax.random.key(0))
        assert obs.local.shape == (spec.num_agents, spec.obs_size)
        assert obs.action_mask.shape == (spec.num_agents, spec.num_actions)
        assert obs.global_state.shape == (spec.state_size,)
        assert spec.storage == "int8" and spec.reward_aggregation == "sum"
        assert max(abs(obs.local).max(), abs(obs.global_state).max()) <= spec.scale
    assert Foraging().spec().optimum == 1.0
    assert Foraging(normalize_reward=False).spec().optimum is None
    assert Foraging(max_food_level=5).spec().optimum is None, (
        "two agents of level 1 cannot lift a 5"
    )
    assert Foraging(size=(200, 9)).spec().storage == "int16"
    params = Foraging().default_params.replace(max_steps_in_episode=7)
    assert Foraging().spec(params).horizon == 7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (2, 8)}, "size is (2, 8)"),
        ({"size": (3, 3), "num_food": 9}, "num_food is 9; a 3x3 board can hold no more than 1 "),
        ({"size": (5, 5), "num_food": 3}, "num_food is 3; a 5x5 board can hold no more than 2 "),
        (
            {"size": (20, 20), "num_food": 80},
            "num_food is 80; a 20x20 board can hold no more than 79 ",
        ),
        ({"num_food": 0}, "num_food is 0"),
        ({"num_agents": 0}, "num_agents is 0"),
        (
            {"size": (3, 3), "num_food": 1, "num_agents": 9},
            "num_agents is 9; a 3x3 board has room for 8 ",
        ),
        ({"sight": 0}, "sight is 0; it must be 1 or more, or None"),
        ({"min_player_level": 0}, "min_player_level is 0"),
        ({"min_player_level": 3}, "max_player_level is 2; it must be at least min_player_level, 3"),
        ({"max_player_level": 400}, "max_player_level is 400; it must be at most 333"),
        ({"min_food_level": 0}, "min_food_level is 0"),
        (
            {"min_food_level": 3},
            "min_food_level is 3; with max_food_level None it must be at most 2",
        ),
        ({"min_food_level": 3, "max_food_level": 2}, "max_food_level is 2; it must be at least"),
        ({"max_food_level": 1000}, "max_food_level is 1000"),
        ({"penalty": -0.1}, "penalty is -0.1"),
        ({"observation": "pixels"}, "observation is 'pixels'; it must be 'vector' or 'grid'"),
        ({"horizon": 0}, "horizon is 0"),
    ],
)
def test_settings_that_cannot_be_played_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Foraging(**settings)


def test_the_most_foods_a_small_board_holds_is_exact() -> None:
    """6x6 with 4 foods does come up, in a third of resets; 5 never fits there."""
    assert [foraging.most_foods(n, n) for n in (3, 4, 5, 6)] == [1, 1, 2, 4]
    assert (resets(Foraging(size=(6, 6), num_food=4), 500).food_level[:, 3] > 0).any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"agent_pos": [(0, 0)]}, "agent_pos has shape (1, 2); it must be (2, 2)"),
        ({"agent_level": [1, 1, 1]}, "agent_level has shape (3,); it must be (2,)"),
        ({"food_grid": np.zeros((4, 4), int)}, "food_grid has shape (4, 4); it must be (8, 8)"),
        ({"agent_pos": [(0, 0), (8, 0)]}, "agent 1 is at (8, 0), off the 8x8 board"),
        ({"agent_pos": [(0, 0), (0, -1)]}, "agent 1 is at (0, -1), off the 8x8 board"),
        ({"agent_pos": [(0, 0), (2, 2)]}, "agent 1 is at (2, 2), where there is a food"),
        ({"agent_pos": [(0.5, 0), (2, 1)]}, "agent_pos holds float64 values"),
        ({"agent_level": [1, 0]}, "agent_level is [1, 0]"),
        ({"foods": {(0, 3): 1}}, "there is a food at (0, 3); foods cannot be on the border"),
        ({"foods": {(3, 7): 1}}, "there is a food at (3, 7); foods cannot be on the border"),
        ({"foods": {(3, 3): -1}}, "food_grid holds -1"),
        ({"foods": {(1, 3): 1, (3, 3): 1, (5, 5): 1}}, "food_grid holds 3 foods; num_food is 2"),
        ({"step": -1}, "step is -1"),
        ({"food_spawned": 1}, "food_spawned is 1; the foods on the board alone sum to 2"),
    ],
)
def test_states_that_cannot_be_played_are_refused(arguments: Any, message: str) -> None:
    grid = np.zeros((8, 8), int)
    for cell, level in arguments.pop("foods", {(2, 2): 2}).items():
        grid[cell] = level
    good = {"agent_pos": [(0, 0), (1, 1)], "agent_level": [1, 2], "food_grid": grid}
    with pytest.raises(ValueError, match=re.escape(message)):
        Foraging().make_state(**{**good, **arguments})


def test_make_state_and_food_grid_are_inverse() -> None:
    env = Foraging(num_food=3)
    grid = np.zeros((8, 8), int)
    grid[4, 6], grid[4, 2], grid[1, 5] = 1, 2, 3
    state = env.make_state([(0, 0), (0, 0)], [1, 2], grid.tolist(), step=3)
    np.testing.assert_array_equal(env.food_grid(state), grid)
    assert state.food_pos.tolist() == [[1, 5], [4, 2], [4, 6]] and state.food_spawned == 6
    fresh = env.reset_env(jax.random.key(0), env.default_params)
    alike = jax.tree.map(lambda a, b: a.shape == b.shape and a.dtype == b.dtype, state, fresh)
    assert all(jax.tree.leaves(alike))


@pytest.mark.parametrize(
    ("id", "want"),
    [
        ("Foraging-8x8-2p-2f-v3", Foraging()),
        ("Foraging-2s-8x8-2p-2f-coop-v3", Foraging(sight=2, force_coop=True)),
        ("Foraging-15x15-3p-5f-v3", Foraging(size=(15, 15), num_agents=3, num_food=5)),
        ("Foraging-6x9-2p-2f-pen-v3", Foraging(size=(6, 9), penalty=0.1)),
        ("Foraging-grid-3s-8x8-2p-2f-v3", Foraging(observation="grid", sight=3)),
    ],
)
def test_ids_make_what_they_say(id: str, want: Foraging) -> None:
    assert re.fullmatch(foraging.FAMILY.pattern, id)
    env = foraging.FAMILY.make(id)
    assert env == want and env.spec().id == id


def test_ids_of_the_original_make_its_settings() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    pytest.importorskip("lbforaging")
    theirs = [id for id in gymnasium.registry if id.startswith("Foraging") and id.endswith("-v3")]
    assert len(theirs) > 1000
    for id in theirs:
        kwargs = gymnasium.registry[id].kwargs
        if kwargs["max_num_food"] > foraging.most_foods(*kwargs["field_size"]):
            continue  # registered, but never has that many
        env = foraging.FAMILY.make(id)
        assert env.size == kwargs["field_size"] and env.view == kwargs["sight"]
        assert env.num_agents == kwargs["players"] and env.num_food == kwargs["max_num_food"]
        assert env.force_coop == kwargs["force_coop"] and env.horizon == kwargs["max_episode_steps"]
        assert env.max_player_level == kwargs["max_player_level"]


@pytest.mark.parametrize(
    "id", ["Foraging-8x8-2p-2f-coop-2s-v3", "Foraging-0s-8x8-2p-2f-v3", "Foraging-3x3-2p-9f-v3"]
)
def test_ids_that_cannot_be_are_refused(id: str) -> None:
    with pytest.raises(ValueError, match=r"is not a foraging id|sight is 0|num_food is 9"):
        foraging.FAMILY.make(id)


def test_pictures_show_the_state_and_nothing_else(like_golden: Any) -> None:
    env = Foraging(num_agents=3)
    grid = np.zeros((8, 8), int)
    grid[2, 2] = 3
    state = env.make_state([(0, 0), (2, 1), (2, 1)], [1, 2, 1], grid)
    picture = env.render(state)
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    like_golden("foraging", picture)
    np.testing.assert_array_equal(picture, env.render(state))
    for other in (
        env.make_state([(0, 1), (2, 1), (2, 1)], [1, 2, 1], grid),
        env.make_state([(0, 0), (2, 1), (2, 1)], [2, 2, 1], grid),
        env.make_state([(0, 0), (2, 1), (2, 1)], [1, 2, 1], grid * 2),
    ):
        assert (env.render(other) != picture).any()
