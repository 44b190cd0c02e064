"""Schedules: a falling factor, and how many gradient updates are due with a loop for them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree


def falling(over: int | Array, steps: Array) -> Array:
    """Returns f32 [], falling linearly from 1 to 0 over so many `steps`; 1 where `over` is 0."""
    left = jnp.maximum(0.0, 1.0 - steps / jnp.maximum(over, 1))
    return jnp.where(over > 0, left, 1.0)


def due_updates(pending: Array) -> tuple[Array, Array]:
    """Returns the whole updates in `pending` and the fraction left, int32 [] and f32 [].

    A learner adds to `pending` what each rollout is worth, 1/32 update per step for instance, and
    makes the whole ones.
    """
    due = jnp.floor(pending).astype(jnp.int32)
    return due, pending - due


def repeat_updates(
    step: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]],
    state: Tree,
    key: Array,
    number: Array,
    names: tuple[str, ...],
) -> tuple[Tree, dict[str, Array]]:
    """Returns the state after `number` updates, and the sums of their metrics.

    It is a loop and not a branch around a scan: where no update is due, nothing is computed, also
    when several seeds are `vmap`ped.

    Args:
      step: `(state, key) -> state, metrics`, one gradient update.
      state: before the first one.
      key: consumed; the i-th update gets `fold_in(key, i)`.
      number: int32 [], updates to make.
      names: of the metrics, each f32 [].
    """

    def body(i: Array, carry: tuple[Tree, dict[str, Array]]) -> tuple[Tree, dict[str, Array]]:
        state, sums = carry
        state, metrics = step(state, jax.random.fold_in(key, i))
        return state, jax.tree.map(jnp.add, sums, metrics)

    zeros = {name: jnp.float32(0) for name in names}
    end: tuple[Tree, dict[str, Array]] = jax.lax.fori_loop(0, number, body, (state, zeros))
    return end
