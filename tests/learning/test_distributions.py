"""Distributions against scipy; masked entries have no effect and no gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from marlx.learning.distributions import Categorical, Gaussian

MASK = np.array([[True, True, False, True], [False, True, False, False], [True] * 4])
LOGITS = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32) * 3
RAW = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)
OUTPUTS = np.random.default_rng(2).normal(size=(3, 8)).astype(np.float32)


def mean_and_deviation(outputs):
    """Mean and deviation as documented: the log deviation is a tanh scaled to -4 to 2."""
    mean, log_std = np.split(outputs.astype(np.float64), 2, -1)
    return mean, np.exp(-4 + 3 * (np.tanh(log_std) + 1))


def test_categorical_is_the_softmax_over_legal_actions():
    for logits, mask in zip(LOGITS, MASK, strict=True):
        p = np.where(mask, np.exp(logits.astype(np.float64)), 0)
        p /= p.sum()
        for action in np.flatnonzero(mask):
            found = Categorical().log_prob(logits, mask, jnp.int32(action))
            np.testing.assert_allclose(found, np.log(p[action]), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            Categorical().entropy(logits, mask, jnp.int32(0)), stats.entropy(p), atol=1e-5
        )
        assert Categorical().mode(logits, mask) == p.argmax()


def test_categorical_samples_have_their_probabilities():
    samples = Categorical().sample(
        jax.random.key(0), jnp.broadcast_to(LOGITS[0], (20_000, 4)), jnp.asarray(MASK[0])
    )
    p = np.where(MASK[0], np.exp(LOGITS[0]), 0)
    np.testing.assert_allclose(np.bincount(samples, minlength=4) / 20_000, p / p.sum(), atol=0.012)


def test_gaussian_log_probability_and_entropy():
    mean, std = mean_and_deviation(OUTPUTS)
    density = np.where(MASK, stats.norm(mean, std).logpdf(RAW), 0)
    found = Gaussian().log_prob(OUTPUTS, MASK, RAW)
    np.testing.assert_allclose(found, density.sum(-1), rtol=1e-5)
    entropy = np.where(MASK, stats.norm(mean, std).entropy(), 0)
    found = Gaussian().entropy(OUTPUTS, MASK, RAW)
    np.testing.assert_allclose(found, entropy.sum(-1), rtol=1e-5)


def test_squashed_density_is_that_of_the_action():
    """It integrates to one over [0, 1], and its mean log is the entropy that is estimated."""
    mean, log_std = 0.3, 0.2
    outputs = jnp.array([mean, log_std])
    squashed = Gaussian(squashed=True)

    action = np.linspace(0, 1, 200_001)[1:-1]
    raw = jnp.asarray(np.arctanh(2 * action - 1)[:, None])
    density = np.exp(squashed.log_prob(outputs, jnp.array([True]), raw), dtype=np.float64)
    assert abs(integrate.trapezoid(density, action) - 1) < 1e-3
    exact = integrate.trapezoid(-density * np.log(density), action)
    many = jnp.broadcast_to(outputs, (100_000, 2))
    mask = jnp.ones((100_000, 1), bool)
    samples = squashed.sample(jax.random.key(0), many, mask)
    assert abs(squashed.entropy(many, mask, samples).mean() - exact) < 0.02
    assert np.isfinite(squashed.log_prob(outputs, jnp.array([True]), jnp.array([60.0])))


@pytest.mark.parametrize("squashed", [False, True])
def test_gaussian_actions_are_in_bounds(squashed):
    kind = Gaussian(squashed)
    mask = jnp.asarray(MASK)
    raw = kind.sample(jax.random.key(0), 3 * jnp.asarray(OUTPUTS), mask)
    action = kind.action(raw, mask)
    assert ((action >= 0) & (action <= 1)).all() and (action[~MASK] == 0).all()
    assert not np.allclose(raw, kind.mode(OUTPUTS, mask))
    np.testing.assert_allclose(kind.mode(OUTPUTS, mask), np.where(MASK, OUTPUTS[:, :4], 0))


@pytest.mark.parametrize(
    ("kind", "outputs", "raw"),
    [
        (Categorical(), LOGITS, np.array([1, 1, 2])),
        (Gaussian(), OUTPUTS, RAW),
        (Gaussian(squashed=True), OUTPUTS, RAW),
    ],
    ids=str,
)
def test_masked_entries_have_exactly_no_gradient(kind, outputs, raw):
    for name in ("log_prob", "entropy"):
        gradient = jax.grad(lambda x, f=name: getattr(kind, f)(x, MASK, raw).sum())(outputs)
        masked = np.concatenate([~MASK] * (outputs.shape[1] // 4), -1)
        assert (gradient[masked] == 0).all() and np.isfinite(gradient).all()
        assert (np.asarray(gradient)[[0, 2]] != 0).any()
