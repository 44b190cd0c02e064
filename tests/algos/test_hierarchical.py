"""Two levels: which options agents follow and how long, who learns when, values of choices."""

import dataclasses
import functools
import itertools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import config
from marlx.algos import ppo, q_learning
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.q_network import q_network
from marlx.algos.q_parts import make_replay
from marlx.algos.subgoals.config import GMAHConfig
from marlx.algos.subgoals.learner import gmah, hierarchical
from marlx.algos.subgoals.training import forget
from marlx.environment import Environment, EnvParams, EnvState
from marlx.learner import example_rollout, stateless
from marlx.loop.rollout import rollout, start
from marlx.nets import mixers
from marlx.nets.mixers import Utilities
from marlx.testing import Recall
from marlx.training import train
from marlx.types import Credit, EnvSpec, Observation, Subgoals

HIGH = QConfig(
    hidden=8, mixer_hidden=8, mixer_embed=4, batch=8, window=8, capacity=4_000, warmup=0,
    updates_per_step=1 / 16, recurrent=False,
)  # fmt: skip
LOW = PPOConfig(hidden=8, epochs=1, minibatches=1)
TINY = GMAHConfig(high=HIGH, low=LOW, period=5)

# --- acting ---


@pytest.mark.parametrize(
    "refresh",
    ["achieved", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("fixed", "options"))],
)
def test_a_subgoal_is_kept_until_it_is_achieved_or_its_time_is_up(refresh):
    """By looking at a rollout of a team that chooses at random, step by step."""
    bare, params = marlx.make("grid/doorkey-5x5-2p", horizon=12)
    env = marlx.with_subgoals(bare)
    spec = env.spec(params)
    learner = gmah(spec, TINY, refresh=refresh)
    actors = start(env, params, learner, jax.random.key(0), 6)
    roll = functools.partial(rollout, env, params, learner, length=40)
    example = example_rollout(env.spec(params), learner, 40, 6)
    policy = learner.policy(learner.init(jax.random.key(1), example))
    _, t, _ = jax.jit(roll)(policy, actors, jax.random.key(2))
    goal, clock = np.asarray(t.extras.option.goal), np.asarray(t.extras.option.clock)
    started, done = np.asarray(t.extras.started), np.asarray(t.done)[..., None]
    after = np.asarray(spec.subgoals.achieved(t.next_obs))
    achieved = np.take_along_axis(after, goal[..., None], -1)[..., 0]
    choices = np.asarray(spec.subgoals.choices(t.obs))
    over = clock + 1 >= TINY.period
    if refresh == "achieved":
        over |= achieved
    if refresh == "options":
        over |= (np.asarray(spec.subgoals.choices(t.next_obs)) != choices).any(-1)
    np.testing.assert_array_equal(started[1:], over[:-1] | done[:-1])
    assert started[0].all() and (goal[1:] == goal[:-1])[~started[1:]].all()
    np.testing.assert_array_equal(clock[1:], np.where(started[1:], 0, clock[:-1] + 1))
    assert np.take_along_axis(choices, goal[..., None], -1)[..., 0][started].all()
    apart = started[..., 0] != started[..., 1]  # agents that finish at different times
    assert (refresh == "fixed") or apart.any()
    assert achieved.any() and (over & ~achieved).any() and (goal[1:] != goal[:-1]).any()
    words = learner.describe(None, jax.tree.map(lambda x: x[0, 0], t.extras))
    names = [spec.subgoals.names[g] for g in goal[0, 0]]
    assert words == f"0: {names[0]}   1: {names[1]}"


# --- learning, in a corridor whose values are known ---


@flax.struct.dataclass
class CorridorState(EnvState):
    """One episode."""

    place: jax.Array  # int32 [2]


@dataclasses.dataclass(frozen=True)
class Corridor(Environment[CorridorState, EnvParams]):
    """Two agents in cells 0..4 start at 2 and at 1; both at 4 is worth 1 and the end.

    Subgoals: the left end, and the right end.
    """

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=9)

    def spec(self, params=None):
        return EnvSpec("corridor", 2, 2, 5, 10, 9, reward_aggregation="mean")

    def reset_env(self, key, params):
        return CorridorState(time=jnp.int32(0), place=jnp.array([2, 1]))

    def step_env(self, key, state, action, params):
        place = jnp.clip(state.place + 2 * action - 1, 0, 4)
        won = (place == 4).all()
        reward = jnp.broadcast_to(won.astype(jnp.float32), (2,))
        return CorridorState(time=state.time + 1, place=place), reward, won, {}

    def observe(self, state, params):
        local = jax.nn.one_hot(state.place, 5)
        return Observation(local, jnp.ones((2, 2), bool), local.reshape(-1))

    def subgoals(self, params=None):
        def achieved(state):
            return jnp.stack([state.place == 0, state.place == 4], -1)

        every = functools.partial(jnp.ones, (2, 2), bool)
        return Subgoals(("left", "right"), ((), ()), achieved, lambda _: every(), lambda _: every())


def walker(spec):
    """A low level that walks towards its subgoal and learns nothing."""
    towards = slice(spec.obs_size - 2, None)
    return stateless(
        lambda policy, memory, obs, key, explore: (obs.local[..., towards].argmax(-1), (), ())
    )


@pytest.mark.parametrize("greedy", [True, False])
def test_evaluated_the_low_level_takes_its_best_action_or_draws_one(greedy):
    def explorer(spec):
        """A low level whose action is 1 when it is to explore and 0 otherwise."""

        def act(policy, memory, obs, key, explore):
            return jnp.full(obs.local.shape[:-1], int(explore)), (), ()

        return walker(spec)._replace(act=act)

    env = marlx.with_subgoals(Corridor())
    settings = GMAHConfig(period=6, high=HIGH, low_greedy=greedy)
    learner = hierarchical(env.spec(), settings, lambda spec: q_learning.qmix(spec, HIGH), explorer)
    actors = start(env, env.default_params, learner, jax.random.key(0), 3)
    policy = learner.policy(
        learner.init(
            jax.random.key(1), example_rollout(env.spec(env.default_params), learner, 8, 3)
        )
    )
    action, _, _ = learner.act(policy, actors.memory, actors.obs, jax.random.key(2), False)
    assert (action == (0 if greedy else 1)).all()


def test_a_team_learns_what_its_choices_are_worth_over_time():
    """Both go right: three steps for the second, who chooses again after the first has arrived.

    The first decision is worth gamma^2 of the reward, and the greedy team wins after 3 steps.
    """
    env = marlx.with_subgoals(Corridor())
    high = dataclasses.replace(
        HIGH, gamma=0.7, lr=5e-3, epsilon_end=0.3, epsilon_steps=2_000, window=6, batch=16,
        hidden=16, target_period=50, warmup=200, updates_per_step=1 / 8,
    )  # fmt: skip
    settings = GMAHConfig(period=6, high=high)
    learner = hierarchical(env.spec(), settings, lambda spec: q_learning.qmix(spec, high), walker)
    result = train(env, learner, total_steps=8_000, num_envs=8, rollout_length=12, evals=1)
    assert (result.returns == 1).all()
    metrics = result.history[-1].metrics
    assert metrics["duration_right"][0] < 3.5 and metrics["achieved_right"][0] > 0.8

    obs, _ = env.reset(jax.random.key(0))
    policy = jax.tree.map(lambda x: x[0], result.policies.high)
    plain = env.spec().subgoals.plain(obs)._replace(action_mask=jnp.ones((2, 2), bool))
    spec = dataclasses.replace(Corridor().spec(), num_actions=2, action_sizes=())
    batch = jax.tree.map(lambda x: x[None], plain)
    net = q_network(spec, high)
    utilities, _ = net.step(policy.params.agents, net.memory(1), batch)
    one = jax.tree.map(lambda x: x[0], utilities)
    mixer = mixers.monotonic(spec, embed=4, hypernet=8)
    right = float(mixer.value(policy.params.mixer, one, jnp.array([1, 1])))
    assert right == pytest.approx(0.7**2, abs=0.08)


def test_both_levels_learn_together():
    """From scratch, where a subgoal is an end of the corridor: agents learn to walk to theirs."""
    env = marlx.with_subgoals(Corridor())
    high = dataclasses.replace(
        HIGH, gamma=0.9, lr=5e-3, epsilon_end=0.1, epsilon_steps=4_000, window=6, batch=16,
        target_period=50, warmup=1_000, updates_per_step=1 / 16,
    )  # fmt: skip
    low = PPOConfig(hidden=16, lr=1e-2, epochs=4, minibatches=1, gamma=0.9, entropy=0.001)
    learner = gmah(env.spec(), GMAHConfig(period=6, high=high, low=low))
    result = train(env, learner, total_steps=16_000, num_envs=8, rollout_length=12, evals=4)
    metrics = result.history[-1].metrics
    assert metrics["achieved_left"][0] > 0.9 and metrics["achieved_right"][0] > 0.9
    assert result.random_returns.mean() < 0.5 and result.returns.mean() > 0.95


@functools.cache
def stages():
    """The high level's state after each of two rollouts, of which the first is the low level's.

    The replay has room for both.
    """
    env = marlx.with_subgoals(Corridor())
    settings = dataclasses.replace(TINY, low_steps=64, period=6, high=HIGH)
    learner = hierarchical(env.spec(), settings, lambda spec: q_learning.qmix(spec, HIGH), walker)

    @jax.jit
    def two(key):
        example = example_rollout(env.spec(), learner, 16, 4)
        state = learner.init(key, example)
        actors = start(env, env.default_params, learner, key, 4)
        highs = []
        for _ in range(2):
            policy = learner.policy(state)
            actors, t, _ = rollout(env, env.default_params, learner, policy, actors, key, 16)
            state = learner.observe(state, t)
            highs.append(state.high)
        return highs

    return two(jax.random.key(0))


def test_windows_of_the_low_levels_own_stage_are_not_drawn():
    """Half of the replay is of that stage; without weights half of the windows would be void."""
    first, second = stages()
    sample = jax.jit(make_replay(HIGH).sample)
    assert (sample(first.replay, jax.random.key(0)).importance == 0).all()
    drawn = [sample(second.replay, key) for key in jax.random.split(jax.random.key(1), 5)]
    for windows in drawn:
        assert (windows.importance == 1).all() and (windows.items.weight == 1).all()
        assert (windows.items.credit.weight.sum((0, 2)) > 0).all()
    assert first.pending == 0 and second.pending == 64 * HIGH.updates_per_step


def test_steps_towards_a_replaced_landmark_are_forgotten():
    """Their subgoal means another region now; all others are kept as they are."""
    _, state = stages()
    items = state.replay.ring.items
    found = forget(state, jnp.array([False, True]), lambda items: items.action)
    weight, before = found.replay.ring.items.credit.weight, items.credit.weight
    np.testing.assert_array_equal(weight, np.where(items.action == 1, 0.0, before))
    assert (before[items.action == 1] > 0).any() and weight.any()
    same = forget(state, jnp.array([False, False]), lambda items: items.action)
    np.testing.assert_array_equal(same.replay.ring.items.credit.weight, before)
    assert forget((), jnp.array([True, True]), lambda items: items.action) == ()


def test_the_low_level_is_frozen_to_the_bit_and_the_stages_follow_each_other():
    """First only the low level learns, then only the agents, then the agents and the mixer."""
    env = marlx.with_subgoals(Corridor())
    params = env.default_params
    learner = gmah(
        env.spec(), TINY, low_steps=64, low_after="freeze", unmixed_steps=64, period=6,
    )  # fmt: skip
    actors = start(env, params, learner, jax.random.key(0), 4)
    example = example_rollout(env.spec(params), learner, 16, 4)
    state = learner.init(jax.random.key(1), example)
    roll = jax.jit(functools.partial(rollout, env, params, learner, length=16))
    update = jax.jit(lambda state, t, key: learner.update(learner.observe(state, t), key))
    states = [state]
    for i in range(4):  # 64 steps each
        actors, t, _ = roll(learner.policy(state), actors, jax.random.key(i))
        state, metrics = update(state, t, jax.random.key(10 + i))
        states.append(state)
    parts = [(s.low.params, s.high.params.agents, s.high.params.mixer) for s in states]

    def differ(one, other):
        pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        return any((np.asarray(x) != np.asarray(y)).any() for x, y in pairs)

    moved = [list(map(differ, *pair)) for pair in itertools.pairwise(parts)]
    assert moved == [[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 1, 1]]
    assert np.isnan(metrics["low_entropy"]) and np.isfinite(metrics["high_loss"])
    rebuilt = jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(state))
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(rebuilt))


# --- the mixing of subgoals ---


def test_mixed_values_rise_with_every_agents_and_their_best_is_each_agents_best():
    """dQ_tot / dQ_i >= 0 in random states; the best of 4^3 joint subgoals by brute force."""
    spec = EnvSpec("team", num_agents=3, num_actions=4, obs_size=5, state_size=6, horizon=9)
    mixer = mixers.monotonic(spec)
    joint = jnp.array(list(itertools.product(range(4), repeat=3)))

    def total(q, params, state, goals):
        u = Utilities(q, jnp.zeros((3, 8)), jnp.ones((3, 4), bool), state)
        return mixer.value(params, u, goals)

    slope = jax.jit(jax.vmap(jax.grad(total), (0, None, 0, None)))
    values = jax.jit(jax.vmap(total, (None, None, None, 0)))
    for seed in range(5):
        key_q, key_s, key_p = jax.random.split(jax.random.key(seed), 3)
        q, state = jax.random.normal(key_q, (40, 3, 4)), 3 * jax.random.normal(key_s, (40, 6))
        params = mixer.init(key_p)
        slopes = np.asarray(slope(q, params, state, jnp.array([0, 1, 2])))
        assert slopes.min() >= 0 and slopes.max() > 0
        best = joint[values(q[0], params, state[0], joint).argmax()]
        np.testing.assert_array_equal(best, q[0].argmax(-1))


# --- steps that count otherwise ---

RECALL = Recall(shortest=1, longest=4)
LIMITED = EnvParams(max_steps_in_episode=3)


def trivial(t, agents):
    """A credit that repeats what the environment says of every step."""
    every = jnp.zeros((*t.done.shape, agents), bool)
    return Credit(
        jnp.ones(every.shape), every | t.terminated[..., None], every | t.done[..., None], every
    )


@pytest.mark.parametrize("name", ["iql", "qmix", "ippo"])
@pytest.mark.slow
def test_credit_that_says_nothing_new_changes_nothing(name):
    """And a step without weight counts for nothing: the same update without its reward."""
    spec = RECALL.spec(LIMITED)
    agents = spec.num_agents
    if name == "ippo":
        learner = ppo.ippo(spec, dataclasses.replace(LOW, reward="own"))
    else:
        learner = getattr(q_learning, name)(spec, dataclasses.replace(HIGH, window=5, lambda_=0.5))
    actors = start(RECALL, LIMITED, learner, jax.random.key(0), 4)
    example = example_rollout(RECALL.spec(LIMITED), learner, 10, 4)
    policy = learner.policy(learner.init(jax.random.key(1), example))
    _, t, _ = rollout(RECALL, LIMITED, learner, policy, actors, jax.random.key(2), 10)
    assert t.terminated.any() and (t.truncated & ~t.terminated).any()

    def updated(t):
        state = learner.init(jax.random.key(1), t)
        return learner.update(learner.observe(state, t), jax.random.key(3))

    plain, credited = updated(t), updated(t._replace(credit=trivial(t, agents)))
    for key in ("params",):
        got, want = (jax.tree.leaves(getattr(x[0], key)) for x in (credited, plain))
        for one, other in zip(got, want, strict=True):
            np.testing.assert_allclose(one, other, atol=2e-6)
    nothing = trivial(t, agents)._replace(weight=jnp.zeros((*t.done.shape, agents)))
    if name != "ippo":
        assert float(updated(t._replace(credit=nothing))[1]["loss"]) == 0


# --- settings ---


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"period": 0}, "period is 0; it must be at least 1"),
        ({"chooser": "best"}, "chooser is 'best'; it must be 'learned' or 'scripted' or 'uniform'"),
        ({"low_after": "freeze"}, "a low level that never learned cannot act"),
        ({"mixing": False, "unmixed_steps": 5}, "unmixed_steps is 5 and mixing off"),
        (
            {"refresh": "options", "subgoals": "learned"},
            "what an agent can choose changes with every region .* set refresh to 'achieved'",
        ),
        ({"period": 9}, "high.window is 8 with a burn_in of 0, and period 9"),
    ],
)
def test_settings_that_cannot_work(settings, words):
    env = marlx.with_subgoals(Corridor())
    with pytest.raises(ValueError, match=words):
        gmah(env.spec(), TINY, **settings)


def test_own_rewards_and_delayed_mixing_need_the_right_mixer():
    spec = RECALL.spec(LIMITED)
    with pytest.raises(ValueError, match="only independent learners can learn from their own"):
        q_learning.qmix(spec, HIGH, reward="own")
    with pytest.raises(ValueError, match="independent learners mix nothing"):
        q_learning.iql(spec, HIGH, mixing_delay=5)
    with pytest.raises(ValueError, match="a joint action has no single values"):
        q_learning.joint_q(spec, HIGH, mixing_delay=5)


@pytest.mark.slow
def test_subgoals_open_the_door():
    """DoorKey as GMAH changed it, 64 steps: flat PPO is at 0.75 after as many steps."""
    experiment = config.experiment(
        "gmah", "grid/doorkey-8x8", seeds=5, total_steps=500_000, evals=5, env={"horizon": 64}
    )
    env, params, learner = experiment.build()
    result = train(env, learner, params, config=experiment.train)
    metrics = result.history[-1].metrics
    assert result.returns.mean() > 0.85
    assert metrics["achieved_goal"].mean() > 0.9
