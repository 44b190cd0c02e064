"""The study of headroom, on a game whose gaps are known."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import marlx
from marlx.environment import EnvParams
from marlx.learner import stateless
from marlx.testing import Recall

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"


@pytest.fixture
def headroom(monkeypatch):
    monkeypatch.syspath_prepend(STUDIES)
    import _headroom

    return _headroom


def player(headroom, first, last):
    """Both agents play `first` in four additive stages, `last` in the climbing game after them."""

    def act(policy, memory, obs, key, explore):
        stage = obs.global_state.argmax(-1)
        action = jnp.where(stage == 4, last, first)
        return jnp.stack([action, action], -1).astype(jnp.int32), memory, ()

    return headroom.Player(stateless(act), (), False)


def test_the_oracle_calls_where_the_gap_is_and_a_random_switch_gets_its_share(headroom):
    """The policies differ in the last of five stages alone: 11 against 5.

    So the gap is 6 in a fifth of the states, the oracle has all of it at 20% calls, and a random
    switch with as many calls a fifth of it.
    """
    env, params = marlx.make("matrix/chain-4")
    game = headroom.Game(env, params, player(headroom, 0, 2), player(headroom, 0, 0))
    look = headroom.Lookahead(steps=2, lasts=1, pairs=2)
    found = headroom.measure(
        game, look, (0.05, 0.2, 0.5), jax.random.key(0), episodes=200, visiting=0.1
    )
    assert found["always"] - found["alone"] == pytest.approx(6.0)
    assert found["gap_mean"] == pytest.approx(6 / 5) and found["gap_positive"] == pytest.approx(0.2)
    assert found["oracle"][1:] == pytest.approx([found["always"]] * 2)
    assert found["rate"][1:] == pytest.approx([0.2, 0.2])
    assert found["random"][1] == pytest.approx(found["alone"] + 6 * 0.2, abs=0.6)
    assert found["headroom"][1] == pytest.approx(6 * 0.8, abs=0.6)


def test_rollouts_of_a_pair_differ_in_who_acts_alone(headroom):
    """A policy called by itself has no gap, whatever moves the world."""
    env, params = Recall(shortest=1, longest=4), EnvParams(max_steps_in_episode=4)
    spec = env.spec(params)

    def act(policy, memory, obs, key, explore):
        action = jax.random.randint(key, obs.local.shape[:2], 0, spec.num_actions)
        return action.astype(jnp.int32), memory, ()

    same = headroom.Player(stateless(act), (), False)
    game = headroom.Game(env, params, same, same)
    look = headroom.Lookahead(steps=4, lasts=2, pairs=2)

    @jax.jit
    def play(key):
        at = headroom.begin(game, key, 16)
        return headroom.gaps(game, look, at, key)

    assert not play(jax.random.key(0)).any()
