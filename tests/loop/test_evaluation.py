"""Evaluation of drawn and of greedy actions: known returns of both, and who is judged by which."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos import ppo, q_learning
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.switching.config import MansaPPOConfig
from marlx.algos.switching.learner import mansa_ppo
from marlx.config.layers import experiment
from marlx.learner import acting, stateless
from marlx.loop.evaluation import evaluate, evaluate_modes, modes_of
from marlx.loop.program import loop
from marlx.registry import algorithms
from marlx.runs.result import RESULT, summary
from marlx.testing import Constant
from marlx.training import TrainConfig, train


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paid(Constant):
    """Each agent earns its action, 0 or 1, at each of `horizon` steps; the last agent twice that.

    `early` ends the episode as soon as the first agent takes 1.
    """

    early: bool = False

    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), reward_aggregation="sum", optimum=None)

    def step_env(self, key, state, action, params):
        state, _, ended, info = super().step_env(key, state, action, params)
        worth = jnp.ones(self.num_agents).at[-1].set(2.0)
        return state, worth * action, ended | (self.early & (action[0] == 1)), info


ENV = Paid(horizon=5)
CHANCE = 0.25


def chancy(env, judged="drawn"):
    """Takes 1 with `CHANCE` where it draws, else 0; its memory counts the steps."""

    def act(policy, memory, obs, key, explore):
        shape = obs.local.shape[:2]
        drawn = jax.random.bernoulli(key, CHANCE, shape).astype(jnp.int32)
        action = drawn if explore else jnp.zeros(shape, jnp.int32)
        return action, memory + 1, {"drawn": drawn} if explore else ()

    return stateless(act)._replace(judged=judged, memory=lambda num_envs: jnp.zeros(num_envs))


def returns_of(learner, how="auto", episodes=2_000, env=ENV):
    modes = modes_of(learner.judged, how)
    play = jax.jit(
        lambda key: evaluate_modes(env, env.default_params, learner, (), key, episodes, modes)
    )
    return {name: np.asarray(values) for name, values in play(jax.random.key(3)).items()}


def test_a_policy_gets_its_known_drawn_and_greedy_returns():
    found = returns_of(chancy(ENV))
    assert {name: len(values) for name, values in found.items()} == {
        "return": 1_000,
        "greedy_return": 1_000,
    }
    np.testing.assert_array_equal(found["greedy_return"], 0.0)
    mean, variance = 3 * CHANCE * 5, 5 * 5 * CHANCE * (1 - CHANCE)  # 1^2 + 2^2 per step
    assert abs(found["return"].mean() - mean) < 4 * np.sqrt(variance / 1_000)
    assert abs(found["return"].var() - variance) < 0.2 * variance


@pytest.mark.parametrize(
    ("judged", "how", "modes"),
    [
        ("drawn", "auto", ("drawn", "greedy")),
        ("drawn", "both", ("drawn", "greedy")),
        ("drawn", "greedy", ("greedy",)),
        ("drawn", "drawn", ("drawn",)),
        ("greedy", "auto", ("greedy",)),
        ("greedy", "both", ("greedy", "drawn")),
        ("greedy", "drawn", ("drawn",)),
    ],
)
def test_eval_says_which_actions_are_measured_and_which_count(judged, how, modes):
    assert modes_of(judged, how) == modes


def test_the_exploring_return_stands_beside_the_greedy_one_where_both_are_asked_for():
    found = returns_of(chancy(ENV, "greedy"), "both", episodes=7)
    assert {name: len(values) for name, values in found.items()} == {
        "return": 4,
        "drawn_return": 4,
    }
    assert not found["return"].any() and found["drawn_return"].any()


def test_drawn_actions_of_a_policy_without_chance_give_the_greedy_returns_to_the_bit():
    def act(policy, memory, obs, key, explore):
        return jnp.tile(memory[:, None].astype(jnp.int32) % 2, (1, 2)), memory + 1, ()

    sure = chancy(ENV)._replace(act=act)
    greedy, drawn = (returns_of(sure, how)["return"] for how in ("greedy", "drawn"))
    assert greedy.tobytes() == drawn.tobytes()
    both = returns_of(sure)
    # 1 at the steps 2 and 4: each half has the memory of its own episodes
    assert (both["return"] == 6).all() and (both["greedy_return"] == 6).all()


def test_each_half_ends_its_own_episodes():
    env = Paid(horizon=5, early=True)
    found = returns_of(chancy(env), env=env)
    assert (found["greedy_return"] == 0).all()  # full length
    # the first agent earns 1 once, unless it never draws it in five steps
    mine = found["return"] % 2
    assert abs(mine.mean() - (1 - (1 - CHANCE) ** 5)) < 0.06


def test_evaluate_takes_the_actions_that_the_learner_is_judged_by():
    def play(judged, explore=None):
        learner = chancy(ENV, judged)
        key = jax.random.key(0)
        return evaluate(ENV, ENV.default_params, learner, (), key, 50, explore=explore)

    assert play("drawn").any() and not play("greedy").any()
    np.testing.assert_array_equal(play("drawn"), play("greedy", True))


PLAYED = dict.fromkeys(algorithms(), "Foraging-5x5-2p-1f-coop-v3")
PLAYED |= dict.fromkeys(("clam", "liam"), "partners/Foraging-8x8-2p-2f-coop-v3")


@pytest.mark.parametrize("name", PLAYED)
def test_policy_gradients_are_judged_by_drawn_actions_and_q_learners_greedily(name):
    drawn = name in ("ippo", "mappo", "ia2c", "maa2c", "mansa_ppo", "gmah", "clam", "liam")
    *_, learner = experiment(name, PLAYED[name]).build()
    assert learner.judged == ("drawn" if drawn else "greedy")


def test_a_last_action_changes_not_how_a_learner_is_judged():
    spec = ENV.spec()
    assert ppo.ippo(spec, last_action=True).judged == "drawn"
    assert q_learning.iql(spec, last_action=True).judged == "greedy"


def test_a_composite_draws_the_actions_of_its_parts_and_is_otherwise_evaluated_greedily():
    """`act` that explores has the budget of the training, and knows no `execution`."""
    key, spec = jax.random.key(0), ENV.spec()
    small = PPOConfig(hidden=8)
    parts = {"independent": small, "centralised": small}
    config, alone = (
        MansaPPOConfig(switching="always", run_budget=0, **parts),
        ppo.mappo(spec, small),
    )
    learner = mansa_ppo(spec, config)
    init = loop(ENV, ENV.default_params, learner, TrainConfig(num_envs=64)).init
    run = jax.jit(init)(key)
    policy, obs, memory = learner.policy(run.learner), run.actors.obs, learner.memory(64)
    assert not learner.act(policy, memory, obs, key, True)[2].called.any()
    action, _, extras = acting(learner, "drawn")(policy, memory, obs, key, True)
    expected = alone.act(policy.centralised, alone.memory(64), obs, key, True)[0]
    np.testing.assert_array_equal(action, expected)
    assert extras.called.all() and len(np.unique(expected)) == 2
    learner, alone = mansa_ppo(spec, config, execution="independent"), ppo.ippo(spec, small)
    action, _, extras = acting(learner, "drawn")(policy, memory, obs, key, True)
    expected = alone.act(policy.independent, alone.memory(64), obs, key, True)[0]
    np.testing.assert_array_equal(action, expected)
    assert not extras.called.any()


def test_a_run_of_both_says_which_return_counts():
    config = TrainConfig(
        total_steps=80, num_envs=4, rollout_length=5, evals=2, eval_episodes=60, seeds=2
    )
    result = train(ENV, chancy(ENV), config=config)
    assert result.judged == "drawn"
    assert list(result.history[-1].metrics)[:2] == ["return", "greedy_return"]
    assert result.returns.shape == (2, 120) and result.returns is result.evaluated["return"]
    assert all((progress.metrics["greedy_return"] == 0).all() for progress in result.history)
    assert all((progress.metrics["return"] > 0).all() for progress in result.history)
    content = summary(config, result, None)
    assert content["judged"] == "drawn" and content["greedy_return"]["mean"] == 0
    assert content["return"]["mean"] == pytest.approx(3 * CHANCE * 5, abs=1)
    assert set(content) & set(RESULT.allowed) >= {"judged", "return", "greedy_return"}
