"""The trained opponents that come with marlx."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import marlx
from marlx import config
from marlx.envs import partners
from marlx.types import Observation

DECISIONS = {
    "mpe/simple_tag_v3": [[1, 4, 2, 3], [1, 1, 3, 3], [2, 1, 2, 3], [3, 1, 3, 4]],
    "mpe/simple_adversary_v3": [[2, 4, 2], [1, 2, 3], [4, 4, 1], [1, 2, 3]],
}
"""Actions of `pretrained` on four random observations, each with a probability of 0.6 or more in
training. They change when it is trained again, see benchmarks/studies/opponents.py."""


@pytest.mark.parametrize("id", DECISIONS)
def test_trained_opponents_decide_as_when_they_were_kept(id: str) -> None:
    env, _ = marlx.make(id)
    spec, known = env.spec(), partners.pretrained(env)
    rng = np.random.default_rng(0)
    local = np.zeros((4, spec.num_agents, spec.obs_size), np.float32)
    for agent, width in enumerate(spec.obs_sizes):
        local[:, agent, :width] = rng.normal(size=(4, width))
    legal = np.ones((4, spec.num_agents, spec.num_actions), bool)
    obs = Observation(local, legal, np.zeros((4, spec.state_size), np.float32))
    decide = jax.vmap(known.act, (None, None, 0, None))
    action, _ = decide(known.policy, known.init(), obs, jax.random.key(0))
    assert action.tolist() == DECISIONS[id]


@pytest.mark.parametrize(
    ("id", "ego", "team", "more"),
    [
        ("mpe/simple_tag_v3", (0, 1, 2), "after_prey", 30),  # -11 and -59
        pytest.param("mpe/simple_adversary_v3", (1, 2), "random", 5, marks=pytest.mark.slow),
    ],  # the second: -20 and -28
)
def test_trained_opponents_are_better_ones_than_random(
    id: str, ego: tuple[int, ...], team: str, more: float
) -> None:
    """The prey flees and the adversary finds landmarks, against a team that stays as it is."""
    env, params = marlx.make(f"partners/{id}", pool=("pretrained", "random"), ego=ego)
    inner = env.cast.env
    rule = partners.heuristics(inner)[team]

    @jax.jit
    @jax.vmap
    def play(key: Any) -> Any:
        first = env.reset_env(key, params)

        def step(state: Any, key: Any) -> Any:
            obs = inner.observe(state.env_state, params)
            action, _ = rule.act(rule.policy, (), obs, key)
            state, *_ = env.step_env(key, state, action[np.array(ego)], params)
            return state, inner.rewards(state.env_state)[env.cast.others[0]]

        return first.draw, jax.lax.scan(step, first, jax.random.split(key, 25))[1].sum()

    draw, reward = map(np.asarray, play(jax.random.split(jax.random.key(0), 200)))
    assert reward[draw == 0].mean() > reward[draw == 1].mean() + more


def test_trained_opponents_are_in_no_pool_that_does_not_name_them() -> None:
    for id, names in (
        ("mpe/simple_tag_v3", partners.PREDATORS),
        ("mpe/simple_adversary_v3", ("random",)),
    ):
        assert marlx.make(f"partners/{id}")[0].cast.names == names
        assert "pretrained" not in partners.heuristics(marlx.make(id)[0])
    pool = ("pretrained", "random")
    env, _ = marlx.make("partners/mpe/simple_adversary_v3", pool=pool, horizon=9)
    assert env.cast.names == pool


@pytest.mark.parametrize(
    ("id", "settings", "message"),
    [
        ("simple_tag_v3", {"num_obstacles": 3}, r"^the pretrained .* num_obstacles 2; here"),
        ("simple_tag_v3", {"action_signs": "openai"}, r"with action_signs mpe2; here it is openai"),
        ("simple_adversary_v3", {"num_good": 3}, r"with num_good 2; here it is 3"),
        ("simple_push_v3", {}, r"unknown partner 'pretrained' in the pool of mpe/simple_push_v3"),
    ],
)
def test_trained_opponents_do_not_play_what_they_were_not_trained_in(
    id: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        marlx.make(f"partners/mpe/{id}", pool=("pretrained",), **settings)


@pytest.mark.parametrize("id", ["mpe/simple_tag_v3", "mpe/simple_adversary_v3"])
def test_presets_with_opponents_are_those_of_particles(id: str) -> None:
    for algorithm in ("iql", "vdn", "qmix"):
        alone, against = (config.experiment(algorithm, name) for name in (id, f"partners/{id}"))
        assert alone.learner == against.learner and alone.train == against.train
    for algorithm in ("ippo", "mappo"):
        alone, against = (config.experiment(algorithm, name) for name in (id, f"partners/{id}"))
        half = {"lr_steps": 2_000_000}
        assert dataclasses.replace(alone.learner, **half) == against.learner
        assert against.train == dataclasses.replace(alone.train, total_steps=2_000_000)
