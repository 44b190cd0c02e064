"""JaxMARL's environments as ours."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.bridges._common import (
    NEVER,
    UNLIMITED,
    Aggregation,
    Bounds,
    BridgeState,
    bounds,
    call,
    check_settings,
    flat,
    group_by_name,
    image,
    info_arrays,
    keep_types,
    library,
    masks,
    pad,
    read_arguments,
    shallow_copy,
    strong_types,
)
from marlx.envs.bridges._pictures import no_picture, overcooked_picture
from marlx.registry import Family
from marlx.text import unknown
from marlx.types import Array, Entities, EnvSpec, Observation, Planes, Tree

PREFIX = "jaxmarl/"
_SMAX, _OVERCOOKED = "smax/", "overcooked/"
_LATE = ("smax", "mpe")  # these compare the time before the step with the limit
_SHARED = ("smax", "overcooked", "hanabi")  # these give every agent the team's reward


class Spaces(NamedTuple):
    """Widths of an environment's observations, actions and state."""

    obs_sizes: tuple[int, ...]
    action_sizes: tuple[int, ...]
    state_size: int
    limits: tuple[Bounds, ...] | None  # of continuous actions; None for discrete ones
    planes: Planes | None  # the image that all agents observe, as in Overcooked


@dataclasses.dataclass(frozen=True, kw_only=True)
class JaxMarlEnv(Environment[BridgeState, EnvParams]):
    """A JaxMARL environment.

    Agents keep JaxMARL's order. Observations are flattened and padded to the widest agent's;
    `obs_sizes` and `action_sizes` are the widths without padding. The mask is `get_avail_actions`
    (Hanabi's `get_legal_moves`) if the environment has it, else all of an agent's actions.
    `global_state` is the environment's `world_state` if it has one (SMAX), else the concatenation
    of all observations. Continuous actions are components in [0, 1], scaled to the limits of the
    Box. Agents whose names differ by a number only (`ally_0`, `ally_1`) form a group.

    Steps are JaxMARL's `step_env`, without its auto-reset. From equal keys `step` gives the
    observations, rewards and ends that JaxMARL's `step` gives.

    Termination: JaxMARL reports `done` for true ends and for time limits alike. Here an end is
    `terminated` if the same step would also have ended the episode without a limit. A copy of the
    environment whose `max_steps` is out of reach decides this, by its `is_terminal` if it has one
    (SMAX, Overcooked), else by its `step_env`. So a battle won in the last step is `terminated`.
    Environments without `max_steps` are of two kinds: those with episodes of one length
    (`num_outer_steps`: Coin Game), where every end is the time limit, and the others (Hanabi),
    where every `done` is a true end.

    Differs from JaxMARL in two points. Its SMAX and MPE compare the time before the step with the
    limit, so `max_steps=100` gives 101 steps; `horizon` is 101 here, to end at the same step. And a
    single agent's `done` before the end of the episode is not reported. A dead unit of SMAX is
    inactive instead (`Observation.active`), and has only its idle action left.

    Attributes:
      name: `jaxmarl/{id}`, `jaxmarl/smax/{map}` or `jaxmarl/overcooked/{layout}`.
      horizon: steps per episode, at most JaxMARL's own; None for its own, or 1000 if it has none.
        For a longer limit use JaxMARL's argument: `kwargs={"max_steps": 200}`.
      reward_aggregation: how agents' rewards make the team's. `auto` is JaxMARL's own rule: the
        mean for SMAX, Overcooked and Hanabi, which give every agent the team's reward (dead ones
        too), the sum for all others.
      kwargs: arguments of the environment, as JSON, e.g. `{"max_steps": 50}`.

    Raises:
      ValueError: unknown name or argument, unsupported observations or actions, or JaxMARL is
        missing.
    """

    horizon: int | None = None
    reward_aggregation: Aggregation = "auto"
    kwargs: str = ""
    name: str = "jaxmarl/MPE_simple_spread_v3"
    _made: Any = None

    def __post_init__(self) -> None:
        check_settings(self)
        limit = self._limit
        if self.horizon is not None and limit is not None and self.horizon > limit:
            raise ValueError(
                f"horizon is {self.horizon}, but {self.name} ends after {limit} steps; "
                'for more set its own limit, e.g. kwargs={"max_steps": 500}'
            )
        _ = self._spaces

    @functools.cached_property
    def _inner(self) -> Any:
        """JaxMARL's environment."""
        if self._made is not None:
            return self._made
        jaxmarl = library("jaxmarl")
        kwargs = read_arguments(self.kwargs, "kwargs")
        env_id = self.name.removeprefix(PREFIX)
        if env_id.startswith(_SMAX):
            maps = library("jaxmarl.environments.smax.smax_env").MAP_NAME_TO_SCENARIO
            chosen = env_id.removeprefix(_SMAX)
            if chosen not in maps:
                raise unknown("map", chosen, maps, "jaxmarl/smax")
            env_id, kwargs = "HeuristicEnemySMAX", {"scenario": maps[chosen], **kwargs}
        elif env_id.startswith(_OVERCOOKED):
            layouts = library("jaxmarl.environments.overcooked.layouts").overcooked_layouts
            chosen = env_id.removeprefix(_OVERCOOKED)
            if chosen not in layouts:
                raise unknown("layout", chosen, layouts, "jaxmarl/overcooked")
            env_id, kwargs = "overcooked", {"layout": layouts[chosen], **kwargs}
        elif env_id not in jaxmarl.registered_envs:
            raise unknown("environment", env_id, jaxmarl.registered_envs, "jaxmarl")
        return call(self.name, jaxmarl.make, env_id, **kwargs)

    @functools.cached_property
    def _limit(self) -> int | None:
        """JaxMARL's own number of steps per episode; None without a limit."""
        env = self._inner
        if hasattr(env, "max_steps"):
            late = any(f".{kind}." in f"{type(env).__module__}." for kind in _LATE)
            return int(env.max_steps) + late
        if self._one_length:
            return int(env.num_inner_steps * env.num_outer_steps)
        return None

    @functools.cached_property
    def _one_length(self) -> bool:
        """Whether all episodes have the same length."""
        return hasattr(self._inner, "num_outer_steps")

    @functools.cached_property
    def _endless(self) -> Any:
        """A copy without a time limit."""
        endless = shallow_copy(self._inner)
        if "_env" in vars(endless):  # SMAX against a scripted enemy wraps a SMAX of two teams
            endless._env = shallow_copy(endless._env)
            endless._env.max_steps = NEVER
        endless.max_steps = NEVER
        return endless

    @functools.cached_property
    def _spaces(self) -> Spaces:
        """Widths of observations, actions and state, read from JaxMARL's environment."""
        env = self._inner
        spaces = [env.action_space(agent) for agent in env.agents]
        limits = None
        if all(hasattr(space, "n") for space in spaces):
            actions = [int(space.n) for space in spaces]
        elif all(hasattr(space, "low") for space in spaces):
            limits = tuple(bounds(space, self.name) for space in spaces)
            actions = [limit.low.size for limit in limits]
        else:
            kinds = sorted({type(space).__name__ for space in spaces})
            raise ValueError(
                f"{self.name} has actions {', '.join(kinds)}; they must be Discrete for all agents "
                "or Box for all agents"
            )
        shown, _ = call(self.name, jax.eval_shape, env.reset, jax.random.key(0))
        if not isinstance(shown, dict) or any(agent not in shown for agent in env.agents):
            raise ValueError(f"{self.name} must give a dictionary of observations by agent")
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(shown[agent])) for agent in env.agents]
        state = shown["world_state"].size if "world_state" in shown else sum(sizes)
        images = {image(shown[agent]) for agent in env.agents}
        planes = images.pop() if len(images) == 1 else None
        return Spaces(tuple(sizes), tuple(actions), state, limits, planes)

    @property
    def _units(self) -> tuple[Entities, ...]:
        """The units that an agent of SMAX observes, row by row; () elsewhere.

        Units out of sight and dead ones are rows of zeros, without health.
        """
        battle = getattr(self._inner, "_env", self._inner)
        if getattr(battle, "observation_type", "") != "unit_list":
            return ()
        team = battle.num_allies
        if len(self._inner.agents) > team and team != battle.num_enemies:
            return ()  # agents of both teams, whose rows of allies end in different places
        width = len(battle.unit_features)
        kinds = (("allies", 0, team - 1), ("enemies", team - 1, battle.num_enemies))
        return tuple(
            Entities.block(name, before * width, count, width, present=0)
            for name, before, count in kinds
            if count
        )

    @functools.cached_property
    def _legal(self) -> Any:
        """The function `(inner state) -> {agent: mask}`, or None if every action is legal."""
        env = self._inner
        if self._spaces.limits is not None:
            return None
        _, state = jax.eval_shape(env.reset, jax.random.key(0))
        for name in ("get_legal_moves", "get_avail_actions"):
            try:
                jax.eval_shape(getattr(env, name), state)
            except (NotImplementedError, AttributeError):
                continue
            return getattr(env, name)
        return None

    @functools.cached_property
    def _alive(self) -> Callable[[Tree], Array] | None:
        """The function `(inner state) -> bool [N]`, which agents live; None where none can die."""
        env = self._inner
        _, state = jax.eval_shape(env.reset, jax.random.key(0))
        wrapped = not hasattr(state, "unit_alive") and hasattr(state, "state")
        if not hasattr(state.state if wrapped else state, "unit_alive"):
            return None
        units = np.array([env.agent_ids[agent] for agent in env.agents])
        return lambda inner: (inner.state if wrapped else inner).unit_alive[units]

    @functools.cached_property
    def _won(self) -> Callable[[Tree], Array] | None:
        """The function `(inner state) -> bool []`, whether a battle is won; None without one.

        SMAX's rule for its bonus: all enemies are dead, and not all allies are. Its log wrapper has
        it as `returned_won_episode`.
        """
        env = self._inner
        allies = getattr(env, "num_allies", getattr(getattr(env, "_env", None), "num_allies", None))
        if self._alive is None or allies is None:
            return None

        def won(inner: Tree) -> Array:
            units: Any = getattr(inner, "state", inner)
            alive: Array = units.unit_alive
            return ~alive[allies:].any() & alive[:allies].any()

        return won

    @property
    def default_params(self) -> EnvParams:
        """JaxMARL's time limit, or `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon or self._limit or UNLIMITED)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts; agents are in JaxMARL's order and grouped by their names."""
        env = self._inner
        obs_sizes, action_sizes, state_size, limits, planes = self._spaces
        aggregation: Any = self.reward_aggregation
        if aggregation == "auto":
            kind = type(env).__name__.lower()
            aggregation = "mean" if any(name in kind for name in _SHARED) else "sum"
        params = self.default_params if params is None else params
        return EnvSpec(
            id=self.name,
            num_agents=len(env.agents),
            num_actions=max(action_sizes),
            obs_size=max(obs_sizes),
            state_size=state_size,
            horizon=int(params.max_steps_in_episode),
            reward_aggregation=aggregation,
            common_reward=self.reward_aggregation == "auto" and aggregation == "mean",
            groups=group_by_name(env.agents, list(zip(obs_sizes, action_sizes, strict=True))),
            obs_sizes=obs_sizes,
            action_sizes=action_sizes,
            continuous=limits is not None,
            active_mask=self._alive is not None,
            outcomes=() if self._won is None else ("win_rate",),
            planes=planes,
            entities=self._units,
        )

    def render(self, state: BridgeState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3], JaxMARL's own picture of Overcooked.

        Raises:
          ValueError: any other environment.
        """
        if type(self._inner).__name__ != "Overcooked":
            raise no_picture(self.name)
        return overcooked_picture(self._inner, state.inner)

    def _observation(self, obs: dict[Any, Any], inner: Tree) -> Observation:
        """Returns our observation from JaxMARL's observation and state."""
        agents = self._inner.agents
        obs_sizes, action_sizes = self._spaces.obs_sizes, self._spaces.action_sizes
        seen = [flat(obs[agent]) for agent in agents]
        if self._legal is None:
            mask = jnp.asarray(masks(action_sizes))
        else:
            legal = self._legal(inner)
            mask = pad([jnp.asarray(legal[agent], bool) for agent in agents], max(action_sizes))
        state = flat(obs["world_state"]) if "world_state" in obs else jnp.concatenate(seen)
        active = None if self._alive is None else self._alive(inner)
        return Observation(pad(seen, max(obs_sizes)), mask, state, active)

    def reset_env(self, key: Array, params: EnvParams) -> BridgeState:
        """Returns JaxMARL's first state."""
        del params
        obs, inner = self._inner.reset(key)
        inner = strong_types(inner)
        return BridgeState(time=jnp.int32(0), inner=inner, obs=self._observation(obs, inner))

    def step_env(
        self, key: Array, state: BridgeState, action: Array, params: EnvParams
    ) -> tuple[BridgeState, Array, Array, dict[str, Any]]:
        """Plays one step of JaxMARL's `step_env`, with time limits removed from its `done`."""
        del params
        env, limits = self._inner, self._spaces.limits
        chosen = {
            agent: action[i] if limits is None else limits[i].scale(action[i])
            for i, agent in enumerate(env.agents)
        }
        obs, inner, reward, done, info = env.step_env(key, state.inner, chosen)
        inner = keep_types(inner, state.inner)
        ended = jnp.asarray(done["__all__"], bool).reshape(())
        if self._one_length:
            terminated = jnp.zeros((), bool)
        elif hasattr(env, "max_steps"):
            terminated = ended & self._truly_ended(key, state.inner, chosen, inner)
        else:
            terminated = ended
        after = BridgeState(time=state.time + 1, inner=inner, obs=self._observation(obs, inner))
        rewards = jnp.stack([jnp.asarray(reward[a], jnp.float32).reshape(()) for a in env.agents])
        info = info_arrays(info)
        if self._won is not None:
            info["win_rate"] = self._won(inner)
        return after, rewards, terminated, info

    def _truly_ended(self, key: Array, before: Tree, chosen: Tree, after: Tree) -> Array:
        """Returns bool [], whether the episode would have ended without a time limit."""
        endless = self._endless
        if not hasattr(endless, "is_terminal"):
            done = endless.step_env(key, before, chosen)[3]["__all__"]
        else:
            if hasattr(before, "done"):  # which stays set, also by the limit
                after = after.replace(done=before.done)
            done = endless.is_terminal(after)
        return jnp.asarray(done, bool).reshape(())

    def observe(self, state: BridgeState, params: EnvParams) -> Observation:
        """Returns the observation that JaxMARL returned with `state`."""
        del params
        return state.obs


def from_jaxmarl(env: Any, **kwargs: Any) -> JaxMarlEnv:
    """Returns a JaxMARL environment as one of ours.

    Args:
      env: its id in JaxMARL, `smax/{map}`, `overcooked/{layout}`, or the environment itself.
      **kwargs: `horizon` and `reward_aggregation` of `JaxMarlEnv`; all others go to JaxMARL's
        `make`, e.g. `max_steps=50`.

    Raises:
      ValueError: see `JaxMarlEnv`.
    """
    own = {name: kwargs.pop(name) for name in ("horizon", "reward_aggregation") if name in kwargs}
    if not isinstance(env, str):
        if kwargs:
            names = ", ".join(kwargs)
            raise ValueError(f"{names} cannot be used with an environment that is already made")
        return JaxMarlEnv(name=PREFIX + env.name, _made=env, **own)
    env_id = env.removeprefix(PREFIX)
    if not kwargs:
        return JaxMarlEnv(name=PREFIX + env_id, **own)
    return JaxMarlEnv(name=PREFIX + env_id, kwargs=_as_json(kwargs), **own)


def _as_json(kwargs: dict[str, Any]) -> str:
    """Returns keyword arguments as JSON text; raises ValueError if JSON cannot hold them."""
    try:
        return json.dumps(kwargs)
    except TypeError:
        names = ", ".join(kwargs)
        raise ValueError(
            f"{names}: only numbers, text, lists and mappings can be passed with an id; make the "
            "environment with jaxmarl.make and pass it instead"
        ) from None


def _family_make(env_id: str) -> JaxMarlEnv:
    return JaxMarlEnv(name=env_id)


FAMILY = Family(
    name="jaxmarl",
    pattern=r"jaxmarl/.+",
    usage=(
        "jaxmarl/{id}, jaxmarl/smax/{map} (against SMAX's scripted enemy), "
        "jaxmarl/overcooked/{layout}: an environment of JaxMARL"
    ),
    examples=(
        "jaxmarl/smax/3m",
        "jaxmarl/smax/2s3z",
        "jaxmarl/MPE_simple_spread_v3",
        "jaxmarl/MPE_simple_speaker_listener_v4",
        "jaxmarl/overcooked/cramped_room",
        "jaxmarl/switch_riddle",
    ),
    make=_family_make,
    extra="marlx[peers]",
)
