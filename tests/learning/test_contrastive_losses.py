"""Contrastive losses against double loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.learning.contrastive_losses import nt_xent, supervised_contrastive


def by_hand(x, label, temperature):
    """Two loops over anchors and their positives."""
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    losses = []
    for a in range(len(x)):
        others = sum(np.exp(x[a] @ x[k] / temperature) for k in range(len(x)) if k != a)
        mine = [p for p in range(len(x)) if p != a and label[p] == label[a]]
        if mine:
            terms = [-np.log(np.exp(x[a] @ x[p] / temperature) / others) for p in mine]
            losses.append(np.mean(terms))
    return np.mean(losses)


def test_nt_xent_is_a_double_loop():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 7, 4))
    x, label = np.concatenate([first, second]), [*range(7), *range(7)]
    for temperature in (0.1, 0.5):
        expected = by_hand(x, label, temperature)
        assert nt_xent(first, second, temperature) == pytest.approx(expected, rel=1e-5)


def test_identical_vectors_give_the_logarithm_of_their_number():
    for batch in (2, 16):
        x = jnp.tile(jnp.array([1.0, 2.0, -0.5]), (batch, 1))
        assert nt_xent(x, x, 0.5) == pytest.approx(np.log(2 * batch - 1), rel=1e-6)


def test_labels_are_a_double_loop_and_lone_anchors_are_left_out():
    x = np.random.default_rng(1).normal(size=(8, 3))
    label = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    found = supervised_contrastive(x, label, 0.5)
    assert found == pytest.approx(by_hand(x, label, 0.5), rel=1e-5)
    gradient = jax.grad(lambda x: supervised_contrastive(x, label, 0.5))(jnp.asarray(x))
    assert jnp.isfinite(gradient).all()
    alone = supervised_contrastive(x, np.arange(8), 0.5)
    assert alone == 0


def test_lengths_do_not_matter():
    first, second = np.random.default_rng(2).normal(size=(2, 5, 4))
    scaled = nt_xent(3.0 * first, 0.1 * second, 0.5)
    assert scaled == pytest.approx(float(nt_xent(first, second, 0.5)), rel=1e-5)
