"""Sizes of arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from marlx.xla.memory import is_key, nbytes


def test_nbytes_adds_up_arrays_shapes_and_keys():
    tree = {
        "array": jnp.zeros((2, 3), jnp.bfloat16),
        "host": np.zeros(5, bool),
        "shape": jax.ShapeDtypeStruct((7,), jnp.float32),
        "keys": jax.random.split(jax.random.key(0), 4),
    }
    assert nbytes(tree) == 2 * 3 * 2 + 5 + 7 * 4 + 4 * 8


def test_only_typed_keys_are_keys():
    key = jax.random.key(0)
    assert is_key(key) and is_key(jax.eval_shape(lambda: key))
    for other in (jax.random.key_data(key), np.zeros(2, np.uint32), 3, None, "key"):
        assert not is_key(other)
