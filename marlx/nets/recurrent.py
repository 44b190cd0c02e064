"""Gated recurrent unit over a whole sequence, with a hand-written gradient.

The gradient of a scanned cell adds to the weights' gradient at each step. Here everything that does
not depend on the step before is one large product over the sequence; what is left for a step are
three products forwards and three backwards. Each gate has a product of its own: a single product of
width 3H whose result is cut into gates is slower on a CPU, where XLA repeats the cuts within every
element-wise operation. Results are those of `flax.linen.GRUCell` (Cho et al. 2014, in the form of
cuDNN).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from marlx.types import Array

Gates = tuple[Array, Array, Array]
"""What belongs to reset gate, update gate and candidate."""


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

    def projected(name: str) -> Array:
        product: Array = x @ cell[name]["kernel"] + cell[name]["bias"]
        return product.reshape(length, batch * width, size)

    from_x = projected("ir"), projected("iz"), projected("in")
    recur = cell["hr"]["kernel"], cell["hz"]["kernel"], cell["hn"]["kernel"]
    # factor of the memory before the next step: 0 where an episode ended
    keep = jnp.repeat(1.0 - done.astype(x.dtype), width, 1)[..., None]
    memories = _scan(recur, cell["hn"]["bias"], memory.reshape(-1, size), from_x, keep)
    return memories.reshape(length, batch, width, size)


@jax.custom_vjp
def _scan(recur: Gates, bias: Array, memory: Array, from_x: Gates, keep: Array) -> Array:
    """Returns memories [T, R, H].

    Args:
      recur: [H, H] each, weights of the memory.
      bias: [H], of the candidate.
      memory: [R, H], before the first step; R = b M.
      from_x: [T, R, H] each, inputs times their weights.
      keep: [T, R, 1], factor of the memory before the next step.
    """
    return _forward(recur, bias, memory, from_x, keep)[0]


def _forward(
    recur: Gates, bias: Array, memory: Array, from_x: Gates, keep: Array
) -> tuple[Array, tuple[Any, ...]]:
    by_r, by_z, by_n = recur

    def step(memory: Array, inputs: tuple[Gates, Array]) -> tuple[Array, tuple[Array, ...]]:
        (x_r, x_z, x_n), keep = inputs
        r = jax.nn.sigmoid(x_r + memory @ by_r)
        z = jax.nn.sigmoid(x_z + memory @ by_z)
        candidate = memory @ by_n + bias
        n = jnp.tanh(x_n + r * candidate)
        after = (1.0 - z) * n + z * memory
        return after * keep, (after, memory, r, z, n, candidate)

    _, (after, *saved) = jax.lax.scan(step, memory, (from_x, keep))
    return after, (recur, keep, *saved)


def _backward(saved: tuple[Any, ...], gradient: Array) -> tuple[Any, ...]:
    recur, keep, memory, r, z, n, candidate = saved
    by_r, by_z, by_n = (weights.T for weights in recur)

    def step(later: Array, inputs: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        gradient, keep, memory, r, z, n, candidate = inputs
        d_after = gradient + later * keep
        d_n = d_after * (1.0 - z) * (1.0 - n * n)
        d_z = d_after * (memory - n) * z * (1.0 - z)
        d_r = d_n * candidate * r * (1.0 - r)
        d_candidate = d_n * r
        d_memory = d_r @ by_r + d_z @ by_z + d_candidate @ by_n
        return d_memory + d_after * z, (d_r, d_z, d_n, d_candidate)

    steps = (gradient, keep, memory, r, z, n, candidate)
    d_memory, d_steps = jax.lax.scan(step, jnp.zeros_like(memory[0]), steps, reverse=True)
    d_r, d_z, d_n, d_candidate = d_steps
    d_recur = tuple(jnp.einsum("trh,trg->hg", memory, d) for d in (d_r, d_z, d_candidate))
    return d_recur, d_candidate.sum((0, 1)), d_memory, (d_r, d_z, d_n), jnp.zeros_like(keep)


_scan.defvjp(_forward, _backward)
