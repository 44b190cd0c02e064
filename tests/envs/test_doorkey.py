"""DoorKey against its written rules, against minigrid where it is installed, and solved."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from grid_cases import Moves, resets, shortest_way, stack, stepper

from marlx import registry
from marlx.envs import doorkey
from marlx.envs.doorkey import (
    AGENT,
    CLOSED,
    DONE,
    DROP,
    EAST,
    FORWARD,
    LEFT,
    LOCKED,
    NORTH,
    OPEN,
    PICKUP,
    RIGHT,
    SOUTH,
    TOGGLE,
    WEST,
    DoorKey,
    DoorKeyState,
)
from marlx.envs.doorkey.state import poses
from marlx.envs.doorkey.views import local_view
from marlx.loop.vector import vector_step
from marlx.testing import check_env

ALONE, PAIR = DoorKey(), DoorKey(num_agents=2)


# ---------------------------------------------------------------- steps by hand

# An 8x8 board: wall at column 4, its door at row 3, the goal at (5, 2), the key at (2, 2).


def board(pos: Any = (6, 1), dir: int = EAST, env: DoorKey = ALONE, **more: Any) -> DoorKeyState:
    setting = {"wall_col": 4, "door_row": 3, "goal_pos": (5, 2), "key_pos": (2, 2), **more}
    if setting.get("carrier", -1) >= 0:
        setting["key_pos"] = None
    if env.num_agents == 1:
        pos, dir = [pos], [dir]
    return env.make_state(pos, dir, **setting)


STEPS: dict[str, tuple[DoorKeyState, int, dict[str, Any]]] = {
    "left": (board((3, 3), EAST), LEFT, {"dir": NORTH}),
    "left from north": (board((3, 3), NORTH), LEFT, {"dir": WEST}),
    "right": (board((3, 3), EAST), RIGHT, {"dir": SOUTH}),
    "right from north": (board((3, 3), NORTH), RIGHT, {"dir": EAST}),
    "forward east": (board((6, 1), EAST), FORWARD, {"pos": (6, 2)}),
    "forward south": (board((3, 1), SOUTH), FORWARD, {"pos": (4, 1)}),
    "forward west": (board((3, 3), WEST), FORWARD, {"pos": (3, 2)}),
    "forward north": (board((3, 3), NORTH), FORWARD, {"pos": (2, 3)}),
    "into the border": (board((6, 1), SOUTH), FORWARD, {}),
    "into the wall": (board((2, 3), EAST), FORWARD, {}),
    "into the key": (board((2, 1), EAST), FORWARD, {}),
    "into a locked door": (board((3, 3), EAST), FORWARD, {}),
    "into a closed door": (board((3, 3), EAST, door=CLOSED), FORWARD, {}),
    "into an open door": (board((3, 3), EAST, door=OPEN), FORWARD, {"pos": (3, 4)}),
    "through the door": (board((3, 4), EAST, door=OPEN), FORWARD, {"pos": (3, 5)}),
    "onto the goal": (board((5, 1), EAST), FORWARD, {"pos": (5, 2), "won": True}),
    "pick up the key": (board((2, 1), EAST), PICKUP, {"carrier": 0}),
    "pick up nothing": (board((2, 1), SOUTH), PICKUP, {}),
    "pick up the goal": (board((5, 1), EAST), PICKUP, {}),
    "pick up the door": (board((3, 3), EAST), PICKUP, {}),
    "drop": (board((3, 1), EAST, carrier=0), DROP, {"carrier": -1, "key": (3, 2)}),
    "drop nothing": (board((3, 1), EAST), DROP, {}),
    "drop on the wall": (board((2, 3), EAST, carrier=0), DROP, {}),
    "drop on the goal": (board((5, 1), EAST, carrier=0), DROP, {}),
    "drop on the door": (board((3, 3), EAST, carrier=0, door=OPEN), DROP, {}),
    "drop beyond the door": (
        board((3, 4), EAST, carrier=0, door=OPEN), DROP, {"carrier": -1, "key": (3, 5)}
    ),
    "unlock": (board((3, 3), EAST, carrier=0), TOGGLE, {"door": OPEN}),
    "unlock from the right": (board((3, 5), WEST, carrier=0), TOGGLE, {"door": OPEN}),
    "unlock without key": (board((3, 3), EAST), TOGGLE, {}),
    "unlock from afar": (board((3, 2), EAST, carrier=0), TOGGLE, {}),
    "open": (board((3, 3), EAST, door=CLOSED), TOGGLE, {"door": OPEN}),
    "close": (board((3, 3), EAST, door=OPEN), TOGGLE, {"door": CLOSED}),
    "toggle the key": (board((2, 1), EAST), TOGGLE, {}),
    "toggle from inside": (board((3, 4), EAST, door=OPEN), TOGGLE, {}),
    "done": (board((2, 1), EAST), DONE, {}),
}  # fmt: skip


def test_steps_follow_the_written_rules() -> None:
    states = stack([state for state, _, _ in STEPS.values()])
    actions = np.array([[action] for _, action, _ in STEPS.values()])
    _, after, reward, terminated = jax.device_get(stepper(ALONE)(states, actions))
    for b, (name, (state, _, change)) in enumerate(STEPS.items()):
        found = {
            "pos": tuple(after.agent_pos[b, 0].tolist()),
            "dir": int(after.agent_dir[b, 0]),
            "door": int(after.door[b]),
            "carrier": int(after.carrier[b]),
            "key": tuple(after.key_pos[b].tolist()),
            "won": bool(terminated[b]),
        }
        want = {
            "pos": tuple(state.agent_pos[0].tolist()),
            "dir": int(state.agent_dir[0]),
            "door": int(state.door),
            "carrier": int(state.carrier),
            "key": tuple(state.key_pos.tolist()),
            "won": False,
            **change,
        }
        if want["carrier"] == 0:
            want["key"] = (-1, -1)
        assert found == want, name
        assert after.time[b] == 1
        assert reward[b, 0] == pytest.approx(1 - 0.5 / 256 if want["won"] else 0), name
    for field in ("wall_col", "door_row", "goal_pos"):
        np.testing.assert_array_equal(getattr(after, field), getattr(states, field))


def test_only_what_does_something_is_legal_if_asked() -> None:
    env = DoorKey(useful_only=True)
    states = [state for state, _, _ in STEPS.values()]
    mask = np.asarray(jax.jit(jax.vmap(lambda s: env.observe(s, env.default_params).action_mask))(
        stack(states)
    ))[:, 0]  # fmt: skip
    for b, (name, (_, action, change)) in enumerate(STEPS.items()):
        assert mask[b, action] == bool(change or action == DONE), name
    assert mask[:, [LEFT, RIGHT, DONE]].all()
    free = stepper(ALONE)(stack(states), np.zeros((len(states), 1), int))[0].action_mask
    assert free.all()


def test_the_target_is_what_ends_and_pays() -> None:
    events = {
        "key": board((2, 1), EAST, step=99),
        "door": board((3, 3), EAST, carrier=0, step=99),
        "goal": board((5, 1), EAST, step=99),
    }
    actions = np.array([[PICKUP], [TOGGLE], [FORWARD]])
    for target in ("key", "door", "goal"):
        _, _, reward, ended = stepper(DoorKey(target=target))(stack([*events.values()]), actions)
        want = [event == target for event in events]
        assert ended.tolist() == want
        np.testing.assert_allclose(reward[:, 0], np.where(want, 1 - 0.5 * 100 / 256, 0))
    on_goal = [board((5, 2), EAST, env=DoorKey(target="key"))]
    assert not stepper(DoorKey(target="key"))(stack(on_goal), np.array([[DONE]]))[3]


# ---------------------------------------------------------------- steps of two

PAIRS: dict[str, tuple[DoorKeyState, list[int], dict[str, Any]]] = {
    "agents are in the way": (
        board([(6, 1), (6, 2)], [EAST, WEST], PAIR), [FORWARD, FORWARD],
        {"pos": [(6, 1), (6, 2)]},
    ),
    "the later one follows": (
        board([(6, 2), (6, 1)], [EAST, EAST], PAIR), [FORWARD, FORWARD],
        {"pos": [(6, 3), (6, 2)]},
    ),
    "the earlier one does not": (
        board([(6, 1), (6, 2)], [EAST, EAST], PAIR), [FORWARD, FORWARD],
        {"pos": [(6, 1), (6, 3)]},
    ),
    "the first gets the cell": (
        board([(6, 1), (5, 2)], [EAST, SOUTH], PAIR), [FORWARD, FORWARD],
        {"pos": [(6, 2), (5, 2)]},
    ),
    "the first gets the key": (
        board([(2, 1), (1, 2)], [EAST, SOUTH], PAIR), [PICKUP, PICKUP], {"carrier": 0}
    ),
    "the second gets the key": (
        board([(2, 1), (1, 2)], [EAST, SOUTH], PAIR), [TOGGLE, PICKUP], {"carrier": 1}
    ),
    "the key from hand to hand": (
        board([(2, 1), (1, 2)], [EAST, SOUTH], PAIR, carrier=0), [DROP, PICKUP], {"carrier": 1}
    ),
    "another's key opens nothing": (
        board([(3, 3), (1, 1)], [EAST, EAST], PAIR, carrier=1), [TOGGLE, DONE], {}
    ),
    "opened and entered in one step": (
        board([(3, 3), (3, 5)], [EAST, WEST], PAIR, carrier=0), [TOGGLE, FORWARD],
        {"door": OPEN, "pos": [(3, 3), (3, 4)]},
    ),
    "nobody is shut in": (
        board([(3, 3), (3, 4)], [EAST, WEST], PAIR, door=OPEN), [TOGGLE, DONE], {}
    ),
    "nothing is dropped on an agent": (
        board([(3, 2), (3, 3)], [EAST, WEST], PAIR, carrier=0), [DROP, DONE], {}
    ),
    "one on the goal is not enough": (
        board([(5, 1), (6, 3)], [EAST, WEST], PAIR), [FORWARD, FORWARD],
        {"pos": [(5, 2), (6, 2)]},
    ),
    "the goal has room for two": (
        board([(5, 2), (5, 1)], [EAST, EAST], PAIR), [DONE, FORWARD],
        {"pos": [(5, 2), (5, 2)], "won": True},
    ),
    "leaving as the other arrives": (
        board([(5, 2), (5, 1)], [EAST, EAST], PAIR), [FORWARD, FORWARD],
        {"pos": [(5, 3), (5, 2)]},
    ),
}  # fmt: skip


def test_steps_of_two_follow_the_written_rules() -> None:
    states = stack([state for state, _, _ in PAIRS.values()])
    actions = np.array([action for _, action, _ in PAIRS.values()])
    _, after, reward, ended = jax.device_get(stepper(PAIR)(states, actions))
    for b, (name, (state, _, change)) in enumerate(PAIRS.items()):
        want = {
            "pos": [tuple(p) for p in state.agent_pos.tolist()],
            "carrier": int(state.carrier),
            "door": int(state.door),
            "won": False,
            **change,
        }
        found = {
            "pos": [tuple(p) for p in after.agent_pos[b].tolist()],
            "carrier": int(after.carrier[b]),
            "door": int(after.door[b]),
            "won": bool(ended[b]),
        }
        assert found == want, name
        np.testing.assert_allclose(reward[b], 1 - 0.5 / 256 if want["won"] else 0)


# ---------------------------------------------------------------- views by hand

SYMBOLS = {"?": (0, 0, 0), ".": (1, 0, 0), "#": (2, 5, 0), "L": (4, 4, 2), "C": (4, 4, 1),
           "O": (4, 4, 0), "K": (5, 4, 0), "G": (8, 1, 0), "a": (10, 0, WEST),
           "b": (10, 4, NORTH)}  # fmt: skip

# Rows from far to near, `/` between them; the agent is in the middle of the last one.
FOG = "???????/"
VIEWS: dict[str, tuple[DoorKey, DoorKeyState, str]] = {
    "a locked door hides the right room": (
        ALONE, board((3, 1), EAST, key_pos=(2, 3)),
        FOG * 3 + "###L###/#.K..../#....G./#......",
    ),
    "a closed one too": (
        ALONE, board((3, 3), EAST, door=CLOSED), FOG * 5 + "###C###/#......"
    ),
    "an open one shows it": (
        ALONE, board((3, 1), EAST, key_pos=(1, 6), goal_pos=(3, 6), door=OPEN),
        "#######/#K.G.../#....../###O###/#....../#....../#......",
    ),
    "in the door, with the key": (
        ALONE, board((3, 4), WEST, carrier=0, door=OPEN),
        FOG * 2 + "#######/......#/.G....#/......#/??#K#??",
    ),
    "nothing is seen behind the border": (
        ALONE, board((6, 1), SOUTH, carrier=0), FOG * 5 + "#####??/#..K#??"
    ),
    "the goal is not seen under the agent": (
        ALONE, board((5, 2), SOUTH, env=DoorKey(target="key")), FOG * 4 + "?#####?/?#...#?/?#...#?"
    ),
    "a smaller view": (
        DoorKey(view_size=5), board((6, 2), NORTH), "#.K.#/#...L/#...#/#.G.#/#...#"
    ),
    "a team mate": (
        PAIR, board([(6, 2), (4, 1)], [NORTH, WEST], PAIR),
        "?#####?/?#...#?/?#.K.#?/?#...L?/?#a..#?/?#.G.#?/?#...#?",
    ),
    "a team mate with the key stands in the door": (
        PAIR, board([(3, 2), (3, 4)], [EAST, NORTH], PAIR, carrier=1, door=OPEN),
        FOG + "#######/#....../#....../###b###/#....../#....G.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", VIEWS)
def test_views_follow_the_written_rules(name: str) -> None:
    env, state, want = VIEWS[name]
    local = np.asarray(env.observe(state, env.default_params).local)[0]
    v = env.view_size
    symbols = {code: symbol for symbol, code in SYMBOLS.items()}
    cells = local[:-4].reshape(v, v, 3).astype(int)
    rows = ["".join(symbols[tuple(cells[i, j])] for i in range(v)) for j in range(v)]
    assert "/".join(rows) == want
    assert local[-4:].tolist() == np.eye(4)[int(state.agent_dir[0])].tolist()


def test_the_goal_moves_to_all_free_cells_and_the_door_locks_itself() -> None:
    """With settings for a changing world; in all other steps nothing changes."""
    env = DoorKey(goal_moves=4, relocks=2)
    key_lies, inside = board((3, 1), EAST, step=3), board((3, 4), EAST, door=OPEN, step=1)
    step = jax.jit(jax.vmap(env.step_env, (0, None, None, None)))
    keys, done = jax.random.split(jax.random.key(0), 4000), jnp.array([DONE])
    after, reward, _, _ = step(keys, key_lies, done, env.default_params)
    places, counts = np.unique(np.asarray(after.goal_pos), axis=0, return_counts=True)
    taken = {(3, 1), tuple(key_lies.key_pos.tolist()), tuple(key_lies.goal_pos.tolist())}
    free = {(r, c) for r in range(1, 7) for c in range(1, 7) if c != 4} - taken
    assert {(r, c) for r, c in places.tolist()} == free and not reward.any()
    assert counts.min() > 0.7 * counts.mean()
    few = keys[:2]
    assert (step(few, inside, done, env.default_params)[0].door == OPEN).all()
    for door, now, want in ((OPEN, 1, LOCKED), (CLOSED, 1, LOCKED), (OPEN, 2, OPEN)):
        found = step(few, board((3, 3), WEST, door=door, step=now), done, env.default_params)[0]
        assert (found.door == want).all()
        assert (found.goal_pos == inside.goal_pos).all()
    team = DoorKey(num_agents=2, goal_moves=1)
    state = team.reset(jax.random.key(1), team.default_params)[1]
    state = state.replace(goal_pos=state.agent_pos[1])
    after, *_ = team.step_env(keys[0], state, jnp.array([DONE, DONE]), team.default_params)
    np.testing.assert_array_equal(after.goal_pos, state.goal_pos)


def test_views_of_a_large_team_are_those_of_its_members() -> None:
    """Many agents' views are computed together, a few agents' one by one."""
    env = DoorKey(size=6, num_agents=4)
    state = jax.tree.map(lambda x: x[3], resets(env, 8))
    local = np.asarray(env.observe(state, env.default_params).local)
    agents = poses(state)
    for i, me in enumerate(agents):
        alone = local_view(env.size, env.view_size, state, agents, i, me)
        np.testing.assert_array_equal(local[i, :-4], np.asarray(alone).ravel())
        assert local[i, -4:].tolist() == np.eye(4)[int(me.dir)].tolist()
    assert (local[:, :-4:3] == AGENT).any()


def test_the_global_state_is_the_whole_board() -> None:
    state = board([(3, 2), (3, 4)], [EAST, NORTH], PAIR, carrier=1, door=OPEN)
    whole = np.asarray(PAIR.observe(state, PAIR.default_params).global_state).astype(int)
    cells = whole[:64].reshape(8, 8)
    want = np.full((8, 8), 2)
    want[1:7, 1:7] = 1
    want[:, 4] = 2
    want[3, 4], want[5, 2] = 4, 8
    np.testing.assert_array_equal(cells, want)
    assert whole[64:67].tolist() == [1, 0, 0]
    assert whole[67:].tolist() == [3, 2, 1, 0, 0, 0, 0, 3, 4, 0, 0, 0, 1, 1]


# ---------------------------------------------------------------- the original


@pytest.mark.parametrize(("size", "view"), [(8, 7), (6, 5)])
def test_parity_with_minigrid(size: int, view: int) -> None:
    """Episodes of random play side by side: every view, step and end."""
    pytest.importorskip("minigrid")
    from minigrid.core.grid import Grid
    from minigrid.core.world_object import Door, Goal, Key
    from minigrid.envs.doorkey import DoorKeyEnv

    env = DoorKey(size=size, view_size=view)
    count, steps = 60, 150
    state = resets(env, count)
    refs = []
    for b in range(count):
        one = jax.tree.map(lambda x, b=b: x[b].tolist(), state)
        ref = DoorKeyEnv(size=size, max_steps=4 * size**2, agent_view_size=view)
        ref.reset(seed=0)
        ref.grid = Grid(size, size)
        ref.grid.wall_rect(0, 0, size, size)
        ref.grid.vert_wall(one.wall_col, 0)
        ref.put_obj(Door("yellow", is_locked=True), one.wall_col, one.door_row)
        ref.put_obj(Key("yellow"), *one.key_pos[::-1])
        ref.put_obj(Goal(), *one.goal_pos[::-1])
        ref.agent_pos, ref.agent_dir = tuple(one.agent_pos[0][::-1]), one.agent_dir[0]
        ref.carrying, ref.step_count = None, 0
        refs.append(ref)
    rng = np.random.default_rng(0)
    alive = np.ones(count, bool)
    for t in range(steps):
        action = rng.choice(7, (count, 1), p=[0.15, 0.15, 0.35, 0.12, 0.06, 0.15, 0.02])
        obs, state, reward, ended = jax.device_get(stepper(env)(state, action))
        for b in np.flatnonzero(alive):
            seen = refs[b].gen_obs()
            want = [*seen["image"].reshape(-1), *np.eye(4)[seen["direction"]]]
            np.testing.assert_array_equal(obs.local[b, 0], want)
            _, theirs, over, _, _ = refs[b].step(int(action[b, 0]))
            assert over == ended[b]
            assert reward[b, 0] == pytest.approx(1 - 0.5 * (t + 1) / (4 * size**2) if over else 0)
            assert (theirs > 0) == over
            assert tuple(refs[b].agent_pos[::-1]) == tuple(state.agent_pos[b, 0])
        alive &= ~ended
    assert 5 < alive.sum() < count - 5 and (state.door != LOCKED).any()


# ---------------------------------------------------------------- resets


def assert_uniform(values: np.ndarray, choices: Any) -> None:
    """Every choice comes up, each within five standard deviations of its share."""
    found, counts = np.unique(values, return_counts=True)
    assert found.tolist() == list(choices)
    share = len(values) / len(found)
    assert np.abs(counts - share).max() < 5 * np.sqrt(share), counts


@pytest.mark.parametrize("count", [1, 2])
def test_resets_draw_the_documented_distribution(count: int) -> None:
    env = DoorKey(num_agents=count)
    boards = resets(env, 8_000)
    wall, door, left = boards.wall_col, boards.door_row, boards.goal_pos[:, 1] < boards.wall_col
    assert_uniform(wall, range(2, 6))
    assert_uniform(door, range(1, 6))
    assert_uniform(boards.agent_dir[:, -1], range(4))
    assert left.mean() == pytest.approx(0.8, abs=0.02)
    assert (boards.goal_pos[~left] == 6).all()
    assert (boards.door == LOCKED).all() and (boards.carrier == -1).all()
    near = boards.agent_pos[..., 1] < wall[:, None]
    assert (near.sum(1) == 1).all()
    first = near.argmax(1)
    assert_uniform(first, range(count))
    start = boards.agent_pos[np.arange(8_000), first]
    widest = wall == 5  # the left room has 4 columns
    for cell in (start, boards.key_pos, boards.goal_pos):
        inside = widest & (left | (cell is not boards.goal_pos))
        assert_uniform(
            cell[inside] @ [10, 1], [10 * r + c for r in range(1, 7) for c in range(1, 5)]
        )
    assert (start != boards.key_pos).any(1).all()
    assert (boards.goal_pos != boards.key_pos).any(1).all()
    assert (boards.goal_pos[:, None] != boards.agent_pos).any(2).all()
    if count == 2:
        far = boards.agent_pos[np.arange(8_000), 1 - first]
        assert (far[:, 1] > wall).all()
        narrow = (wall == 5) & ~left  # one column, its last cell the goal's
        assert_uniform(far[narrow] @ [10, 1], [10 * r + 6 for r in range(1, 6)])


def test_the_smallest_and_most_crowded_boards_have_room_for_all() -> None:
    for env in (DoorKey(size=5), DoorKey(size=5, num_agents=3)):
        boards = resets(env, 500)
        things = [*np.moveaxis(boards.agent_pos, 1, 0), boards.key_pos, boards.goal_pos]
        cells = np.stack([thing @ [10, 1] for thing in things], 1)
        assert all(len(set(row)) == len(row) for row in cells.tolist())
        inside = (cells % 10 != boards.wall_col[:, None]) & (cells % 10 >= 1) & (cells % 10 <= 3)
        assert inside.all() and (cells // 10 >= 1).all() and (cells // 10 <= 3).all()


@pytest.mark.parametrize(("chance", "want"), [(0.0, 0.0), (1.0, 1.0), (0.3, 0.3)])
def test_where_the_goal_is_is_a_setting(chance: float, want: float) -> None:
    boards = resets(DoorKey(goal_left_probability=chance), 2_000)
    left = boards.goal_pos[:, 1] < boards.wall_col
    assert left.mean() == pytest.approx(want, abs=0.05 if 0 < want < 1 else 0)


# ---------------------------------------------------------------- solving


def plan(state: Any, agent: int, to: Any, face: bool, blocked: Any) -> list[int]:
    """Fewest turns and moves that bring an agent onto a cell, or before it and looking at it."""

    def free(cell: tuple[int, int]) -> bool:
        row, col = cell
        inside = 0 < row < 7 and 0 < col < 7
        wall = col == state.wall_col and (row != state.door_row or state.door != OPEN)
        return inside and not wall and cell not in blocked

    start = (*state.agent_pos[agent].tolist(), int(state.agent_dir[agent]))
    way = shortest_way(
        start,
        lambda cell, ahead: (ahead if face else cell) == tuple(to),
        free,
        Moves(LEFT, RIGHT, FORWARD),
    )
    return [DONE] if way is None else way


def teacher(state: Any, agent: int) -> int:
    """Returns the next action of an agent from the state: key, then door, then goal.

    The key is also fetched where it lies in a narrow room between the agent and the goal.
    """
    goal, key = tuple(state.goal_pos.tolist()), tuple(state.key_pos.tolist())
    door = (int(state.door_row), int(state.wall_col))
    mine = tuple(state.agent_pos[agent].tolist())
    others = {tuple(p) for j, p in enumerate(state.agent_pos.tolist()) if j != agent} - {goal}
    lies = {key} if state.carrier < 0 else set()
    alone = len(state.agent_pos) == 1
    near = mine[1] < state.wall_col
    if state.door == OPEN or (alone and goal[1] < state.wall_col):
        way = plan(state, agent, goal, False, others | lies)
        if way != [DONE]:
            return [*way, DONE][0]
    if not near or state.door == OPEN:
        return DONE  # locked in
    if state.carrier < 0:
        return [*plan(state, agent, key, True, others), PICKUP][0]
    return [*plan(state, agent, door, True, others), TOGGLE][0]


@pytest.mark.parametrize("count", [1, 2])
def test_every_board_is_solved_by_a_scripted_team(count: int) -> None:
    """Through the public step, in at most a quarter of the horizon."""
    env = ALONE if count == 1 else PAIR
    params, boards = env.default_params, 24
    step = jax.jit(lambda key, state, action: vector_step(env, params, key, state, action))
    state = resets(env, boards, seed=5)
    opened = state.goal_pos[:, 1] > state.wall_col
    assert opened.any()
    paid, when = np.zeros(boards), np.zeros(boards, int)
    for t in range(1, 65):
        rows = [jax.tree.map(lambda x, b=b: x[b], state) for b in range(boards)]
        action = np.array([[teacher(row, i) for i in range(count)] for row in rows])
        _, state, reward, ended, truncated, _ = jax.device_get(
            step(jax.random.key(t), state, jnp.asarray(action))
        )
        assert not truncated.any()
        first = ended & (when == 0)
        assert (reward[first] == reward[first][:, :1]).all()
        paid[first], when[first] = reward[first, 0], t
        if when.all():
            break
    assert when.all(), "a board was not solved"
    np.testing.assert_allclose(paid, 1 - 0.5 * when / 256, rtol=1e-6)
    if count == 1:
        assert paid.max() <= env.spec().optimum


def test_two_agents_need_each_other() -> None:
    """Without the agent with the key the others stay locked in, and no agent wins alone."""
    states = resets(PAIR, 64)
    near = (states.agent_pos[..., 1] < states.wall_col[:, None]).argmax(1)
    rng = np.random.default_rng(0)
    for idle in ("first", "others"):
        state = states
        for _ in range(100):
            action = rng.choice(7, (64, 2), p=[0.15, 0.15, 0.35, 0.15, 0.05, 0.15, 0.0])
            action[np.arange(64), near if idle == "first" else 1 - near] = DONE
            _, state, reward, ended = jax.device_get(stepper(PAIR)(state, action))
            assert not ended.any() and not reward.any()
        if idle == "first":
            assert (state.door == LOCKED).all()
        else:
            assert (state.door != LOCKED).any()


# ---------------------------------------------------------------- settings, ids, pictures


@pytest.mark.parametrize("id", doorkey.FAMILY.examples)
def test_ids_make_what_they_say(id: str) -> None:
    env = registry.make_env(id)
    spec = env.spec()
    assert spec.id == id and spec.horizon == 4 * env.size**2
    assert spec.reward_aggregation == "mean" and spec.storage == "int8"


@pytest.mark.parametrize(
    "id", [pytest.param("grid/doorkey-5x5", marks=pytest.mark.slow), "grid/doorkey-8x8-2p"]
)
def test_environments_keep_the_contract(id: str) -> None:
    check_env(registry.make_env(id, useful_only=id.endswith("2p")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4}, "size is 4; it must be between 5 and 100"),
        ({"size": 101}, "size is 101"),
        ({"num_agents": 0}, "num_agents is 0; it must be between 1 and 6"),
        ({"size": 5, "num_agents": 4}, "num_agents is 4; it must be between 1 and 3"),
        (
            {"goal_left_probability": 1.5},
            "goal_left_probability is 1.5; it must be between 0 and 1",
        ),
        ({"goal_left_probability": float("nan")}, "goal_left_probability is nan"),
        ({"target": "exit"}, "target is 'exit'; it must be 'key', 'door' or 'goal'"),
        ({"view_size": 6}, "view_size is 6; it must be an odd number between 3 and 31"),
        ({"view_size": 33}, "view_size is 33"),
        ({"goal_moves": -1}, "goal_moves is -1; it must be 0 or more"),
        ({"relocks": -1}, "relocks is -1; it must be 0 or more"),
        ({"horizon": 0}, "horizon is 0; it must be 1 or more, or None"),
    ],
)
def test_settings_that_cannot_be_played_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        DoorKey(**settings)


@pytest.mark.parametrize("id", ["grid/doorkey-8x6", "grid/doorkey-4x4", "grid/doorkey-5x5-9p"])
def test_ids_that_cannot_be_are_refused(id: str) -> None:
    with pytest.raises(ValueError, match=r"is not a doorkey id; the form is|size is 4|agents is 9"):
        registry.make_env(id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agent_pos": [(3, 3, 3)]}, "agent_pos has shape (1, 3); it must be (1, 2)"),
        ({"agent_pos": [(3.5, 3)]}, "agent_pos holds float64 values; it must hold integers"),
        ({"agent_pos": [(0, 3)]}, "agent 0 is at (0, 3), which is not a free cell"),
        ({"agent_pos": [(3, 4)]}, "agent 0 is at (3, 4), which is not a free cell"),
        ({"agent_pos": [(2, 2)]}, "agent 0 is at (2, 2), which is occupied"),
        ({"agent_pos": [(5, 2)]}, "every agent is on the goal, so the episode has ended"),
        ({"agent_dir": [4]}, "agent_dir is [4]; headings are between 0 and 3"),
        ({"wall_col": 6}, "wall_col is 6; it must be in 2..5"),
        ({"door_row": 0}, "door_row is 0; it must be in 1..6"),
        ({"goal_pos": (3, 4)}, "the goal is at (3, 4), which is not a free cell"),
        ({"goal_pos": (2, 2)}, "the key is at (2, 2), where the goal is"),
        ({"key_pos": (7, 2)}, "the key is at (7, 2), which is not a free cell"),
        ({"key_pos": None}, "carrier is -1 and key_pos None; the key must either lie on"),
        ({"carrier": 0}, "carrier is 0 and key_pos (2, 2); the key must either lie on"),
        ({"carrier": 1, "key_pos": None}, "carried by one of the agents 0..0"),
        ({"door": 3}, "door is 3; it must be 0 (open), 1 (closed) or 2 (locked)"),
        ({"step": -1}, "step is -1; it must be 0 or more"),
    ],
)
def test_states_that_cannot_be_played_are_refused(change: Any, message: str) -> None:
    good = {"agent_pos": [(6, 1)], "agent_dir": [0], "wall_col": 4, "door_row": 3,
            "goal_pos": (5, 2), "key_pos": (2, 2)}  # fmt: skip
    ALONE.make_state(**good)
    with pytest.raises(ValueError, match=re.escape(message)):
        ALONE.make_state(**{**good, **change})


def test_the_optimum_is_that_of_the_luckiest_board() -> None:
    assert ALONE.spec().optimum == 1 - 0.5 / 256
    assert DoorKey(target="door").spec().optimum == 1 - 1.5 / 256
    assert PAIR.spec().optimum is None
    env = DoorKey(goal_left_probability=0.0)
    lucky = env.make_state([(5, 4)], [WEST], 5, 5, (6, 6), key_pos=(5, 3))
    state = stack([lucky])
    for t, action in enumerate([PICKUP, LEFT, LEFT, TOGGLE, FORWARD, FORWARD, RIGHT, FORWARD]):
        _, state, reward, ended = stepper(env)(state, np.array([[action]]))
        assert bool(ended[0]) == (t == 7)
    # One turn less where the key is beside the way to the door: seven steps, which is the optimum.
    state = stack([env.make_state([(5, 4)], [NORTH], 5, 5, (6, 6), key_pos=(4, 4))])
    for action in [PICKUP, RIGHT, TOGGLE, FORWARD, FORWARD, RIGHT, FORWARD]:
        _, state, reward, ended = stepper(env)(state, np.array([[action]]))
    assert ended[0] and float(reward[0, 0]) == pytest.approx(env.spec().optimum)


PICTURES = {
    "doorkey": board((3, 1), EAST, key_pos=(2, 3)),
    "doorkey-2p": board([(3, 3), (5, 6)], [EAST, WEST], PAIR, carrier=0, door=OPEN, step=12),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_the_kept_ones(name: str, like_golden: Any) -> None:
    like_golden(name, (PAIR if name.endswith("2p") else ALONE).render(PICTURES[name]))


def test_pictures_show_the_state() -> None:
    shown = [
        board((3, 1), EAST),
        board((3, 1), NORTH),
        board((3, 1), EAST, carrier=0),
        board((3, 1), EAST, door=OPEN),
        board((3, 1), EAST, door=CLOSED),
        board((3, 1), EAST, goal_pos=(6, 6)),
        board((3, 1), EAST, step=3),
    ]
    pictures = {ALONE.render(state).tobytes() for state in shown}
    assert len(pictures) == len(shown)
