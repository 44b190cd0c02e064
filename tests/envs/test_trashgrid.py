"""TrashGrid against its written rules, and cleared by a scripted team."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from grid_cases import AHEAD, Moves, resets, shortest_way, stack, stepper

from marlx import registry
from marlx.envs import trashgrid
from marlx.envs.trashgrid import (
    BIG,
    EAST,
    FORWARD,
    LEFT,
    NORTH,
    PICKUP,
    PUTDOWN,
    RIGHT,
    SMALL,
    SOUTH,
    SPLIT,
    WEST,
    TrashGrid,
    TrashGridState,
)
from marlx.testing import check_env

FULL = TrashGrid()
# Two agents, two small pieces and a big one, room for two; the bin is rows 6, 7, columns 2 to 5.
TINY = TrashGrid(size=(8, 6), num_agents=2, num_small=2, num_big=1, capacity=2)
SMALLS_AND_BIG = [(3, 1), (3, 2), (4, 3)]


def tiny(pos: Any, dir: Any = (SOUTH, SOUTH), **more: Any) -> TrashGridState:
    return TINY.make_state(pos, dir, **{"trash_pos": SMALLS_AND_BIG, **more})


# ---------------------------------------------------------------- steps by hand

# `did` is -1 where nothing happened, and the reward -0.05.
STEPS: dict[str, tuple[TrashGridState, list[int], dict[str, Any]]] = {
    "turning": (tiny([(0, 0), (0, 2)]), [LEFT, RIGHT], {"dir": [EAST, WEST]}),
    "turning around north": (
        tiny([(0, 0), (0, 2)], [EAST, NORTH]), [LEFT, RIGHT], {"dir": [NORTH, EAST]}
    ),
    "forward south and east": (
        tiny([(0, 0), (0, 2)], [SOUTH, EAST]), [FORWARD, FORWARD], {"pos": [(1, 0), (0, 3)]}
    ),
    "forward north and west": (
        tiny([(2, 0), (2, 2)], [NORTH, WEST]), [FORWARD, FORWARD], {"pos": [(1, 0), (2, 1)]}
    ),
    "over the edge": (
        tiny([(0, 0), (7, 5)], [NORTH, EAST]), [FORWARD, FORWARD], {"did": [-1, -1]}
    ),
    "over the other edges": (
        tiny([(0, 0), (7, 5)], [WEST, SOUTH]), [FORWARD, FORWARD], {"did": [-1, -1]}
    ),
    "onto trash": (tiny([(2, 1), (0, 0)]), [FORWARD, LEFT], {"pos": [(3, 1), (0, 0)]}),
    "pick up": (tiny([(3, 1), (3, 2)]), [PICKUP, PICKUP], {"holder": [0, 1, -1]}),
    "pick up nothing": (tiny([(0, 0), (3, 2)]), [PICKUP, LEFT], {"did": [-1, LEFT]}),
    "pick up what is big": (tiny([(4, 3), (0, 0)]), [PICKUP, LEFT], {"did": [-1, LEFT]}),
    "pick up what is carried": (
        tiny([(3, 1), (0, 0)], holder=[1, -1, -1]), [PICKUP, LEFT], {"did": [-1, LEFT]}
    ),
    "no room": (
        tiny([(4, 3), (0, 0)], trash_kind=[1, 1, 1], holder=[0, 0, -1]), [PICKUP, LEFT],
        {"did": [-1, LEFT]},
    ),
    "split": (tiny([(4, 3), (0, 0)]), [SPLIT, LEFT], {"kind": [1, 1, 1]}),
    "split what is small": (tiny([(3, 1), (0, 0)]), [SPLIT, LEFT], {"did": [-1, LEFT]}),
    "one splits, one picks up": (
        tiny([(4, 3), (3, 1)]), [SPLIT, PICKUP], {"kind": [1, 1, 1], "holder": [1, -1, -1]}
    ),
    "put down": (
        tiny([(6, 2), (0, 0)], holder=[0, -1, -1]), [PUTDOWN, LEFT],
        {"holder": [2, -1, -1], "reward": [1, 0]},
    ),
    "put down two": (
        tiny([(7, 5), (0, 0)], holder=[0, 0, -1]), [PUTDOWN, LEFT],
        {"holder": [2, 2, -1], "reward": [2, 0]},
    ),
    "put down what is one's own": (
        tiny([(7, 5), (6, 3)], holder=[0, 1, -1]), [PUTDOWN, LEFT],
        {"holder": [2, 1, -1], "reward": [1, 0]},
    ),
    "put down beside the bin": (
        tiny([(6, 1), (5, 2)], holder=[0, 1, -1]), [PUTDOWN, PUTDOWN], {"did": [-1, -1]}
    ),
    "put down nothing": (tiny([(6, 2), (0, 0)]), [PUTDOWN, LEFT], {"did": [-1, LEFT]}),
    "the last one ends the episode": (
        tiny([(6, 2), (0, 0)], trash_kind=[1, 1, 1], holder=[2, 2, 0]), [PUTDOWN, LEFT],
        {"holder": [2, 2, 2], "reward": [1, 0], "won": True},
    ),
    "both deliver": (
        tiny([(6, 2), (6, 3)], trash_kind=[1, 1, 1], holder=[0, 1, 0]), [PUTDOWN, PUTDOWN],
        {"holder": [2, 2, 2], "reward": [2, 1], "won": True},
    ),
}  # fmt: skip

# What two agents on row 1 do when both go forward: (positions, headings), then where they are
# afterwards, one after another and at once.
MOVES: dict[str, tuple[Any, Any, Any, Any]] = {
    "one follows an earlier one": (
        [(1, 3), (1, 2)],
        [EAST, EAST],
        [(1, 4), (1, 3)],
        [(1, 4), (1, 2)],
    ),
    "one follows a later one": ([(1, 2), (1, 3)], [EAST, EAST], [(1, 2), (1, 4)], [(1, 2), (1, 4)]),
    "into each other": ([(1, 2), (1, 3)], [EAST, WEST], [(1, 2), (1, 3)], [(1, 2), (1, 3)]),
    "both want a cell": ([(1, 2), (1, 4)], [EAST, WEST], [(1, 3), (1, 4)], [(1, 2), (1, 4)]),
    "apart": ([(1, 2), (1, 3)], [WEST, EAST], [(1, 1), (1, 4)], [(1, 1), (1, 4)]),
}


def test_steps_follow_the_written_rules() -> None:
    states = stack([state for state, _, _ in STEPS.values()])
    actions = np.array([action for _, action, _ in STEPS.values()])
    for order in ("sequential", "simultaneous"):
        env = dataclasses.replace(TINY, order=order)
        _, after, reward, ended = jax.device_get(stepper(env)(states, actions))
        for b, (name, (state, action, change)) in enumerate(STEPS.items()):
            did = change.get("did", action)
            want = {
                "pos": [tuple(p) for p in state.agent_pos.tolist()],
                "dir": [
                    (d + (a == RIGHT) - (a == LEFT)) % 4
                    for d, a in zip(state.agent_dir.tolist(), action, strict=True)
                ],
                "kind": state.trash_kind.tolist(),
                "holder": state.holder.tolist(),
                "reward": [-0.05 if d == -1 else 0.0 for d in did],
                "won": False,
                **change,
                "did": did,
            }
            found = {
                "pos": [tuple(p) for p in after.agent_pos[b].tolist()],
                "dir": after.agent_dir[b].tolist(),
                "kind": after.trash_kind[b].tolist(),
                "holder": after.holder[b].tolist(),
                "reward": reward[b].tolist(),
                "won": bool(ended[b]),
                "did": after.did[b].tolist(),
            }
            assert found.pop("reward") == pytest.approx(want.pop("reward")), name
            assert found == want, name
            np.testing.assert_array_equal(after.trash_pos[b], state.trash_pos)


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_moves_in_each_others_way(order: str) -> None:
    env = dataclasses.replace(TINY, order=order)
    states = stack([tiny(pos, dir) for pos, dir, _, _ in MOVES.values()])
    actions = np.full((len(MOVES), 2), FORWARD)
    _, after, reward, _ = jax.device_get(stepper(env)(states, actions))
    for b, (name, (pos, _, one_by_one, at_once)) in enumerate(MOVES.items()):
        want = one_by_one if order == "sequential" else at_once
        assert [tuple(p) for p in after.agent_pos[b].tolist()] == want, name
        stayed = [before == now for before, now in zip(pos, want, strict=True)]
        np.testing.assert_allclose(reward[b], np.where(stayed, -0.05, 0), atol=1e-7)


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_two_agents_are_never_in_one_cell(order: str) -> None:
    """Five agents on the smallest board for them, moving at random."""
    env = TrashGrid(size=(6, 9), num_agents=5, num_small=1, num_big=0, order=order)
    state = resets(env, 100)
    rng = np.random.default_rng(0)
    stepped = 0
    for _ in range(60):
        action = rng.choice([FORWARD, LEFT, RIGHT], (100, 5), p=[0.6, 0.2, 0.2])
        before = state.agent_pos
        _, state, reward, _ = jax.device_get(stepper(env)(state, action))
        cells = state.agent_pos @ [10, 1]
        assert all(len(set(row)) == 5 for row in cells.tolist())
        moved = (state.agent_pos != before).any(2)
        np.testing.assert_array_equal(moved, (action == FORWARD) & (reward == 0))
        stepped += moved.sum()
    assert stepped > 5_000


def test_only_what_does_something_is_legal_if_asked() -> None:
    env = dataclasses.replace(TINY, useful_only=True)
    states = stack([state for state, _, _ in STEPS.values()])
    actions = np.array([action for _, action, _ in STEPS.values()])
    mask = jax.vmap(lambda s: env.observe(s, env.default_params).action_mask)(states)
    for b, (name, (_, action, change)) in enumerate(STEPS.items()):
        did = change.get("did", action)
        legal = [bool(mask[b, i, a]) for i, a in enumerate(action)]
        assert legal == [d != -1 for d in did], name
    assert stepper(TINY)(states, actions)[0].action_mask.all()


def test_observations_are_relative_and_list_oneself_first() -> None:
    state = tiny([(2, 1), (4, 3)], [EAST, NORTH], holder=[1, -1, -1])
    obs = TINY.observe(state, TINY.default_params)
    bins = [(r, c) for r in (6, 7) for c in (2, 3, 4, 5)]
    first = [0, 0, 0, 1, 0, 2, 2, -1, 0, 1, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    second = [0, 0, -1, 0, 1, -2, -2, 0, 1, 0, 0, 0, 0, -1, -1, 1, 0, 0, 2]
    first += [n for r, c in bins for n in (r - 2, c - 1)]
    second += [n for r, c in bins for n in (r - 4, c - 3)]
    assert obs.local.tolist() == [first, second]
    whole = [2, 1, 0, 1, 0, 4, 3, -1, 0, 1, 0, 0, 0, 3, 2, 1, 4, 3, 2]
    assert obs.global_state.tolist() == whole


# ---------------------------------------------------------------- resets


def test_resets_draw_the_documented_distribution() -> None:
    state = resets(FULL, 3_000)
    assert (state.agent_pos == [(0, 0), (0, 2), (0, 4)]).all() and (state.agent_dir == SOUTH).all()
    assert (state.trash_kind == [SMALL] * 5 + [BIG] * 5).all()
    assert (state.holder == -1).all() and (state.did == -1).all()
    cells = state.trash_pos @ [10, 1]
    assert all(len(set(row)) == 10 for row in cells.tolist())
    for k in (0, 4, 9):
        found, counts = np.unique(cells[:, k], return_counts=True)
        assert found.tolist() == [10 * r + c for r in range(3, 8) for c in range(9)]
        assert np.abs(counts - 3_000 / 45).max() < 5 * np.sqrt(3_000 / 45)
    crowded = TrashGrid(size=(6, 5), num_agents=3, num_small=2, num_big=2)
    cells = resets(crowded, 50).trash_pos @ [10, 1]
    assert (np.sort(cells, 1) == [30, 31, 32, 33]).all()


# ---------------------------------------------------------------- clearing the board


def way(env: TrashGrid, start: tuple[int, int, int], goal: Any, blocked: Any) -> list[int]:
    """Fewest turns and moves that bring an agent to a cell; a turn if there is no way now."""
    rows, cols = env.size
    found = shortest_way(
        start,
        lambda cell, ahead: cell == goal,
        lambda cell: 0 <= cell[0] < rows and 0 <= cell[1] < cols and cell not in blocked,
        Moves(LEFT, RIGHT, FORWARD),
    )
    return [LEFT] if found is None else found


def teacher(env: TrashGrid, state: Any) -> list[int]:
    """Returns the next actions: each agent collects every N-th piece and delivers."""
    actions: list[int] = []
    pos = [tuple(p) for p in state.agent_pos.tolist()]
    claimed: set[tuple[int, int]] = set()  # where earlier agents are about to go
    for i in range(env.num_agents):
        load = int((state.holder == i).sum())
        mine = [k for k in range(i, env.num_trash, env.num_agents) if state.holder[k] == -1]
        mine.sort(key=lambda k: abs(state.trash_pos[k] - state.agent_pos[i]).sum())
        if mine and load < env.capacity:
            goal = tuple(state.trash_pos[mine[0]].tolist())
            act = SPLIT if state.trash_kind[mine[0]] == BIG else PICKUP
        elif load:  # each to its own cell of the bin
            goal, act = (env.size[0] - 2, env.size[1] - 4 + i), PUTDOWN
        else:
            goal, act = pos[i], LEFT
        dir = int(state.agent_dir[i])
        blocked = {*pos[:i], *pos[i + 1 :], *claimed}
        actions.append([*way(env, (*pos[i], dir), goal, blocked), act][0])
        if actions[-1] == FORWARD:
            claimed.add((pos[i][0] + AHEAD[dir][0], pos[i][1] + AHEAD[dir][1]))
    return actions


@pytest.mark.parametrize("order", ["sequential", "simultaneous"])
def test_every_board_is_cleared_by_a_scripted_team(order: str) -> None:
    """Through the public step, in less than half of the horizon."""
    env = TrashGrid(order=order)
    params, boards = env.default_params, 16
    step = jax.jit(jax.vmap(lambda k, s, a: env.step(k, s, a, params)))
    state = resets(env, boards, seed=3)
    returns, when = np.zeros(boards), np.zeros(boards, int)
    for t in range(1, 129):
        rows = [jax.tree.map(lambda x, b=b: x[b], state) for b in range(boards)]
        action = jnp.asarray([teacher(env, row) for row in rows])
        keys = jax.random.split(jax.random.key(t), boards)
        _, state, reward, ended, truncated, _ = jax.device_get(step(keys, state, action))
        assert not truncated.any()
        returns += np.where(when == 0, np.maximum(reward, 0).sum(1), 0)
        when = np.where((when == 0) & ended, t, when)
        if when.all():
            break
    assert when.all(), "a board was not cleared"
    np.testing.assert_allclose(returns, env.spec().optimum)


# ---------------------------------------------------------------- settings, ids, pictures


@pytest.mark.parametrize("id", trashgrid.FAMILY.examples)
def test_ids_make_what_they_say(id: str) -> None:
    spec = registry.make_env(id).spec()
    assert spec.id == id and spec.horizon == 256 and spec.reward_aggregation == "sum"
    assert spec.optimum == 10 and spec.storage == "int8"


def test_environments_keep_the_contract() -> None:
    check_env(FULL)
    check_env(
        dataclasses.replace(
            TINY, order="simultaneous", useful_only=True, subgoal_kind="stages", horizon=9
        )
    )


def test_the_optimum_is_given_if_the_horizon_is_long_enough() -> None:
    assert TrashGrid(horizon=180).spec().optimum == 10
    assert TrashGrid(horizon=100).spec().optimum is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": (5, 10)}, "size is (5, 10); it must be at least 6 rows by 5 columns"),
        ({"size": (10, 101)}, "size is (10, 101)"),
        ({"num_agents": 0}, "num_agents is 0; a board of 10 columns has room for 1 to 5"),
        ({"num_agents": 6}, "num_agents is 6; a board of 10 columns has room for 1 to 5"),
        ({"num_small": 0, "num_big": 0}, "num_small is 0 and num_big 0; together there must be"),
        ({"num_small": -1}, "num_small is -1 and num_big 5"),
        ({"num_small": 41}, "between 1 and 45, the cells for trash on a 10x10 board"),
        ({"capacity": 0}, "capacity is 0; it must be between 1 and 100"),
        ({"penalty": -0.1}, "penalty is -0.1; it must be 0 or more"),
        ({"penalty": float("nan")}, "penalty is nan"),
        ({"order": "random"}, "order is 'random'; it must be 'sequential' or 'simultaneous'"),
        ({"subgoal_kind": "all"}, "subgoal_kind is 'all'; it must be 'items' or 'stages'"),
        ({"horizon": 0}, "horizon is 0; it must be 1 or more"),
    ],
)
def test_settings_that_cannot_be_played_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        TrashGrid(**settings)


@pytest.mark.parametrize("id", ["grid/trashgrid-10x10-9p", "grid/trashgrid-5x5-2p"])
def test_ids_that_cannot_be_are_refused(id: str) -> None:
    with pytest.raises(ValueError, match=r"num_agents is 9|size is \(5, 5\)"):
        registry.make_env(id)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agent_pos": [(0, 0)]}, "agent_pos has shape (1, 2); it must be (2, 2)"),
        ({"agent_pos": [(0, 0), (0, 0.5)]}, "agent_pos holds float64 values"),
        ({"agent_pos": [(0, 0), (8, 0)]}, "agent 1 is at (8, 0), off the 8x6 board"),
        ({"agent_pos": [(0, 0), (0, 0)]}, "two agents are in one cell"),
        ({"agent_dir": [0, 4]}, "agent_dir is [0, 4]; values must be between 0 and 3"),
        ({"trash_pos": [(3, 1), (3, 1), (4, 3)]}, "two pieces of trash are in one cell"),
        ({"trash_pos": [(3, 1), (3, 6), (4, 3)]}, "trash 1 is at (3, 6), off the 8x6 board"),
        ({"trash_kind": [1, 1, 3]}, "trash_kind is [1, 1, 3]; values must be between 1 and 2"),
        ({"holder": [-2, 0, 0]}, "holder is [-2, 0, 0]; values must be between -1 and 2"),
        ({"holder": [-1, -1, 0]}, "big trash cannot be carried; split it"),
        ({"holder": [0, 0, 0], "trash_kind": [1, 1, 1]}, "agent 0 carries 3; capacity is 2"),
        ({"holder": [2, 2, 2], "trash_kind": [1, 1, 1]}, "all trash is in the bin"),
        ({"did": [0, 6]}, "did is [0, 6]; values must be between -1 and 5"),
        ({"step": -1}, "step is -1; it must be 0 or more"),
    ],
)
def test_states_that_cannot_be_played_are_refused(change: Any, message: str) -> None:
    good = {"agent_pos": [(0, 0), (0, 2)], "agent_dir": [1, 1], "trash_pos": SMALLS_AND_BIG}
    TINY.make_state(**good)
    with pytest.raises(ValueError, match=re.escape(message)):
        TINY.make_state(**{**good, **change})


def picture_state() -> TrashGridState:
    trash = [(3, 0), (4, 7), (5, 3), (7, 1), (6, 5), (3, 3), (4, 1), (5, 6), (6, 8), (7, 4)]
    return FULL.make_state(
        [(5, 2), (8, 7), (1, 4)],
        [EAST, SOUTH, WEST],
        trash,
        trash_kind=[1] * 6 + [2] * 4,
        holder=[-1, 1, -1, 3, 1, 0] + [-1] * 4,
        step=41,
    )


def test_the_picture_is_the_kept_one(like_golden: Any) -> None:
    like_golden("trashgrid", FULL.render(picture_state()))


def test_pictures_show_the_state() -> None:
    shown = [
        tiny([(2, 1), (4, 5)]),
        tiny([(2, 2), (4, 5)]),
        tiny([(2, 1), (4, 5)], [EAST, SOUTH]),
        tiny([(2, 1), (4, 5)], holder=[0, -1, -1]),
        tiny([(2, 1), (4, 5)], holder=[1, -1, -1]),
        tiny([(2, 1), (4, 5)], holder=[2, -1, -1]),
        tiny([(2, 1), (4, 5)], trash_kind=[1, 1, 1]),
        tiny([(2, 1), (4, 5)], step=7),
    ]
    assert len({TINY.render(state).tobytes() for state in shown}) == len(shown)
