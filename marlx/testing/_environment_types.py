"""Checks of shapes and dtypes of an environment, by tracing its functions; nothing is compiled."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.testing._environment_case import EnvironmentCase, call
from marlx.types import EnvSpec, Observation, Tree
from marlx.xla.memory import is_key


def check_types(case: EnvironmentCase) -> None:
    """Checks shapes and dtypes of what an environment's own functions return, by tracing them."""
    env, spec, params = case.env, case.spec, case.params
    limit = call(case.name, "max_steps_in_episode", lambda: int(params.max_steps_in_episode))
    case.expect(
        spec.horizon == limit,
        f"spec.horizon is {spec.horizon}, params.max_steps_in_episode {limit}; they must be equal",
    )
    case.expect(limit >= 1, f"max_steps_in_episode is {limit}; it must be at least 1")
    key = jax.random.key(0)
    trace = functools.partial(call, case.name)
    state = trace("tracing reset", jax.eval_shape, env.reset_env, key, params)
    time = _type_of(getattr(state, "time", None))
    case.expect(time == "int32[]", "the state's `time` is not int32 []")
    obs = trace("tracing observe", jax.eval_shape, env.observe, state, params)
    check_observation(case, obs, "reset's observation", ())
    stepped = trace(
        "tracing step_env", jax.eval_shape, env.step_env, key, state, _actions(spec), params
    )
    case.expect(
        isinstance(stepped, tuple) and len(stepped) == 4 and isinstance(stepped[3], dict),
        "step_env must return (state, reward, terminated, info), with a dictionary for info",
    )
    case.expect_same(_shapes(stepped[0]), _shapes(state), "step_env changes the state's types")
    for name in spec.outcomes:
        found = _type_of(stepped[3].get(name))
        case.expect(
            found in ("bool[]", "float32[]"),
            f"step_env's info has no {name}, bool [] or f32 [], which is one of spec.outcomes",
        )
    _check_outcome(case, "step_env's ", *stepped[1:3])


def check_types_of_step(case: EnvironmentCase) -> None:
    """Checks shapes and dtypes of what `step` returns, where an environment replaces it."""
    env, params, key = case.env, case.params, jax.random.key(0)
    obs, state = jax.eval_shape(env.reset, key, params)
    check_observation(case, obs, "reset's observation", ())
    arguments = key, state, _actions(case.spec), params
    info = jax.eval_shape(env.step_env, *arguments)[3]
    result = call(case.name, "tracing step", jax.eval_shape, env.step, *arguments)
    case.expect_same(_shapes(result[:2]), _shapes((obs, state)), "step changes types")
    _check_outcome(case, "step's ", *result[2:5])
    case.expect("final_observation" in result[5], "step's info has no final_observation")
    check_observation(case, result[5]["final_observation"], "final_observation", ())
    case.expect(set(info) <= set(result[5]), "step's info lacks what step_env's has")


def check_observation(
    case: EnvironmentCase, obs: Observation, where: str, batch: tuple[int, ...]
) -> None:
    """Checks shapes and dtypes of an observation."""
    spec = case.spec
    wanted = {
        "local": ((spec.num_agents, spec.obs_size), jnp.float32),
        "action_mask": ((spec.num_agents, spec.num_actions), jnp.bool_),
        "global_state": ((spec.state_size,), jnp.float32),
    }
    case.expect(isinstance(obs, Observation), f"{where} is not an Observation")
    if obs.active is not None:
        wanted["active"] = ((spec.num_agents,), jnp.bool_)
    for field, (shape, dtype) in wanted.items():
        found = _type_of(getattr(obs, field))
        asked = f"{jnp.dtype(dtype).name}{[*batch, *shape]}"
        case.expect(found == asked, f"{where}.{field} is {found}; spec says {asked}")
    case.expect(
        (obs.active is not None) == spec.active_mask,
        f"{where}.active is {'None' if obs.active is None else 'given'}; spec.active_mask is "
        f"{spec.active_mask}",
    )


def _check_outcome(case: EnvironmentCase, where: str, reward: Any, *ends: Any) -> None:
    """Checks shapes and dtypes of rewards and of the ends of episodes."""
    agents = case.spec.num_agents
    rows: list[tuple[str, Any, str, str]] = [
        ("reward", reward, f"float32[{agents}]", ", one number for each agent")
    ]
    for name, end in zip(("terminated", "truncated"), ends, strict=False):
        rows.append((name, end, "bool[]", ", one for the whole episode"))
    for name, leaf, wanted, why in rows:
        found = _type_of(leaf)
        case.expect(found == wanted, f"{where}{name} is {found}; it must be {wanted}{why}")


def _actions(spec: EnvSpec) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the actions of one step."""
    if spec.continuous:
        return jax.ShapeDtypeStruct((spec.num_agents, spec.num_actions), jnp.float32)
    return jax.ShapeDtypeStruct((spec.num_agents,), jnp.int32)


def _type_of(leaf: Any) -> str:
    """Dtype and shape as text, e.g. `float32[2, 3]`."""
    if not hasattr(leaf, "dtype"):
        return type(leaf).__name__
    return f"{leaf.dtype.name}{list(leaf.shape)}"


def _shapes(tree: Tree) -> Tree:
    """Zeros for a tree of `ShapeDtypeStruct`s, to compare shapes and dtypes by `expect_same`."""

    def zeros(leaf: Any) -> np.ndarray:
        return np.zeros(leaf.shape, np.void if is_key(leaf) else leaf.dtype)

    return jax.tree.map(zeros, tree)
