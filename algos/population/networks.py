"""Networks of speakers and of the listener."""

from __future__ import annotations

from typing import cast

import flax.linen as nn
import jax.numpy as jnp

from marlx.types import Array, Tree


def outputs(network: nn.Module, params: Tree, *inputs: Array) -> Array:
    """Returns the logits of a network."""
    return cast(Array, network.apply(params, *inputs))


class Speaker(nn.Module):
    """Logits of the symbols that a mouth says, f32 [..., O] to [..., A].

    Attributes:
      hidden: width.
      num_actions: A.
    """

    hidden: int
    num_actions: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Returns f32 [..., A] for what mouths see, f32 [..., O]."""
        x = nn.relu(nn.Dense(self.hidden)(x))
        x = nn.relu(nn.Dense(self.hidden)(x))
        result: Array = nn.Dense(self.num_actions, kernel_init=nn.initializers.orthogonal(0.01))(x)
        return result


class Listener(nn.Module):
    """Logits of the choices: how well each candidate fits what was heard.

    Candidates are read by one network, so their order does not matter. Where the listener chooses
    among all objects it does not see them, and each has an output.

    Attributes:
      hidden: width.
      choices: C.
    """

    hidden: int
    choices: int

    @nn.compact
    def __call__(self, message: Array, candidates: Array) -> Array:
        """Returns f32 [..., C].

        Args:
          message: f32 [..., M * W].
          candidates: f32 [..., C, P * V]; [..., 0, P * V] where they are not seen.
        """
        heard = nn.Dense(self.hidden)(nn.relu(nn.Dense(self.hidden)(message)))
        if candidates.shape[-2] == 0:
            result: Array = nn.Dense(self.choices)(nn.relu(heard))
            return result
        seen = nn.Dense(self.hidden)(nn.relu(nn.Dense(self.hidden)(candidates)))
        return jnp.einsum("...h,...ch->...c", heard, seen) / jnp.sqrt(self.hidden)
