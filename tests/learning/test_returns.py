import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.learning.returns import epsilon_greedy, lambda_returns, masked_argmax, uniform_legal


def by_hand(reward, discount, next_value, done, lambda_):
    """The same returns, as a sum over how far each one looks ahead."""
    out = []
    for t in range(len(reward)):
        last = next(k for k in range(t, len(reward)) if done[k] or k == len(reward) - 1)
        total, factor, so_far = 0.0, 1.0, 0.0
        for k in range(t, last + 1):  # the n-step return that ends at k, n = k - t + 1
            so_far += factor * reward[k]
            factor *= discount[k]
            weight = (1 - lambda_) * lambda_ ** (k - t) if k < last else lambda_ ** (k - t)
            total += weight * (so_far + factor * next_value[k])
        out.append(total)
    return np.array(out)


@pytest.mark.parametrize("lambda_", [0.0, 0.6, 1.0])
def test_lambda_returns_by_hand(lambda_):
    """Ends of both kinds in mid-stretch: a true end at 2, a time limit at 5."""
    rng = np.random.default_rng(0)
    reward, value = rng.normal(size=9), rng.normal(size=9)
    discount = np.where(np.arange(9) == 2, 0.0, 0.9)
    done = np.isin(np.arange(9), [2, 5])
    got = lambda_returns(*map(jnp.asarray, (reward, discount, value, done)), lambda_)
    np.testing.assert_allclose(got, by_hand(reward, discount, value, done, lambda_), rtol=1e-5)


def test_targets_carry_no_gradient():
    ones = jnp.ones(3)
    grad = jax.grad(lambda v: lambda_returns(ones, ones, v, ones > 2, 0.5).sum())(ones)
    assert not grad.any()


def test_masked_argmax_never_takes_an_illegal_action():
    values = jnp.array([[5.0, -1.0, -2.0], [-9.0, 100.0, -8.0]])
    legal = jnp.array([[False, True, True], [True, False, True]])
    assert masked_argmax(values, legal).tolist() == [1, 2]


def test_uniform_legal_is_uniform_over_the_legal():
    legal = jnp.array([True, False, True, True, False])
    draws = uniform_legal(jax.random.key(0), jnp.broadcast_to(legal, (30_000, 5)))
    share = np.bincount(draws, minlength=5) / 30_000
    assert share[1] == share[4] == 0
    np.testing.assert_allclose(share[[0, 2, 3]], 1 / 3, atol=0.01)


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_epsilon_greedy_explores_as_often_as_told(epsilon):
    legal = jnp.broadcast_to(jnp.array([True, True, False, True]), (30_000, 4))
    draws = epsilon_greedy(
        jax.random.key(1), jnp.zeros(30_000, jnp.int32), legal, jnp.float32(epsilon)
    )
    share = np.bincount(draws, minlength=4) / 30_000
    expected = [1 - epsilon * 2 / 3, epsilon / 3, 0, epsilon / 3]
    np.testing.assert_allclose(share, expected, atol=0.01)
