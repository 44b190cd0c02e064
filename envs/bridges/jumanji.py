"""jumanji's environments with discrete actions and an action mask as ours."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.bridges._common import (
    NEVER,
    UNLIMITED,
    Aggregation,
    BridgeState,
    call,
    check_settings,
    flat,
    image,
    info_arrays,
    keep_types,
    library,
    read_arguments,
    shallow_copy,
    strong_types,
)
from marlx.envs.bridges._pictures import jumanji_picture
from marlx.registry import Family
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Planes, Tree

PREFIX = "jumanji/"
_VIEWS = ("agents_view", "agents_views")  # fields of an observation that hold a row per agent


class Facts(NamedTuple):
    """Sizes of a jumanji environment."""

    num_agents: int
    num_actions: int
    obs_size: int
    state_size: int
    own_rewards: bool  # whether each agent has a reward of its own
    planes: Planes | None  # the image that an observation begins with


@dataclasses.dataclass(frozen=True, kw_only=True)
class JumanjiEnv(Environment[BridgeState, EnvParams]):
    """A jumanji environment.

    Its observation must have an `action_mask`: bool [A] for one agent with A actions, or [N, A] for
    N agents with A actions each (LevelBasedForaging, RobotWarehouse, Connector, Cleaner, MMST,
    JobShop). Each agent observes its row of `agents_view`, if there is one, and then every other
    field of the observation but the mask, flattened. `global_state` is all of the observation but
    the mask. If no action of an agent is legal, as at some ends, all of them count as legal.

    Termination: most of jumanji's environments give `discount` 0 at their time limit too. Steps are
    therefore those of a copy whose `time_limit` is out of reach, and its ends are true ends. The
    time limit is ours.

    Differs from jumanji, whose `step` takes no key: random numbers come from the key in its state,
    and ours is not used.

    Attributes:
      name: `jumanji/{id}`.
      horizon: steps per episode; None for jumanji's `time_limit`, or 1000 if it has none.
      reward_aggregation: how agents' rewards make the team's; `auto` sums rewards that differ by
        agent, and takes the mean if jumanji gives one reward for all, which each agent then gets.
      kwargs: arguments of the environment, as JSON, e.g. `{"time_limit": 50}`.

    Raises:
      ValueError: unknown name or argument, no mask that fits, or jumanji is missing.
    """

    horizon: int | None = None
    reward_aggregation: Aggregation = "auto"
    kwargs: str = ""
    name: str = "jumanji/LevelBasedForaging-v0"
    _made: Any = None

    def __post_init__(self) -> None:
        check_settings(self)
        _ = self._facts

    @functools.cached_property
    def _inner(self) -> Any:
        """jumanji's environment."""
        if self._made is not None:
            return self._made
        jumanji = library("jumanji")
        env_id = self.name.removeprefix(PREFIX)
        if env_id not in jumanji.registered_environments():
            raise unknown("environment", env_id, jumanji.registered_environments(), "jumanji")
        return call(self.name, jumanji.make, env_id, **read_arguments(self.kwargs, "kwargs"))

    @functools.cached_property
    def _endless(self) -> Any:
        """A copy without a time limit."""
        endless = shallow_copy(self._inner)
        if hasattr(endless, "time_limit"):
            endless.time_limit = NEVER
        return endless

    @functools.cached_property
    def _facts(self) -> Facts:
        """Sizes, read from jumanji's environment."""
        env = self._inner
        actions = env.action_spec
        values = np.atleast_1d(np.asarray(getattr(actions, "num_values", ())))
        _, first = call(self.name, jax.eval_shape, env.reset, jax.random.key(0))
        mask = getattr(first.observation, "action_mask", None)
        alone = (int(values[0]),) if values.size == 1 and actions.shape == () else None
        team = (values.size, int(values[0])) if values.size and len(set(values)) == 1 else None
        if mask is None or mask.shape not in (alone, team):
            shape = None if mask is None else list(mask.shape)
            raise ValueError(
                f"{self.name} does not fit: its action_mask is {shape} and its numbers of actions "
                f"are {values.tolist()}; the mask must be [A] for one agent, [N, A] for N agents "
                "with A actions each"
            )
        num_agents = 1 if mask.shape == alone else values.size
        shown = jax.eval_shape(functools.partial(_parts, num_agents=num_agents), first.observation)
        return Facts(
            num_agents=num_agents,
            num_actions=int(values[0]),
            obs_size=shown[0].shape[1],
            state_size=shown[1].shape[0],
            own_rewards=num_agents > 1 and first.reward.shape == (num_agents,),
            planes=_image(first.observation),
        )

    @property
    def default_params(self) -> EnvParams:
        """jumanji's time limit, or `horizon`."""
        limit = getattr(self._inner, "time_limit", None)
        return EnvParams(max_steps_in_episode=self.horizon or int(limit or UNLIMITED))

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; agents are equal."""
        num_agents, num_actions, obs_size, state_size, own_rewards, planes = self._facts
        aggregation: Any = self.reward_aggregation
        if aggregation == "auto":
            aggregation = "sum" if own_rewards else "mean"
        params = self.default_params if params is None else params
        return EnvSpec(
            id=self.name,
            num_agents=num_agents,
            num_actions=num_actions,
            obs_size=obs_size,
            state_size=state_size,
            horizon=int(params.max_steps_in_episode),
            reward_aggregation=aggregation,
            common_reward=self.reward_aggregation == "auto" and aggregation == "mean",
            planes=planes,
        )

    def render(self, state: BridgeState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3], jumanji's own picture.

        Raises:
          ValueError: jumanji draws none of this environment.
        """
        return jumanji_picture(self.name, self._inner, state.inner)

    def _observation(self, obs: Any) -> Observation:
        """Returns our observation from jumanji's."""
        num_agents, num_actions = self._facts.num_agents, self._facts.num_actions
        local, state = _parts(obs, num_agents=num_agents)
        mask = jnp.asarray(obs.action_mask, bool).reshape(num_agents, num_actions)
        return Observation(local, mask | ~mask.any(-1, keepdims=True), state)

    def reset_env(self, key: Array, params: EnvParams) -> BridgeState:
        """Returns jumanji's first state."""
        del params
        inner, first = self._endless.reset(key)
        obs = self._observation(first.observation)
        return BridgeState(time=jnp.int32(0), inner=strong_types(inner), obs=obs)

    def step_env(
        self, key: Array, state: BridgeState, action: Array, params: EnvParams
    ) -> tuple[BridgeState, Array, Array, dict[str, Any]]:
        """Plays one step of jumanji's environment, without its time limit."""
        del key, params
        num_agents = self._facts.num_agents
        alone = self._inner.action_spec.shape == ()
        inner, step = self._endless.step(state.inner, action[0] if alone else action)
        after = BridgeState(
            time=state.time + 1,
            inner=keep_types(inner, state.inner),
            obs=self._observation(step.observation),
        )
        reward = jnp.broadcast_to(jnp.asarray(step.reward, jnp.float32), (num_agents,))
        # A last step with a discount above 0 would be a limit other than `time_limit`.
        terminated = step.last() & jnp.all(step.discount == 0)
        return after, reward, terminated, info_arrays(step.extras)

    def observe(self, state: BridgeState, params: EnvParams) -> Observation:
        """Returns the observation that jumanji returned with `state`."""
        del params
        return state.obs


def _parts(obs: Any, *, num_agents: int) -> tuple[Array, Array]:
    """Returns local observations f32 [N, O] and the global state f32 [S]."""
    fields = obs._asdict()
    shared = [leaf for name, leaf in fields.items() if name not in ("action_mask", *_VIEWS)]
    views: list[Tree] = [fields[name] for name in _VIEWS if name in fields]
    common = flat(shared)
    local = jnp.broadcast_to(common, (num_agents, common.shape[0]))
    rows = [jnp.asarray(view, jnp.float32).reshape(num_agents, -1) for view in views]
    return jnp.concatenate([*rows, local], axis=1), flat([*views, shared])


def _image(obs: Any) -> Planes | None:
    """Returns the image that local observations begin with (Snake's grid), or None."""
    fields = obs._asdict()
    views = any(name in fields for name in _VIEWS)
    return None if views else image([x for name, x in fields.items() if name != "action_mask"])


def from_jumanji(env: Any, **settings: Any) -> JumanjiEnv:
    """Returns a jumanji environment as one of ours.

    Args:
      env: its id in jumanji, or the environment itself, for example with a generator of your own.
      **settings: fields of `JumanjiEnv`.

    Raises:
      ValueError: see `JumanjiEnv`.
    """
    if isinstance(env, str):
        return JumanjiEnv(name=PREFIX + env.removeprefix(PREFIX), **settings)
    return JumanjiEnv(name=PREFIX + type(env).__name__, _made=env, **settings)


def _family_make(env_id: str) -> JumanjiEnv:
    return JumanjiEnv(name=env_id)


FAMILY = Family(
    name="jumanji",
    pattern=r"jumanji/.+",
    usage="jumanji/{id}: an environment of jumanji with discrete actions and a mask",
    examples=(
        "jumanji/LevelBasedForaging-v0",
        "jumanji/RobotWarehouse-v0",
        "jumanji/Connector-v3",
        "jumanji/Cleaner-v0",
        "jumanji/Snake-v1",
        "jumanji/Maze-v0",
    ),
    make=_family_make,
    extra="marlx[peers]",
)
