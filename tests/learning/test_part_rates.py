"""Factors on the steps of parameters: which they are of, and what they do to an optimiser."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from marlx.learning.part_rates import PartRates, factor_places, with_factors, with_part_rates
from marlx.xla.names import named


class Part(NamedTuple):
    params: dict
    optimiser: tuple


class Whole(NamedTuple):
    actor: dict
    optimisers: tuple
    inner: Part


def one_step(optimiser, params, gradient, factors=None):
    """The steps of all parameters."""
    state = optimiser.init(params)
    if factors is not None:
        (field,) = state[-1].of
        state = (*state[:-1], PartRates({field: factors}))
    change, after = optimiser.update(gradient, state, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)
    return change


def test_steps_are_scaled_and_a_frozen_gradient_is_in_no_norm():
    """The norm of (3, 4) is 5; without the frozen 3 it is 4. Adam's first step is its step size."""
    params, gradient = (
        {"a": jnp.zeros(()), "b": jnp.zeros(())},
        dict(zip("ab", jnp.array([3.0, 4]), strict=True)),
    )
    clip = with_part_rates(optax.chain(optax.clip_by_global_norm(1.0)))
    assert one_step(clip, params, gradient) == {"a": pytest.approx(0.6), "b": pytest.approx(0.8)}
    frozen = one_step(clip, params, gradient, {"a": jnp.zeros(()), "b": jnp.ones(())})
    assert frozen == {"a": 0, "b": 1}
    adam = with_part_rates(optax.adam(0.01))
    slow = one_step(adam, params, gradient, {"a": jnp.float32(0.1), "b": jnp.ones(())})
    assert slow == {"a": pytest.approx(-0.001, 1e-4), "b": pytest.approx(-0.01, 1e-4)}
    spoilt = {"a": jnp.float32(jnp.nan), "b": jnp.ones(())}
    bad = one_step(adam, params, spoilt, {"a": jnp.zeros(()), "b": jnp.ones(())})
    assert bad["a"] == 0


def test_an_optimiser_without_factors_is_the_one_inside():
    plain = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))
    params, gradient = {"a": jnp.arange(3.0)}, {"a": jnp.array([3.0, -1, 2])}
    wrapped = with_part_rates(plain)
    found, expected = (one_step(x, params, gradient)["a"] for x in (wrapped, optax.chain(plain)))
    np.testing.assert_array_equal(found, expected)
    assert list(named(wrapped.init(params))) == list(named(plain.init(params)))


def test_every_factor_is_of_a_parameter_of_its_own_record():
    adam = optax.scale_by_adam()
    own, inner = with_part_rates(optax.chain(adam), "actor"), with_part_rates(optax.chain(adam))
    actor, params = {"w": jnp.zeros(2)}, {"w": jnp.zeros(3), "b": jnp.zeros(1)}
    state = Whole(actor, (own.init(actor), ()), Part(params, inner.init(params)))
    assert factor_places(state) == {}
    state = with_factors(state)
    assert factor_places(state) == {
        "optimisers/0/1/of/actor/w": "actor/w",
        "inner/optimiser/1/of/params/b": "inner/params/b",
        "inner/optimiser/1/of/params/w": "inner/params/w",
    }
    assert all(named(state)[name] == 1 for name in factor_places(state))
    with pytest.raises(ValueError, match="no record around the optimiser 0/1 has 'params'"):
        with_factors((inner.init(params),))
