"""Attention pooling: padding, positions, and single tokens against whole sequences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.nets import set_attention
from marlx.nets.set_attention import PooledEncoder

ENCODER = PooledEncoder(size=5, width=8, heads=2, seeds=3)


@pytest.fixture(scope="module")
def params():
    return ENCODER.init(jax.random.key(0), jnp.zeros((1, 4)), jnp.ones(1, bool))


def test_padding_changes_nothing(params):
    """A padded sequence gives the result of the exact length, whatever the padding holds."""
    x = jax.random.normal(jax.random.key(1), (12, 4))
    whole = jax.jit(ENCODER.apply)
    for length in (1, 5, 12):
        exact = ENCODER.apply(params, x[:length], jnp.ones(length, bool))
        padded = x.at[length:].set(1e3)
        valid = jnp.arange(12) < length
        np.testing.assert_allclose(whole(params, padded, valid), exact, atol=1e-5)


def test_token_by_token_is_the_whole_sequence(params):
    """At every step, and where scores are so large that a naive softmax would overflow."""
    for scale in (1.0, 300.0):
        x = scale * jax.random.normal(jax.random.key(2), (9, 4))

        def step(pool, input):
            pool, out = ENCODER.apply(params, pool, *input, method="step")
            return pool, out

        _, out = jax.lax.scan(step, ENCODER.empty(), (x, jnp.arange(9)))
        for t in range(9):
            valid = jnp.arange(9) <= t
            whole = ENCODER.apply(params, x, valid)
            np.testing.assert_allclose(out[t], whole, atol=1e-5 * scale, rtol=1e-5)


def test_pooling_is_attention_by_hand():
    score = jnp.array([0.3, -1.0, 2.0])[:, None, None]
    value = jnp.array([1.0, 10.0, 100.0])[:, None, None]
    weight = np.exp([0.3, -1.0, 2.0])
    expected = (weight * [1.0, 10.0, 100.0]).sum() / weight.sum()
    pool = set_attention.pooled(score, value, jnp.ones(3, bool))
    assert pool.average.item() == pytest.approx(expected, rel=1e-6)
    pool = set_attention.empty(1, 1, 1)
    assert pool.average.item() == 0
    for s, v in zip(score, value, strict=True):
        pool = set_attention.push(pool, s, v)
    assert pool.average.item() == pytest.approx(expected, rel=1e-6)


def test_positions_and_seeds_matter(params):
    """Results depend on the order of tokens: the encoder is no average of its input."""
    x = jax.random.normal(jax.random.key(3), (6, 4))
    valid = jnp.ones(6, bool)
    forward, back = (ENCODER.apply(params, y, valid) for y in (x, x[::-1]))
    assert jnp.abs(forward - back).max() > 1e-3
