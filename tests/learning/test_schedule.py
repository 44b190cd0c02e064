import jax
import jax.numpy as jnp
import pytest

from marlx.learning.schedule import due_updates, repeat_updates


@pytest.mark.parametrize(
    ("pending", "due", "left"), [(0.0, 0, 0.0), (0.75, 0, 0.75), (2.25, 2, 0.25)]
)
def test_whole_updates_are_due_and_the_rest_is_left(pending, due, left):
    found = due_updates(jnp.float32(pending))
    assert found[0].dtype == jnp.int32
    assert (int(found[0]), float(found[1])) == (due, left)


def test_updates_have_keys_of_their_own_and_metrics_are_summed():
    def step(state, key):
        drawn = jax.random.uniform(key)
        return state + 1, {"drawn": drawn, "before": state}

    key = jax.random.key(0)
    state, sums = jax.jit(
        lambda number: repeat_updates(step, jnp.float32(5), key, number, ("drawn", "before"))
    )(3)
    assert float(state) == 8
    assert float(sums["before"]) == 5 + 6 + 7
    expected = sum(float(jax.random.uniform(jax.random.fold_in(key, i))) for i in range(3))
    assert float(sums["drawn"]) == pytest.approx(expected)


def test_without_updates_nothing_changes():
    state, sums = repeat_updates(
        lambda state, key: (state + 1, {"one": jnp.float32(1)}), jnp.int32(0), jax.random.key(0),
        jnp.int32(0), ("one",),
    )  # fmt: skip
    assert int(state) == 0 and float(sums["one"]) == 0
