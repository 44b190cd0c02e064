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
from marlx.loop.rollout import agent_returns
from marlx.loop.run import Run
from marlx.registry import algorithm, algorithms, make_env
from marlx.runs import checkpoint_files
from marlx.runs.array_store import Checkpoint
from marlx.runs.identity import check_settings, schedule_of, settings_of_run
from marlx.runs.result import RESULT, summary
from marlx.testing import Constant, check_env
from marlx.training import TrainConfig, train
from marlx.types import Observation, Transition


@dataclasses.dataclass(frozen=True, kw_only=True)
class Paid(Constant):
    """Each agent earns its action, 0 or 1, at each of `horizon` steps; the last agent twice that.

    An episode succeeds whose last action of the first agent is 1. `early` ends it there.
    """

    early: bool = False

    def spec(self, params=None):
        return dataclasses.replace(
            super().spec(params),
            reward_aggregation="sum",
            optimum=None,
            outcomes=("success_rate",),
        )

    def step_env(self, key, state, action, params):
        state, _, ended, _ = super().step_env(key, state, action, params)
        worth, taken = jnp.ones(self.num_agents).at[-1].set(2.0), action[0] == 1
        return state, worth * action, ended | (self.early & taken), {"success_rate": taken}


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
    """Those of the team and of each agent, and the rate of success."""
    found = returns_of(chancy(ENV))
    plain = {"return", "agent_0_return", "agent_1_return", "success_rate"}
    assert set(found) == plain | {f"greedy_{name}" for name in plain}
    assert {len(values) for values in found.values()} == {1_000}
    for name in plain:
        np.testing.assert_array_equal(found[f"greedy_{name}"], 0.0)
    spread = 5 * CHANCE * (1 - CHANCE)
    for name, worth in (("agent_0_return", 1), ("agent_1_return", 2)):
        assert abs(found[name].mean() - worth * CHANCE * 5) < 4 * worth * np.sqrt(spread / 1_000)
        assert abs(found[name].var() - worth**2 * spread) < 0.2 * worth**2 * spread
    np.testing.assert_allclose(found["return"], found["agent_0_return"] + found["agent_1_return"])
    assert abs(found["success_rate"].mean() - CHANCE) < 0.06


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
    assert len(found["return"]) == len(found["drawn_return"]) == 4
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
    np.testing.assert_array_equal(mine, found["success_rate"])
    np.testing.assert_array_equal(mine, found["agent_0_return"])


def test_evaluate_takes_the_actions_that_the_learner_is_judged_by():
    def play(judged, explore=None):
        learner = chancy(ENV, judged)
        key = jax.random.key(0)
        return evaluate(ENV, ENV.default_params, learner, (), key, 50, explore=explore)

    assert play("drawn").any() and not play("greedy").any()
    np.testing.assert_array_equal(play("drawn"), play("greedy", True))


@pytest.mark.parametrize("name", algorithms())
def test_policy_gradients_are_judged_by_drawn_actions_and_q_learners_greedily(name):
    policies = ("ippo", "mappo", "ia2c", "maa2c", "happo", "haa2c", "coma", "mat", "sable")
    regularised = ("teamreg", "coachreg")
    others = ("mansa_ppo", "gmah", "ami", "clam", "liam", "dynamic_population")
    drawn = name in (*policies, *regularised, *others)
    *_, learner = experiment(name, algorithm(name).example or "Foraging-5x5-2p-1f-coop-v3").build()
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
    metrics = result.history[-1].metrics
    assert next(iter(metrics)) == "return" and "greedy_return" in metrics
    each = metrics["train_agent_0_return"] + metrics["train_agent_1_return"]
    np.testing.assert_allclose(each, metrics["train_return"], rtol=1e-5)
    assert ((metrics["train_success_rate"] > 0) & (metrics["train_success_rate"] < 1)).all()
    assert result.returns.shape == (2, 120) and result.returns is result.evaluated["return"]
    assert all((progress.metrics["greedy_return"] == 0).all() for progress in result.history)
    assert all((progress.metrics["return"] > 0).all() for progress in result.history)
    content = summary(config, result, None)
    assert 0 < content["success_rate"]["mean"] < 1
    assert content["judged"] == "drawn" and content["greedy_return"]["mean"] == 0
    assert content["return"]["mean"] == pytest.approx(3 * CHANCE * 5, abs=1)
    assert set(content) & set(RESULT.allowed) >= {"judged", "return", "greedy_return"}


def test_returns_of_agents_add_up_over_rollouts():
    """Episodes of 3 steps in rollouts of 4: each agent's sums, also of those that go on."""
    rewards = jax.random.uniform(jax.random.key(0), (8, 2, 3))
    done = jnp.zeros((8, 2), bool).at[jnp.array([2, 5]), 0].set(True).at[7, 1].set(True)
    there = jax.random.bernoulli(jax.random.key(1), 0.7, (8, 2, 3))

    def part(first):
        rows = slice(first, first + 4)
        obs = Observation(None, None, None, there[rows])
        over = done[rows]
        return Transition(obs, None, rewards[rows], over, over & False, None, None, None)

    before, total = jnp.zeros((2, 3)), jnp.zeros(3)
    for first in (0, 4):
        before, ended = agent_returns(before, part(first))
        total += ended
    counted = np.where(there, rewards, 0.0)
    np.testing.assert_allclose(total, counted[:6, 0].sum(0) + counted[:, 1].sum(0), rtol=1e-5)
    np.testing.assert_allclose(before, [counted[6:, 0].sum(0), [0, 0, 0]], rtol=1e-5)
    assert agent_returns((), part(0)) == ((), ())


@pytest.mark.parametrize(
    "env_id", ["grid/doorkey-5x5", "matrix/climbing", "matrix/prisoners_dilemma"]
)
def test_where_all_agents_earn_the_same_there_is_no_return_of_each(env_id):
    spec = make_env(env_id).spec()
    assert spec.rewards_differ == (env_id == "matrix/prisoners_dilemma")


def test_an_environment_that_lacks_an_outcome_of_its_spec_is_refused():
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Lacking(Constant):
        def spec(self, params=None):
            return dataclasses.replace(super().spec(params), outcomes=("win_rate",))

    with pytest.raises(AssertionError, match="info has no win_rate"):
        check_env(Lacking())


def test_a_checkpoint_without_the_setting_is_of_greedy_evaluations():
    def resumed(judged, how):
        """Checks the settings of a run against those of a checkpoint that has no `eval`."""
        config = TrainConfig(total_steps=80, num_envs=4, rollout_length=5, eval=how)
        run = Run(ENV, ENV.default_params, chancy(ENV, judged), config)
        settings = settings_of_run(run)
        del settings["eval"]
        state = {"settings": settings, "schedule": schedule_of(run), "counters": {"blocks": 0}}
        check_settings(run, Checkpoint(None, state))

    for judged, how in (("greedy", "auto"), ("greedy", "greedy"), ("drawn", "greedy")):
        resumed(judged, how)
    for judged, how in (("drawn", "auto"), ("greedy", "both")):
        with pytest.raises(ValueError, match=f"eval is {how}; the run has greedy"):
            resumed(judged, how)


def test_a_checkpoint_without_the_returns_of_agents_goes_on_with_zeros(monkeypatch):
    config = TrainConfig(total_steps=80, num_envs=4, rollout_length=5)
    run = Run(ENV, ENV.default_params, chancy(ENV), config)
    shapes = checkpoint_files._stored_shapes(run.replicas_shape())
    arrays = {name: np.ones(x.shape, x.dtype) for name, x in shapes.items()}
    del arrays["actors/agent_return"]
    known = {name: [str(x.dtype), list(x.shape)] for name, x in arrays.items()}
    monkeypatch.setattr(checkpoint_files, "read_arrays", lambda checkpoint: arrays)
    actors = checkpoint_files.read_state(run, Checkpoint(None, {"arrays": known})).actors
    assert actors.agent_return.shape == (1, 4, 2) and not actors.agent_return.any()
    assert actors.episode_return.all()
