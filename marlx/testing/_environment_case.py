"""An environment with its parameters, and its compiled functions, as `check_env` calls them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, require_environment
from marlx.learning.returns import uniform_action
from marlx.loop.vector import vector_step
from marlx.testing._compiling import jit
from marlx.types import Array, EnvSpec, Observation, Tree
from marlx.xla.memory import is_key

BATCH = 64  # episodes at once, enough to detect reused keys
_R = TypeVar("_R")


class EnvironmentCase(NamedTuple):
    """An environment with its parameters, and its compiled, batched functions."""

    name: str
    env: Environment[Any, Any]
    params: Any
    spec: EnvSpec
    reset: Callable[..., Tree]  # keys -> obs, states
    observe: Callable[..., Observation]  # states -> obs
    step_env: Callable[..., Tree]  # keys, states, actions, params -> see `Environment.step_env`
    step: Callable[..., Tree]  # keys, states, actions, params -> see `Environment.step`
    advance: Callable[..., Tree]  # key, obs, states -> see `vector_step`; random legal actions

    def expect(self, condition: Any, fault: str) -> None:
        """Raises an AssertionError unless `condition` is True everywhere."""
        if not np.all(condition):
            raise AssertionError(f"{self.name}: {fault}")

    def expect_same(self, found: Tree, wanted: Tree, fault: str) -> None:
        """Raises an AssertionError unless two pytrees are equal, floats up to rounding."""
        if difference := first_difference(found, wanted):
            raise AssertionError(f"{self.name}: {fault}: {difference}")

    def begin(self, key: Array, late: bool = False) -> tuple[Array, Tree, Array]:
        """Returns keys, states (initial or one step before the limit) and legal actions."""
        key_reset, key_action, key_step = jax.random.split(key, 3)
        states = self.reset(jax.random.split(key_reset, BATCH))[1]
        if late:
            states = states.replace(time=jnp.full_like(states.time, self.spec.horizon - 1))
        actions = uniform_action(key_action, self.spec, self.observe(states).action_mask)
        return jax.random.split(key_step, BATCH), states, actions


def environment_case(env: Environment[Any, Any], params: Any) -> EnvironmentCase:
    """Returns the environment with its functions, which compile when they are first called."""
    require_environment(env)
    name = type(env).__name__
    params = env.default_params if params is None else params
    spec = call(name, "spec", env.spec, params)
    return EnvironmentCase(
        name=f"{name} ({spec.id})",
        env=env,
        params=params,
        spec=spec,
        reset=jit(lambda keys: jax.vmap(env.reset, (0, None))(keys, params)),
        observe=jit(lambda states: jax.vmap(env.observe, (0, None))(states, params)),
        step_env=jit(jax.vmap(env.step_env, (0, 0, 0, None))),
        step=jit(jax.vmap(env.step, (0, 0, 0, None))),
        advance=jit(functools.partial(_advance, env, params)),
    )


def call(name: str, action: str, function: Callable[..., _R], *args: Any) -> _R:
    """Calls `function`; an exception becomes an AssertionError of one line."""
    try:
        return function(*args)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise AssertionError(f"{name}: {action} raises {type(error).__name__}: {reason}") from error


def leaves(tree: Tree) -> dict[str, np.ndarray]:
    """Leaves by path, with random keys as integers, so that they can be compared."""

    def plain(leaf: Any) -> np.ndarray:
        is_random = isinstance(leaf, jax.Array) and is_key(leaf)
        return np.asarray(jax.random.key_data(leaf) if is_random else leaf)

    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path).lstrip(".") or "value": plain(leaf) for path, leaf in paths}


def first_difference(found: Tree, wanted: Tree) -> str:
    """Description of the first difference of two pytrees; empty if there is none."""
    left, right = leaves(found), leaves(wanted)
    if left.keys() != right.keys():
        return f"fields {sorted(left)}, not {sorted(right)}"
    for path, a in left.items():
        b = right[path]
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{path} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        exact = a.dtype.kind not in "fc"
        if not np.all(a == b if exact else np.isclose(a, b, 1e-5, 1e-6, equal_nan=True)):
            return f"{path} differs"
    return ""


def row(tree: Tree, index: Any) -> Tree:
    """Returns `leaf[index]` for every leaf; indexed on the host, without compilation."""

    def take(leaf: Any) -> Array:
        if is_key(leaf):
            return jnp.asarray(leaf[index])
        return jnp.asarray(np.asarray(leaf)[index])

    return jax.tree.map(take, tree)


def _advance(
    env: Environment[Any, Any], params: Any, key: Array, obs: Observation, states: Tree
) -> Tree:
    """Returns `vector_step` with random legal actions."""
    key_action, key_step = jax.random.split(key)
    actions = uniform_action(key_action, env.spec(params), obs.action_mask)
    return vector_step(env, params, key_step, states, actions)
