"""`jax.vmap(env.step)` resets only where episodes ended, and gives the numbers of single steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.xla.auto_reset import Inputs, _step

SIZE = 24


def inputs(name, size=SIZE, **settings):
    """An environment, and inputs `[size]` of which a third reach their time limit in the step."""
    env, params = marlx.make(name, **settings)
    spec = env.spec(params)
    key, key_action = jax.random.split(jax.random.key(3))
    _, state = jax.jit(jax.vmap(env.reset, (0, None)))(jax.random.split(key, size), params)
    last = params.max_steps_in_episode - 1
    state = state.replace(time=jnp.where(jnp.arange(size) % 3 == 0, last, 2))
    if spec.continuous:
        shape = (size, spec.num_agents, spec.num_actions)
        action = jax.random.uniform(key_action, shape, minval=-1)
    else:
        action = jax.random.randint(key_action, (size, spec.num_agents), 0, spec.num_actions)
    return env, params, Inputs(jax.random.split(key_action, size), state, action)


def same(left, right):
    jax.tree.map(np.testing.assert_array_equal, *jax.tree.map(comparable, (left, right)))


def comparable(x):
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def folded(tree, *shape):
    return jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), tree)


@pytest.mark.parametrize("name", ["Foraging-5x5-2p-1f-v3", "mpe/simple_spread_v3"])
def test_a_batch_of_steps_is_the_steps_one_by_one(name):
    env, params, given = inputs(name)
    one = jax.jit(functools.partial(_step, env, params))
    rows = [one(jax.tree.map(lambda x: x[i], given)) for i in range(SIZE)]  # noqa: B023
    rows = jax.tree.map(lambda *x: jnp.stack(x), *rows)
    step = jax.vmap(env.step, (0, 0, 0, None))
    found = jax.jit(step)(*given, params)
    assert found[4].sum() == SIZE // 3, "a third of the episodes ends"
    same(found, rows)
    few = jax.tree.map(lambda x: x[:4], given)
    same(jax.jit(step)(*few, params), jax.tree.map(lambda x: x[:4], rows))
    nested = jax.jit(jax.vmap(step, (0, 0, 0, None)))(*folded(given, 2, SIZE // 2), params)
    same(nested, folded(rows, 2, SIZE // 2))
    many = jax.tree.map(lambda x: jnp.broadcast_to(x, (SIZE,)), params)
    same(jax.jit(jax.vmap(env.step))(*given, many), rows)


def test_inputs_without_a_batch_axis_are_shared():
    env, params, given = inputs("Foraging-5x5-2p-1f-v3")
    state = jax.tree.map(lambda x: x[0], given.state)
    found = jax.jit(jax.vmap(env.step, (0, None, None, None)))(
        given.key, state, given.action[0], params
    )
    assert found[4].all(), "the state is at its time limit"
    cells = np.asarray(found[0].local).reshape(SIZE, -1)
    assert len(np.unique(cells, axis=0)) > 1, "each key draws an episode of its own"


def test_a_reset_is_paid_by_the_chunk():
    env, params, given = inputs("Foraging-5x5-2p-1f-v3")
    calls = str(jax.make_jaxpr(jax.vmap(env.step, (0, 0, 0, None)))(*given, params))
    assert "while[" in calls


def test_steps_have_the_derivative_of_the_plain_step():
    env, params, given = inputs("mpe/simple_spread_v3", size=4, continuous_actions=True)

    def total(step, action):
        state = jax.vmap(step, (0, 0, 0))(given.key, given.state, action)[1]
        return (state.agent_vel**2).sum()

    def plain(key, state, action):
        return _step(env, params, Inputs(key, state, action))

    step = functools.partial(env.step, params=params)
    expected = jax.jit(jax.grad(functools.partial(total, plain)))(given.action)
    found = jax.jit(jax.grad(functools.partial(total, step)))(given.action)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert jnp.abs(expected).max() > 0
