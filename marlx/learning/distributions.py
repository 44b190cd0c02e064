"""What a policy network's outputs mean: masked categorical and Gaussian actions.

Formulas over the last axis, which any leading axes may precede: an agent's outputs `[..., O]`, its
mask `[..., A]`. What is masked (an illegal action, a component that an agent does not have) adds
nothing to a log-probability or an entropy, and receives no gradient.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.learning.returns import masked_argmax
from marlx.types import Array, EnvSpec

Bounded = Literal["clipped", "squashed"]
LOG_STD = (-4.0, 2.0)
"""Bounds of a Gaussian's log standard deviation."""


class Distribution(Protocol):
    """A family of distributions over actions; `raw` is what was drawn, `action` what is played."""

    def num_outputs(self, num_actions: int) -> int:
        """O, the network outputs that A actions take."""

    def sample(self, key: Array, outputs: Array, mask: Array) -> Array:
        """Draw `raw`."""

    def mode(self, outputs: Array, mask: Array) -> Array:
        """The `raw` of the greedy action."""

    def action(self, raw: Array, mask: Array) -> Array:
        """What the environment is given for `raw`."""

    def log_prob(self, outputs: Array, mask: Array, raw: Array) -> Array:
        """f32 [...], log-probability (density) of `raw`."""

    def entropy(self, outputs: Array, mask: Array, raw: Array) -> Array:
        """f32 [...]; `raw` is a draw, for families whose entropy is estimated from one."""


def distribution(spec: EnvSpec, bounded: Bounded) -> Distribution:
    """The family that `spec`'s actions ask for; `bounded` is for continuous ones."""
    return Gaussian(bounded == "squashed") if spec.continuous else Categorical()


class Categorical(NamedTuple):
    """One of A actions, illegal ones with probability 0; outputs are logits [..., A]."""

    def num_outputs(self, num_actions: int) -> int:  # noqa: D102
        return num_actions

    def sample(self, key: Array, outputs: Array, mask: Array) -> Array:
        """int32 [...]."""
        logits = jnp.where(mask, outputs, -jnp.inf)
        return jax.random.categorical(key, logits).astype(jnp.int32)

    def mode(self, outputs: Array, mask: Array) -> Array:
        """int32 [...], the most probable action."""
        return masked_argmax(outputs, mask)

    def action(self, raw: Array, mask: Array) -> Array:  # noqa: D102
        return raw

    def log_prob(self, outputs: Array, mask: Array, raw: Array) -> Array:  # noqa: D102
        logs = _log_probabilities(outputs, mask)
        return jnp.take_along_axis(logs, raw[..., None], -1)[..., 0]

    def entropy(self, outputs: Array, mask: Array, raw: Array) -> Array:  # noqa: D102
        logs = _log_probabilities(outputs, mask)
        return -jnp.where(mask, jnp.exp(logs) * logs, 0.0).sum(-1)


def _log_probabilities(logits: Array, mask: Array) -> Array:
    """f32 [..., A]; 0 where masked, which no caller reads."""
    largest = jax.lax.stop_gradient(jnp.where(mask, logits, -jnp.inf).max(-1, keepdims=True))
    shifted = jnp.where(mask, logits - largest, 0.0)
    total = jnp.where(mask, jnp.exp(shifted), 0.0).sum(-1, keepdims=True)
    return jnp.where(mask, shifted - jnp.log(total), 0.0)


class Gaussian(NamedTuple):
    """Independent components in [0, 1]; outputs are means and log standard deviations [..., 2 A].

    `raw` is f32 [..., A] from the Gaussian; the environment is given `(raw + 1) / 2` clipped to
    [0, 1], or, where `squashed`, `(tanh(raw) + 1) / 2`.

    The log-probability is that of `raw` where actions are clipped (clipping happens in the world,
    so to say: Chou et al. 2017 discuss the bias of the alternative), and that of the action itself
    where they are squashed, with the Jacobian of the squashing (Haarnoja et al. 2018, appendix C).
    """

    squashed: bool = False

    def num_outputs(self, num_actions: int) -> int:  # noqa: D102
        return 2 * num_actions

    def sample(self, key: Array, outputs: Array, mask: Array) -> Array:
        """f32 [..., A]; 0 where an agent has no such component."""
        mean, log_std = _gaussian(outputs)
        draw = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        return jnp.where(mask, draw, 0.0)

    def mode(self, outputs: Array, mask: Array) -> Array:  # noqa: D102
        return jnp.where(mask, _gaussian(outputs)[0], 0.0)

    def action(self, raw: Array, mask: Array) -> Array:
        """f32 [..., A], in [0, 1]."""
        inside = jnp.tanh(raw) if self.squashed else jnp.clip(raw, -1.0, 1.0)
        return jnp.where(mask, (inside + 1.0) / 2.0, 0.0)

    def log_prob(self, outputs: Array, mask: Array, raw: Array) -> Array:  # noqa: D102
        mean, log_std = _gaussian(outputs)
        scaled = (raw - mean) * jnp.exp(-log_std)
        density = -0.5 * scaled**2 - log_std - 0.5 * math.log(2 * math.pi)
        if self.squashed:
            density = density - _log_slope(raw)
        return jnp.where(mask, density, 0.0).sum(-1)

    def entropy(self, outputs: Array, mask: Array, raw: Array) -> Array:
        """f32 [...], of `raw`; where squashed, the action's, estimated from the draw `raw`.

        The estimate is one of the entropy's gradient too: the draw is taken as the mean plus the
        deviation times fixed noise.
        """
        mean, log_std = _gaussian(outputs)
        each = log_std + 0.5 * math.log(2 * math.pi * math.e)
        if self.squashed:
            noise = jax.lax.stop_gradient((raw - mean) * jnp.exp(-log_std))
            each = each + _log_slope(mean + jnp.exp(log_std) * noise)
        return jnp.where(mask, each, 0.0).sum(-1)


def _gaussian(outputs: Array) -> tuple[Array, Array]:
    """Mean and log standard deviation, f32 [..., A] each."""
    mean, log_std = jnp.split(outputs, 2, -1)
    low, high = LOG_STD
    # a smooth bound: a clipped one has no gradient to come back with
    return mean, low + 0.5 * (high - low) * (jnp.tanh(log_std) + 1.0)


def _log_slope(raw: Array) -> Array:
    """Log of the slope of `raw -> (tanh(raw) + 1) / 2`, written so that it cannot overflow."""
    return math.log(2.0) - 2.0 * raw - 2.0 * jax.nn.softplus(-2.0 * raw)
