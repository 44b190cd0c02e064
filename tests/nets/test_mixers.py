import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from marlx.nets import mixers
from marlx.nets.agents import dormant
from marlx.nets.mixers import Utilities
from marlx.types import EnvSpec

SPEC = EnvSpec("three", num_agents=3, num_actions=4, obs_size=5, state_size=6, horizon=7)
FEATURES = 8

MIXERS = {
    "independent": mixers.independent(),
    "additive": mixers.additive(),
    "monotonic": mixers.monotonic(SPEC),
    "duplex": mixers.duplex(SPEC),
    "monotonic-norm": mixers.monotonic(SPEC, normalise=True),
    "duplex-norm": mixers.duplex(SPEC, normalise=True),
    "joint": mixers.joint(SPEC, features=FEATURES),
}
TEAM = [name for name in MIXERS if name != "independent"]


def draw(seed):
    """Utilities of one state in which some actions of every agent are illegal."""
    rng = np.random.default_rng(seed)
    mask = rng.random((3, 4)) < 0.6
    mask[np.arange(3), rng.integers(4, size=3)] = True
    return Utilities(
        jnp.asarray(rng.normal(size=(3, 4)) * 3, jnp.float32),
        jnp.asarray(rng.normal(size=(3, FEATURES)), jnp.float32),
        jnp.asarray(mask),
        jnp.asarray(rng.normal(size=6), jnp.float32),
    )


@pytest.mark.parametrize("name", TEAM)
def test_greedy_is_the_best_legal_joint_action(name):
    """By brute force over all 64 joint actions: IGM, for every mixer that claims it."""
    mixer = MIXERS[name]
    joint = jnp.array(list(itertools.product(range(4), repeat=3)))
    value = jax.jit(jax.vmap(mixer.value, (None, None, 0)))
    greedy = jax.jit(mixer.greedy)
    for seed in range(30):
        u, params = draw(seed), mixer.init(jax.random.key(seed))
        legal = np.asarray(u.action_mask)[np.arange(3), joint].all(-1)
        values = np.where(legal, value(params, u, joint), -np.inf)
        action = np.asarray(greedy(params, u))
        assert u.action_mask[np.arange(3), action].all()
        taken = values[(np.asarray(joint) == action).all(-1)][0]
        assert taken >= values.max() - 1e-4


def test_independent_values_are_each_agents_own():
    u = draw(0)
    value = MIXERS["independent"].value({}, u, jnp.array([1, 0, 3]))
    np.testing.assert_array_equal(value, [u.q[0, 1], u.q[1, 0], u.q[2, 3]])


@pytest.mark.parametrize("name", MIXERS)
def test_a_mixer_says_whether_values_are_per_agent(name):
    mixer = MIXERS[name]
    value = mixer.value(mixer.init(jax.random.key(0)), draw(0), jnp.array([1, 0, 3]))
    assert value.shape == ((3,) if mixer.per_agent else ())


def test_until_the_delay_is_over_values_are_each_agents_own():
    u, action, mixer = draw(0), jnp.array([1, 0, 3]), MIXERS["additive"]
    own = np.array([u.q[0, 1], u.q[1, 0], u.q[2, 3]])
    early, late = (mixers.mixed_after(mixer, 10, jnp.int32(steps)) for steps in (10, 11))
    np.testing.assert_array_equal(early.value({}, u, action), own)
    np.testing.assert_allclose(late.value({}, u, action), [own.sum()] * 3, rtol=1e-6)
    assert bool(early.per_agent) and not bool(late.per_agent)
    assert mixers.mixed_after(mixer, 0, jnp.int32(0)) is mixer


def test_additive_is_the_sum():
    u = draw(0)
    assert MIXERS["additive"].value({}, u, jnp.array([1, 0, 3])) == pytest.approx(
        float(u.q[0, 1] + u.q[1, 0] + u.q[2, 3]), rel=1e-6
    )


def test_monotonic_in_every_utility_and_not_additive():
    mixer = MIXERS["monotonic"]
    action = jnp.array([1, 0, 3])
    slopes = []
    for seed in range(30):
        params, u = mixer.init(jax.random.key(seed)), draw(seed)
        slope = jax.grad(lambda q, p=params, u=u: mixer.value(p, u._replace(q=q), action))(u.q)
        slopes.append(slope[np.arange(3), action])
    assert np.min(slopes) >= 0
    assert np.max(slopes) - np.min(slopes) > 0.1  # the state matters


@pytest.mark.parametrize("name", ["monotonic", "duplex", "monotonic-norm", "duplex-norm"])
def test_a_state_of_zeros_leaves_no_mixer_dead(name):
    """All that a stateless game has: utilities and every weight must still get a gradient."""
    mixer, u = MIXERS[name], draw(0)._replace(global_state=jnp.zeros(6))
    u = u._replace(action_mask=jnp.ones((3, 4), bool))
    action = (mixer.greedy({}, u) + 1) % 4  # duplex gives the best action no advantage to weigh

    def value(params, q):
        return mixer.value(params, u._replace(q=q), action)

    params = mixer.init(jax.random.key(0))
    of_params, of_q = jax.grad(value, (0, 1))(params, u.q)
    assert (np.abs(of_q[np.arange(3), action]) > 1e-3).all()
    for path, gradient in jax.tree_util.tree_leaves_with_path(of_params):
        name = jax.tree_util.keystr(path)
        if "hidden" not in name or "bias" in name:  # what reads the zeros themselves gets none
            assert np.any(gradient) or ("b1" in name and "kernel" in name), name


@pytest.mark.parametrize("name", ["monotonic", "duplex"])
def test_a_normalised_mixer_is_bounded_however_far_out_a_state_is(name):
    def slope(mixer, far):
        u = draw(0)._replace(global_state=far * draw(0).global_state)
        action = mixer.greedy(mixer.init(jax.random.key(1)), u)
        return float(mixers.mixer_slope(mixer, mixer.init(jax.random.key(1)), u, action))

    plain, bounded = MIXERS[name], MIXERS[f"{name}-norm"]
    assert slope(plain, 1e4) > 100 * slope(plain, 10)
    assert slope(bounded, 1e4) == pytest.approx(slope(bounded, 1e3), rel=0.05)


@pytest.mark.parametrize("full", [False, True])
def test_duplex_passes_the_gradient_of_its_value_where_asked(full):
    """With `gradient` the utilities get the true gradient, else that of `sum_i w_i Q_i + b_i`."""
    mixer = mixers.duplex(SPEC, gradient=full)
    u = draw(4)._replace(action_mask=jnp.ones((3, 4), bool))
    params = mixer.init(jax.random.key(0))
    action = (mixer.greedy(params, u) + 1) % 4  # advantages below 0, for lambda to weigh

    def total(chosen):
        q = u.q.at[jnp.arange(3), action].set(chosen)
        return mixer.value(params, u._replace(q=q), action)

    chosen = u.q[jnp.arange(3), action]
    found = jax.grad(total)(chosen)
    step = 1e-2
    measured = [
        (total(chosen.at[i].add(step)) - total(chosen.at[i].add(-step))) / (2 * step)
        for i in range(3)
    ]
    assert bool(jnp.allclose(found, jnp.stack(measured), rtol=0.02)) == full


def test_duplex_reaches_what_no_monotonic_mixer_can():
    """The lambda-weighted advantages depend on the joint action, at unchanged utilities."""
    mixer, u = MIXERS["duplex"], draw(3)._replace(action_mask=jnp.ones((3, 4), bool))
    params = mixer.init(jax.random.key(0))
    best = mixer.greedy(params, u)

    def loss_of(first, second):
        """How much the team loses when one agent leaves its best action, given another's."""
        a = best.at[1].set(second)
        other = a.at[0].set(first)
        return mixer.value(params, u, a) - mixer.value(params, u, other)

    first = (int(best[0]) + 1) % 4
    losses = [float(loss_of(first, second)) for second in range(4)]
    assert max(losses) - min(losses) > 1e-3


def test_joint_refuses_too_many_joint_actions():
    spec = EnvSpec("wide", num_agents=9, num_actions=6, obs_size=1, state_size=1, horizon=1)
    with pytest.raises(ValueError, match=r"6\^9 = 10077696.*at most 4096"):
        mixers.joint(spec, features=4)


def test_the_slope_is_the_gradient_with_respect_to_the_utilities():
    """1 for sums, the hypernetworks' product for QMIX, and 0 where they give none."""
    u, action = draw(0), jnp.array([0, 1, 2])
    for name in ("additive", "independent"):
        assert float(mixers.mixer_slope(MIXERS[name], {}, u, action)) == pytest.approx(1.0)
    mixer = MIXERS["monotonic"]
    params, step = mixer.init(jax.random.key(1)), 1e-2

    def moved(agent, by):
        q = u.q.at[agent, action[agent]].add(by)
        return float(mixer.value(params, u._replace(q=q), action))

    expected = np.mean([moved(i, step) - moved(i, -step) for i in range(3)]) / (2 * step)
    slope = float(mixers.mixer_slope(mixer, params, u, action))
    assert slope == pytest.approx(expected, rel=2e-2) and slope > 1e-2
    nothing = jax.tree.map(jnp.zeros_like, params)
    assert float(mixers.mixer_slope(mixer, nothing, u, action)) == 0


def test_dormant_units_are_those_far_below_the_average():
    """Sizes 1, 1, 2, 0.02 and 0 have the mean 0.804: two are below 0.025 of it, 0.0201."""
    units = jnp.array([1.0, -1.0, 2.0, 0.02, 0.0])
    features = jnp.stack([units, -units]).reshape(2, 1, 5)  # signs do not matter
    assert float(dormant(features)) == pytest.approx(0.4)
    assert float(dormant(features, threshold=0.01)) == pytest.approx(0.2)
    assert float(dormant(jnp.zeros((3, 4)))) == 1.0


# --- QPLEX with the bound of foraging's preset ---

JOINT = jnp.array(list(itertools.product(range(6), repeat=2)))


def bounded_weights():
    """Initial parameters, and lambda f32 [S, 36, 2] of 16 random states and all joint actions.

    With the bound and normalisation of `configs/qplex.yaml` on 8x8 foraging.
    """
    net = mixers._DuplexNet(64, 4, 6, True, -1.4)
    states = jax.random.normal(jax.random.key(1), (16, 12))

    def weights(params):
        over = jax.vmap(jax.vmap(lambda s, a: net.apply(params, s, a)[2], (None, 0)), (0, None))
        return over(states, JOINT)

    return net.init(jax.random.key(0), states[0], JOINT[0]), weights


def test_the_bounded_lambda_of_qplex_depends_on_the_joint_action_and_has_gradients():
    """A hard clip from above leaves 97% of its terms the same for every joint action, and dead."""
    params, weights = bounded_weights()
    values, pull = jax.vjp(weights, params)
    by = pull(jnp.ones_like(values))[0]["params"]["actions"]
    assert (jnp.abs(by["bias"]) > 0).all() and (jnp.abs(by["kernel"]).sum(0) > 0).all()
    assert jnp.abs(by["bias"]).min() > 0.05 * jnp.abs(by["bias"]).max()
    spread = values.std(1) / values.mean(1)  # over the joint actions of a state
    assert jnp.median(spread) > 0.03 and spread.min() > 0.01
    assert 0 < values.min() and values.max() < 4 * np.exp(-1.4)


def test_a_bounded_lambda_that_has_grown_to_its_bound_can_fall_again():
    """Trained to the bound on every joint action, then on values that differ between them."""
    params, weights = bounded_weights()
    same = (JOINT[:, 0] == JOINT[:, 1]).astype(jnp.float32)[:, None]
    optimiser = optax.adam(1e-2)

    def trained(params, target, steps):
        def step(carry, _):
            params, state = carry
            by = jax.grad(lambda p: ((weights(p) - target) ** 2).mean())(params)
            change, state = optimiser.update(by, state)
            return (optax.apply_updates(params, change), state), None

        return jax.lax.scan(step, (params, optimiser.init(params)), length=steps)[0][0]

    @jax.jit
    def both(params, targets):
        high = trained(params, targets[0], 60)
        return weights(high), weights(trained(high, targets[1], 200))

    high, low = both(params, jnp.stack([jnp.full_like(same, 2.0), 0.3 + 0.4 * same]))
    assert high.min() > 0.8  # the bound is 0.99
    assert low[:, ::7].mean() - low.mean() > 0.2  # 0.33 is asked for
