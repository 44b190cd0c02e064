"""Training runs: seeds, devices, determinism, times, stopping, and settings that are refused."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos import q_learning
from marlx.algos.q_config import QConfig
from marlx.analysis.video import episode_frames, record_episode
from marlx.loop import programs
from marlx.loop.evaluation import random_learner
from marlx.loop.program import loop
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.testing import Recall
from marlx.training import train

ENV = Recall(shortest=1, longest=3)
TINY = QConfig(
    hidden=8, mixer_hidden=8, mixer_embed=4, batch=8, window=5, capacity=2_000, warmup=100,
    updates_per_step=1 / 20, target_period=5,
)  # fmt: skip
LEARNER = q_learning.qmix(ENV.spec(), TINY)
SETTINGS = {"total_steps": 700, "num_envs": 4, "rollout_length": 5, "evals": 3, "eval_episodes": 50}


@pytest.fixture(scope="module")
def three():
    """Three seeds on the two devices of the tests: two replicas on each, one of them padding."""
    return train(ENV, LEARNER, seeds=3, seed=3, **SETTINGS)


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("which", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_seeds_together_are_seeds_one_by_one(three, which):
    alone = train(ENV, LEARNER, seeds=1, seed=3 + which, **SETTINGS)
    for together, single in zip(leaves(three.policies), leaves(alone.policies), strict=True):
        np.testing.assert_allclose(together[which], single[0], rtol=2e-4, atol=2e-5)
    for p, q in zip(three.history, alone.history, strict=True):
        assert p.metrics.keys() == q.metrics.keys()
        for name in p.metrics:
            np.testing.assert_allclose(p.metrics[name][which], q.metrics[name][0], rtol=1e-3)


def test_seeds_differ(three):
    assert len({leaf.tobytes() for leaf in leaves(three.policies)[0]}) == 3


def test_the_same_seed_twice_gives_the_same_bits(three):
    again = train(ENV, LEARNER, seeds=3, seed=3, **SETTINGS)
    for first, second in zip(leaves(three.policies), leaves(again.policies), strict=True):
        assert first.tobytes() == second.tobytes()
    assert three.returns.tobytes() == again.returns.tobytes()


def test_the_clock_and_the_shapes(three):
    steps = [p.steps for p in three.history]
    assert steps == sorted(set(steps)) and steps[0] == 100
    assert 700 <= steps[-1] == three.history[-1].total_steps < 700 + 3 * 20
    assert three.returns.shape == (3, 100) and three.random_returns.shape == (100,)
    assert all(p.metrics["return"].shape == (3,) for p in three.history)
    assert set(three.phases) == {"compile", "rollout", "update", "evaluation"}
    assert 1 < three.history[-1].metrics["episode_length"].mean() < 4.5


def test_runs_of_any_length_and_seed_have_the_same_programs():
    """So that a cache of compiled programs knows them."""

    def programs_of(**settings):
        run = Run(ENV, ENV.default_params, LEARNER, TrainConfig(**{**SETTINGS, **settings}))
        run._trace("block", "evaluate", "init", "warm_up")
        texts = {name: traced.lower().as_text() for name, traced in run._traced.items()}
        return run.loop.block_rollouts, texts

    short, long = programs_of(), programs_of(total_steps=1_500, evals=2, seed=7)
    assert short[0] < long[0] and short[1] == long[1]


def test_metrics_of_a_block_are_means_over_those_of_its_rollouts_that_have_them():
    def update(state, key):
        odd = jnp.where(state % 2 == 1, state, jnp.nan)
        return state + 1, {"all": state, "odd": odd, "none": jnp.nan * state}

    learner = random_learner(ENV.spec())._replace(
        init=lambda key, example: jnp.float32(0),
        policy=lambda state: (),
        observe=lambda state, rollout: state,
        update=update,
    )
    functions = loop(ENV, ENV.default_params, learner, TrainConfig(**SETTINGS))
    run = functions.init(jax.random.key(0))
    after, metrics = jax.jit(functions.block)(run, 6)  # a number that the program does not know
    assert (metrics["all"], metrics["odd"]) == (2.5, 3.0) and np.isnan(metrics["none"])
    known, same = jax.jit(lambda run: functions.block(run, 6))(run)
    assert int(jax.random.key_data(after.key)[0]) == int(jax.random.key_data(known.key)[0])
    for one, other in zip(leaves(after.actors), leaves(known.actors), strict=True):
        np.testing.assert_array_equal(one, other)
    assert metrics["train_return"] == same["train_return"]


@pytest.mark.parametrize(
    ("settings", "learner", "words"),
    [
        ({"num_envs": 0}, {}, "num_envs is 0; it must be at least 1"),
        ({"total_steps": 90}, {}, "total_steps is 90; the learner's warm-up takes 100"),
        ({}, {"capacity": 30}, "capacity"),
        ({}, {"window": 4}, r"window is 4; it must divide the rollout length \(5\)"),
        ({}, {"batch": 4_000}, "batch is 4000"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_compiles(
    settings, learner, words, monkeypatch
):
    def compile_nothing(*args, **kwargs):
        raise AssertionError("something was compiled")

    monkeypatch.setattr(programs, "compile_programs", compile_nothing)
    learner = q_learning.qmix(ENV.spec(), dataclasses.replace(TINY, **learner))
    with pytest.raises(ValueError, match=words):
        train(ENV, learner, **{**SETTINGS, **settings})


def test_a_recorded_episode_is_whole():
    env, params = marlx.make("Foraging-5x5-2p-1f-v3")
    learner = random_learner(env.spec(params))
    states, rewards, words, _ = record_episode(env, params, learner, (), jax.random.key(0))
    times = [int(state.time) for state in states]
    assert times == list(range(len(states))) and len(rewards) == len(states) - 1
    assert len(states) <= 51 and words == [""] * len(rewards)


def test_pictures_show_the_subgoals_that_the_learner_tells():
    env = marlx.with_subgoals(marlx.make("Foraging-5x5-2p-2f-v3")[0])
    params = env.default_params
    learner = random_learner(env.spec(params))._replace(
        inspect=lambda policy, memory, obs, extras: {"subgoal": jnp.array([[0, 2]])}  # food 0, rest
    )
    episode = record_episode(env, params, learner, (), jax.random.key(0))
    assert [goals.tolist() for goals in episode.subgoals] == [[0, 2]] * len(episode.rewards)
    marked = episode_frames(env, params, episode)
    plain = episode_frames(env, params, episode._replace(subgoals=[]))
    changed = [(one != other).any(-1) for one, other in zip(marked, plain, strict=True)]
    assert changed[0].any() and not changed[-1].any()  # no step follows the last state
    assert (marked[0][changed[0]] == (0, 114, 178)).all()  # the first agent's colour alone


def test_pictures_tell_what_the_learner_says_of_each_step():
    env, params = marlx.make("matrix/climbing", horizon=3)
    silent = random_learner(env.spec(params))

    def act(policy, memory, obs, key, explore):
        action, _, _ = silent.act(policy, (), obs, key, explore)
        return action, memory + 1, {"first": action[:, 0]}

    def describe(memory, extras):
        return f"step {int(memory)}\nfirst plays {int(extras['first'])}"

    talking = silent._replace(memory=lambda num_envs: jnp.zeros(num_envs), act=act)
    key = jax.random.key(0)
    quiet = record_episode(env, params, talking, (), key)
    told = record_episode(env, params, talking._replace(describe=describe), (), key)
    plays = [int(state.last_action[0]) for state in told.states[1:]]
    assert told.captions == [f"step {i + 1}\nfirst plays {a}" for i, a in enumerate(plays)]
    small, large = (episode_frames(env, params, episode) for episode in (quiet, told))
    assert {frame.shape for frame in large} == {(small[0].shape[0] + 32, *small[0].shape[1:])}
    for without, with_words in zip(small, large, strict=True):  # only the strip has changed
        height = len(without) - 22
        np.testing.assert_array_equal(without[-height:], with_words[-height:])


def test_pictures_of_different_sizes_make_frames_of_one_size():
    env, params = marlx.make("matrix/climbing", horizon=2)
    episode = record_episode(env, params, random_learner(env.spec(params)), (), jax.random.key(0))
    sizes = iter([(160, 200), (180, 200), (160, 260)])

    growing = types.SimpleNamespace(
        render=lambda state, params: np.full((*next(sizes), 3), 7, np.uint8),
        subgoals=lambda params: None,
    )
    frames = episode_frames(growing, params, episode)
    assert len(frames) == 3 and {frame.shape[1] for frame in frames} == {260}
    assert len({frame.shape for frame in frames}) == 1
    assert all((frame[-180:, 0] == 7).all() for frame in frames)


def test_settings_have_sane_defaults():
    assert TrainConfig().total_steps > TrainConfig().num_envs * TrainConfig().rollout_length
