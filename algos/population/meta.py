"""Meta-learning of a listener: steps on games of a speaker, judged by others of the same one."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from marlx.types import Array, Tree

Loss = Callable[[Tree, Array], Array]
"""`(listener, weight f32 [R, B]) -> f32 []`, on the games that have a weight."""


def adapt(
    loss: Loss, listener: Tree, weight: Array, rate: Array | float, steps: int, second_order: bool
) -> Tree:
    """Returns a listener after gradient steps on some games: `L <- L - rate * grad loss(L)`.

    Args:
      loss: of games by their weights.
      listener: L, before.
      weight: f32 [R, B], of the games.
      rate: of each step.
      steps: their number; 0 returns L itself.
      second_order: whether the steps are differentiated too; otherwise their gradients count as
        constants.

    Source: Finn, Abbeel, Levine 2017 (MAML, and its first-order form).
    """
    for _ in range(steps):
        gradient = jax.grad(loss)(listener, weight)
        if not second_order:
            gradient = jax.lax.stop_gradient(gradient)
        listener = jax.tree.map(lambda x, g: x - rate * g, listener, gradient)
    return listener


def meta_loss(
    loss: Loss,
    listener: Tree,
    speaker: Array,
    alive: Array,
    population: int,
    *,
    rate: Array | float,
    steps: int,
    second_order: bool,
) -> Array:
    """Returns f32 [], the mean over speakers of the loss after adapting to each.

    The first half of the rounds is what the listener adapts to, the second half judges it.

    Args:
      loss: see `Loss`; weights that are not of a listener's step count nothing.
      listener: its parameters.
      speaker: int32 [R, B], who spoke.
      alive: int32 [], speakers there are; others have no games.
      population: the most there can be.
      rate: of the inner steps.
      steps: inner steps.
      second_order: see `adapt`.
    """
    rounds = speaker.shape[0]
    first = (jnp.arange(rounds) < rounds // 2)[:, None]

    def one(number: Array) -> Array:
        mine = speaker == number
        inner, outer = ((mine & half).astype(jnp.float32) for half in (first, ~first))
        adapted = adapt(loss, listener, inner, rate, steps, second_order)
        return jnp.where(number < alive, loss(adapted, outer), 0.0)

    return jax.vmap(one)(jnp.arange(population)).sum() / alive
