"""An auto-encoder of observations, for learned subgoals and the detection of changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from marlx.learning.part_rates import with_part_rates
from marlx.types import Array, Tree

BATCH_SIZE = 512
"""Observations per gradient step."""


class _Network(nn.Module):
    """Encoder and decoder with one hidden layer each."""

    width: int
    hidden: int
    code: int

    def setup(self) -> None:
        self.inner, self.outer = nn.Dense(self.hidden), nn.Dense(self.hidden)
        self.encoder, self.decoder = nn.Dense(self.code), nn.Dense(self.width)

    def encode(self, x: Array) -> Array:
        """Returns the code of `x`, f32 [..., K]."""
        return self.encoder(nn.relu(self.inner(x)))

    def __call__(self, x: Array) -> Array:
        """Returns the reconstruction of `x` from its code, f32 [..., width]."""
        return self.decoder(nn.relu(self.outer(self.encode(x))))


class AutoencoderState(NamedTuple):
    """Parameters of an auto-encoder and the state of its optimiser."""

    params: Tree
    optimiser: optax.OptState


class Autoencoder(NamedTuple):
    """Functions of an auto-encoder; x is f32 [..., width], of order one."""

    init: Callable[[Array], AutoencoderState]
    encode: Callable[[Tree, Array], Array]  # params, x -> f32 [..., K]
    error: Callable[[Tree, Array], Array]  # params, x -> f32 [...], mean squared error
    learn: Callable[[AutoencoderState, Array], tuple[AutoencoderState, Array]]  # -> state, loss


def autoencoder(width: int, *, hidden: int = 64, code: int = 16, lr: float = 1e-3) -> Autoencoder:
    """Returns a small auto-encoder that minimises the mean squared error with Adam.

    Args:
      width: of what is encoded.
      hidden: width of the hidden layers.
      code: K, width of the code.
      lr: step size.
    """
    net, adam = _Network(width, hidden, code), with_part_rates(optax.adam(lr))

    def error(params: Tree, x: Array) -> Array:
        rebuilt: Array = net.apply(params, x)  # type: ignore[assignment]
        return ((rebuilt - x) ** 2).mean(-1)

    def init(key: Array) -> AutoencoderState:
        params = net.init(key, jnp.zeros(width))
        return AutoencoderState(params, adam.init(params))

    def encode(params: Tree, x: Array) -> Array:
        return net.apply(params, x, method="encode")  # type: ignore[return-value]

    def learn(state: AutoencoderState, x: Array) -> tuple[AutoencoderState, Array]:
        loss, gradient = jax.value_and_grad(lambda p: error(p, x).mean())(state.params)
        step, optimiser = adam.update(gradient, state.optimiser, state.params)
        return AutoencoderState(optax.apply_updates(state.params, step), optimiser), loss

    return Autoencoder(init, encode, error, learn)


def training_batch(local: Array, scale: float) -> Array:
    """Returns about `BATCH_SIZE` observations, evenly over time and agents, f32 [n, O].

    Args:
      local: f32 [..., O].
      scale: divides the observations.
    """
    rows = local.reshape(-1, local.shape[-1]).astype(jnp.float32) / scale
    # an odd stride: an even one could meet the same agents and environments again and again
    return rows[:: max(1, len(rows) // BATCH_SIZE) | 1]
