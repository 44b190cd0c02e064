"""Weighted QMIX and QTRAN: their losses against hand computations, and what they refuse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos import q_learning, transformed_q, weighted_mixing
from marlx.algos.central_q import CentralParams
from marlx.algos.q_items import Item
from marlx.algos.q_learning import initial_state
from marlx.algos.q_parts import make_parts
from marlx.algos.transformed_q import nopt_error, opt_error
from marlx.algos.weighted_mixing import JointValues, central_weights, optimistic_weights
from marlx.data.replay import Sample
from marlx.data.ring import Rollout
from marlx.learning.running_moments import moments
from marlx.nets import mixers
from marlx.testing import Recall
from marlx.types import Observation

SPEC = Recall(num_agents=2).spec()
SIZES = {"hidden": 8, "mixer_hidden": 8, "mixer_embed": 4, "central_hidden": 8, "window": 1}
SETTINGS = SIZES | {"batch": 4, "capacity": 64, "recurrent": False, "gamma": 0.9}
BUILD = {
    "ow_qmix": weighted_mixing.ow_qmix,
    "cw_qmix": weighted_mixing.cw_qmix,
    "qtran": transformed_q.qtran,
}


def joint_values(rows):
    return JointValues(*(jnp.array(column) for column in zip(*rows, strict=True)))


def test_weights_by_hand():
    rows = joint_values(
        [  # Q_tot, target, the agents' best actions, Q* of these
            (1.0, 2.0, False, 3.0),  # too low, but worse than the best
            (2.0, 1.0, False, 3.0),  # too high, and worse than the best
            (2.0, 1.0, True, 3.0),  # too high, the best
            (5.0, 4.0, False, 3.0),  # too high, but better than the best
            (1.0, 1.0, False, 1.0),  # exact, and no better
        ]
    )
    np.testing.assert_allclose(optimistic_weights(rows, 0.1), [1, 0.1, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(central_weights(rows, 0.1), [0.1, 0.1, 1, 1, 0.1])


def test_errors_of_qtran_by_hand():
    sums, joint, state = jnp.array([1.0, 4.0]), jnp.array([3.0, 3.0]), jnp.array([0.5, 0.5])
    np.testing.assert_allclose(opt_error(sums, joint, state), [-1.5, 1.5])
    np.testing.assert_allclose(nopt_error(sums, joint, state), [-1.5, 0.0])
    for error in (opt_error, nopt_error):
        by_joint = jax.grad(lambda q: error(sums, q, state).sum())(joint)  # noqa: B023
        np.testing.assert_array_equal(by_joint, 0.0)


class Case:
    """A learner with all joint actions of one state in a batch, each followed by another state."""

    def __init__(self, name, **settings):
        record = marlx.algorithm(name)
        self.config = record.config(**(SETTINGS | settings))
        caught = {}

        def caught_parts(*args):
            caught["parts"] = make_parts(*args)
            return caught["parts"]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(q_learning, "make_parts", caught_parts)
            record.build(SPEC, self.config)
        self.parts = caught["parts"]
        self.actions = list(itertools.product(range(SPEC.num_actions), repeat=2))
        number, draw = len(self.actions), np.random.default_rng(0)

        def state(seed):
            draw = np.random.default_rng(seed)
            local = draw.normal(size=(1, 1, 2, SPEC.obs_size)).astype(np.float32)
            seen = draw.normal(size=(1, 1, SPEC.state_size)).astype(np.float32)
            mask = np.ones((1, number, 2, SPEC.num_actions), bool)
            return Observation(
                np.tile(local, (1, number, 1, 1)), mask, np.tile(seen, (1, number, 1)), None
            )

        self.reward = draw.normal(size=number).astype(np.float32)
        self.ended = np.arange(number) % 2 == 0
        items = Item(
            obs=state(1),
            action=np.array(self.actions, np.int8)[None],
            reward=self.reward[None],
            discount=np.where(self.ended, 0.0, 0.9).astype(np.float32)[None],
            done=self.ended[None],
            next_obs=state(2),
            weight=None,
            credit=None,
        )
        start = np.zeros((number, 2, 0), np.float32)
        self.importance = draw.uniform(0.5, 1.5, number).astype(np.float32)
        self.sample = Sample(items, start, self.importance, np.arange(number))
        example = jax.eval_shape(lambda: Rollout(items, start[None], None))
        init = jax.jit(lambda key: initial_state(self.parts, key, example))
        online, target = init(jax.random.key(0)), init(jax.random.key(1))
        self.state = online._replace(target=target.params, rewards=moments())
        self.items = items
        self.loss = jax.jit(
            lambda params: self.parts.loss(params, self.parts, self.state, self.sample)[0]
        )
        self.step = jax.jit(self.of_actions)

    def of_actions(self, params, obs):
        u, _ = self.parts.net.step(params.agents, jnp.zeros((2, 0)), obs)
        central = mixers.central(SPEC, features=8, hidden=8)
        each = jnp.array(self.actions)
        mixed = jax.vmap(self.parts.mixer.value, (None, None, 0))(params.mixer, u, each)
        joint = jax.vmap(central.value, (None, None, 0))(params.mixer.central, u, each)
        return u, mixed, joint

    def table(self, params, obs):
        """Utilities, the mixed value and the joint value of every joint action, in one state."""
        u, mixed, joint = self.step(params, jax.tree.map(lambda x: x[0, 0], obs))
        return u, np.array(mixed), np.array(joint)

    def targets(self):
        """`r + gamma Q*'(s', argmax Q_i(s'))`, the agents' choice by the online network."""
        u, _, _ = self.table(self.state.params, self.items.next_obs)
        _, _, joint = self.table(self.state.target, self.items.next_obs)
        best = self.actions.index(tuple(np.asarray(u.q).argmax(-1).tolist()))
        return self.reward + np.where(self.ended, 0.0, 0.9) * joint[best]


@pytest.mark.parametrize("name", ["ow_qmix", "cw_qmix"])
def test_the_loss_of_weighted_qmix_by_hand(name):
    case = Case(name, alpha=0.25)
    y = case.targets()
    u, mixed, joint = case.table(case.state.params, case.items.obs)
    if name == "ow_qmix":
        weight = np.where(mixed < y, 1.0, 0.25)
    else:
        best = case.actions.index(tuple(np.asarray(u.q).argmax(-1).tolist()))
        _, _, old = case.table(case.state.target, case.items.obs)
        weight = np.where((np.arange(len(y)) == best) | (y > old[best]), 1.0, 0.25)
    assert 0 < (weight == 1).sum() < len(weight)
    expected = case.importance * (weight * (mixed - y) ** 2 + (joint - y) ** 2)
    assert case.loss(case.state.params) == pytest.approx(expected.mean(), rel=1e-5)


def test_the_loss_of_qtran_by_hand():
    case = Case("qtran", opt_weight=2.0, nopt_weight=0.5)
    y, params = case.targets(), case.state.params
    u, mixed, joint = case.table(params, case.items.obs)
    np.testing.assert_allclose(mixed, [float(u.q[0, a] + u.q[1, b]) for a, b in case.actions], 1e-6)
    of_state = transformed_q.state_value(SPEC, features=8, hidden=8)
    v = float(of_state.value(params.mixer.state, u))
    best = case.actions.index(tuple(np.asarray(u.q).argmax(-1).tolist()))
    opt = (mixed[best] - joint[best] + v) ** 2
    nopt = np.minimum(mixed - joint + v, 0.0) ** 2
    assert 0 < (nopt > 0).sum()
    expected = case.importance * ((joint - y) ** 2 + 2.0 * opt + 0.5 * nopt)
    assert case.loss(params) == pytest.approx(expected.mean(), rel=1e-5)


@pytest.mark.parametrize("name", BUILD)
def test_the_joint_value_learns_from_its_own_error_alone(name):
    other = {"alpha": 1.0} if name != "qtran" else {"opt_weight": 50.0, "nopt_weight": 9.0}
    gradients = []
    for settings in ({}, other):
        case = Case(name, **settings)
        gradients.append(jax.jit(jax.grad(case.loss))(case.state.params).mixer)
    first, second = gradients
    assert isinstance(first, CentralParams)
    jax.tree.map(np.testing.assert_array_equal, first.central, second.central)
    assert any((x != 0).any() for x in jax.tree.leaves(first.central))
    utilities = (first.factored, first.state), (second.factored, second.state)
    if name != "qtran":  # a sum has no parameters of its own, the value of the state has
        assert jax.tree.leaves(first.factored)
    differ = jax.tree.map(lambda a, b: bool((a != b).any()), *utilities)
    assert any(jax.tree.leaves(differ))


@pytest.mark.parametrize("build", BUILD.values(), ids=BUILD)
@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"mixing_delay": 10}, "mixing_delay is 10; it must be 0 beside an unrestricted value"),
        ({"reward": "own"}, "reward is 'own'; only independent learners"),
    ],
)
def test_impossible_settings_are_refused(build, settings, answer):
    with pytest.raises(ValueError, match=answer):
        build(SPEC, **settings)
