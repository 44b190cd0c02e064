"""Off-policy actor-critics: equations by hand, teams of one, where gradients pass."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from marlx.algos.off_policy import config as configs
from marlx.algos.off_policy import critics, policies
from marlx.algos.off_policy.core import batch_of, initial_state, targets
from marlx.algos.off_policy.deterministic import epsilon, iddpg, maddpg
from marlx.algos.off_policy.equations import actor_loss, critic_loss, soft_value, temperature_loss
from marlx.algos.off_policy.factored import facmac, mixer_of
from marlx.algos.off_policy.parts import Targets, pack
from marlx.algos.off_policy.sequential import hasac, hasac_parts
from marlx.algos.off_policy.soft import isac, masac, soft_parts
from marlx.data.replay import Sample
from marlx.loop.settings import TrainConfig
from marlx.nets.mixers import Utilities
from marlx.testing import Constant
from marlx.training import train
from marlx.types import EnvSpec, Observation, Transition

TINY = {"hidden": 4, "critic_hidden": 4, "batch": 4, "window": 2, "warmup": 0, "capacity": 64}
DISCRETE = EnvSpec(
    "game", 2, 3, 2, 3, horizon=9, action_sizes=(3, 2), groups=(("a", (0,)), ("b", (1,)))
)
CONTINUOUS = dataclasses.replace(DISCRETE, continuous=True)
LEAVES = dataclasses.replace(CONTINUOUS, active_mask=True)
ONE = EnvSpec("alone", 1, 2, 3, 4, horizon=9, continuous=True)
LENGTH, ENVS = 4, 3


def seen(spec, rng, active=None, shape=(LENGTH, ENVS)):
    """Random observations; each agent has the actions of its own size."""
    has = np.arange(spec.num_actions) < np.array(spec.action_sizes)[:, None]
    local = rng.normal(size=(*shape, spec.num_agents, spec.obs_size))
    state = rng.normal(size=(*shape, spec.state_size))
    mask = jnp.asarray(np.broadcast_to(has, (*shape, *has.shape)))
    if active is not None:
        active = jnp.broadcast_to(jnp.array(active), (*shape, spec.num_agents))
    return Observation(jnp.float32(local), mask, jnp.float32(state), active)


def taken(spec, seed=0, active=None, memory=()):
    """A random rollout [T, B, ...] that ends once and is cut once."""
    rng, shape = np.random.default_rng(seed), (LENGTH, ENVS)
    agents = (*shape, spec.num_agents)
    action = rng.integers(0, np.array(spec.action_sizes), agents).astype(np.int32)
    if spec.continuous:
        action = rng.uniform(size=(*agents, spec.num_actions)).astype(np.float32)
    ended, cut = np.zeros(shape, bool), np.zeros(shape, bool)
    ended[1, 0], cut[2, 1] = True, True
    reward = rng.normal(size=agents).astype(np.float32)
    arrays = map(jnp.asarray, (action, reward, ended, cut))
    return Transition(
        seen(spec, rng, active), *arrays, seen(spec, rng, active), memory, ()
    )  # fmt: skip


def remembered(learner, t):
    """The same rollout with the memory of a learner without any."""
    memory = jnp.broadcast_to(learner.memory(ENVS), (LENGTH, *learner.memory(ENVS).shape))
    return t._replace(memory=memory)


def learned(learner, spec, updates=2, active=None):
    """States before and after some gradient steps on a random rollout."""
    t = remembered(learner, taken(spec, active=active))
    first = jax.jit(learner.init)(jax.random.key(0), t)

    @jax.jit
    def steps(state):
        state = learner.observe(state, t)._replace(pending=jnp.float32(updates))
        return learner.update(state, jax.random.key(1))

    state, metrics = steps(first)
    assert state.updates == updates
    return first, state, metrics


# --- discrete actions ---

LOGITS = jnp.array([0.3, 5.0, -0.2])
LEGAL = jnp.array([True, False, True])


def test_a_gumbel_sample_is_legal_and_follows_the_policy():
    keys = jax.random.split(jax.random.key(0), 4000)
    draw = jax.vmap(lambda key: policies.straight_through(key, LOGITS, LEGAL, 0.5))
    found = np.asarray(draw(keys))
    assert ((found == 0) | (found == 1)).all() and (found.sum(-1) == 1).all()
    expected = np.exp([0.3, -0.2]) / np.exp([0.3, -0.2]).sum()
    np.testing.assert_allclose(found.mean(0), [expected[0], 0, expected[1]], atol=0.03)


def test_its_gradient_is_that_of_the_softmax_with_the_same_noise():
    key, worth, temperature = jax.random.key(3), jnp.array([1.0, 50.0, -2.0]), 0.7

    def hard(logits):
        return policies.straight_through(key, logits, LEGAL, temperature) @ worth

    noise = np.asarray(jax.random.gumbel(key, (3,)), float)
    soft = np.exp((np.asarray(LOGITS) + noise) / temperature) * np.asarray(LEGAL)
    soft /= soft.sum()
    by_hand = soft * (np.asarray(worth) - soft @ np.asarray(worth)) / temperature
    found = jax.grad(hard)(LOGITS)
    np.testing.assert_allclose(found, by_hand, rtol=1e-5)
    assert found[1] == 0 and found[0] != 0


def test_exploring_draws_no_illegal_action_and_no_component_that_is_not_there():
    for spec, config in ((DISCRETE, {}), (CONTINUOUS, {"noise": 3.0})):
        learner = iddpg(spec, epsilon_start=0.5, epsilon_end=0.5, **TINY, **config)
        t = remembered(learner, taken(spec))
        obs = jax.tree.map(lambda x: jnp.tile(x[0], (40, *[1] * (x.ndim - 2))), t.obs)
        state = jax.jit(learner.init)(jax.random.key(0), t)
        play = jax.jit(functools.partial(learner.act, explore=True))
        action, _, _ = play(
            learner.policy(state), learner.memory(40 * ENVS), obs, jax.random.key(1)
        )
        action = np.asarray(action)
        if spec.continuous:
            assert (action[:, 1, 2] == 0).all() and (action >= 0).all() and (action <= 1).all()
        else:
            assert (action[:, 1] < 2).all() and (action[:, 0] == 2).any()


# --- continuous actions ---


def test_a_gaussian_s_entropy_is_minus_its_log_density_by_hand():
    mean, log_std, mask = 0.4, -0.3, jnp.array([True, False])
    found = policies.gaussian(ONE).draw(
        jax.random.key(0), jnp.array([mean, 9.0, np.arctanh((log_std + 1.0) / 3.0), 9.0]), mask
    )
    squashed = float(found.action[0])  # tanh of the sample
    raw = np.arctanh(squashed)
    density = -0.5 * ((raw - mean) / np.exp(log_std)) ** 2 - log_std - 0.5 * np.log(2 * np.pi)
    slope = np.log((1 - squashed**2) / 2)  # of (tanh(raw) + 1) / 2
    assert float(found.entropy) == pytest.approx(slope - density, rel=1e-4)
    assert found.action[1] == 0 and float(found.size) == pytest.approx(mean**2)


def test_actions_are_read_between_minus_one_and_one_and_zero_where_absent():
    obs = seen(LEAVES, np.random.default_rng(0), (True, True), ())
    action = jnp.array([[0.0, 0.5, 1.0], [1.0, 0.25, 1.0]])
    found = policies.as_read(LEAVES, obs, action)
    np.testing.assert_allclose(found, [[-1.0, 0.0, 1.0], [1.0, -0.5, 0.0]])  # has two components
    gone = obs._replace(active=jnp.array([True, False]))
    np.testing.assert_array_equal(policies.as_read(LEAVES, gone, action)[1], 0.0)
    shown = policies.as_read(DISCRETE, obs._replace(active=None), jnp.array([2, 0]))
    np.testing.assert_array_equal(shown, [[0, 0, 1], [1, 0, 0]])


def test_a_deterministic_policy_by_hand():
    policy, mask = policies.deterministic(ONE, 0.1), jnp.array([True, False])
    outputs = jnp.array([np.arctanh(0.5), 2.0])
    np.testing.assert_allclose(policy.greedy(outputs, mask), [0.75, 0.0], rtol=1e-6)
    drawn = policy.draw(jax.random.key(0), outputs, mask)
    np.testing.assert_allclose(drawn.action, [0.5, 0.0], rtol=1e-6)
    assert drawn.entropy == 0 and float(drawn.size) == pytest.approx(np.arctanh(0.5) ** 2)
    keys = jax.random.split(jax.random.key(1), 2000)
    explored = np.asarray(jax.vmap(lambda key: policy.explore(key, outputs, mask))(keys))
    assert explored[:, 0].std() == pytest.approx(0.1, rel=0.1) and (explored[:, 1] == 0).all()


def test_entropies_to_keep_by_hand():
    mask = jnp.array([[True, True, True], [True, True, False]])
    continuous = policies.target_entropies(CONTINUOUS, mask, -1.0, 0.5)
    np.testing.assert_allclose(continuous, [-3 - 3 * np.log(2), -2 - 2 * np.log(2)], rtol=1e-6)
    discrete = policies.target_entropies(DISCRETE, mask, -1.0, 0.5)
    np.testing.assert_allclose(discrete, [0.5 * np.log(3), 0.5 * np.log(2)], rtol=1e-6)


# --- equations ---


def test_soft_values_by_hand():
    q, bonus, active = jnp.array([2.0, 3.0]), jnp.array([0.5, 0.25]), jnp.array([True, False])
    np.testing.assert_allclose(soft_value(q, bonus, None, True), [2.5, 3.25])
    np.testing.assert_allclose(soft_value(q, bonus, active, True), [2.5, 3.0])
    np.testing.assert_allclose(soft_value(q[:1], bonus, None, False), [2.75])
    np.testing.assert_allclose(soft_value(q[:1], bonus, active, False), [2.5])


def test_losses_by_hand():
    drawn = policies.Drawn(jnp.zeros((2, 3)), jnp.array([0.5, 1.0]), jnp.array([4.0, 8.0]))
    alpha, active = jnp.array([0.1, 0.2]), jnp.array([True, False])
    q = jnp.array([1.0, 3.0])
    assert float(actor_loss(q, drawn, alpha, 0.01, None)) == pytest.approx(0.06 - 2.0 - 0.125)
    assert float(actor_loss(q, drawn, alpha, 0.01, active)) == pytest.approx(0.04 - 1.0 - 0.05)
    team = jnp.array([5.0])
    assert float(actor_loss(team, drawn, 0.0, 0.0, active)) == pytest.approx(-5.0)
    values = jnp.array([[1.0, 2.0], [0.0, 4.0]])  # of two critics
    assert float(critic_loss(values, jnp.array([1.0, 1.0]), None)) == pytest.approx(0.5 + 5.0)
    weight = jnp.array([0.0, 1.0])
    assert float(critic_loss(values, jnp.array([1.0, 1.0]), weight)) == pytest.approx(1.0 + 9.0)
    log_alpha, target = jnp.log(alpha), jnp.array([1.0, 0.5])
    gradient = jax.grad(temperature_loss)(log_alpha, drawn.entropy, target, None)
    np.testing.assert_allclose(gradient, [-0.25, 0.25])  # too sure: it rises; too random: it falls
    gradient = jax.grad(temperature_loss)(log_alpha, drawn.entropy, target, active)
    np.testing.assert_allclose(gradient, [-0.5, 0.0])


def test_the_share_of_random_actions_falls_linearly():
    c = configs.IDDPGConfig(epsilon_start=0.8, epsilon_end=0.2, epsilon_steps=100)
    found = [float(epsilon(c, jnp.int32(n))) for n in (0, 50, 100, 200)]
    np.testing.assert_allclose(found, [0.8, 0.5, 0.2, 0.2], rtol=1e-6)


# --- targets ---


def sum_critic(active_values):
    """A critic that adds up what agents see and do, times a number; absent agents add 0."""

    def value(params, obs, action):
        q = params * (obs.local.sum(-1) + action.sum(-1))
        q = jnp.where(obs.active, q, 0.0)
        return q if active_values else q.sum(-1, keepdims=True)

    return critics.Critic(lambda key: jnp.ones(()), value, None, active_values, False)


def half_and_three(key, outputs, mask):
    """A policy of one half in every component, with an entropy of three."""
    half = jnp.where(mask, 0.5, 0.0)
    return policies.Drawn(half, jnp.full(mask.shape[:-1], 3.0), jnp.zeros(mask.shape[:-1]))


@pytest.mark.parametrize("per_agent", [True, False])
def test_targets_by_hand(per_agent):
    """Two critics, of which the smaller counts; entropies; an end, a time limit, one who leaves."""
    config = configs.ISACConfig(**TINY, gamma=0.9, reward="own" if per_agent else "team")
    parts = soft_parts(LEAVES, config, sum_critic(per_agent))
    parts = parts._replace(policy=parts.policy._replace(draw=half_and_three))
    t, active = taken(LEAVES), np.ones((LENGTH, ENVS, 2), bool)
    following = active.copy()
    active[3:, 2, 1], following[2:, 2, 1] = False, False
    t = t._replace(
        obs=t.obs._replace(active=jnp.array(active)),
        next_obs=t.next_obs._replace(active=jnp.array(following)),
        memory=jnp.zeros((LENGTH, ENVS, 2, 0)),
    )
    state = initial_state(parts, jax.random.key(0), jax.eval_shape(lambda: t))._replace(
        target=Targets((), jnp.array([2.0, 3.0])), log_temperature=jnp.log(jnp.array([0.1, 0.4]))
    )
    sample = Sample(pack(parts, t).items, t.memory[0], jnp.ones(ENVS), jnp.arange(ENVS))
    found = jax.jit(functools.partial(targets, parts))(
        state, batch_of(parts, sample), jax.random.key(0)
    )
    local, reward = np.asarray(t.next_obs.local), np.asarray(t.reward)
    for k, b in np.ndindex(LENGTH, ENVS):
        there = following[k, b]
        worth = (local[k, b].sum(-1) + np.array([1.5, 1.0])) * there
        bonus, paid = np.array([0.3, 1.2]) * there, reward[k, b] * active[k, b]
        if not per_agent:
            worth, bonus, paid = worth.sum(), bonus.sum(), paid.sum()
        after = np.minimum(2 * worth, 3 * worth) + bonus
        going_on = 0.0 if t.terminated[k, b] else 0.9
        np.testing.assert_allclose(found[k, b], paid + going_on * after, rtol=2e-5, atol=1e-5)


# --- what an actor's gradient passes through ---


def test_a_joint_action_with_one_s_own_in_it():
    joint, own = jnp.array([[1.0], [2.0], [3.0]]), jnp.array([[10.0], [20.0], [30.0]])
    np.testing.assert_array_equal(
        critics.own_replaced(joint, own)[..., 0], [[10, 2, 3], [1, 20, 3], [1, 2, 30]]
    )


@pytest.mark.parametrize("reward", ["team", "own"])
@pytest.mark.parametrize("others", ["taken", "policy"])
def test_an_actor_learns_through_its_own_action_alone(reward, others):
    config = configs.MADDPGConfig(critic_hidden=8, reward=reward)
    critic = critics.central(CONTINUOUS, config, "state", others)
    params, rng = jax.jit(critic.init)(jax.random.key(0)), np.random.default_rng(0)
    obs = seen(CONTINUOUS, rng, shape=())
    old, new = jnp.float32(rng.uniform(-1, 1, (2, 2, 3)))

    @jax.jit
    def found():
        def improved(drawn):
            return critic.improved(params, obs, old, drawn)

        def value(joint):
            return critic.value(params, obs, joint)

        base = old if others == "taken" else new
        joint = [base.at[agent].set(new[agent]) for agent in range(2)]
        each = jax.jacobian(improved)(new), improved(new)
        return *each, [(value(x), jax.jacobian(value)(x)) for x in joint]

    slopes, improved, others_fixed = jax.tree.map(np.asarray, found())
    assert (slopes[0, 1] == 0).all() and (slopes[1, 0] == 0).all()
    for agent, (values, by_action) in enumerate(others_fixed):
        which = agent if reward == "own" else 0
        np.testing.assert_allclose(improved[agent], values[which], rtol=1e-5)
        own = by_action[which, agent]
        np.testing.assert_allclose(slopes[agent, agent], own, rtol=1e-4, atol=1e-7)
        assert np.abs(own).max() > 0


def test_facmac_s_actors_learn_through_all_actions_at_once():
    config = configs.FACMACConfig(critic_hidden=8, mixer_hidden=4, mixer_embed=4)
    critic = critics.factored(CONTINUOUS, config, mixer_of(CONTINUOUS, config))
    params, rng = jax.jit(critic.init)(jax.random.key(0)), np.random.default_rng(0)
    obs = seen(CONTINUOUS, rng, shape=())
    drawn = jnp.float32(rng.uniform(-1, 1, (2, 3)))
    slopes = jax.jit(jax.jacobian(lambda a: critic.improved(params, obs, 0 * drawn, a)))(drawn)
    assert slopes.shape == (1, 2, 3)
    assert (np.abs(slopes).max(-1) > 0).all()
    np.testing.assert_array_equal(
        critic.improved(params, obs, 0 * drawn, drawn), critic.value(params, obs, drawn)
    )


def test_the_mixers_of_facmac_by_their_slopes():
    def slopes(name, seed):
        config = configs.FACMACConfig(mixer=name, mixer_hidden=4, mixer_embed=4)
        mixer = mixer_of(CONTINUOUS, config)
        params = mixer.init(jax.random.key(seed))
        one = Utilities(None, jnp.zeros((2, 0)), jnp.ones((2, 1), bool), jnp.ones(3))

        def value(q):
            return mixer.value(params, one._replace(q=q[:, None]), jnp.zeros(2, jnp.int32))

        return np.asarray(jax.grad(value)(jnp.array([0.5, -0.5])))

    np.testing.assert_array_equal(slopes("additive", 0), 1.0)
    assert all((slopes("monotonic", seed) >= 0).all() for seed in range(4))
    assert any((slopes("nonmonotonic", seed) < 0).any() for seed in range(4))


# --- reductions ---

ALONE = TINY | {"agent_id": False, "updates_per_step": 1.0}


@pytest.fixture(scope="module")
def reduced():
    """Actor, critic, targets, temperature after two updates of a team of one, by name."""

    def of(build, **settings):
        _, state, metrics = learned(build(ONE, **ALONE, **settings), ONE)
        return {**state._asdict(), "metrics": metrics}

    seen_alike = {"critic_input": "observations"}
    return {
        "iddpg": of(iddpg),
        "maddpg": of(maddpg, **seen_alike),
        "isac": of(isac),
        "masac": of(masac, **seen_alike),
        "hasac": of(hasac, **seen_alike),
    }


@pytest.mark.parametrize(
    ("one", "other"),
    [("iddpg", "maddpg"), ("isac", "masac")],
)
def test_a_team_of_one_is_a_single_agent_bit_for_bit(reduced, one, other):
    for name in ("actor", "critic", "target", "log_temperature"):
        jax.tree.map(np.testing.assert_array_equal, reduced[one][name], reduced[other][name])
    assert reduced[one]["metrics"]["policy_loss"] == reduced[other]["metrics"]["policy_loss"]


def test_hasac_of_one_agent_is_masac_but_for_rounding(reduced):
    """Its turns are a loop, whose sums XLA orders in another way."""
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-7)
    for name in ("actor", "critic", "target", "log_temperature"):
        jax.tree.map(close, reduced["masac"][name], reduced["hasac"][name])


def test_what_counts_differs_between_the_kinds(reduced):
    """So that the test above compares numbers that learned something."""
    first, second = reduced["iddpg"]["critic"], reduced["isac"]["critic"]
    assert [len(x) for x in jax.tree.leaves((first, second))][::6] == [1, 2]
    for name in ("iddpg", "isac"):
        moved = jax.tree.map(
            lambda x, y: bool((x != y).any()), reduced[name]["critic"], reduced[name]["target"][1]
        )
        assert any(jax.tree.leaves(moved))


# --- agents that are not there ---


@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (iddpg, {"reward": "own", "sharing": "none"}),
        (facmac, {"sharing": "none", "mixer_hidden": 4, "mixer_embed": 4}),
        (hasac, {}),
    ],
    ids=["iddpg", "facmac", "hasac"],
)
def test_an_agent_that_is_not_there_learns_nothing(build, settings):
    spec = dataclasses.replace(DISCRETE, active_mask=True) if build is facmac else LEAVES
    before, after, _ = learned(build(spec, **TINY, **settings), spec, 1, (True, False))
    pairs = [(before.actor, after.actor)]
    if build is hasac:
        pairs.append((before.log_temperature, after.log_temperature))
    for old, new in pairs:
        rows = zip(*map(jax.tree.leaves, (old, new)), strict=True)
        changed = np.array([[(x[i] != y[i]).any() for i in (0, 1)] for x, y in rows])
        assert changed[:, 0].any() and not changed[:, 1].any()


# --- HASAC's turns ---


def test_the_second_agent_in_turn_meets_the_first_as_it_has_become():
    """Plain gradient steps of 0.5, held against gradients of the loss written out here."""
    config, key = configs.HASACConfig(**TINY, order="fixed"), jax.random.key(5)
    parts = hasac_parts(CONTINUOUS, config)._replace(actor_optimiser=optax.sgd(0.5))
    t = taken(CONTINUOUS, memory=jnp.zeros((LENGTH, ENVS, 2, 0)))
    state = initial_state(parts, jax.random.key(0), jax.eval_shape(lambda: t))
    actor = jax.tree.map(
        lambda x: x + 0.3 * jnp.sin(jnp.arange(x.size)).reshape(x.shape), state.actor
    )
    state = state._replace(actor=actor)
    sample = Sample(pack(parts, t).items, t.memory[0], jnp.ones(ENVS), jnp.arange(ENVS))
    batch = batch_of(parts, sample)
    new = jax.jit(functools.partial(parts.improve, parts))(state, batch, key).actor

    def loss(actor, agent):
        outputs, _, _ = parts.net.step(actor, t.memory, t.obs)
        drawn = parts.policy.draw(key, outputs, t.obs.action_mask)
        q = parts.critics.values(state.critic, t.obs, drawn.action).min(0)
        return -q.mean() - 0.2 * drawn.entropy[..., agent].mean()

    slope = jax.jit(jax.grad(loss), static_argnums=1)

    def rows(first, second):
        return jax.tree.map(lambda x, y: jnp.stack([x[0], y[1]]), first, second)

    def stepped(among, agent):
        return jax.tree.map(lambda x, g: (x - 0.5 * g)[agent], among, slope(among, agent))

    def row(agent):
        return jax.tree.map(lambda x: x[agent], new)

    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6)
    jax.tree.map(close, row(0), stepped(actor, 0))
    jax.tree.map(close, row(1), stepped(rows(new, actor), 1))
    with pytest.raises(AssertionError):
        jax.tree.map(close, row(1), stepped(actor, 1))


# --- learning, and what is refused ---


@dataclasses.dataclass(frozen=True, kw_only=True)
class Match(Constant):
    """Continuous, one step: both are paid 1 less the distance of their sum from 1.6."""

    horizon: int = 1

    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), continuous=True, optimum=1.0)

    def step_env(self, key, state, action, params):
        after, _, *rest = super().step_env(key, state, action, params)
        reward = 1 - jnp.abs(action.sum(0) - 1.6).mean()
        return after, jnp.full(self.num_agents, reward), *rest


def matched(build, **settings):
    """The return of greedy actions after a short training, nearly all of it by random actions."""
    sizes = {"hidden": 16, "critic_hidden": 32, "batch": 32, "warmup": 256}
    settings = {"lr": 3e-3, "critic_lr": 3e-3, "updates_per_step": 1 / 4, "gamma": 0.0} | settings
    learner = build(Match().spec(), **sizes, **settings)
    config = TrainConfig(total_steps=3_000, num_envs=16, rollout_length=4, evals=1, eval_episodes=4)
    return train(Match(), learner, config=config).returns.mean()


def test_two_agents_learn_to_match():
    assert matched(masac) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "settings"),
    [
        (maddpg, {"others": "policy"}),
        (facmac, {"epsilon_steps": 1_000}),
        (hasac, {}),
    ],
    ids=["maddpg", "facmac", "hasac"],
)
def test_each_kind_learns_to_match(build, settings):
    assert matched(build, **settings) > 0.85


@pytest.mark.slow
def test_the_best_answer_to_random_others_is_worse():
    """To the average of uniform others 1 is best; both at 1 are paid 0.6."""
    for build in (maddpg, iddpg):
        assert matched(build) == pytest.approx(0.6, abs=0.1)


@pytest.mark.parametrize(
    ("build", "settings", "answer"),
    [
        (facmac, {"reward": "own"}, "reward is 'own'; it must be 'team'"),
        (hasac, {"sharing": "all"}, "sharing is 'all'; it must be 'none'"),
        (
            hasac,
            {"agent_id": True},
            "agent_id is True; it must be false: agents share no parameter",
        ),
        (maddpg, {"others": "all"}, "others is 'all'; it must be 'taken' or 'policy'"),
        (isac, {"temperature": 0.0}, "temperature is 0.0; it must be"),
    ],
)
def test_impossible_settings_are_refused(build, settings, answer):
    with pytest.raises(ValueError, match=answer):
        build(CONTINUOUS, **settings)


def test_windows_must_fit_into_rollouts():
    learner = iddpg(ONE, **TINY | {"window": 3})
    with pytest.raises(ValueError, match="window is 3"):
        learner.init(jax.random.key(0), remembered(learner, taken(ONE)))
