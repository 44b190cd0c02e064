"""Sizes of arrays."""

import jax
import jax.numpy as jnp
import numpy as np

from marlx.xla.memory import count_operations, is_key, live_bytes, nbytes, peak_bytes


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


def test_what_is_alive_at_the_worst_moment_is_counted():
    def program(x):  # 400 bytes in; 40,000 of an outer product; 4 out
        outer = x[:, None] * x
        return outer.sum()

    jaxpr = jax.make_jaxpr(program)(np.ones(100, np.float32)).jaxpr
    assert 40_000 <= live_bytes(jaxpr) <= 40_000 + 3 * 400
    looped = jax.make_jaxpr(lambda x: jax.lax.fori_loop(0, 5, lambda i, x: x + program(x), x))(
        np.ones(100, np.float32)
    )
    assert 40_000 <= live_bytes(looped.jaxpr) <= 40_000 + 6 * 400


def test_operations_in_loops_and_branches_count_once():
    def program(x):
        x = jax.lax.fori_loop(0, 5, lambda i, x: x * 2 + 1, x)  # 2, the loop's counter and itself
        return jax.lax.cond(x > 0, jnp.sin, lambda x: jnp.cos(x) - x, x)

    plain = count_operations(jax.make_jaxpr(lambda x: jnp.sin(x) + x)(1.0).jaxpr)
    assert plain == 2
    assert 8 <= count_operations(jax.make_jaxpr(program)(1.0).jaxpr) <= 10


def test_constants_and_the_parts_of_all_devices_count():
    table = np.ones(1_000, np.float32)
    traced = jax.jit(lambda x: x + jnp.asarray(table).sum()).trace(np.float32(0))
    assert peak_bytes(traced.jaxpr) >= 4 * 4_000

    auto = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((2,), ("seeds",), axis_types=auto, devices=jax.devices()[:2])
    spec = jax.sharding.PartitionSpec("seeds")

    def part(x):  # 200 bytes in, 10,000 in between
        return (x[:, None] * x).sum(1)

    both = jax.shard_map(part, mesh=mesh, in_specs=spec, out_specs=spec)
    jaxpr = jax.make_jaxpr(both)(np.ones(100, np.float32)).jaxpr
    assert 20_000 <= live_bytes(jaxpr) <= 20_000 + 4 * 400
