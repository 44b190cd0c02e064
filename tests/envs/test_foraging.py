"""Foraging against lbforaging, state by state, and against its own documentation."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.environment import vector_reset, vector_step
from marlx.envs import foraging
from marlx.envs.foraging import EAST, LOAD, NONE, NORTH, SOUTH, WEST, Foraging, ForagingState

CONFIGS = {
    "8x8-2p-2f": Foraging(),
    "8x8-2p-2f-coop-pen": Foraging(force_coop=True, penalty=0.1),
    "2s-8x8-3p-2f": Foraging(sight=2, num_agents=3),
    "1s-6x7-3p-2f-raw": Foraging(sight=1, size=(6, 7), num_agents=3, normalize_reward=False, penalty=0.5),
    "2s-9x6-4p-3f-hidden": Foraging(sight=2, size=(9, 6), num_agents=4, num_food=3, observe_levels=False),
    "7s-8x8-2p-4f": Foraging(sight=7, num_food=4, max_player_level=3, max_food_level=5),
    "grid-2s-8x8-3p-3f": Foraging(observation="grid", sight=2, num_agents=3, num_food=3),
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
    return Board(pos, level.tolist(), grid, action.tolist(), int(rng.integers(0, env.horizon)), spawned)


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
        return env.observe(state, params), after, env.observe(after, params), reward, terminated, grid

    return jax.jit(jax.vmap(one))


def assert_parity(env: Foraging, boards: list[Board]) -> None:
    before, after, obs, reward, terminated, grid = jax.device_get(stepper(env)(*stacked(env, boards)))
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
    boards = [random_board(env, rng) for _ in range(1200)] + sampled_boards(env, 300, rng)
    assert_parity(env, boards)
