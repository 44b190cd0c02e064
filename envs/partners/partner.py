"""Fixed policies for agents that the learner does not control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment
from marlx.types import Array, EnvSpec, Observation, Tree


class Partner(NamedTuple):
    """A fixed policy for agents that the learner does not control: a record of pure functions.

    Partners with the same `init` and `act` (the same function objects) whose `policy` have the same
    structure and shapes are stacked: they cost one evaluation, with the parameters of the one that
    plays.

    Attributes:
      name: for people.
      init: `() -> memory`, the acting memory at an episode's start; `()` for none.
      act: `(policy, memory, obs, key) -> action, memory`, for one episode and no batch. `obs` is
        the `Observation` of the whole team. The actions are those of all agents, int32 [N] (f32
        [N, A] where `EnvSpec.continuous`); only those of the agents that this partner plays are
        used. `key` is consumed. The memory keeps its structure and shapes.
      policy: parameters for `act`, a pytree of arrays or numbers; `()` for none.
    """

    name: str
    init: Callable[[], Tree]
    act: Callable[[Tree, Tree, Observation, Array], tuple[Array, Tree]]
    policy: Tree = ()


def no_memory() -> Tree:
    """Returns `()`, as `Partner.init` of partners without memory."""
    return ()


def _always(env: Environment[Any, Any]) -> bool:
    return True


def _first_agent(env: Environment[Any, Any]) -> tuple[int, ...]:
    return (0,)


class HeuristicSet(NamedTuple):
    """The heuristic partners of one class of environments.

    Attributes:
      kind: the class of environments, subclasses included.
      make: `(env) -> partners`.
      fits: `(env) -> bool`, whether the partners can play in this environment of the class.
      ego: `(env) -> agents` that learn in `partners/{environment}` unless a setting says otherwise.
    """

    kind: type[Any]
    make: Callable[[Any], tuple[Partner, ...]]
    fits: Callable[[Any], bool] = _always
    ego: Callable[[Any], tuple[int, ...]] = _first_agent


def check_partner(partner: Partner, env: Environment[Any, Any], spec: EnvSpec) -> None:
    """Checks shapes and dtypes of a partner's actions and memory.

    Raises:
      ValueError: they do not fit the environment.
    """
    name = f"partner {partner.name!r}"
    try:
        memory, action, after = _trace(partner, env)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ValueError(f"{name} cannot act in {spec.id}: {reason}") from error
    shape = (spec.num_agents, spec.num_actions) if spec.continuous else (spec.num_agents,)
    dtype = "float32" if spec.continuous else "int32"
    if not hasattr(action, "shape") or (action.shape, action.dtype.name) != (shape, dtype):
        found = f"{getattr(action, 'dtype', type(action).__name__)}{getattr(action, 'shape', '')}"
        raise ValueError(
            f"{name} gives actions {found}; they must be {dtype}{shape}, "
            f"for every agent of {spec.id}"
        )
    if _types(memory) != _types(after):
        raise ValueError(f"{name} changes the structure, shape or dtype of its memory as it acts")


def _trace(partner: Partner, env: Environment[Any, Any]) -> tuple[Tree, Tree, Tree]:
    """Returns shapes of a partner's memory, its actions and its next memory."""

    def one_step(key: Array) -> tuple[Tree, Tree, Tree]:
        obs, _ = env.reset(key)
        policy, memory = jax.tree.map(jnp.asarray, (partner.policy, partner.init()))
        action, after = partner.act(policy, memory, obs, key)
        return memory, action, after

    shapes: tuple[Tree, Tree, Tree] = jax.eval_shape(one_step, jax.random.key(0))
    return shapes


def _types(tree: Tree) -> tuple[Any, ...]:
    """Returns structure, shapes and dtypes of a pytree, to be compared."""
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]
