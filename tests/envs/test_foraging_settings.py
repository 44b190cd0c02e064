"""Settings, ids and hand-made states of foraging."""

from __future__ import annotations

import re
from typing import Any

import jax
import numpy as np
import pytest
from foraging_cases import resets

from marlx.envs import foraging
from marlx.envs.foraging import (
    Foraging,
)


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
