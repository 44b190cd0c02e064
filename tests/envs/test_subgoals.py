"""The subgoals that environments declare, against numpy and against play."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.envs import trashgrid
from marlx.envs.doorkey import AGENT, CLOSED, DOOR, KEY, LOCKED, OPEN, YELLOW, DoorKey
from marlx.envs.foraging import LOAD, Foraging
from marlx.envs.trashgrid import BIG, PICKUP, PUTDOWN, SMALL, SPLIT, TrashGrid

BATCH = 96
FORAGING = {
    "vector": Foraging(num_agents=3, num_food=3),
    "vector-2s": Foraging(num_agents=3, num_food=3, sight=2, observe_levels=False),
    "vector-1s": Foraging(size=(6, 7), num_agents=2, num_food=2, sight=1),
    "grid-2s": Foraging(num_agents=3, num_food=3, sight=2, observation="grid"),
    "grid": Foraging(size=(5, 5), num_food=2, observation="grid", observe_levels=False),
}
DOORS = {
    "alone": DoorKey(size=5),
    "alone-wide": DoorKey(size=6, view_size=11, target="door", goal_left_probability=0.5),
    "pair": DoorKey(size=5, num_agents=2),
}
TRASH = {
    "items": TrashGrid(size=(6, 5), num_agents=2, num_small=2, num_big=2, capacity=2),
    "stages": TrashGrid(
        size=(6, 5), num_agents=2, num_small=2, num_big=2, capacity=2, subgoal_kind="stages"
    ),
}
# How often each action is taken, so that play gets somewhere.
WEIGHTS = {
    Foraging: [0.05, 0.2, 0.2, 0.2, 0.2, 0.15],
    DoorKey: [0.15, 0.15, 0.35, 0.12, 0.06, 0.15, 0.02],
    TrashGrid: [0.3, 0.15, 0.1, 0.15, 0.15, 0.15],
}


class Step(NamedTuple):
    """A step of a batch, without resets; each table is bool [B, N, G]."""

    before: Any
    local: np.ndarray
    action: np.ndarray
    after: Any
    achieved: np.ndarray
    available: np.ndarray
    choices: np.ndarray
    achieved_after: np.ndarray
    available_after: np.ndarray


@functools.cache
def compiled(env: Any) -> Any:
    params, subgoals = env.default_params, env.subgoals()

    def one(state: Any, action: Any) -> Any:
        after = env.step_env(jax.random.key(0), state, action, params)[0]
        local = env.observe(state, params).local
        return local, after, subgoals.choices(local), [
            (subgoals.achieved(s), subgoals.available(s)) for s in (state, after)
        ]  # fmt: skip

    reset = jax.jit(jax.vmap(lambda key: env.reset_env(key, params)))
    return reset, jax.jit(jax.vmap(one))


def play(env: Any, steps: int, seed: int = 0) -> Iterator[Step]:
    """Random steps from fresh boards."""
    reset, step = compiled(env)
    state = jax.device_get(reset(jax.random.split(jax.random.key(seed), BATCH)))
    rng = np.random.default_rng(seed)
    weights = WEIGHTS[type(env)]
    for _ in range(steps):
        action = rng.choice(len(weights), (BATCH, env.num_agents), p=weights)
        local, after, choices, ((done, can), (done_after, can_after)) = jax.device_get(
            step(state, jnp.asarray(action))
        )
        yield Step(state, local, action, after, done, can, choices, done_after, can_after)
        state = after


@pytest.mark.parametrize("env", [*FORAGING.values(), *DOORS.values(), *TRASH.values()], ids=repr)
def test_declarations_are_well_formed(env: Any) -> None:
    names, requires, *_ = env.subgoals()
    assert len(set(names)) == len(names) == len(requires)
    left = set(range(len(names)))
    while ready := {g for g in left if not left & set(requires[g])}:
        left -= ready
    assert not left, "the task tree has a cycle"


@pytest.mark.parametrize("name", [*DOORS, *TRASH])
def test_whatever_is_achieved_was_available_just_before(name: str) -> None:
    env = (DOORS | TRASH)[name]
    count = len(env.subgoals().names)
    seen = np.zeros(count, int)
    for step in play(env, 120):
        new = step.achieved_after & ~step.achieved
        assert (step.available | ~new).all()
        seen += new.sum((0, 1))
        assert step.choices.any(-1).all()
    assert (seen > 0).all(), f"never achieved: {seen}"


# ---------------------------------------------------------------- foraging


@pytest.mark.parametrize("name", ["vector", "vector-1s", "grid-2s"])
def test_foraging_load_is_achieved_by_trying(name: str) -> None:
    """The food that was faced before the step, by its place in the list of those seen then."""
    env = dataclasses.replace(FORAGING[name], subgoal_kind="load")
    tried = gone = 0
    for step in play(env, 40):
        before, slots = step.before, env.num_food
        for b in range(0, BATCH, 4):
            for i in range(env.num_agents):
                gaps = before.food_pos[b] - before.agent_pos[b, i]
                there = before.food_level[b] > 0
                listed = np.flatnonzero(there & (np.abs(gaps).max(1) <= env.view))
                faced = [
                    k
                    for side in ((-1, 0), (1, 0), (0, -1), (0, 1))
                    for k, f in enumerate(listed)
                    if tuple(gaps[f]) == side
                ]
                expected = np.zeros(slots + 1, bool)
                expected[slots] = True
                if step.action[b, i] == LOAD and faced:
                    expected[faced[0]] = True
                    tried += 1
                    left = (step.after.food_level[b] > 0).sum()
                    gone += left < there.sum()
                np.testing.assert_array_equal(step.achieved_after[b, i], expected)
    assert tried > gone > 0, "some loads failed, some did not"


@pytest.mark.parametrize("name", FORAGING)
def test_foraging_subgoals_are_the_foods_of_the_agents_own_list(name: str) -> None:
    """From the list as it is observed, whether whole, by window or as a grid."""
    env = FORAGING[name]
    slots, view = env.num_food, env.view
    reached = np.zeros(slots, int)
    for step in play(env, 40):
        np.testing.assert_array_equal(step.choices, step.available)
        assert step.achieved[..., -1].all() and step.available[..., -1].all()
        assert not (step.achieved & ~step.available).any()
        pos = step.before.agent_pos
        for b in range(0, BATCH, 8):
            for i in range(env.num_agents):
                if env.observation == "grid":
                    layer = step.local[b, i].reshape(3, 2 * view + 1, 2 * view + 1)[1]
                    listed = [(r - view, c - view) for r, c in np.argwhere(layer)]
                else:
                    corner = np.maximum(pos[b, i] - view, 0)
                    rows = step.local[b, i, : 3 * slots].reshape(slots, 3)
                    listed = [tuple(r[:2] + corner - pos[b, i]) for r in rows if r[2] > 0]
                beside = [abs(r) + abs(c) == 1 for r, c in listed]
                free = [False] * (slots - len(listed))
                assert step.achieved[b, i, :-1].tolist() == [*beside, *free]
                assert step.available[b, i, :-1].tolist() == [True] * len(listed) + free
                reached[: len(beside)] += np.array(beside, int)
    assert (reached[: slots - 1] > 0).all()


def test_foraging_where_the_agent_sees_everything_all_foods_are_available() -> None:
    env = FORAGING["vector"]
    eaten = False
    for step in play(env, 60):
        foods = (step.before.food_level > 0).sum(1)
        np.testing.assert_array_equal(step.available[..., :-1].sum(-1), foods[:, None].repeat(3, 1))
        eaten |= bool((foods < 3).any())
    assert eaten


def test_foraging_foods_move_up_in_the_list() -> None:
    env = Foraging(num_food=2)
    grid = np.zeros((8, 8), int)
    grid[2, 2], grid[5, 5] = 1, 1
    state = env.make_state([(2, 1), (5, 4)], [1, 1], grid)
    achieved = env.subgoals().achieved
    assert achieved(state).tolist() == [[True, False, True], [False, True, True]]
    after, *_ = env.step_env(jax.random.key(0), state, jnp.array([LOAD, 0]), env.default_params)
    assert achieved(after).tolist() == [[False, False, True], [True, False, True]]
    assert env.subgoals().available(after).tolist() == [[True, False, True]] * 2


# ---------------------------------------------------------------- doorkey


@pytest.mark.parametrize("name", DOORS)
def test_doorkey_subgoals(name: str) -> None:
    env = DOORS[name]
    count, v = env.num_agents, env.view_size
    sure, hidden = 0, 0
    for step in play(env, 120, seed=1):
        state = step.before
        door, carrier = state.door[:, None], state.carrier[:, None]
        own = np.arange(count)
        on_goal = (state.agent_pos == state.goal_pos[:, None]).all(-1)
        is_open = np.broadcast_to(door == OPEN, on_goal.shape)
        np.testing.assert_array_equal(
            step.achieved, np.stack([carrier == own, is_open, on_goal], -1)
        )
        right = state.agent_pos[..., 1] > state.wall_col[:, None]
        key_right = (state.key_pos[:, 1] > state.wall_col)[:, None]
        goal_right = (state.goal_pos[:, 1] > state.wall_col)[:, None]
        key = (carrier < 0) & ((right == key_right) | is_open)
        could = np.broadcast_to((door == CLOSED) | ((door == LOCKED) & (carrier >= 0)), key.shape)
        goal = (right == goal_right) | is_open
        np.testing.assert_array_equal(step.available, np.stack([key, could, goal], -1))
        # Nothing that can be done is excluded, but for a door that one has shut and does not see.
        cells = step.local[..., :-4].reshape(BATCH, count, v * v, 3)
        shown = cells[..., 0]
        sees_door, sees_key = (shown == DOOR).any(-1), (shown == KEY).any(-1)
        shut = (door == CLOSED) & ~sees_door & (count == 1)
        missed = step.available & ~step.choices
        assert not missed[..., [0, 2]].any() and not (missed[..., 1] & ~shut).any()
        # Where it sees what the subgoal is about, it knows.
        carries = carrier == own
        mate = ((shown == AGENT) & (cells[..., 1] == YELLOW)).any(-1)
        known = carries | mate | sees_key
        np.testing.assert_array_equal(step.choices[known, 0], step.available[known, 0])
        known = sees_door if count == 1 else sees_door & (is_open | (carrier >= 0))
        np.testing.assert_array_equal(step.choices[known, 1], step.available[known, 1])
        if count == 1:
            assert not step.choices[~carries & ~sees_door, 1].any()
        assert step.choices[..., 2].all()
        sure += known.sum()
        hidden += (step.choices & ~step.available).any(-1).sum()
    assert sure and hidden


def test_doorkey_goal_is_available_without_the_door_only_on_ones_own_side() -> None:
    env = DoorKey()
    available = env.subgoals().available
    for goal, door, want in (((5, 2), LOCKED, True), ((5, 6), LOCKED, False), ((5, 6), OPEN, True)):
        state = env.make_state([(3, 1)], [0], 4, 3, goal, key_pos=(2, 2), door=door)
        assert bool(available(state)[0, 2]) is want


# ---------------------------------------------------------------- trashgrid


@pytest.mark.parametrize("name", TRASH)
def test_trashgrid_subgoals(name: str) -> None:
    env = TRASH[name]
    count, pieces = env.num_agents, env.num_trash
    full = 0
    for step in play(env, 120, seed=2):
        state = step.before
        lies = state.holder == -1
        load = (state.holder[:, None] == np.arange(count)[:, None]).sum(-1)
        room, carries = load < env.capacity, load > 0
        put = state.did == PUTDOWN
        if name == "items":
            achieved = [state.holder[:, k, None] == np.arange(count) for k in range(pieces)]
            available = [lies[:, k, None] & room for k in range(pieces)]
        else:
            at = (state.trash_pos[:, None] == state.agent_pos[:, :, None]).all(-1)
            found = (at & lies[:, None]).any(-1)
            achieved = [found, state.did == PICKUP, state.did == SPLIT]
            small = (lies & (state.trash_kind == SMALL)).any(-1)[:, None]
            big = (lies & (state.trash_kind == BIG)).any(-1)[:, None]
            every = np.ones((1, count), bool)
            available = [lies.any(-1)[:, None] & every, small & room, big & every]
        np.testing.assert_array_equal(step.achieved, np.stack([*achieved, put], -1))
        np.testing.assert_array_equal(step.available, np.stack([*available, carries], -1))
        some = step.available.any(-1)
        np.testing.assert_array_equal(step.choices[some], step.available[some])
        full += (~room).sum()
    assert full


@pytest.mark.parametrize("name", TRASH)
def test_trashgrid_where_nothing_is_available_one_delivers(name: str) -> None:
    env = TRASH[name]
    trash, small = [(3, 0), (3, 1), (3, 2), (3, 3)], [SMALL] * 4
    state = env.make_state([(0, 0), (0, 2)], [0, 0], trash, small, holder=[2, 2, 1, 1])
    subgoals = env.subgoals()
    local = env.observe(state, env.default_params).local
    assert not subgoals.available(state)[0].any()
    last = np.arange(len(subgoals.names)) == len(subgoals.names) - 1
    np.testing.assert_array_equal(subgoals.choices(local), [last, last])


def test_trashgrid_names_its_subgoals() -> None:
    items = trashgrid.make("grid/trashgrid-10x10-3p").subgoals()
    assert items.names[4:7] == ("small 4", "big 0", "big 1") and items.names[-1] == "deliver"
    stages = TrashGrid(subgoal_kind="stages").subgoals()
    assert stages.names == ("find", "pick", "split", "deliver")
    assert stages.requires == ((), (0,), (0,), (1,))
