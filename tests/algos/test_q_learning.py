"""The Q-learner against hand computations, known values and its own acting."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos import q_learning
from marlx.algos.q_config import QConfig
from marlx.algos.q_learning import q_learner
from marlx.algos.q_network import q_network
from marlx.algos.q_schedules import exploration
from marlx.algos.q_state import QParams, QPolicy
from marlx.data import replay
from marlx.data.ring import Rollout
from marlx.environment import EnvParams
from marlx.loop.evaluation import evaluate
from marlx.loop.rollout import rollout, start
from marlx.nets import mixers
from marlx.testing import Constant, Masked, Recall
from marlx.training import train

TINY = QConfig(
    hidden=16, mixer_hidden=8, mixer_embed=4, batch=16, window=5, capacity=4_000, warmup=100
)
RECALL = Recall(shortest=1, longest=4)
LIMITED = EnvParams(max_steps_in_episode=4)  # the longest episodes of RECALL are cut


class Acted:
    """Rollouts of a Q-network that acts, with the values that it acted on, in a replay."""

    num_envs, length, rollouts = 3, 10, 5

    def __init__(self, config):
        self.net = q_network(RECALL.spec(LIMITED), config)
        mixer = mixers.independent()
        learner = q_learner(RECALL.spec(LIMITED), config, mixer)
        self.source = replay.uniform(90, 18, config.window)

        def act(policy, memory, obs, key, explore):
            action, after, _ = learner.act(policy, memory, obs, key, explore)
            utilities, _ = self.net.step(policy.params.agents, memory, obs)
            return action, after, utilities.q

        acting = learner._replace(act=act)
        params = self.net.init(jax.random.key(7))
        policy = QPolicy(QParams(params, {}), jnp.int32(0))
        actors = start(RECALL, LIMITED, acting, jax.random.key(0), self.num_envs)
        roll = jax.jit(functools.partial(rollout, RECALL, LIMITED, acting, length=self.length))
        state = None
        for key in jax.random.split(jax.random.key(1), self.rollouts):  # the ring wraps around
            actors, taken, _ = roll(policy, actors, key)
            stored = Rollout((taken.obs, taken.done, taken.extras), taken.memory)
            state = self.source.init(stored) if state is None else state
            state = self.source.add(state, stored)
        self.params, self.state = params, state

    def largest_difference(self, shift=0):
        """Between values recomputed from windows and values acted on; `shift` moves the ends."""
        sample = self.source.sample(self.state, jax.random.key(2))
        obs, done, acted = sample.items
        assert done.any() and not done.all()
        done = jnp.roll(done, shift, axis=0)
        again, _ = self.net.unroll(self.params, sample.start, obs, done)
        return float(jnp.abs(again.q - acted).max())


@pytest.mark.parametrize("sharing", ["all", "none"])
def test_a_stored_sequence_gives_the_values_that_were_acted_on(sharing):
    """Across episode ends, windows and the ring's end. One step early or late must show."""
    acted = Acted(dataclasses.replace(TINY, sharing=sharing))
    assert acted.largest_difference() < 1e-5
    assert acted.largest_difference(shift=1) > 1e-3
    assert acted.largest_difference(shift=-1) > 1e-3


@pytest.mark.parametrize(
    ("name", "double"),
    [
        ("iql", True),
        ("qmix", True),
        ("qmix", False),
        ("joint_q", True),
        pytest.param("iql", False, marks=pytest.mark.slow),
        pytest.param("joint_q", False, marks=pytest.mark.slow),
    ],
)
def test_targets_by_hand(name, double):
    """One update's mean TD error, recomputed window by window and step by step.

    Windows hold true ends and time limits; online and target networks differ; lambda is 0.5.
    """
    config = dataclasses.replace(
        TINY, double=double, lambda_=0.5, updates_per_step=1 / 60, warmup=0, burn_in=2,
        reward_scaling="scale",
    )  # fmt: skip
    spec = RECALL.spec(LIMITED)
    mixer = {
        "iql": mixers.independent(),
        "qmix": mixers.monotonic(spec, embed=4, hypernet=8),
        "joint_q": mixers.joint(spec, features=16, hidden=8),
    }[name]
    learner, net = q_learner(spec, config, mixer), q_network(spec, config)
    none = q_learner(spec, config, mixers.independent())
    actors = start(RECALL, LIMITED, none, jax.random.key(0), 6)
    policy = QPolicy(QParams(net.init(jax.random.key(5)), {}), jnp.int32(0))
    _, taken, _ = rollout(RECALL, LIMITED, none, policy, actors, jax.random.key(1), 10)
    state = learner.init(jax.random.key(2), taken)
    other = jax.tree.map(lambda x: x + 0.1 * jnp.sin(jnp.arange(x.size)).reshape(x.shape),
                         state.target)  # fmt: skip
    state = learner.observe(state._replace(target=other), taken)
    assert float(state.pending) == pytest.approx(1.0)
    key = jax.random.key(3)
    _, metrics = jax.jit(learner.update)(state, key)

    source = replay.uniform(config.capacity, config.batch, config.window)
    sample = source.sample(state.replay, jax.random.fold_in(key, 0))
    items = sample.items
    assert (items.discount == 0).any() and (items.done & (items.discount > 0)).any()
    team = np.asarray(spec.team_reward(taken.reward))
    reward = items.reward / team.std()

    def walk(params):
        """Utilities at each step and at what followed it, and the values of actions there."""
        memory, now, later = sample.start, [], []
        for t in range(config.window):
            obs, next_obs = (jax.tree.map(lambda x: x[t], o) for o in (items.obs, items.next_obs))  # noqa: B023
            here, after = net.step(params.agents, memory, obs)
            there, _ = net.step(params.agents, after, next_obs)
            memory = jnp.where(items.done[t][:, None, None], 0.0, after)
            now.append(here)
            later.append(there)
        return now, later

    value = jax.vmap(mixer.value, (None, 0, 0))
    greedy = jax.vmap(mixer.greedy, (None, 0))
    now, later = walk(state.params)
    _, target_later = walk(state.target)
    q = [value(state.params.mixer, u, items.action[t].astype(int)) for t, u in enumerate(now)]
    best = [
        greedy(state.params.mixer, u) if double else greedy(state.target.mixer, v)
        for u, v in zip(later, target_later, strict=True)
    ]
    after = [value(state.target.mixer, v, a) for v, a in zip(target_later, best, strict=True)]
    errors, following = [], None
    for t in reversed(range(config.window)):
        r, d, done = (
            np.asarray(x[t]).reshape(-1, *[1] * (q[t].ndim - 1))
            for x in (reward, items.discount, items.done)
        )
        blend = after[t] if following is None else 0.5 * after[t] + 0.5 * following
        following = r + d * np.where(done, after[t], blend)
        if t >= config.burn_in:
            errors.append(np.abs(q[t] - following).mean())
    assert float(metrics["td_error"]) == pytest.approx(np.mean(errors), rel=1e-4)


@pytest.mark.parametrize(
    "name",
    [
        "iql",
        "qmix",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("vdn", "qplex", "joint_q")),
    ],
)
def test_value_survives_a_time_limit(name):
    """Reward 1 forever, cut every 2 steps: 1 / (1 - gamma) = 2, or 1.5 if the cut were an end."""
    env = Constant(reward=1.0, horizon=2)
    config = dataclasses.replace(
        TINY, gamma=0.5, lr=3e-3, updates_per_step=0.25, target_period=25, window=2, recurrent=False
    )
    learner = getattr(q_learning, name)(env.spec(), config)
    result = train(env, learner, total_steps=4_000, num_envs=8, rollout_length=4, evals=4)
    assert result.history[-1].metrics["q"][0] == pytest.approx(2.0, abs=0.1)


def test_illegal_actions_are_neither_taken_nor_bootstrapped_from():
    """Illegal actions pay 1000 and the values of legal ones are known; see `Masked`."""
    env = Masked(horizon=5)
    learner = q_learning.iql(
        env.spec(), TINY, gamma=0.5, lr=3e-3, updates_per_step=0.25, recurrent=False,
        target_period=25, epsilon_end=1.0,
    )  # fmt: skip
    result = train(env, learner, total_steps=8_000, num_envs=8, rollout_length=5, evals=4)
    assert all(p.metrics["train_return"][0] < 10 for p in result.history[1:])
    assert result.returns.max() <= 10
    assert result.returns.mean() == pytest.approx(5 * env.best_mean, abs=0.5)
    # each agent is paid the team's mean, and its partner goes on exploring at random
    usual = 0.25 * (0 + 1 / 2 + 2 / 2 + 3 / 3)
    expected, illegal = (usual + (best + usual) / 2 for best in (env.best_mean, 2))
    assert abs(result.history[-1].metrics["q"][0] - expected) < 0.25 * (illegal - expected)


def test_memory_is_learned_where_it_is_needed():
    """Without a memory nobody can do better than guess; see `Recall`."""
    env = Recall(shortest=1, longest=2)
    learner = functools.partial(
        q_learning.vdn, env.spec(), TINY, lr=5e-3, updates_per_step=1 / 8, epsilon_steps=2_000,
        target_period=25, lambda_=0.8,
    )  # fmt: skip
    settings = {"total_steps": 14_000, "num_envs": 16, "rollout_length": 5, "evals": 1}
    assert train(env, learner(recurrent=True), **settings).returns.mean() > 0.95
    assert train(env, learner(recurrent=False), **settings).returns.mean() < 0.7


def test_exploration_never_leaves_the_legal_actions():
    env = Masked()
    learner = q_learning.qmix(env.spec(), TINY, recurrent=False)
    actors = start(env, env.default_params, learner, jax.random.key(0), 16)
    example = jax.eval_shape(
        lambda: rollout(
            env, env.default_params, _zero_policy(learner, actors), (), actors, jax.random.key(0), 5
        )[1]
    )
    policy = learner.policy(learner.init(jax.random.key(0), example))
    for explore in (True, False):
        _, taken, _ = rollout(
            env, env.default_params, learner, policy, actors, jax.random.key(1), 40, explore=explore
        )
        legal = jnp.take_along_axis(taken.obs.action_mask, taken.action[..., None], -1)
        assert legal.all()


def _zero_policy(learner, actors):
    """The learner, taking action 0 always."""
    zeros = jnp.zeros(actors.obs.action_mask.shape[:-1], jnp.int32)
    return learner._replace(act=lambda policy, memory, obs, key, explore: (zeros, memory, ()))


@pytest.mark.parametrize("num_envs", [4, 16])
@pytest.mark.parametrize("ratio", [1 / 48, 0.5])
def test_updates_per_step_do_not_depend_on_the_number_of_environments(num_envs, ratio):
    env = Constant(horizon=3)
    learner = q_learning.vdn(env.spec(), TINY, warmup=64, updates_per_step=ratio, recurrent=False)
    actors = start(env, env.default_params, learner, jax.random.key(0), num_envs)
    _, taken, _ = rollout(
        env, env.default_params, _zero_policy(learner, actors), (), actors, jax.random.key(0), 5
    )
    state = learner.init(jax.random.key(1), taken)
    observe, update = jax.jit(learner.observe), jax.jit(learner.update)
    while int(state.steps) < 960:
        state, _ = update(observe(state, taken), jax.random.key(2))
    learning_steps = int(state.steps) - max(64, 5 * num_envs * -(-64 // (5 * num_envs)))
    assert int(state.updates) == pytest.approx(learning_steps * ratio, abs=1)


def test_exploration_falls_linearly_after_its_delay():
    config = dataclasses.replace(TINY, epsilon_end=0.1, epsilon_steps=100, epsilon_delay=10)
    found = [float(exploration(config, jnp.int32(n))) for n in (0, 10, 60, 110, 999)]
    np.testing.assert_allclose(found, [1.0, 1.0, 0.55, 0.1, 0.1], rtol=1e-6)


@pytest.mark.parametrize(
    "settings",
    [
        {"prioritised": True},
        pytest.param({"target_rate": 0.01}, marks=pytest.mark.slow),
        pytest.param({"layer_norm": True, "sharing": "group"}, marks=pytest.mark.slow),
    ],
)
def test_options_learn_too(settings):
    """The two-armed choice of every agent, whichever option is on."""
    env = Recall(shortest=0, longest=0)  # the cue is on show: one step, answer it
    config = dataclasses.replace(TINY, lr=5e-3, updates_per_step=0.25, recurrent=False, window=1)
    learner = q_learning.qmix(env.spec(), config, epsilon_steps=1_000, **settings)
    result = train(env, learner, total_steps=3_000, num_envs=8, rollout_length=4, evals=1)
    assert result.returns.mean() > 0.95


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"gamma": 1.5}, "gamma is 1.5; it must be between 0 and 1"),
        ({"sharing": "some"}, "sharing is 'some'; it must be 'all' or 'group' or 'none'"),
        ({"burn_in": 5}, r"burn_in is 5; it must be less than window \(5\)"),
        ({"updates_per_step": 0.0}, "updates_per_step is 0.0; it must be above 0"),
    ],
)
def test_settings_that_cannot_work(settings, words):
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(TINY, **settings)


def test_evaluation_counts_every_episode_once():
    """Short episodes of a batch must not be counted more often than long ones."""
    env = Recall(shortest=0, longest=3)
    spec = env.spec()

    def act(policy, memory, obs, key, explore):
        """Right in episodes of one step only: there the cue is on show when asked."""
        asked = obs.local[..., -1] > 0
        seen = obs.local[..., :-1].argmax(-1) + 1
        return jnp.where(asked, seen, 0).astype(jnp.int32), memory, ()

    learner = q_learning.iql(spec)._replace(act=act)
    returns = evaluate(env, env.default_params, learner, (), jax.random.key(0), 4_000)
    # 1/4 of the episodes are surely right; in the others action 1 is right half of the time
    assert float(returns.mean()) == pytest.approx(1 / 4 + 3 / 4 / 2, abs=0.03)
