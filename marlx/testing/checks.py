"""`check_env`: conformance checks for environments."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, require_environment
from marlx.learning.returns import uniform_action
from marlx.loop.vector import vector_step
from marlx.types import SCENE_KINDS, Array, EnvSpec, Observation, Tree
from marlx.xla.memory import is_key

_BATCH = 64  # episodes at once, enough to detect reused keys
_STEPS = 64  # steps of random play
_R = TypeVar("_R")

# Compiled code runs only a few times here, and compiles twice as fast without optimisation.
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def check_env(env: Environment[Any, Any], params: Any = None, key: int = 0) -> None:
    """Asserts that an environment keeps the contract of `marlx.environment`.

    Plays random legal actions and checks:

    - shapes, dtypes and finiteness of observations and rewards against `spec`,
    - states whose types do not change from step to step,
    - equal results with and without `jit`, and under `vmap`,
    - action masks with at least one legal action for each agent, inactive ones too,
    - masks of active agents exactly where `spec.active_mask` is set, with someone active at first,
    - `time` and the time limit, which must be a truncation,
    - auto-reset and `final_observation` of `step` and `vector_step`, with independent new episodes,
    - observations that fit `spec.storage`, and padding that is 0,
    - no return above `spec.optimum`,
    - shapes of declared subgoals, and at least one choice for each agent,
    - a declared scene: its kind, facts that JSON can hold, arrays that keep their shapes.

    Args:
      env: the environment.
      params: its parameters; the defaults if None.
      key: seed of the random play.

    Raises:
      AssertionError: a check failed; the message is one line with the environment's name.
      ValueError: `env` is no environment.
    """
    case = _case(env, params)
    keys = jax.random.split(jax.random.key(key), 6)
    _check_types(case)
    _check_types_of_step(case)
    _check_reset(case, keys[0])
    _check_one_by_one(case, keys[1])
    _check_clock(case, keys[2])
    _check_step(case, keys[3])
    _check_vector_step(case, keys[4])
    _check_random_play(case, keys[5])
    _check_subgoals(case, keys[1])
    _check_scene(case, keys[1])


def require_types(env: Environment[Any, Any], params: Any = None) -> None:
    """Checks shapes, dtypes and the horizon of an environment; nothing is compiled.

    Training does so first: wrong ones would lead to errors inside of JAX, or to wrong returns. The
    sentences are those of `check_env`, which checks much more.

    Args:
      env: the environment.
      params: its parameters; the defaults if None.

    Raises:
      ValueError: what is wrong and what it must be, in one line with the environment's name.
    """
    try:
        _check_types(_case(env, params))
    except AssertionError as error:
        if not str(error):  # of JAX, which found no device
            raise
        raise ValueError(str(error)) from error.__cause__


def _case(env: Environment[Any, Any], params: Any) -> _Case:
    """Returns the environment with its functions, which compile when they are first called."""
    require_environment(env)
    name = type(env).__name__
    params = env.default_params if params is None else params
    spec = _call(name, "spec", env.spec, params)
    return _Case(
        name=f"{name} ({spec.id})",
        env=env,
        params=params,
        spec=spec,
        reset=_jit(lambda keys: jax.vmap(env.reset, (0, None))(keys, params)),
        observe=_jit(lambda states: jax.vmap(env.observe, (0, None))(states, params)),
        step_env=_jit(jax.vmap(env.step_env, (0, 0, 0, None))),
        step=_jit(jax.vmap(env.step, (0, 0, 0, None))),
        advance=_jit(functools.partial(_advance, env, params)),
    )


class _Case(NamedTuple):
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
        if difference := _difference(found, wanted):
            raise AssertionError(f"{self.name}: {fault}: {difference}")

    def begin(self, key: Array, late: bool = False) -> tuple[Array, Tree, Array]:
        """Returns keys, states (initial or one step before the limit) and legal actions."""
        key_reset, key_action, key_step = jax.random.split(key, 3)
        states = self.reset(jax.random.split(key_reset, _BATCH))[1]
        if late:
            states = states.replace(time=jnp.full_like(states.time, self.spec.horizon - 1))
        actions = uniform_action(key_action, self.spec, self.observe(states).action_mask)
        return jax.random.split(key_step, _BATCH), states, actions


def _call(name: str, action: str, function: Callable[..., _R], *args: Any) -> _R:
    """Calls `function`; an exception becomes an AssertionError of one line."""
    try:
        return function(*args)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise AssertionError(f"{name}: {action} raises {type(error).__name__}: {reason}") from error


def _leaves(tree: Tree) -> dict[str, np.ndarray]:
    """Leaves by path, with random keys as integers, so that they can be compared."""

    def plain(leaf: Any) -> np.ndarray:
        is_random = isinstance(leaf, jax.Array) and is_key(leaf)
        return np.asarray(jax.random.key_data(leaf) if is_random else leaf)

    paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path).lstrip(".") or "value": plain(leaf) for path, leaf in paths}


def _difference(found: Tree, wanted: Tree) -> str:
    """Description of the first difference of two pytrees; empty if there is none."""
    left, right = _leaves(found), _leaves(wanted)
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


def _shapes(tree: Tree) -> Tree:
    """Zeros for a tree of `ShapeDtypeStruct`s, to compare shapes and dtypes by `_difference`."""

    def zeros(leaf: Any) -> np.ndarray:
        return np.zeros(leaf.shape, np.void if is_key(leaf) else leaf.dtype)

    return jax.tree.map(zeros, tree)


def _check_observation(case: _Case, obs: Observation, where: str, batch: tuple[int, ...]) -> None:
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


def _check_values(case: _Case, obs: Observation, where: str) -> None:
    """Checks masks, padding, finiteness and storage of observations."""
    empty = ~np.asarray(obs.action_mask).any(-1)
    agents = sorted({int(i) for i in np.argwhere(empty)[:, -1]})
    case.expect(not agents, f"{where}.action_mask leaves no legal action to agents {agents}")
    for i, (seen, acts) in enumerate(zip(case.spec.obs_sizes, case.spec.action_sizes, strict=True)):
        padding = np.asarray(obs.local)[..., i, seen:]
        case.expect(padding == 0, f"{where}.local of agent {i} is not 0 beyond its obs_sizes")
        legal = np.asarray(obs.action_mask)[..., i, acts:]
        case.expect(~legal, f"{where}.action_mask of agent {i} is True beyond its action_sizes")
    for field in ("local", "global_state"):
        values = np.asarray(getattr(obs, field))
        case.expect(np.isfinite(values), f"{where}.{field} is not finite")
        storage = np.dtype(case.spec.storage)
        if storage.kind == "i":
            bounds = np.iinfo(storage)
            exact = (values == np.round(values)) & (values >= bounds.min) & (values <= bounds.max)
            case.expect(exact, f"{where}.{field} does not fit spec.storage {case.spec.storage}")


def _check_types(case: _Case) -> None:
    """Checks shapes and dtypes of what an environment's own functions return, by tracing them."""
    env, spec, params = case.env, case.spec, case.params
    limit = _call(case.name, "max_steps_in_episode", lambda: int(params.max_steps_in_episode))
    case.expect(
        spec.horizon == limit,
        f"spec.horizon is {spec.horizon}, params.max_steps_in_episode {limit}; they must be equal",
    )
    case.expect(limit >= 1, f"max_steps_in_episode is {limit}; it must be at least 1")
    key = jax.random.key(0)
    trace = functools.partial(_call, case.name)
    state = trace("tracing reset", jax.eval_shape, env.reset_env, key, params)
    time = _type_of(getattr(state, "time", None))
    case.expect(time == "int32[]", "the state's `time` is not int32 []")
    obs = trace("tracing observe", jax.eval_shape, env.observe, state, params)
    _check_observation(case, obs, "reset's observation", ())
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


def _check_types_of_step(case: _Case) -> None:
    """Checks shapes and dtypes of what `step` returns, where an environment replaces it."""
    env, params, key = case.env, case.params, jax.random.key(0)
    obs, state = jax.eval_shape(env.reset, key, params)
    _check_observation(case, obs, "reset's observation", ())
    arguments = key, state, _actions(case.spec), params
    info = jax.eval_shape(env.step_env, *arguments)[3]
    result = _call(case.name, "tracing step", jax.eval_shape, env.step, *arguments)
    case.expect_same(_shapes(result[:2]), _shapes((obs, state)), "step changes types")
    _check_outcome(case, "step's ", *result[2:5])
    case.expect("final_observation" in result[5], "step's info has no final_observation")
    _check_observation(case, result[5]["final_observation"], "final_observation", ())
    case.expect(set(info) <= set(result[5]), "step's info lacks what step_env's has")


def _actions(spec: EnvSpec) -> jax.ShapeDtypeStruct:
    """Shape and dtype of the actions of one step."""
    if spec.continuous:
        return jax.ShapeDtypeStruct((spec.num_agents, spec.num_actions), jnp.float32)
    return jax.ShapeDtypeStruct((spec.num_agents,), jnp.int32)


def _check_outcome(case: _Case, where: str, reward: Any, *ends: Any) -> None:
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


def _type_of(leaf: Any) -> str:
    """Dtype and shape as text, e.g. `float32[2, 3]`."""
    if not hasattr(leaf, "dtype"):
        return type(leaf).__name__
    return f"{leaf.dtype.name}{list(leaf.shape)}"


def _check_reset(case: _Case, key: Array) -> None:
    """Checks initial states and their observations."""
    keys = jax.random.split(key, _BATCH)
    obs, states = case.reset(keys)
    _check_values(case, obs, "reset's observation")
    if obs.active is not None:
        case.expect(np.asarray(obs.active).any(-1), "an episode begins without any active agent")
    case.expect(states.time == 0, "reset's state has a time other than 0")
    case.expect_same(obs, case.observe(states), "reset's observation is not its state's")
    for i in range(2):
        alone = _call(case.name, "reset_env", case.env.reset_env, keys[i], case.params)
        case.expect_same(_row(states, i), alone, "reset_env differs without jit and vmap")


def _check_one_by_one(case: _Case, key: Array) -> None:
    """Checks compiled, batched steps against single steps without compilation."""
    env, params = case.env, case.params
    keys, states, actions = case.begin(key)
    ended = case.step_env(keys, states, actions, params)
    shown = case.observe(ended[0])
    for i in range(3):
        one_key, state, action = _row((keys, states, actions), i)
        after = _call(case.name, "step_env", env.step_env, one_key, state, action, params)
        case.expect_same(after, _row(ended, i), "step_env differs without jit and vmap")
        seen = _call(case.name, "observe", env.observe, after[0], params)
        case.expect_same(seen, _row(shown, i), "observe differs without jit and vmap")


def _check_clock(case: _Case, key: Array) -> None:
    """Checks that `time` counts steps, and that the time limit only truncates."""
    keys, late, actions = case.begin(key, late=True)
    longer = dataclasses.replace(case.params, max_steps_in_episode=case.spec.horizon + 1000)
    ended, _, terminated, _ = case.step_env(keys, late, actions, case.params)
    case.expect(ended.time == late.time + 1, "step_env does not advance time by 1")
    case.expect(
        terminated == case.step_env(keys, late, actions, longer)[2],
        "terminated depends on max_steps_in_episode, but a time limit is a truncation",
    )
    limit = f"max_steps_in_episode = {case.spec.horizon}"
    case.expect(case.step(keys, late, actions, case.params)[4], f"not truncated at {limit}")
    case.expect(~case.step(keys, late, actions, longer)[4], f"truncated before {limit} is reached")


def _check_step(case: _Case, key: Array) -> None:
    """Checks `step` against `step_env`, `observe` and `reset`, with and without an episode end."""
    for late in (True, False):
        keys, states, actions = case.begin(key, late)
        keys_step, keys_reset = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        first = case.reset(keys_reset)
        *after, reward, terminated, truncated, info = case.step(keys, states, actions, case.params)
        ended, *wanted, _ = case.step_env(keys_step, states, actions, case.params)
        final = case.observe(ended)
        case.expect_same([reward, terminated], wanted, "step differs from step_env")
        case.expect_same(
            info["final_observation"], final, "final_observation is not the one before the reset"
        )
        flags = [info.get("terminated"), info.get("truncated")]
        case.expect_same(
            flags, [terminated, truncated], "info differs from the flags that step returns"
        )
        done = np.asarray(terminated | truncated)
        case.expect_same(
            _row(after, ~done),
            _row([final, ended], ~done),
            "step changes an episode that has not ended",
        )
        if done.all():
            _check_independent(case, after[1], first[1], "step")
        case.expect_same(
            _row(after, done), _row([*first], done), "step does not reset an ended episode"
        )


def _check_vector_step(case: _Case, key: Array) -> None:
    """Checks `vector_step` when every second episode reaches its limit, and when all do."""
    key_states, key_step = jax.random.split(key)
    fresh, late = (case.begin(key_states, late)[1] for late in (False, True))
    odd = np.arange(_BATCH) % 2 == 1
    mixed = fresh.replace(time=jnp.where(odd, late.time, fresh.time))
    for states in (mixed, late):
        shown, after, _, terminated, truncated, info = case.advance(
            key_step, case.observe(states), states
        )
        done = np.asarray(terminated | truncated)
        case.expect(
            after.time == np.where(done, 0, states.time + 1),
            "vector_step does not reset exactly the episodes that ended",
        )
        case.expect_same(shown, case.observe(after), "vector_step's observation is not its state's")
        case.expect_same(
            _row(shown, ~done),
            _row(info["final_observation"], ~done),
            "vector_step changes an episode that has not ended",
        )
    _check_independent(case, after, fresh, "vector_step")


def _check_independent(case: _Case, fresh: Tree, independent: Tree, where: str) -> None:
    """Checks that new initial states repeat no more often than independent ones."""
    expected, found = _repeats(independent), _repeats(fresh)
    case.expect(
        found <= 1.5 * expected + 0.05,
        f"{where}: {found:.0%} of pairs of new episodes have equal states, {expected:.0%} are "
        "expected by chance; keys are reused",
    )


def _repeats(states: Tree) -> float:
    """Fraction of pairs of a batch of states that are equal."""
    rows = np.concatenate(
        [np.asarray(leaf, np.float64).reshape(_BATCH, -1) for leaf in _leaves(states).values()], 1
    )
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (_BATCH * (_BATCH - 1)))


def _check_subgoals(case: _Case, key: Array) -> None:
    """Checks shapes and dtypes of subgoals, and that each agent has a choice."""
    subgoals = case.env.subgoals(case.params)
    if subgoals is None:
        return
    count = len(subgoals.names)
    known = all(0 <= g < count for needed in subgoals.requires for g in needed)
    case.expect(
        len(subgoals.requires) == count and known,
        f"subgoals.requires must give each of the {count} subgoals indices of others",
    )
    keys, states, actions = case.begin(key)
    for now in (states, case.step_env(keys, states, actions, case.params)[0]):
        local = case.observe(now).local
        for name, argument in (("achieved", now), ("available", now), ("choices", local)):
            function = _jit(jax.vmap(getattr(subgoals, name)))
            found = np.asarray(_call(case.name, f"subgoals.{name}", function, argument))
            wanted = (_BATCH, case.spec.num_agents, count)
            case.expect(
                found.shape == wanted and found.dtype == bool,
                f"subgoals.{name} gives {found.dtype}{list(found.shape)}, not bool{list(wanted)}",
            )
            if name == "choices":
                case.expect(found.any(-1), "subgoals.choices leaves an agent without a choice")


def _check_scene(case: _Case, key: Array) -> None:
    """Checks that viewers can draw the scene of single states, at first and after a step."""
    scene = _call(case.name, "scene", case.env.scene, case.params)
    if scene is None:
        return
    case.expect(
        scene.kind in SCENE_KINDS, f"scene.kind is {scene.kind!r}; it must be one of {SCENE_KINDS}"
    )
    _call(case.name, "writing scene.facts as JSON", json.dumps, scene.facts)
    keys, states, actions = case.begin(key)
    shapes = []
    for now in (states, case.step_env(keys, states, actions, case.params)[0]):
        state = jax.device_get(jax.tree.map(lambda x: x[0], now))
        frame = _call(case.name, "scene.frame", scene.frame, state)
        arrays = {name: np.asarray(values) for name, values in frame.items()}
        wrong = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
        case.expect(not wrong, f"scene.frame gives {wrong}, which are no arrays of numbers")
        shapes.append({name: array.shape for name, array in arrays.items()})
    case.expect(shapes[0] == shapes[1], "the arrays of scene.frame change their names or shapes")


def _check_random_play(case: _Case, key: Array) -> None:
    """Checks all observations, rewards and returns of `_STEPS` random steps."""
    key_reset, key_play = jax.random.split(key)
    obs, states = case.reset(jax.random.split(key_reset, _BATCH))
    total = np.zeros(_BATCH)
    best = -np.inf
    for key_step in jax.random.split(key_play, _STEPS):
        active = obs.active
        obs, states, reward, terminated, truncated, info = case.advance(key_step, obs, states)
        _check_values(case, obs, "step's observation")
        _check_values(case, info["final_observation"], "final_observation")
        case.expect(np.isfinite(reward), "reward is not finite")
        total += np.asarray(case.spec.team_reward(reward, active))
        done = np.asarray(terminated | truncated)
        best = max(best, *total[done]) if done.any() else best
        total[done] = 0
    optimum = case.spec.optimum
    if optimum is not None:
        case.expect(
            best <= optimum + 1e-4 * max(1.0, abs(optimum)),
            f"a random episode returned {best:g}; spec.optimum is {optimum:g}",
        )


def _advance(
    env: Environment[Any, Any], params: Any, key: Array, obs: Observation, states: Tree
) -> Tree:
    """Returns `vector_step` with random legal actions."""
    key_action, key_step = jax.random.split(key)
    actions = uniform_action(key_action, env.spec(params), obs.action_mask)
    return vector_step(env, params, key_step, states, actions)


def _row(tree: Tree, index: Any) -> Tree:
    """Returns `leaf[index]` for every leaf; indexed on the host, without compilation."""

    def take(leaf: Any) -> Array:
        if is_key(leaf):
            return jnp.asarray(leaf[index])
        return jnp.asarray(np.asarray(leaf)[index])

    return jax.tree.map(take, tree)
