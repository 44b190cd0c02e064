"""JaxMARL and marlx, both ways."""

from __future__ import annotations

import dataclasses
import functools
import json
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.envs.bridges._common import (
    UNLIMITED,
    Bounds,
    BridgeState,
    agent_names,
    bounds,
    call,
    check_horizon,
    duplicate,
    flat,
    group_by_name,
    info_of,
    keep_types,
    library,
    masks,
    pad,
    plain,
    read_arguments,
)
from marlx.registry import Family
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Tree

PREFIX = "jaxmarl/"
_SMAX, _OVERCOOKED = "smax/", "overcooked/"
_NEVER = 2**30  # a time limit that no episode reaches
Aggregation = Literal["auto", "sum", "mean"]
_LATE = ("smax", "mpe")  # compare the time before the step with the limit
_SHARED = ("smax", "overcooked", "hanabi")  # every agent is paid the team's reward there


@dataclasses.dataclass(frozen=True, kw_only=True)
class JaxMarlEnv(Environment[BridgeState, EnvParams]):
    """A JaxMARL environment.

    Agents keep JaxMARL's order. Observations are flattened and padded to the widest agent's;
    `obs_sizes` and `action_sizes` tell the true widths. The mask is `get_avail_actions` (Hanabi's
    `get_legal_moves`) where the environment has it, all of an agent's actions where not.
    `global_state` is the environment's `world_state` where it shows one (SMAX), else all agents'
    observations, one after another. A Box of actions is served by components in [0, 1], scaled to
    its limits. Agents whose names differ by a number only (`ally_0`, `ally_1`) form a group.

    Steps are JaxMARL's `step_env`, without its auto-reset. From equal keys `step` gives the
    observations, rewards and ends that JaxMARL's `step` gives.

    True ends: JaxMARL says `done` for these and for time limits alike, so an end counts as
    `terminated` if the same step would also have ended the episode without a limit. That is asked
    of a copy of the environment whose `max_steps` is out of reach: of its `is_terminal` where it
    has one (SMAX, Overcooked), else of its `step_env`. So a battle that is won in the very last
    step is `terminated`, as it should be. Environments without `max_steps` are of two kinds: those
    whose episodes all have one length (`num_outer_steps`: Coin Game), where every end is the time
    limit, and the rest (Hanabi), where every `done` counts as a true end.

    Differs from: JaxMARL's SMAX and MPE read their clock before advancing it, so `max_steps=100`
    gives 101 steps; `horizon` is 101 then, to end where JaxMARL does. A single agent's `done`
    before the episode's end (a dead unit) is not told: such agents have only their idle action
    left.

    Attributes:
      name: `jaxmarl/{id}`, `jaxmarl/smax/{map}` or `jaxmarl/overcooked/{layout}`.
      horizon: steps per episode, at most JaxMARL's own; None for its own, or 1000 where it has
        none. A longer limit is JaxMARL's to give: `kwargs={"max_steps": 200}`.
      reward_aggregation: how agents' rewards make the team's. `auto` is JaxMARL's own rule: the
        mean for SMAX, Overcooked and Hanabi, which pay every agent the team's reward (dead ones
        too), the sum for all others.
      kwargs: arguments of the environment, as JSON, e.g. `{"max_steps": 50}`.

    Raises:
      ValueError: unknown name or argument, an environment whose observations or actions do not fit,
        JaxMARL is missing.
    """

    horizon: int | None = None
    reward_aggregation: Aggregation = "auto"
    kwargs: str = ""
    name: str = "jaxmarl/MPE_simple_spread_v3"
    _made: Any = None

    def __post_init__(self) -> None:
        check_horizon(self.horizon)
        if self.reward_aggregation not in get_args(Aggregation):
            raise ValueError(
                f"reward_aggregation is {self.reward_aggregation!r}; it must be one of "
                f"{get_args(Aggregation)}"
            )
        read_arguments(self.kwargs, "kwargs")
        limit = self._limit
        if self.horizon is not None and limit is not None and self.horizon > limit:
            raise ValueError(
                f"horizon is {self.horizon}, but {self.name} ends after {limit} steps; "
                'give it more first, e.g. kwargs={"max_steps": 500}'
            )
        _ = self._spaces

    @functools.cached_property
    def _inner(self) -> Any:
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
        """JaxMARL's own number of steps; None where it has no limit."""
        env = self._inner
        if hasattr(env, "max_steps"):
            late = any(f".{kind}." in f"{type(env).__module__}." for kind in _LATE)
            return int(env.max_steps) + late
        if self._one_length:
            return int(env.num_inner_steps * env.num_outer_steps)
        return None

    @functools.cached_property
    def _one_length(self) -> bool:
        return hasattr(self._inner, "num_outer_steps")

    @functools.cached_property
    def _endless(self) -> Any:
        """A copy without a time limit."""
        endless = duplicate(self._inner)
        if "_env" in vars(endless):  # SMAX against a scripted enemy wraps SMAX for two teams
            endless._env = duplicate(endless._env)
            endless._env.max_steps = _NEVER
        endless.max_steps = _NEVER
        return endless

    @functools.cached_property
    def _spaces(self) -> tuple[tuple[int, ...], tuple[int, ...], int, tuple[Bounds, ...] | None]:
        """Widths of observations and actions, the state's width, limits where continuous."""
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
                f"{self.name} has actions {', '.join(kinds)}; Discrete for every agent or Box for "
                "every agent are served"
            )
        shown, _ = call(self.name, jax.eval_shape, env.reset, jax.random.key(0))
        if not isinstance(shown, dict) or any(agent not in shown for agent in env.agents):
            raise ValueError(f"{self.name} shows no dictionary of observations by agent")
        sizes = [sum(leaf.size for leaf in jax.tree.leaves(shown[agent])) for agent in env.agents]
        state = shown["world_state"].size if "world_state" in shown else sum(sizes)
        return tuple(sizes), tuple(actions), state, limits

    @functools.cached_property
    def _legal(self) -> Any:
        """`(inner state) -> {agent: mask}`, or None where everything is legal."""
        env = self._inner
        if self._spaces[3] is not None:
            return None
        _, state = jax.eval_shape(env.reset, jax.random.key(0))
        for name in ("get_legal_moves", "get_avail_actions"):
            try:
                jax.eval_shape(getattr(env, name), state)
            except (NotImplementedError, AttributeError):
                continue
            return getattr(env, name)
        return None

    @property
    def default_params(self) -> EnvParams:
        """JaxMARL's time limit, or `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon or self._limit or UNLIMITED)

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Agents in JaxMARL's order, grouped by their names."""
        env = self._inner
        obs_sizes, action_sizes, state_size, limits = self._spaces
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
            groups=group_by_name(env.agents, list(zip(obs_sizes, action_sizes, strict=True))),
            obs_sizes=obs_sizes,
            action_sizes=action_sizes,
            continuous=limits is not None,
        )

    def _show(self, obs: dict[Any, Any], inner: Tree) -> Observation:
        agents = self._inner.agents
        obs_sizes, action_sizes, _, _ = self._spaces
        seen = [flat(obs[agent]) for agent in agents]
        if self._legal is None:
            mask = jnp.asarray(masks(action_sizes))
        else:
            legal = self._legal(inner)
            mask = pad([jnp.asarray(legal[agent], bool) for agent in agents], max(action_sizes))
        state = flat(obs["world_state"]) if "world_state" in obs else jnp.concatenate(seen)
        return Observation(pad(seen, max(obs_sizes)), mask, state)

    def reset_env(self, key: Array, params: EnvParams) -> BridgeState:
        """JaxMARL's."""
        del params
        obs, inner = self._inner.reset(key)
        inner = plain(inner)
        return BridgeState(time=jnp.int32(0), inner=inner, obs=self._show(obs, inner))

    def step_env(
        self, key: Array, state: BridgeState, action: Array, params: EnvParams
    ) -> tuple[BridgeState, Array, Array, dict[str, Any]]:
        """JaxMARL's, with time limits taken out of its `done`."""
        del params
        env, limits = self._inner, self._spaces[3]
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
        after = BridgeState(time=state.time + 1, inner=inner, obs=self._show(obs, inner))
        paid = jnp.stack([jnp.asarray(reward[a], jnp.float32).reshape(()) for a in env.agents])
        return after, paid, terminated, info_of(info)

    def _truly_ended(self, key: Array, before: Tree, chosen: Tree, after: Tree) -> Array:
        """Bool [], whether the episode would have ended without a time limit."""
        endless = self._endless
        if not hasattr(endless, "is_terminal"):
            done = endless.step_env(key, before, chosen)[3]["__all__"]
        else:
            if hasattr(before, "done"):  # it keeps a `done` once set, by the limit too
                after = after.replace(done=before.done)
            done = endless.is_terminal(after)
        return jnp.asarray(done, bool).reshape(())

    def observe(self, state: BridgeState, params: EnvParams) -> Observation:
        """What JaxMARL showed when it made `state`."""
        del params
        return state.obs


def from_jaxmarl(env: Any, **kwargs: Any) -> JaxMarlEnv:
    """A JaxMARL environment as one of ours.

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
            raise ValueError(f"{', '.join(kwargs)} given for an environment that is made already")
        return JaxMarlEnv(name=PREFIX + env.name, _made=env, **own)
    env_id = env.removeprefix(PREFIX)
    if not kwargs:
        return JaxMarlEnv(name=PREFIX + env_id, **own)
    return JaxMarlEnv(name=PREFIX + env_id, kwargs=_as_json(kwargs), **own)


def _as_json(kwargs: dict[str, Any]) -> str:
    try:
        return json.dumps(kwargs)
    except TypeError:
        names = ", ".join(kwargs)
        raise ValueError(
            f"{names}: only numbers, text, lists and mappings can be passed on by name; make the "
            "environment with jaxmarl.make and pass it instead of its id"
        ) from None


def to_jaxmarl(env: Environment[Any, Any]) -> Any:
    """One of our environments with discrete actions as a JaxMARL `MultiAgentEnv`.

    Agents are named by group (`agent_0`, ...). Observations are f32 of each agent's own width, with
    the global state as `obs["world_state"]`. `done` is true for all agents at once, for either kind
    of end, since JaxMARL knows one; `info` tells `terminated` and `truncated`, bool [N] each.
    `get_avail_actions(state)` is the mask, uint8 [A_i] by agent.

    JaxMARL's `CTRolloutManager` asks only environments that it knows by name for masks, a global
    state and a team reward. For ours it takes every action for legal, concatenates observations and
    sums rewards, unless its attributes are set:
    `manager.get_valid_actions = jax.vmap(env.get_avail_actions)` and
    `manager.global_state = lambda obs, state: obs["world_state"]`.

    Raises:
      ValueError: continuous actions.
    """
    spec = env.spec(env.default_params)
    if spec.continuous:
        raise ValueError(f"{spec.id} has continuous actions; to_jaxmarl serves discrete ones")
    return _to_jaxmarl_class()(env)


@functools.cache
def _to_jaxmarl_class() -> Any:
    """The class, made once JaxMARL is there."""
    base = library("jaxmarl.environments.multi_agent_env").MultiAgentEnv
    spaces = library("jaxmarl.environments.spaces")

    class ToJaxMarl(base):  # type: ignore[valid-type, misc]
        """See `to_jaxmarl`."""

        def __init__(self, env: Environment[Any, Any]) -> None:
            self.marlx = env
            self.params = env.default_params
            self.spec = spec = env.spec(self.params)
            super().__init__(num_agents=spec.num_agents)
            self.agents = agent_names(spec)
            self.max_steps = spec.horizon
            self.state_size = spec.state_size
            self.observation_spaces = {
                agent: spaces.Box(-np.inf, np.inf, (size,))
                for agent, size in zip(self.agents, spec.obs_sizes, strict=True)
            }
            self.action_spaces = {
                agent: spaces.Discrete(size)
                for agent, size in zip(self.agents, spec.action_sizes, strict=True)
            }

        @property
        def name(self) -> str:
            return self.spec.id

        @property
        def agent_classes(self) -> dict[str, list[str]]:
            return {group: [self.agents[i] for i in members] for group, members in self.spec.groups}

        def _show(self, obs: Observation) -> dict[str, Array]:
            shown = {
                agent: obs.local[i, : self.spec.obs_sizes[i]] for i, agent in enumerate(self.agents)
            }
            return {**shown, "world_state": obs.global_state}

        def reset(self, key: Array) -> tuple[dict[str, Array], Any]:
            obs, state = self.marlx.reset(key, self.params)
            return self._show(obs), state

        def step_env(self, key: Array, state: Any, actions: dict[str, Array]) -> Any:
            joint = jnp.stack([jnp.asarray(actions[a], jnp.int32).reshape(()) for a in self.agents])
            after, reward, terminated, info = self.marlx.step_env(key, state, joint, self.params)
            truncated = after.time >= self.params.max_steps_in_episode
            rewards = {agent: reward[i] for i, agent in enumerate(self.agents)}
            dones = dict.fromkeys([*self.agents, "__all__"], terminated | truncated)
            everyone = (self.num_agents,)
            info = {
                "terminated": jnp.broadcast_to(terminated, everyone),
                "truncated": jnp.broadcast_to(truncated, everyone),
            }
            return self.get_obs(after), after, rewards, dones, info

        def get_obs(self, state: Any) -> dict[str, Array]:
            return self._show(self.marlx.observe(state, self.params))

        def get_avail_actions(self, state: Any) -> dict[str, Array]:
            mask = self.marlx.observe(state, self.params).action_mask
            return {
                agent: mask[i, : self.spec.action_sizes[i]].astype(jnp.uint8)
                for i, agent in enumerate(self.agents)
            }

    return ToJaxMarl


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
