"""How notebooks show states and policies."""

import xml.etree.ElementTree as ET

import jax
import jax.numpy as jnp
import numpy as np

import marlx


def drawn(state):
    """The texts of a state's drawing, and the names of the fields below it."""
    root = ET.fromstring(f"<div>{state._repr_html_()}</div>")
    texts = [node.text or "" for node in root.iter("{http://www.w3.org/2000/svg}text")]
    return texts, [node.text for node in root.iter("th")]


def test_a_foraging_state_shows_levels():
    env, _ = marlx.make("Foraging-8x8-3p-2f-v3")
    foods = np.zeros((8, 8), int)
    foods[2, 3], foods[5, 5] = 4, 6
    state = env.make_state([(0, 0), (1, 1), (7, 2)], [1, 2, 3], foods)
    texts, fields = drawn(state)
    assert texts == ["4", "6", "1", "2", "3"]
    assert fields[:2] == ["time", "agent_pos"]


def test_a_carried_key_is_not_on_the_board():
    env, _ = marlx.make("grid/doorkey-8x8")
    pose = {"wall_col": 4, "door_row": 2, "goal_pos": (6, 6)}
    state = env.make_state([(3, 1)], [2], **pose, key_pos=(2, 1))
    assert drawn(state)[0] == ["D", "k", "G", "\u2190"]
    state = env.make_state([(3, 1)], [3], **pose, carrier=0, door=0)
    assert drawn(state)[0] == ["O", "G", "\u2191"]


def test_a_particle_state_numbers_its_agents():
    env, _ = marlx.make("mpe/simple_spread_v3")
    state = env.make_state(np.zeros((3, 2)), np.zeros((3, 2)), np.ones((3, 2)))
    assert drawn(state)[0] == ["", "", "", "0", "1", "2"]


def test_trash_that_is_carried_is_not_on_the_board():
    env, _ = marlx.make("grid/trashgrid-8x8-2p")
    places = [(4, k) for k in range(6)] + [(5, k) for k in range(4)]
    state = env.make_state([(0, 0), (0, 2)], [1, 0], places, holder=[0] + [-1] * 9)
    assert drawn(state)[0] == [*"ssss", *"bbbbb", "\u2193", "\u2192"]


def test_many_states_and_traced_ones_are_a_table():
    env, _ = marlx.make("Foraging-5x5-2p-1f-v3")
    foods = np.zeros((5, 5), int)
    foods[2, 2] = 1
    state = env.make_state([(0, 0), (1, 1)], [1, 2], foods)
    many = jax.tree.map(lambda x: jnp.stack([x] * 40), state)
    assert "<svg" not in many._repr_html_()
    assert "int32[40,2,2]" in many._repr_html_()
    shown = []
    jax.eval_shape(lambda s: shown.append(s._repr_html_()), state)
    assert "<svg" not in shown[0]
    assert "int32[2,2]" in shown[0]
