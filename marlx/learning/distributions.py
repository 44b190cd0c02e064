"""Action distributions of policy networks: masked categorical and Gaussian.

All work on the last axis: outputs of the network `[..., O]`, mask `[..., A]`. Masked entries
(illegal actions, components that an agent does not have) add nothing to a log-probability or an
entropy, and receive no gradient.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.learning.returns import masked_argmax
from marlx.types import Array, EnvSpec

Bounded = Literal["clipped", "squashed"]
ILLEGAL = -1e9
"""Log-probability of what is masked: finite, so that sums over all actions are."""
LOG_STD = (-4.0, 2.0)
"""Bounds of a Gaussian's log standard deviation."""


class Distribution(Protocol):
    """Family of distributions over actions.

    `raw` is a sample of the distribution; `action` is what the environment receives for it.
    """

    def num_outputs(self, num_actions: int) -> int:
        """Returns O, the number of network outputs for A actions."""

    def sample(self, key: Array, outputs: Array, mask: Array) -> Array:
        """Returns a sample `raw`."""

    def mode(self, outputs: Array, mask: Array) -> Array:
        """Returns the `raw` of the greedy action."""

    def action(self, raw: Array, mask: Array) -> Array:
        """Returns the environment's action for `raw`."""

    def log_prob(self, outputs: Array, mask: Array, raw: Array) -> Array:
        """Returns the log-probability (density) of `raw`, f32 [...]."""

    def entropy(self, outputs: Array, mask: Array, raw: Array) -> Array:
        """Returns the entropy f32 [...]; families without a closed form estimate it from `raw`."""


def distribution(spec: EnvSpec, bounded: Bounded) -> Distribution:
    """Returns the distribution for the actions of `spec`; `bounded` is for continuous ones."""
    return Gaussian(bounded == "squashed") if spec.continuous else Categorical()


class Categorical(NamedTuple):
    """Categorical distribution over legal actions; outputs are logits [..., A]."""

    def num_outputs(self, num_actions: int) -> int:  # noqa: D102
        return num_actions

    def sample(self, key: Array, outputs: Array, mask: Array) -> Array:
        """Returns an action, int32 [...]."""
        logits = jnp.where(mask, outputs, -jnp.inf)
        return jax.random.categorical(key, logits).astype(jnp.int32)

    def mode(self, outputs: Array, mask: Array) -> Array:
        """Returns the most probable action, int32 [...]."""
        return masked_argmax(outputs, mask)

    def action(self, raw: Array, mask: Array) -> Array:  # noqa: D102
        return raw

    def log_prob(self, outputs: Array, mask: Array, raw: Array) -> Array:  # noqa: D102
        logs = _log_probabilities(outputs, mask)
        return jnp.take_along_axis(logs, raw[..., None], -1)[..., 0]

    def entropy(self, outputs: Array, mask: Array, raw: Array) -> Array:  # noqa: D102
        logs = _log_probabilities(outputs, mask)
        return -jnp.where(mask, jnp.exp(logs) * logs, 0.0).sum(-1)


def log_probabilities(logits: Array, mask: Array) -> Array:
    """Returns log-probabilities f32 [..., A]; `ILLEGAL` where masked."""
    return jnp.where(mask, _log_probabilities(logits, mask), ILLEGAL)


def categorical_kl(p: Array, q: Array) -> Array:
    """Returns KL(p || q) f32 [...], from log-probabilities f32 [..., A] of legal actions of p."""
    return (jnp.exp(p) * (p - q)).sum(-1)


def _log_probabilities(logits: Array, mask: Array) -> Array:
    """Returns log-probabilities f32 [..., A]; 0 where masked, which no caller reads."""
    largest = jax.lax.stop_gradient(jnp.where(mask, logits, -jnp.inf).max(-1, keepdims=True))
    shifted = jnp.where(mask, logits - largest, 0.0)
    total = jnp.where(mask, jnp.exp(shifted), 0.0).sum(-1, keepdims=True)
    return jnp.where(mask, shifted - jnp.log(total), 0.0)


class Gaussian(NamedTuple):
    """Gaussian with diagonal covariance, for components in [0, 1].

    Outputs are means and log standard deviations [..., 2 A]. `raw` is f32 [..., A]; the action is
    `(raw + 1) / 2` clipped to [0, 1], or `(tanh(raw) + 1) / 2` if `squashed`.

    The log-probability of clipped actions is that of `raw`: clipping counts as part of the
    environment (Chou et al. 2017 discuss the bias of the alternative). That of squashed actions is
    the action's own, with the Jacobian of the squashing (Haarnoja et al. 2018, appendix C).
    """

    squashed: bool = False

    def num_outputs(self, num_actions: int) -> int:  # noqa: D102
        return 2 * num_actions

    def sample(self, key: Array, outputs: Array, mask: Array) -> Array:
        """Returns f32 [..., A]; 0 in components that an agent does not have."""
        mean, log_std = _gaussian(outputs)
        sample = mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape)
        return jnp.where(mask, sample, 0.0)

    def mode(self, outputs: Array, mask: Array) -> Array:  # noqa: D102
        return jnp.where(mask, _gaussian(outputs)[0], 0.0)

    def action(self, raw: Array, mask: Array) -> Array:
        """Returns f32 [..., A] in [0, 1]."""
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
        """Returns the entropy f32 [...]: of `raw`, or of the squashed action.

        That of the squashed action is a one-sample estimate from `raw`, which counts as the mean
        plus the deviation times fixed noise, so that its gradient is an estimate too.
        """
        mean, log_std = _gaussian(outputs)
        each = log_std + 0.5 * math.log(2 * math.pi * math.e)
        if self.squashed:
            noise = jax.lax.stop_gradient((raw - mean) * jnp.exp(-log_std))
            each = each + _log_slope(mean + jnp.exp(log_std) * noise)
        return jnp.where(mask, each, 0.0).sum(-1)


def _gaussian(outputs: Array) -> tuple[Array, Array]:
    """Returns mean and log standard deviation, f32 [..., A] each."""
    mean, log_std = jnp.split(outputs, 2, -1)
    low, high = LOG_STD
    # a smooth bound; beyond a clipped one the gradient would be 0
    return mean, low + 0.5 * (high - low) * (jnp.tanh(log_std) + 1.0)


def _log_slope(raw: Array) -> Array:
    """Returns the log derivative of `(tanh(raw) + 1) / 2`, in a form that cannot overflow."""
    return math.log(2.0) - 2.0 * raw - 2.0 * jax.nn.softplus(-2.0 * raw)
