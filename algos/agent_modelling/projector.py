"""The projection of embeddings into the space in which views are compared."""

from __future__ import annotations

import flax.linen as nn
import jax

from marlx.types import Array


class Projector(nn.Module):
    """MLP from embeddings to the space of the loss, with batch normalisation.

    It uses the batch's own statistics only, since nothing but the loss calls it.
    """

    hidden: int
    size: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns f32 [M, size] from f32 [M, E]."""
        x = nn.Dense(self.hidden, use_bias=False)(x)
        x = (x - x.mean(0)) * jax.lax.rsqrt(x.var(0) + 1e-5)
        scale = self.param("scale", nn.initializers.ones, (self.hidden,))
        bias = self.param("bias", nn.initializers.zeros, (self.hidden,))
        return nn.Dense(self.size)(nn.relu(x * scale + bias))
