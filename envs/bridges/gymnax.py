"""gymnax 1.0 and marlx, both ways: its environments as teams of one, ours under `gymnax.make`."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.envs.bridges._common import (
    Bounds,
    BridgeState,
    bounds,
    call,
    check_horizon,
    flat,
    info_of,
    keep_types,
    library,
    plain,
    read_arguments,
)
from marlx.registry import Family, families, family, make_env
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Tree

PREFIX = "gymnax/"


@flax.struct.dataclass
class GymnaxParams(EnvParams):
    """gymnax's own parameters beside our time limit, which is the one that counts."""

    inner: Tree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GymnaxEnv(Environment[BridgeState, GymnaxParams]):
    """A gymnax environment as a team of one agent.

    The observation, flattened to f32 [1, O], is the global state too. Discrete actions are always
    all legal; a Box is served by components in [0, 1], scaled to its limits. Steps are gymnax's own
    `step_env`, in which 1.0 keeps time limits out of `terminated`; the limit is
    `params.max_steps_in_episode`. From equal keys `step` gives what gymnax's `step` gives.

    Differs from: gymnax, where `reward` and actions have no agent axis.

    Attributes:
      name: `gymnax/{id}`.
      horizon: steps per episode; None for gymnax's own.
      kwargs: arguments of the environment, as JSON, e.g. `{"size": 10}`.
      parameters: fields of its `EnvParams` to override, as JSON, e.g. `{"force_mag": 5}`.

    Raises:
      ValueError: unknown name or argument, unlimited or unknown action space, gymnax is missing.
    """

    horizon: int | None = None
    kwargs: str = ""
    parameters: str = ""
    name: str = "gymnax/CartPole-v1"
    _made: Any = None
    _params: Any = None

    def __post_init__(self) -> None:
        check_horizon(self.horizon)
        read_arguments(self.kwargs, "kwargs")
        changes = read_arguments(self.parameters, "parameters")
        known = {field.name for field in dataclasses.fields(self._inner[1])}
        for name in changes:
            if name not in known:
                raise unknown("parameter", name, known, self.name)
        _ = self._bounds

    @functools.cached_property
    def _inner(self) -> tuple[Any, Any]:
        """gymnax's environment and its parameters."""
        if self._made is not None:
            params = self._made.default_params if self._params is None else self._params
            return self._made, params
        gymnax = library("gymnax")
        env_id = self.name.removeprefix(PREFIX)
        if env_id not in gymnax.registered_envs:
            raise unknown("environment", env_id, gymnax.registered_envs, "gymnax")
        env, params = call(self.name, gymnax.make, env_id, **read_arguments(self.kwargs, "kwargs"))
        return env, params if self._params is None else self._params

    @functools.cached_property
    def _bounds(self) -> Bounds | None:
        """Limits of the actions; None where they are discrete."""
        env, params = self._inner
        space = env.action_space(params)
        if hasattr(space, "n"):
            return None
        if hasattr(space, "low"):
            return bounds(space, self.name)
        raise ValueError(f"{self.name} has actions {space}; Discrete and Box are served")

    @property
    def default_params(self) -> GymnaxParams:
        """gymnax's, with `parameters` and `horizon` over them."""
        inner = self._inner[1].replace(**read_arguments(self.parameters, "parameters"))
        limit = self.horizon or int(inner.max_steps_in_episode)
        return GymnaxParams(max_steps_in_episode=limit, inner=inner)

    @functools.cached_property
    def _obs_size(self) -> int:
        env, params = self._inner
        shown = jax.eval_shape(env.reset_env, jax.random.key(0), params)[0]
        return sum(leaf.size for leaf in jax.tree.leaves(shown))

    def spec(self, params: GymnaxParams | None = None) -> EnvSpec:
        """One agent; everything it sees is the state."""
        env, inner = self._inner
        limits = self._bounds
        actions = int(env.action_space(inner).n) if limits is None else limits.low.size
        params = self.default_params if params is None else params
        return EnvSpec(
            id=self.name,
            num_agents=1,
            num_actions=actions,
            obs_size=self._obs_size,
            state_size=self._obs_size,
            horizon=int(params.max_steps_in_episode),
            continuous=limits is not None,
        )

    def _show(self, obs: Tree) -> Observation:
        seen = flat(obs)
        return Observation(seen[None], jnp.ones((1, self.spec().num_actions), bool), seen)

    def reset_env(self, key: Array, params: GymnaxParams) -> BridgeState:
        """gymnax's."""
        obs, inner = self._inner[0].reset_env(key, params.inner)
        return BridgeState(time=jnp.int32(0), inner=plain(inner), obs=self._show(obs))

    def step_env(
        self, key: Array, state: BridgeState, action: Array, params: GymnaxParams
    ) -> tuple[BridgeState, Array, Array, dict[str, Any]]:
        """gymnax's."""
        chosen = action[0] if self._bounds is None else self._bounds.scale(action[0])
        obs, inner, reward, terminated, info = self._inner[0].step_env(
            key, state.inner, chosen, params.inner
        )
        after = BridgeState(
            time=state.time + 1, inner=keep_types(inner, state.inner), obs=self._show(obs)
        )
        reward = jnp.asarray(reward, jnp.float32).reshape(1)
        return after, reward, jnp.asarray(terminated, bool).reshape(()), info_of(info)

    def observe(self, state: BridgeState, params: GymnaxParams) -> Observation:
        """What gymnax showed when it made `state`."""
        del params
        return state.obs


def from_gymnax(env: Any, params: Any = None, **settings: Any) -> GymnaxEnv:
    """A gymnax environment as one of ours.

    Args:
      env: its id in gymnax, or the environment itself.
      params: gymnax's parameters; None for its defaults.
      **settings: fields of `GymnaxEnv`.

    Raises:
      ValueError: see `GymnaxEnv`.
    """
    if isinstance(env, str):
        return GymnaxEnv(name=PREFIX + env.removeprefix(PREFIX), _params=params, **settings)
    return GymnaxEnv(name=PREFIX + env.name, _made=env, _params=params, **settings)


def to_gymnax(env: Environment[Any, Any]) -> Any:
    """One of our environments as a `gymnax.environments.environment.Environment`.

    For one agent everything is as gymnax users expect: obs f32 [O], a scalar action (f32 [A] where
    actions are continuous), a scalar reward. For a team, obs is an `Observation`, the action
    int32 [N] (or f32 [N, A]) and the reward f32 [N]. `action_mask(state, params)` tells what is
    legal, bool [A] or [N, A]; `marlx` is the environment itself.
    """
    return _classes()(env)


@functools.cache
def _classes() -> Any:
    """The class, made once gymnax is there."""
    base = library("gymnax.environments.environment").Environment
    spaces = library("gymnax.environments.spaces")

    class Team(spaces.Space):  # type: ignore[name-defined, misc]
        """Joint actions int32 [N] of agents with `sizes` actions each."""

        def __init__(self, sizes: tuple[int, ...]) -> None:
            self.sizes = sizes
            self.shape = (len(sizes),)
            self.dtype = jnp.int32

        def sample(self, key: Array) -> Array:
            return jax.random.randint(key, self.shape, 0, jnp.asarray(self.sizes))

        def contains(self, x: Array) -> Array:
            return jnp.all((x >= 0) & (x < jnp.asarray(self.sizes)))

    class ToGymnax(base):  # type: ignore[valid-type, misc]
        """See `to_gymnax`."""

        def __init__(self, env: Environment[Any, Any]) -> None:
            self.marlx = env
            self._spec = env.spec(env.default_params)
            self._alone = self._spec.num_agents == 1

        @property
        def default_params(self) -> Any:
            return self.marlx.default_params

        @property
        def name(self) -> str:
            return self._spec.id

        @property
        def num_actions(self) -> int:
            return self._spec.num_actions

        def _show(self, obs: Observation) -> Any:
            return obs.local[0] if self._alone else obs

        def reset_env(self, key: Array, params: Any) -> tuple[Any, Any]:
            state = self.marlx.reset_env(key, params)
            return self._show(self.marlx.observe(state, params)), state

        def step_env(self, key: Array, state: Any, action: Any, params: Any) -> Any:
            action = jnp.asarray(action)
            joint = action[None] if self._alone else action
            after, reward, terminated, info = self.marlx.step_env(key, state, joint, params)
            shown = self._show(self.marlx.observe(after, params))
            return shown, after, reward[0] if self._alone else reward, terminated, info

        def observe(self, key: Any, state: Any, action: Any, params: Any) -> Any:
            del key, action
            return self._show(self.marlx.observe(state, params))

        def get_obs(self, state: Any, params: Any = None, key: Any = None) -> Any:
            params = self.default_params if params is None else params
            return self.observe(key, state, None, params)

        def action_mask(self, state: Any, params: Any) -> Array:
            mask = self.marlx.observe(state, params).action_mask
            return mask[0] if self._alone else mask

        def action_space(self, params: Any = None) -> Any:
            del params
            spec = self._spec
            if spec.continuous:
                shape = (spec.num_agents, spec.num_actions)
                return spaces.Box(0.0, 1.0, shape[1:] if self._alone else shape)
            return spaces.Discrete(spec.num_actions) if self._alone else Team(spec.action_sizes)

        def observation_space(self, params: Any = None) -> Any:
            del params
            spec = self._spec
            if self._alone:
                return spaces.Box(-jnp.inf, jnp.inf, (spec.obs_size,))
            legal = spaces.Box(0, 1, (spec.num_agents, spec.num_actions), jnp.bool_)
            return spaces.Dict(
                {
                    "local": spaces.Box(-jnp.inf, jnp.inf, (spec.num_agents, spec.obs_size)),
                    "action_mask": legal,
                    "global_state": spaces.Box(-jnp.inf, jnp.inf, (spec.state_size,)),
                }
            )

    return ToGymnax


def register_in_gymnax(*env_ids: str) -> list[str]:
    """Make `gymnax.make("marlx/{id}", **settings)` find environments of ours.

    gymnax 1.0 looks names up in a list, so every id has to be registered before it is made. Those
    that are registered already are left alone.

    Args:
      *env_ids: ids as `marlx.make` takes them; none for the examples that `marlx list` knows, other
        libraries' left out.

    Returns:
      The names under which they are in gymnax.

    Raises:
      ValueError: an unknown id.
    """
    gymnax = library("gymnax")
    if not env_ids:
        own = [one for one in families().values() if not one.extra]
        env_ids = tuple(example for one in own for example in one.examples)
    names = []
    for env_id in env_ids:
        family(env_id)
        name = f"marlx/{env_id}"
        if name not in gymnax.registered_envs:
            gymnax.register(name, functools.partial(_make, env_id))
        names.append(name)
    return names


def _make(env_id: str, **settings: Any) -> Any:
    return to_gymnax(make_env(env_id, **settings))


def _family_make(env_id: str) -> GymnaxEnv:
    return GymnaxEnv(name=env_id)


FAMILY = Family(
    name="gymnax",
    pattern=r"gymnax/.+",
    usage="gymnax/{id}: an environment of gymnax, as a team of one",
    examples=(
        "gymnax/CartPole-v1",
        "gymnax/MountainCar-v0",
        "gymnax/Acrobot-v1",
        "gymnax/Pendulum-v1",
        "gymnax/Catch-bsuite",
        "gymnax/Breakout-MinAtar",
    ),
    make=_family_make,
    extra="gymnax",
)
