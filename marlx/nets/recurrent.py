"""Gated recurrent unit over a whole sequence, with a hand-written gradient.

The gradient of a scanned cell has many small matrix products per step, and adds to the weights'
gradient at each. Here a step has one product, forwards and backwards; everything that does not
depend on the step before is one large product over the sequence. Results are those of
`flax.linen.GRUCell` (Cho et al. 2014, in the form of cuDNN).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from marlx.types import Array


def gru(cell: Mapping[str, Any], memory: Array, x: Array, done: Array) -> Array:
    """Returns memories f32 [T, b, M, H] *after* each step, before any reset.

    Args:
      cell: parameters of a `flax.linen.GRUCell`.
      memory: f32 [b, M, H], before the first step.
      x: f32 [T, b, M, F].
      done: bool [T, b], the episode ended at that step: the next one starts from a zero memory.
    """
    length, batch, width, _ = x.shape
    size = memory.shape[-1]
    into = jnp.concatenate([cell[name]["kernel"] for name in ("ir", "iz", "in")], -1)
    bias = jnp.concatenate([cell[name]["bias"] for name in ("ir", "iz", "in")], -1)
    recur = jnp.concatenate([cell[name]["kernel"] for name in ("hr", "hz", "hn")], -1)
    projected = (x @ into + bias).reshape(length, batch * width, 3 * size)
    # factor of the memory before the next step: 0 where an episode ended
    keep = jnp.repeat(1.0 - done.astype(x.dtype), width, 1)[..., None]
    memories = _scan(recur, cell["hn"]["bias"], memory.reshape(-1, size), projected, keep)
    return memories.reshape(length, batch, width, size)


@jax.custom_vjp
def _scan(recur: Array, bias: Array, memory: Array, projected: Array, keep: Array) -> Array:
    """Returns memories [T, R, H].

    Args:
      recur: [H, 3H], weights of the memory, for reset gate, update gate and candidate.
      bias: [H], of the candidate.
      memory: [R, H], before the first step; R = b M.
      projected: [T, R, 3H], inputs times their weights.
      keep: [T, R, 1], factor of the memory before the next step.
    """
    return _forward(recur, bias, memory, projected, keep)[0]


def _forward(
    recur: Array, bias: Array, memory: Array, projected: Array, keep: Array
) -> tuple[Array, tuple[Array, ...]]:
    def step(memory: Array, inputs: tuple[Array, Array]) -> tuple[Array, tuple[Array, ...]]:
        projected, keep = inputs
        from_x = jnp.split(projected, 3, -1)
        from_h = jnp.split(memory @ recur, 3, -1)
        r = jax.nn.sigmoid(from_x[0] + from_h[0])
        z = jax.nn.sigmoid(from_x[1] + from_h[1])
        candidate = from_h[2] + bias
        n = jnp.tanh(from_x[2] + r * candidate)
        after = (1.0 - z) * n + z * memory
        return after * keep, (after, memory, r, z, n, candidate)

    _, (after, *saved) = jax.lax.scan(step, memory, (projected, keep))
    return after, (recur, keep, *saved)


def _backward(saved: tuple[Array, ...], gradient: Array) -> tuple[Array, ...]:
    recur, keep, memory, r, z, n, candidate = saved
    back = recur.T

    def step(later: Array, inputs: tuple[Array, ...]) -> tuple[Array, tuple[Array, Array]]:
        gradient, keep, memory, r, z, n, candidate = inputs
        d_after = gradient + later * keep
        d_n = d_after * (1.0 - z) * (1.0 - n * n)
        d_z = d_after * (memory - n) * z * (1.0 - z)
        d_r = d_n * candidate * r * (1.0 - r)
        d_h = jnp.concatenate([d_r, d_z, d_n * r], -1)
        return d_h @ back + d_after * z, (d_h, d_n)

    steps = (gradient, keep, memory, r, z, n, candidate)
    d_memory, (d_h, d_n) = jax.lax.scan(step, jnp.zeros_like(memory[0]), steps, reverse=True)
    size = memory.shape[-1]
    d_recur = jnp.einsum("trh,trg->hg", memory, d_h)
    d_projected = jnp.concatenate([d_h[..., : 2 * size], d_n], -1)
    d_bias = d_h[..., 2 * size :].sum((0, 1))
    return d_recur, d_bias, d_memory, d_projected, jnp.zeros_like(keep)


_scan.defvjp(_forward, _backward)
