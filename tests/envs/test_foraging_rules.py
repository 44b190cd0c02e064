"""Steps of foraging: against lbforaging state by state, by hand, and arrays against unrolled."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foraging_cases import CONFIGS

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
    unrolled,
)
from marlx.loop.vector import vector_reset, vector_step


@dataclasses.dataclass
class Board:
    """One state and joint action, as Python numbers."""

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
    """The original's observations of a board, and its results of one step."""
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


# ---------------------------------------------------------------- arrays and unrolled


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
