"""What the training loop knows of an algorithm: one record of pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.types import Array, Observation, Transition, Tree


class Act(Protocol):
    """`act(policy, memory, obs, key, explore) -> action, memory, extras`, for a batch `[B]`."""

    def __call__(
        self, policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        """Choose actions.

        Args:
          policy: what `Learner.policy` returned.
          memory: acting memory `[B, ...]`, as `Learner.memory` or the previous call gave it.
          obs: `[B, ...]`.
          key: consumed.
          explore: static; False is greedy.

        Returns:
          action int32 [B, N], or f32 [B, N, A] where `EnvSpec.continuous`; the next memory; extras,
          a pytree stored with the transition.
        """


class Learner(NamedTuple):
    """An algorithm, in the manner of `optax.GradientTransformation`: pure functions over a state.

    Attributes:
      init: `(key, example) -> state`. `example` is a `Transition` of shapes `[T, B, ...]`, what
        `observe` will be given, so that storage can be sized.
      memory: `(B) -> memory`, the acting memory at an episode's start; `()` where there is none.
      policy: `(state) -> policy`, the small part of the state that acting needs. It is what a
        policy file holds.
      act: see `Act`.
      observe: `(state, rollout) -> state`, take in a rollout `[T, B, ...]`.
      update: `(state, key) -> state, metrics`, learn; as many gradient steps as the learner wants.
        `metrics` is a flat dictionary of f32 [].
      warmup: environment steps to observe before the first update.
      config: the settings it was made with, a frozen dataclass; None for a learner without any.
      describe: `(memory, extras) -> str`, a step in words, for pictures: what the learner is up to
        beside its actions, a line or several; always the same number of lines. Called on the host,
        with what `act` returned for one environment, without the batch axis. None: nothing to tell.
      totals: `(state) -> dict of f32 or int32 []`, what has been counted since training began; read
        after each block of updates, where other metrics are averaged over it. None: nothing.
    """

    init: Callable[[Array, Transition], Tree]
    memory: Callable[[int], Tree]
    policy: Callable[[Tree], Tree]
    act: Act
    observe: Callable[[Tree, Transition], Tree]
    update: Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]
    warmup: int = 0
    config: Any = None
    describe: Callable[[Tree, Tree], str] | None = None
    totals: Callable[[Tree], dict[str, Array]] | None = None


def is_zero(setting: Any) -> bool:
    """Whether a number among the settings is 0, which often means that something is off.

    A learner may be built with settings that are arguments of a compiled program, so that many
    values of one train side by side (`marlx.sweeps.vmapped`). Such a setting is never 0, and `if
    setting:` cannot be asked of it; this can.
    """
    return isinstance(setting, int | float) and setting == 0


def where_done(done: Array, new: Tree, old: Tree) -> Tree:
    """Leaves of `new` where `done` bool [B], else of `old`; leaves are `[B, ...]`."""

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)
