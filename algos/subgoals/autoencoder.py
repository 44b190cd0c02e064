"""An auto-encoder of observations, for subgoals that are learned and changes that are noticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from marlx.types import Array, Tree

ROWS = 512
"""Observations that one step of learning is made with."""


# --- an auto-encoder ---


class _Coder(nn.Module):
    """Encoder and decoder with one hidden layer each."""

    width: int
    hidden: int
    code: int

    def setup(self) -> None:
        self.inner, self.outer = nn.Dense(self.hidden), nn.Dense(self.hidden)
        self.encoder, self.decoder = nn.Dense(self.code), nn.Dense(self.width)

    def encode(self, x: Array) -> Array:
        """f32 [..., code]."""
        return self.encoder(nn.relu(self.inner(x)))

    def __call__(self, x: Array) -> Array:
        """`x` f32 [..., width] as rebuilt from its code."""
        return self.decoder(nn.relu(self.outer(self.encode(x))))


class Coding(NamedTuple):
    """An auto-encoder's state."""

    params: Tree
    optimiser: optax.OptState


class Autoencoder(NamedTuple):
    """Functions of an auto-encoder; x is f32 [..., width], of order one."""

    init: Callable[[Array], Coding]
    encode: Callable[[Tree, Array], Array]  # params, x -> f32 [..., code]
    error: Callable[[Tree, Array], Array]  # params, x -> f32 [...], mean squared
    learn: Callable[[Coding, Array], tuple[Coding, Array]]  # state, x -> state, loss


def autoencoder(width: int, *, hidden: int = 64, code: int = 16, lr: float = 1e-3) -> Autoencoder:
    """A small auto-encoder that learns by mean squared error (Adam)."""
    net, adam = _Coder(width, hidden, code), optax.adam(lr)

    def error(params: Tree, x: Array) -> Array:
        rebuilt: Array = net.apply(params, x)  # type: ignore[assignment]
        return ((rebuilt - x) ** 2).mean(-1)

    def init(key: Array) -> Coding:
        params = net.init(key, jnp.zeros(width))
        return Coding(params, adam.init(params))

    def encode(params: Tree, x: Array) -> Array:
        return net.apply(params, x, method="encode")  # type: ignore[return-value]

    def learn(state: Coding, x: Array) -> tuple[Coding, Array]:
        loss, gradient = jax.value_and_grad(lambda p: error(p, x).mean())(state.params)
        step, optimiser = adam.update(gradient, state.optimiser, state.params)
        return Coding(optax.apply_updates(state.params, step), optimiser), loss

    return Autoencoder(init, encode, error, learn)


def _rows(local: Array, scale: float) -> Array:
    """f32 [n, O], about `ROWS` observations of `local` [..., O], evenly over time and agents."""
    rows = local.reshape(-1, local.shape[-1]).astype(jnp.float32) / scale
    # an odd stride, for an even one could meet the same agents and environments again and again
    return rows[:: max(1, len(rows) // ROWS) | 1]
