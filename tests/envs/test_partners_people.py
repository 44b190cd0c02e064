"""Partners that imitate people."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.envs import partners
from marlx.types import Observation

CLIMBING = "matrix/climbing"


def line(**changes):
    """An episode of a person in seat 1, who plays what the mate played before, and 2 at first."""
    rng = np.random.default_rng(changes.pop("seed", 0))
    mate = rng.integers(0, 3, 25)
    person = np.concatenate([[2], mate[:-1]])
    before = np.concatenate([[-1], mate[:-1]]), np.concatenate([[-1], person[:-1]])
    seen = [[*(np.arange(3) == a), *(np.arange(3) == b)] for a, b in zip(*before, strict=True)]
    episode = {
        "format": 1,
        "environment": CLIMBING,
        "seat": 1,
        "observation": np.array(seen, float).tolist(),
        "legal": [[1, 1, 1]] * 25,
        "action": np.stack([mate, person], 1).tolist(),
        "return": 0.0,
    }
    return json.dumps({**episode, **changes})


@pytest.fixture
def game():
    return marlx.make(CLIMBING, observation="last_action")[0]


def test_a_person_is_imitated(tmp_path, game):
    path = tmp_path / "anna.jsonl"
    path.write_text("".join(f"{line(seed=k)}\n" for k in range(8)))
    partner = partners.from_episodes(path, game)
    assert partner.name == "anna"
    local = np.array(json.loads(line(seed=99))["observation"], np.float32)
    person = [a for _, a in json.loads(line(seed=99))["action"]]

    @jax.jit
    @jax.vmap
    def act(seen, key):
        obs = Observation(jnp.stack([seen, seen]), jnp.ones((2, 3), bool), seen)
        return partner.act(partner.policy, (), obs, key)[0]

    keys = jax.random.split(jax.random.key(0), (25, 40))
    action = jax.vmap(lambda k: act(jnp.asarray(local), k), 1)(keys)  # [40, 25, 2]
    assert (np.asarray(action) == np.array(person)[:, None]).mean() > 0.97


def test_a_file_in_a_pool_is_a_partner(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "anna.jsonl").write_text(line() + "\n\n")
    pool = ("random", "anna.jsonl")
    env, _ = marlx.make(f"partners/{CLIMBING}", pool=pool, observation="last_action")
    assert env.partner_names == ("random", "anna")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (line(environment="matrix/penalty-0"), "line 1 was played in matrix/penalty-0"),
        (line(seat=2), "seat is 2; there are 2 agents"),
        (line(action=[[0, 3]] * 25), "was not legal"),
        (line(legal=[[1, 0, 1]] * 24 + [[1, 1]]), "legal must be 25 rows of 3 numbers"),
        (line(observation=[[0.0] * 5] * 25), "observation must be 25 rows of 6 numbers"),
        (line(action=[["x", 1]] * 25), "action[0][0]"),
        ('{"environment": "matrix/climbing"}', "has no seat"),
        ("[", "is not JSON"),
        ("\n", "has no steps of a person"),
        (line(observation=[], legal=[], action=[]), "has no steps of a person"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(tmp_path, game, content, said):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(ValueError) as error:
        partners.from_episodes(tmp_path / "a.jsonl", game)
    assert said in str(error.value) and "\n" not in str(error.value)
