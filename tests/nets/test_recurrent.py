"""The GRU over sequences against flax's scanned cell; its gradient against JAX's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from marlx.nets.recurrent import gru

T, B, M, F, H = 7, 3, 2, 5, 4
CELL = nn.GRUCell(H, recurrent_kernel_init=nn.initializers.lecun_normal())
KEYS = jax.random.split(jax.random.key(0), 5)
X = jax.random.normal(KEYS[0], (T, B, M, F))
MEMORY = jax.random.normal(KEYS[1], (B, M, H))
DONE = jax.random.bernoulli(KEYS[2], 0.3, (T, B))
WEIGHTS = jax.random.normal(KEYS[3], (T, B, M, H))
CELLS = jax.vmap(lambda key: CELL.init(key, MEMORY, X[0]))(jax.random.split(KEYS[4], 3))
# biases start at 0, which would hide half of the possible errors
CELLS = jax.tree.map(lambda x: x + 0.1 * jnp.arange(x.size).reshape(x.shape) / x.size, CELLS)


def scanned(params, memory, x, done):
    def step(memory, inputs):
        x, done = inputs
        after, _ = CELL.apply(params, memory, x)
        return jnp.where(done[:, None, None], 0.0, after), after

    return jax.lax.scan(step, memory, (x, done))[1]


def written_out(params, memory, x, done):
    return gru(params["params"], memory, x, done)


def everything(form, params):
    """Memories, and the gradient of a weighted sum of them by parameters, memory and inputs."""

    def total(params, memory, x):
        memories = form(params, memory, x, DONE)
        return (memories * WEIGHTS).sum(), memories

    return jax.value_and_grad(total, (0, 1, 2), has_aux=True)(params, MEMORY, X)


def test_memories_and_gradients_are_those_of_the_scanned_cell():
    assert DONE[:-1].any() and not DONE.all()
    one = jax.tree.map(lambda x: x[0], CELLS)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        jax.jit(lambda p: everything(written_out, p))(one),
        jax.jit(lambda p: everything(scanned, p))(one),
    )


def test_several_sets_of_parameters_at_once():
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
        jax.jit(jax.vmap(lambda p: everything(written_out, p)))(CELLS),
        jax.jit(jax.vmap(lambda p: everything(scanned, p)))(CELLS),
    )
