"""The contract between the training loop and an algorithm: `Learner`, a tuple of pure functions."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.types import Array, EnvSpec, Observation, Transition, Tree

Judged = Literal["greedy", "drawn"]
"""Which actions a return is measured with: the best ones, or those drawn from the policy."""


class Act(Protocol):
    """`act(policy, memory, obs, key, explore) -> action, memory, extras`, for a batch `[B]`."""

    def __call__(
        self, policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        """Chooses actions.

        Args:
          policy: from `Learner.policy`.
          memory: acting memory `[B, ...]`, from `Learner.memory` or the previous call.
          obs: `[B, ...]`.
          key: consumed.
          explore: static; False is greedy.

        Returns:
          action int32 [B, N], or f32 [B, N, A] where `EnvSpec.continuous`; the next memory; extras,
          a pytree stored with the transition.
        """


def no_extras(num_envs: int) -> Tree:
    """Returns `()`, the extras of a learner whose `act` adds nothing to transitions."""
    del num_envs
    return ()


class Recipe(NamedTuple):
    """How a learner was made by name, so that it can be made again in another process.

    Attributes:
      make: `(algorithm, source, config) -> Learner`, a function that pickle can name.
      algorithm: its name.
      source: the environment, or its spec.
      config: settings of the algorithm.
      spec: that it was made for.
      parts: the functions of the learner; one with others was changed and cannot be made again.
    """

    make: Callable[[str, Any, Any], Learner]
    algorithm: str
    source: Any
    config: Any
    spec: EnvSpec
    parts: tuple[Any, ...]

    def __repr__(self) -> str:
        return f"Recipe({self.algorithm!r}, {self.spec.id!r})"


class Learner(NamedTuple):
    """An algorithm as pure functions over a state, in the manner of `optax.GradientTransformation`.

    Attributes:
      init: `(key, example) -> state`. `example` is a `Transition` of shapes `[T, B, ...]`, those of
        the rollouts that `observe` will get, to size storage by.
      memory: `(B) -> memory`, the acting memory at the start of an episode; `()` where there is
        none.
      policy: `(state) -> policy`, the part of the state that acting needs. A policy file holds it.
      act: see `Act`.
      observe: `(state, rollout) -> state`, stores a rollout `[T, B, ...]`.
      update: `(state, key) -> state, metrics`, makes as many gradient steps as the learner wants.
        `metrics` is a flat dictionary of f32 [].
      warmup: environment steps to observe before the first update.
      config: the settings it was made with, a frozen dataclass; None for a learner without any.
      describe: `(memory, extras) -> str`, the caption of a step for rendered episodes (e.g. the
        current subgoal): one line or several, always the same number. Called on the host, with what
        `act` returned for one environment, without the batch axis. None: no caption.
      totals: `(state) -> dict of f32 or int32 []`, counts since training began; read after each
        block of updates, where other metrics are averaged over the block. None: no counts.
      extras: `(B) -> extras`, arrays of the shapes and dtypes that `act` adds to transitions while
        exploring; `()` where it adds nothing. Storage is sized by them.
      judged: which actions the return of this learner is measured with: `drawn` where training
        optimises the return of drawn actions, as policy gradients do, else `greedy`.
      act_drawn: how it acts in an evaluation of drawn actions, called with `explore` True. None: as
        `act` does, which also explores; a learner of several parts may have to tell the two apart.
      recipe: how it was made by name; pickle makes it again from that. None: it is pickled as it
        is, which works where its functions are those of modules.
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
    extras: Callable[[int], Tree] = no_extras
    judged: Judged = "greedy"
    act_drawn: Act | None = None
    recipe: Recipe | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        recipe = self.recipe
        if recipe is not None and all(map(operator.is_, recipe.parts, self)):
            return recipe.make, (recipe.algorithm, recipe.source, recipe.config)
        return Learner, (*self[:-1], None)


def stateless(act: Act) -> Learner:
    """Returns a learner that acts by `act` and never learns; it has no state and no memory."""

    def observe(state: Tree, rollout: Transition) -> Tree:
        del rollout
        return state

    return Learner(
        init=lambda key, example: (),
        memory=lambda num_envs: (),
        policy=lambda state: (),
        act=act,
        observe=observe,
        update=lambda state, key: (state, {}),
    )


def judged_as(*parts: Learner) -> Judged:
    """Returns how a learner made of others is judged: `drawn` where one of them is."""
    return "drawn" if any(part.judged == "drawn" for part in parts) else "greedy"


def draws(part: Learner, drawn: bool) -> bool:
    """Whether a part of a learner draws its actions in an evaluation, of drawn actions or not."""
    return drawn and part.judged == "drawn"


def drawn_by_parts(act: Callable[..., Any]) -> Act:
    """Returns the `Learner.act_drawn` of a learner made of others.

    Args:
      act: as `Learner.act`, with a keyword `drawn`: parts for which `draws` holds draw their
        actions, all others act greedily.
    """

    def act_drawn(policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool) -> Any:
        del explore
        return act(policy, memory, obs, key, False, drawn=True)

    return act_drawn


def acting(learner: Learner, judged: Judged) -> Act:
    """Returns how `learner` acts in an evaluation of greedy or of drawn actions.

    The function does not read `explore`.
    """
    act, drawn = learner.act, judged == "drawn"
    if drawn and learner.act_drawn is not None:
        act = learner.act_drawn

    def act_as(policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool) -> Any:
        del explore
        return act(policy, memory, obs, key, drawn)

    return act_as


def where_done(done: Array, new: Tree, old: Tree) -> Tree:
    """Returns leaves of `new` where `done` bool [B], else of `old`; leaves are `[B, ...]`."""

    def pick(new: Array, old: Array) -> Array:
        return jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    return jax.tree.map(pick, new, old)


def example_rollout(spec: EnvSpec, learner: Learner, length: int, num_envs: int) -> Transition:
    """Returns shapes and dtypes `[T, B, ...]` of the rollouts that `learner.observe` will get.

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
            zeros(agents, dtype=bool) if spec.active_mask else None,
        )
        action = zeros(agents, actions) if spec.continuous else zeros(agents, dtype=jnp.int32)
        done = zeros(dtype=bool)
        memory, extras = over_time(learner.memory(num_envs)), over_time(learner.extras(num_envs))
        return Transition(obs, action, zeros(agents), done, done, obs, memory, extras)

    shapes: Transition = jax.eval_shape(example)
    return shapes
