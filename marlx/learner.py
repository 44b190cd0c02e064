"""What the training loop knows of an algorithm: one record of pure functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.types import Array, EnvSpec, Observation, Transition, Tree


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
      extras: `(B) -> extras`, arrays of the shapes and dtypes that `act` adds to transitions while
        exploring; `()` where it adds nothing. Storage is sized by them.
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
    extras: Callable[[int], Tree] = lambda num_envs: ()


def where_done(done: Array, new: Tree, old: Tree) -> Tree:
    """Leaves of `new` where `done` bool [B], else of `old`; leaves are `[B, ...]`."""

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)


def example_rollout(spec: EnvSpec, learner: Learner, length: int, num_envs: int) -> Transition:
    """Shapes and dtypes `[T, B, ...]` of the rollouts that `learner.observe` will be given.

    Args:
      spec: of the environment that the learner was built for.
      learner: its `memory` and `extras` are part of the rollout.
      length: T, steps of a rollout.
      num_envs: B.
    """
    agents, actions = spec.num_agents, spec.num_actions

    def example() -> Transition:
        def zeros(*shape: int, dtype: Any = jnp.float32) -> Array:
            return jnp.zeros((length, num_envs, *shape), dtype)

        def over_time(tree: Tree) -> Tree:
            return jax.tree.map(lambda x: jnp.broadcast_to(x, (length, *x.shape)), tree)

        obs = Observation(
            zeros(agents, spec.obs_size),
            zeros(agents, actions, dtype=bool),
            zeros(spec.state_size),
        )
        action = zeros(agents, actions) if spec.continuous else zeros(agents, dtype=jnp.int32)
        done = zeros(dtype=bool)
        memory, extras = over_time(learner.memory(num_envs)), over_time(learner.extras(num_envs))
        return Transition(obs, action, zeros(agents), done, done, obs, memory, extras)

    shapes: Transition = jax.eval_shape(example)
    return shapes
