"""gymnax 1.0's environments as teams of one agent."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.bridges._common import (
    Bounds,
    BridgeState,
    bounds,
    call,
    check_horizon,
    flat,
    image,
    info_arrays,
    keep_types,
    library,
    read_arguments,
    strong_types,
)
from marlx.envs.bridges._pictures import no_picture
from marlx.registry import Family
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Tree

PREFIX = "gymnax/"


@flax.struct.dataclass
class GymnaxParams(EnvParams):
    """gymnax's own parameters, and our time limit, which replaces gymnax's."""

    inner: Tree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GymnaxEnv(Environment[BridgeState, GymnaxParams]):
    """A gymnax environment as a team of one agent.

    The flattened observation f32 [1, O] is also the global state. Discrete actions are always
    legal. Continuous actions are components in [0, 1], scaled to the limits of the Box. Steps are
    gymnax's own `step_env`, whose `terminated` does not include time limits; the limit is
    `params.max_steps_in_episode`. From equal keys `step` gives what gymnax's `step` gives.

    Differs from gymnax, where rewards and actions have no agent axis.

    Attributes:
      name: `gymnax/{id}`.
      horizon: steps per episode; None for gymnax's own.
      kwargs: arguments of the environment, as JSON, e.g. `{"size": 10}`.
      parameters: fields of its `EnvParams` to override, as JSON, e.g. `{"force_mag": 5}`.

    Raises:
      ValueError: unknown name or argument, unlimited or unknown action space, or gymnax is
        missing.
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
        """Limits of continuous actions; None for discrete ones."""
        env, params = self._inner
        space = env.action_space(params)
        if hasattr(space, "n"):
            return None
        if hasattr(space, "low"):
            return bounds(space, self.name)
        raise ValueError(f"{self.name} has actions {space}; they must be Discrete or Box")

    @property
    def default_params(self) -> GymnaxParams:
        """gymnax's parameters, with `parameters` and `horizon` replaced."""
        inner = self._inner[1].replace(**read_arguments(self.parameters, "parameters"))
        limit = self.horizon or int(inner.max_steps_in_episode)
        return GymnaxParams(max_steps_in_episode=limit, inner=inner)

    @functools.cached_property
    def _shown(self) -> Tree:
        """Shapes of the observation."""
        env, params = self._inner
        return jax.eval_shape(env.reset_env, jax.random.key(0), params)[0]

    @functools.cached_property
    def _obs_size(self) -> int:
        """Width of the flattened observation."""
        return sum(leaf.size for leaf in jax.tree.leaves(self._shown))

    def spec(self, params: GymnaxParams | None = None) -> EnvSpec:
        """Returns static facts: one agent, whose observation is the state."""
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
            planes=image(self._shown),
        )

    def render(self, state: BridgeState, params: GymnaxParams | None = None) -> np.ndarray:
        """Not there.

        Raises:
          ValueError: always.
        """
        raise no_picture(self.name)

    def _observation(self, obs: Tree) -> Observation:
        """Returns our observation from gymnax's."""
        seen = flat(obs)
        return Observation(seen[None], jnp.ones((1, self.spec().num_actions), bool), seen)

    def reset_env(self, key: Array, params: GymnaxParams) -> BridgeState:
        """Returns gymnax's first state."""
        obs, inner = self._inner[0].reset_env(key, params.inner)
        return BridgeState(time=jnp.int32(0), inner=strong_types(inner), obs=self._observation(obs))

    def step_env(
        self, key: Array, state: BridgeState, action: Array, params: GymnaxParams
    ) -> tuple[BridgeState, Array, Array, dict[str, Any]]:
        """Plays one step of gymnax's `step_env`."""
        chosen = action[0] if self._bounds is None else self._bounds.scale(action[0])
        obs, inner, reward, terminated, info = self._inner[0].step_env(
            key, state.inner, chosen, params.inner
        )
        after = BridgeState(
            time=state.time + 1, inner=keep_types(inner, state.inner), obs=self._observation(obs)
        )
        reward = jnp.asarray(reward, jnp.float32).reshape(1)
        return after, reward, jnp.asarray(terminated, bool).reshape(()), info_arrays(info)

    def observe(self, state: BridgeState, params: GymnaxParams) -> Observation:
        """Returns the observation that gymnax returned with `state`."""
        del params
        return state.obs


def from_gymnax(env: Any, params: Any = None, **settings: Any) -> GymnaxEnv:
    """Returns a gymnax environment as one of ours.

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
