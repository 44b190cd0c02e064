"""Contrastive losses: NT-Xent and its supervised form."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.types import Array


def supervised_contrastive(x: Array, label: Array, temperature: float) -> Array:
    """Returns the supervised contrastive loss f32 [], a mean over anchors.

    For an anchor a with positives P(a), all other vectors of its label, and cosine similarities s:
    `-1/|P(a)| sum_{p in P(a)} log(exp(s_ap / T) / sum_{k != a} exp(s_ak / T))`. Anchors without a
    positive are left out of the mean; without any the loss is 0.

    Args:
      x: f32 [M, D], not normalised.
      label: int32 [M].
      temperature: T, above 0.

    Source: Khosla et al. 2020 (SupCon), arXiv 2004.11362, eq. 2. Differs from: its code, which
    multiplies the loss by T / 0.07.
    """
    x = x / jnp.maximum(jnp.linalg.norm(x, axis=-1, keepdims=True), 1e-8)
    itself = jnp.eye(len(x), dtype=bool)
    score = jnp.where(itself, -jnp.inf, x @ x.T / temperature)
    log_prob = score - jax.nn.logsumexp(score, axis=-1, keepdims=True)
    positive = (label[:, None] == label) & ~itself
    number = positive.sum(-1)
    each = -jnp.where(positive, log_prob, 0.0).sum(-1) / jnp.maximum(number, 1)
    return each.sum() / jnp.maximum((number > 0).sum(), 1)


def nt_xent(first: Array, second: Array, temperature: float) -> Array:
    """Returns NT-Xent f32 []: the positive of each view is the other view of the same item.

    It is `log(2 B - 1)` if all vectors are equal.

    Args:
      first: f32 [B, D], one view of each item.
      second: f32 [B, D], another.
      temperature: above 0.

    Source: Chen et al. 2020 (SimCLR), arXiv 2002.05709, eq. 1.
    """
    label = jnp.tile(jnp.arange(len(first)), 2)
    return supervised_contrastive(jnp.concatenate([first, second]), label, temperature)
