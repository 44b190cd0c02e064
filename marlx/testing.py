"""What an environment must pass, and small environments whose answers are known.

`check_env` is for the tests of anyone who writes an environment. The probes below it are for those
who write a learner: each has a value that can be worked out by hand and that a particular mistake
gets wrong (a time limit taken for an end, a lost memory, an illegal action).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState, vector_reset, vector_step
from marlx.types import Array, EnvSpec, Observation, Tree

_BATCH = 64  # enough episodes for repeated keys to show
_STEPS = 64  # of random play
_R = TypeVar("_R")


def check_env(env: Environment[Any, Any], params: Any = None, key: int = 0) -> None:
    """Assert that an environment keeps the contract of `marlx.environment`.

    Checked, on random legal play: shapes, dtypes and finiteness against `spec`; states that keep
    their types from step to step; the same results with and without `jit`, and under `vmap`; masks
    that always leave a choice; `time` and the time limit, which must not be a true end; auto-reset
    and `final_observation` in `step` and `vector_step`, with independent fresh episodes; `storage`
    without loss; no episode better than `optimum`.

    Args:
      env: the environment.
      params: its parameters; None for its defaults.
      key: seed of the random play.

    Raises:
      AssertionError: one line that names the environment and what is wrong.
    """
    name = type(env).__name__
    params = env.default_params if params is None else params
    spec = _call(name, "spec", env.spec, params)
    case = _Case(f"{name} ({spec.id})", env, params, spec)
    keys = jax.random.split(jax.random.key(key), 6)
    _check_types(case)
    _check_reset(case, keys[0])
    _check_jit_and_vmap(case, keys[1])
    _check_clock(case, keys[2])
    _check_step_resets(case, keys[3])
    _check_vector_step(case, keys[4])
    _check_random_play(case, keys[5])


class _Case(NamedTuple):
    """What is being checked."""

    name: str
    env: Environment[Any, Any]
    params: Any
    spec: EnvSpec

    def expect(self, condition: Any, fault: str) -> None:
        """Raise in one line unless `condition` holds everywhere."""
        if not np.all(condition):
            raise AssertionError(f"{self.name}: {fault}")

    def expect_same(self, found: Tree, wanted: Tree, fault: str) -> None:
        """Raise in one line unless two pytrees hold the same; floats may differ by rounding."""
        if difference := _difference(found, wanted):
            raise AssertionError(f"{self.name}: {fault}; {difference}")

    def near_limit(self, states: Tree) -> Tree:
        """Copies of `states` whose next step reaches the time limit."""
        return states.replace(time=jnp.full_like(states.time, self.spec.horizon - 1))


def _call(name: str, what: str, function: Callable[..., _R], *args: Any) -> _R:
    """Call `function`; whatever it raises becomes one line."""
    try:
        return function(*args)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise AssertionError(f"{name}: {what} raises {type(error).__name__}: {reason}") from error


def _leaves(tree: Tree) -> dict[str, Array]:
    """Leaves by path; random keys as their words, so that they can be compared."""

    def plain(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path).lstrip(".") or "value": plain(leaf) for path, leaf in paths}


def _difference(found: Tree, wanted: Tree) -> str:
    """Where two pytrees differ first, in words; empty where they do not."""
    left, right = _leaves(found), _leaves(wanted)
    if left.keys() != right.keys():
        return f"fields differ: {sorted(left)} and {sorted(right)}"
    for path, a in left.items():
        b = right[path]
        if a.shape != b.shape or a.dtype != b.dtype:
            return f"{path} is {a.dtype}{list(a.shape)}, not {b.dtype}{list(b.shape)}"
        close = jnp.isclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)
        if not (close if jnp.issubdtype(a.dtype, jnp.inexact) else a == b).all():
            return f"{path} differs"
    return ""


def _shapes(tree: Tree) -> Tree:
    """Zeros of a tree of `ShapeDtypeStruct`s, to compare types by `_difference`."""
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), tree)


def _random_actions(key: Array, mask: Array) -> Array:
    """int32 [..., N], legal actions drawn uniformly."""
    return jax.random.categorical(key, jnp.where(mask, 0.0, -jnp.inf)).astype(jnp.int32)


def _batch(case: _Case, key: Array) -> tuple[Array, Tree, Array]:
    """Keys, fresh states and legal actions for `_BATCH` episodes."""
    key_reset, key_action, key_step = jax.random.split(key, 3)
    obs, states = _call(
        case.name, "reset under vmap", vector_reset, case.env, case.params, key_reset, _BATCH
    )
    actions = _random_actions(key_action, obs.action_mask)
    return jax.random.split(key_step, _BATCH), states, actions


def _check_observation(case: _Case, obs: Observation, where: str, batch: tuple[int, ...]) -> None:
    spec = case.spec
    wanted = {
        "local": ((spec.num_agents, spec.obs_size), jnp.float32),
        "action_mask": ((spec.num_agents, spec.num_actions), jnp.bool_),
        "global_state": ((spec.state_size,), jnp.float32),
    }
    case.expect(isinstance(obs, Observation), f"{where} is no Observation")
    for field, (shape, dtype) in wanted.items():
        leaf = getattr(obs, field)
        found = f"{jnp.dtype(leaf.dtype).name}{list(leaf.shape)}"
        asked = f"{jnp.dtype(dtype).name}{[*batch, *shape]}"
        case.expect(found == asked, f"{where}.{field} is {found}; spec says {asked}")


def _check_values(case: _Case, obs: Observation, where: str) -> None:
    empty = ~np.asarray(obs.action_mask).any(-1)
    agents = sorted({int(i) for i in np.argwhere(empty)[:, -1]})
    case.expect(not agents, f"{where}.action_mask leaves no legal action to agents {agents}")
    for field in ("local", "global_state"):
        values = np.asarray(getattr(obs, field))
        case.expect(np.isfinite(values), f"{where}.{field} is not finite")
        storage = np.dtype(case.spec.storage)
        if storage.kind == "i":
            bounds = np.iinfo(storage)
            exact = (values == np.round(values)) & (values >= bounds.min) & (values <= bounds.max)
            case.expect(exact, f"{where}.{field} does not fit spec.storage {case.spec.storage}")


def _check_types(case: _Case) -> None:
    """Shapes and dtypes, without running anything."""
    env, spec, params = case.env, case.spec, case.params
    limit = int(params.max_steps_in_episode)
    case.expect(
        spec.horizon == limit,
        f"spec.horizon is {spec.horizon}, params.max_steps_in_episode {limit}",
    )
    case.expect(limit >= 1, f"max_steps_in_episode is {limit}; it must be at least 1")
    key = jax.random.key(0)
    trace = functools.partial(_call, case.name)
    obs, state = trace("tracing reset", jax.eval_shape, env.reset, key, params)
    _check_observation(case, obs, "reset's observation", ())
    time = _leaves(_shapes(getattr(state, "time", jnp.zeros(0))))["value"]
    case.expect(
        time.shape == () and time.dtype == jnp.int32, "the state's `time` must be an int32 []"
    )
    action = jax.ShapeDtypeStruct((spec.num_agents,), jnp.int32)

    ended, reward, terminated, info = trace(
        "tracing step_env", jax.eval_shape, env.step_env, key, state, action, params
    )
    case.expect_same(_shapes(ended), _shapes(state), "step_env changes the state's types")
    result = trace("tracing step", jax.eval_shape, env.step, key, state, action, params)
    case.expect_same(_shapes(result[:2]), _shapes((obs, state)), "step changes types")
    wanted = (np.zeros(spec.num_agents, np.float32), np.zeros((), bool), np.zeros((), bool))
    names = ("reward", "terminated", "truncated")
    for found in ((reward, terminated), result[2:5]):
        for field, leaf, want in zip(names, found, wanted, strict=False):
            case.expect_same(_shapes(leaf), want, f"{field} has the wrong type")
    case.expect("final_observation" in result[5], "step's info has no final_observation")
    _check_observation(case, result[5]["final_observation"], "final_observation", ())
    case.expect(set(info) <= set(result[5]), "step's info lacks what step_env's has")


def _check_reset(case: _Case, key: Array) -> None:
    """Fresh states, in a batch and one by one."""
    obs, states = jax.jit(vector_reset, static_argnums=(0, 3))(
        _Hashed(case.env), case.params, key, _BATCH
    )
    _check_values(case, obs, "reset's observation")
    case.expect(states.time == 0, "reset's state does not have time 0")
    for i, one in enumerate(jax.random.split(key, _BATCH)[:3]):
        alone = case.env.reset(one, case.params)
        batched = jax.tree.map(lambda leaf, i=i: leaf[i], (obs, states))
        case.expect_same(alone, batched, "reset differs under jit and vmap")


class _Hashed(NamedTuple):
    """Placeholder, replaced below."""

    env: Any
