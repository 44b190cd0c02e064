"""Environments in which a learner controls some agents and fixed policies play the others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.partners.cast import Cast, act_cast, initial_memory, make_cast, recast
from marlx.envs.partners.partner import Partner
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Scene, Subgoals, Tree
from marlx.xla.materialise import materialise

RewardOf = Literal["own", "against"]
"""Rewards of the learner's agents: those of the environment, or minus the partners' as a team."""


@flax.struct.dataclass
class RolesState(EnvState):
    """State of one episode: that of the environment, and who plays the partners."""

    env_state: Tree  # of the inner environment
    draw: Array  # int32 [], index of the team (or single partner) drawn at reset
    memory: Tree  # the partners' acting memories
    did: Tree  # f32 [M, A], the partners' last actions, one-hot; `()` unless `privileged`

    def _drawing(self) -> str:
        """Returns the drawing of the inner environment's state."""
        drawing: str = self.env_state._drawing() if isinstance(self.env_state, EnvState) else ""
        return drawing


@flax.struct.dataclass
class RolesParams(EnvParams):
    """Parameters of an environment whose only partner has other ones than those it was made with.

    They are arguments of a program, so that it can be mapped over policies.
    """

    inner: EnvParams = dataclasses.field(default_factory=EnvParams)  # of the inner environment
    policy: Tree = ()  # of the partner, see `Partner.policy`


def inner_params(params: Any) -> Any:
    """Returns the parameters of the inner environment."""
    return params.inner if isinstance(params, RolesParams) else params


class Roles(Environment[RolesState, EnvParams]):
    """An environment in which the learner controls only some agents; see `with_partners`."""

    cast: Cast
    privileged: bool
    reward: RewardOf

    @property
    def default_params(self) -> EnvParams:
        """Those of the inner environment."""
        params: EnvParams = self.cast.env.default_params
        return params

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns the inner environment's facts, of the learner's agents only.

        `optimum` is None, since it depends on the partners. With `privileged`, the inner global
        state is followed by what `with_partners` lists, and `state_parts` names the parts. With
        `against`, all agents have the same reward, and its mean is the team's.
        """
        spec, ego = self.cast.env.spec(inner_params(params)), self.cast.ego
        groups = [(name, [i for i, a in enumerate(ego) if a in own]) for name, own in spec.groups]
        obs_sizes = tuple(spec.obs_sizes[a] for a in ego)
        action_sizes = tuple(spec.action_sizes[a] for a in ego)
        parts: tuple[tuple[str, int], ...] = ()
        if self.privileged:
            others = len(self.cast.others)
            parts = (
                ("state", spec.state_size),
                ("partner", len(self.cast.names)),
                ("partner_observation", others * spec.obs_size),
                ("partner_action", others * spec.num_actions),
            )
        return dataclasses.replace(
            spec,
            state_size=sum(width for _, width in parts) or spec.state_size,
            state_parts=parts,
            id=f"partners/{spec.id}",
            num_agents=len(ego),
            num_actions=max(action_sizes),
            obs_size=max(obs_sizes),
            groups=tuple((name, tuple(members)) for name, members in groups if members),
            obs_sizes=obs_sizes,
            action_sizes=action_sizes,
            optimum=None,
            partner_actions=tuple(spec.action_sizes[a] for a in self.cast.others) if parts else (),
            **({} if self.reward == "own" else AGAINST),
        )

    def params_with(self, policy: Tree, params: EnvParams | None = None) -> RolesParams:
        """Returns parameters in which the only partner acts by another policy.

        It may be traced: a program can be mapped over policies, as one for each seed of a run.

        Args:
          policy: in place of that of the partner, with arrays of the same shapes.
          params: of the inner environment; its defaults if None.

        Raises:
          ValueError: there are several partners.
        """
        recast(self.cast, policy)
        inner = self.default_params if params is None else params
        return RolesParams(inner.max_steps_in_episode, inner, policy)

    def reset_env(self, key: Array, params: EnvParams) -> RolesState:
        """Returns a first state and draws, from a key of its own, the team of the episode."""
        cast = self.cast
        key_env, key_team = jax.random.split(key)
        if cast.log_weights is None:
            team = jax.random.randint(key_team, (), 0, len(cast.names), jnp.int32)
        else:
            team = jax.random.categorical(key_team, cast.log_weights).astype(jnp.int32)
        return self._state(cast.env.reset_env(key_env, inner_params(params)), team)

    def _state(self, env_state: Tree, team: Array) -> RolesState:
        """Returns the state of an episode in which the partners have not acted yet."""
        return RolesState(
            time=env_state.time,
            env_state=env_state,
            draw=team,
            memory=initial_memory(self.cast),
            did=self._last_actions([]),
        )

    def _last_actions(self, actions: list[Array]) -> Tree:
        """Returns the state's `did` after the partners' `actions`; an empty list is for reset."""
        if not self.privileged:
            return ()
        spec = self.cast.env.spec()  # widths do not depend on `params`
        if not actions:
            return jnp.zeros((len(self.cast.others), spec.num_actions))
        done = jnp.stack(actions)
        return done if spec.continuous else jax.nn.one_hot(done, spec.num_actions)

    def step_env(
        self, key: Array, state: RolesState, action: Array, params: EnvParams
    ) -> tuple[RolesState, Array, Array, dict[str, Any]]:
        """Plays one step: the learner's agents do `action`, the others what their partners choose.

        Returns:
          As `Environment.step_env`; rewards are those of the learner's agents, or, with `against`,
          minus the team reward of all others for each of them. `info` is the inner environment's
          and, for the M other agents in ascending order:
          `partner` int32 [], the team; `partner_action` int32 [M] (f32 [M, A] where actions are
          continuous); `partner_observation` f32 [M, O], what they observed before they acted, with
          O the inner environment's width. These are for training and analysis; agents must not act
          on them.
        """
        cast = self.cast
        if isinstance(params, RolesParams):
            cast = recast(cast, params.policy)
        params = inner_params(params)
        key_env, key_partners = jax.random.split(key)
        env_state = state.env_state.replace(time=state.time)
        obs = cast.env.observe(env_state, params)
        partner_action, memory = act_cast(cast, state.memory, state.draw, obs, key_partners)
        partner_action, memory = materialise((partner_action, memory), state.time)
        if action.ndim == 2:  # continuous: the learner's agents may be narrower than the widest
            action = jnp.pad(action, ((0, 0), (0, partner_action[0].size - action.shape[1])))
        everyone = dict(zip(cast.others, partner_action, strict=True))
        everyone |= dict(zip(cast.ego, jnp.unstack(action), strict=True))
        joint = jnp.stack([everyone[a] for a in range(len(everyone))])
        env_state, reward, terminated, info = cast.env.step_env(key_env, env_state, joint, params)
        info = {
            **info,
            "partner": state.draw,
            "partner_action": jnp.stack(partner_action),
            "partner_observation": obs.local[np.array(cast.others)],
        }
        state = RolesState(
            time=env_state.time,
            env_state=env_state,
            draw=state.draw,
            memory=memory,
            did=self._last_actions(partner_action),
        )
        if self.reward == "own":
            return state, reward[np.array(cast.ego)], terminated, info
        others, active = np.array(cast.others), obs.active
        active = None if active is None else active[others]
        theirs = cast.env.spec().team_reward(reward[others], active)  # of any `params`
        return state, jnp.full(len(cast.ego), -theirs), terminated, info

    def observe(self, state: RolesState, params: EnvParams) -> Observation:
        """Returns the learner's agents' observations; `spec` describes the global state."""
        ego, spec = np.array(self.cast.ego), self.spec()  # widths do not depend on `params`
        inner = state.env_state.replace(time=state.time)
        obs = self.cast.env.observe(inner, inner_params(params))
        whole = obs.global_state
        if self.privileged:
            partner = jax.nn.one_hot(state.draw, len(self.cast.names))
            seen = obs.local[np.array(self.cast.others)].reshape(-1)
            whole = jnp.concatenate([whole, partner, seen, state.did.reshape(-1)])
        # against the others there is something to gain also after an agent is gone
        active = None if obs.active is None or self.reward == "against" else obs.active[ego]
        return Observation(
            local=obs.local[ego, : spec.obs_size],
            action_mask=obs.action_mask[ego, : spec.num_actions],
            global_state=whole,
            active=active,
        )

    @property
    def partner_names(self) -> tuple[str, ...]:
        """Names of the partners, or teams; `info["partner"]` is an index into them."""
        return self.cast.names

    def partner_name(self, state: RolesState) -> str:
        """Returns the name of the partner or team of one (unbatched) state."""
        return self.cast.names[int(state.draw)]

    def render(self, state: RolesState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3], the inner picture above the name of the partner."""
        from marlx.envs import raster  # imported here, since it loads Pillow

        inner = state.env_state.replace(time=state.time)
        picture = self.cast.env.render(inner, inner_params(params))
        width, foot = picture.shape[1], 22
        words = f"with {self.partner_name(state)}"
        strip = raster.Canvas(width, foot)
        strip.text(width / 2, foot / 2 - 2, words, min(13.0, 1.8 * width / len(words)))
        return np.concatenate([picture, strip.pixels()])

    def scene(self, params: EnvParams | None = None) -> Scene | None:
        """Returns what a viewer draws of the inner environment, and who plays."""
        inner = self.cast.env.scene(params)
        if inner is None:
            return None
        frame = inner.frame
        facts = {**inner.facts, "ego": list(self.cast.ego), "partners": list(self.cast.names)}
        return inner._replace(
            facts=facts,
            frame=lambda state: {
                **frame(state.env_state.replace(time=state.time)),
                "partner": state.draw,
            },
        )

    def subgoals(self, params: EnvParams | None = None) -> Subgoals | None:
        """Returns those of the inner environment, for the learner's agents."""
        inner = self.cast.env.subgoals(params)
        if inner is None:
            return None
        ego, spec = np.array(self.cast.ego), self.cast.env.spec()
        achieved, available, choices = inner.achieved, inner.available, inner.choices

        def choose(local: Array) -> Array:
            everyone = jnp.zeros((spec.num_agents, spec.obs_size), jnp.float32)
            return choices(everyone.at[ego, : local.shape[1]].set(local))[ego]

        return inner._replace(
            achieved=lambda state: achieved(state.env_state)[ego],
            available=lambda state: available(state.env_state)[ego],
            choices=choose,
            mark=None,
        )

    def make_state(self, env_state: Tree, partner: int | str) -> RolesState:
        """Returns the state of one (unbatched) episode in which the partners have not acted yet.

        Args:
          env_state: of the inner environment.
          partner: the partner or team, by index or by name.

        Raises:
          ValueError: there is no such partner.
        """
        names = self.cast.names
        if isinstance(partner, str):
            if partner not in names:
                raise unknown("partner", partner, names)
            partner = names.index(partner)
        if not 0 <= partner < len(names):
            raise ValueError(f"partner is {partner}; it must be 0 to {len(names) - 1}")
        return self._state(env_state, jnp.int32(partner))


AGAINST: dict[str, Any] = {
    "reward_aggregation": "mean",
    "common_reward": True,
    "active_mask": False,
}
"""What the spec says of rewards against the partners."""


def check_reward(reward: Any) -> None:
    """Raises ValueError for a `reward` that is unknown."""
    if reward not in get_args(RewardOf):
        raise ValueError(f"reward is {reward!r}; it must be 'own' or 'against'")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Partnered(Roles):
    """An environment made by `with_partners`, whose arguments are its attributes."""

    env: Environment[Any, Any]
    policies: tuple[Partner, ...]
    ego: tuple[int, ...] | str = (0,)
    teams: tuple[tuple[int, ...], ...] | None = None
    weights: tuple[float, ...] | None = None
    privileged: bool = False
    reward: RewardOf = "own"
    cast: Cast = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_reward(self.reward)
        made = make_cast(self.env, self.policies, self.ego, self.teams, self.weights)
        object.__setattr__(self, "cast", made)


def with_partners(
    env: Environment[Any, Any],
    policies: Sequence[Partner],
    ego: Sequence[int] | str = (0,),
    *,
    teams: Sequence[Sequence[int]] | None = None,
    weights: Sequence[float] | None = None,
    privileged: bool = False,
    reward: RewardOf = "own",
) -> Partnered:
    """Returns `env` with the learner in control of the `ego` agents and partners of all others.

    Each episode draws one of the `policies`, from the key of its reset, and all agents but `ego`
    follow it to the episode's end; or, with `teams`, a team of them. The learner's observations do
    not say which one. Its rewards are those of its own agents, and the team reward is aggregated
    over them alone. `Roles.step_env` describes `info`.

    Args:
      env: any environment.
      policies: the pool.
      ego: indices of the learner's agents, in its order; or the name of one of
        `env.spec().groups`.
      teams: teams to draw instead of single policies: each gives indices into `policies` for the
        other agents, in ascending order of agents.
      weights: relative probability of each policy (or team); None for equal ones.
      privileged: append to the global state the partner or team (one-hot), the other agents'
        observations in ascending order, and their last actions (one-hot; zeros at reset). This is
        for training, upper bounds and analysis; local observations do not change.
      reward: `own`, or `against`: each of the learner's agents is paid minus the team reward of all
        other agents, so that its return is minus theirs. It is paid until the episode's end, also
        where it is absent itself.

    Raises:
      ValueError: there is no policy, `ego` is not a part of the agents, `teams` or `weights` do not
        fit, `reward` is unknown, or a policy's actions or memory have the wrong shape.

    Source: the setting of Papoudakis et al. 2021 (LIAM), arXiv 2006.09447: one agent is controlled,
    the others' policies are drawn from a fixed pool in every episode.
    """
    return Partnered(
        env=env,
        policies=tuple(policies),
        ego=ego if isinstance(ego, str) else tuple(ego),
        teams=None if teams is None else tuple(tuple(team) for team in teams),
        weights=None if weights is None else tuple(weights),
        privileged=privileged,
        reward=reward,
    )
