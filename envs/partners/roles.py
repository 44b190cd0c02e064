"""Roles: a learner controls some agents of an environment, fixed policies play the others.

`with_partners(env, policies, ego)` is the setting of agent modelling and ad hoc teamwork: whom the
learner plays with is drawn anew for each episode, stays for all of it, and is never told.

A `Partner` is a record of pure functions. Heuristics are in `marlx.envs.partners`; `from_runs`
makes partners of trained policies.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState, settle
from marlx.returns import uniform_action
from marlx.suggest import unknown
from marlx.types import Array, EnvSpec, Observation, Subgoals, Tree

if TYPE_CHECKING:
    from marlx.policies import Policy


class Partner(NamedTuple):
    """A fixed policy for agents that the learner does not control.

    Partners with the same `init` and `act` (the same function objects) whose `policy` have the same
    structure and shapes are stacked: one evaluation with the parameters of the partner drawn.

    Attributes:
      name: for people.
      init: `() -> memory`, the acting memory at an episode's start; `()` where there is none.
      act: `(policy, memory, obs, key) -> action, memory`, for one episode and no batch. `obs` is
        the `Observation` of the whole team of the environment, and the actions are for all of it,
        int32 [N] (f32 [N, A] where `EnvSpec.continuous`); only those of the agents that are played
        by this partner count. `key` is consumed. The memory keeps its structure and shapes.
      policy: what `act` takes, any pytree of arrays or numbers; `()` for a rule without any.
    """

    name: str
    init: Callable[[], Tree]
    act: Callable[[Tree, Tree, Observation, Array], tuple[Array, Tree]]
    policy: Tree = ()


def no_memory() -> Tree:
    """`Partner.init` of those that remember nothing."""
    return ()


@flax.struct.dataclass
class RolesState(EnvState):
    """One episode: the environment's own state, and who plays the partners."""

    env_state: Tree  # of the environment that is played in
    draw: Array  # int32 [], which team, or partner where there are no teams
    memory: Tree  # the partners' acting memories
    did: Tree  # f32 [M, A], what the partners did last, one-hot; `()` unless it is told


class _Kind(NamedTuple):
    """Partners that are evaluated as one."""

    init: Callable[[], Tree]
    act: Callable[[Tree, Tree, Observation, Array], tuple[Array, Tree]]
    policy: Tree  # leading axis: the partners of this kind
    size: int  # how many they are


class _Seat(NamedTuple):
    """Agents that always follow the same partner."""

    agents: tuple[int, ...]
    kinds: tuple[int, ...]  # that may sit here
    choice: np.ndarray  # int32 [draws], partner for each draw


class Cast(NamedTuple):
    """Who plays: all that `Roles` needs, checked and made ready."""

    env: Environment[Any, Any]
    ego: tuple[int, ...]  # agents that the learner controls, in its order
    others: tuple[int, ...]  # all other agents, ascending
    names: tuple[str, ...]  # of each draw
    log_weights: np.ndarray | None  # f32 [draws]; None where all are as likely
    kinds: tuple[_Kind, ...]
    kind_of: np.ndarray  # int32 [partners], its kind
    place_of: np.ndarray  # int32 [partners], its place among those of its kind
    seats: tuple[_Seat, ...]


class Roles(Environment[RolesState, EnvParams]):
    """An environment in which the learner controls only some agents; see `with_partners`."""

    cast: Cast
    privileged: bool

    @property
    def default_params(self) -> EnvParams:
        """Those of the environment that is played in."""
        params: EnvParams = self.cast.env.default_params
        return params

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """The environment's own facts, of the learner's agents only; no optimum is known.

        What a team can reach depends on the partners, so `optimum` is None. Where `privileged`,
        the environment's global state is followed by what `with_partners` says, and `state_parts`
        tells where.
        """
        spec, ego = self.cast.env.spec(params), self.cast.ego
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
        )

    def reset_env(self, key: Array, params: EnvParams) -> RolesState:
        """A fresh episode and, from a key of its own, the partners to play it with."""
        cast = self.cast
        key_env, key_draw = jax.random.split(key)
        if cast.log_weights is None:
            draw = jax.random.randint(key_draw, (), 0, len(cast.names), jnp.int32)
        else:
            draw = jax.random.categorical(key_draw, cast.log_weights).astype(jnp.int32)
        return self._state(cast.env.reset_env(key_env, params), draw)

    def _state(self, env_state: Tree, draw: Array) -> RolesState:
        cast = self.cast
        memory = [[cast.kinds[k].init() for k in seat.kinds] for seat in cast.seats]
        return RolesState(
            time=env_state.time,
            env_state=env_state,
            draw=draw,
            memory=jax.tree.map(jnp.asarray, memory),
            did=self._told([]),
        )

    def _told(self, actions: list[Array]) -> Tree:
        """The state's `did` after the partners' `actions`, after none where there are none."""
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
        """One step of everyone: the learner's agents do `action`, partners what they choose.

        Returns:
          As `Environment.step_env`; the reward is the learner's agents' own. `info` is the
          environment's and, for the M agents that are not the learner's in ascending order:
          `partner` int32 [], the draw; `partner_action` int32 [M] (f32 [M, A] where actions are
          continuous), what they did; `partner_observation` f32 [M, O], what they saw when they
          chose it, O being the environment's width. These are for training and analysis: an agent
          that acts on them cheats.
        """
        cast = self.cast
        key_env, key_partners = jax.random.split(key)
        env_state = state.env_state.replace(time=state.time)
        obs = cast.env.observe(env_state, params)
        partner_action, memory = _act(cast, state.memory, state.draw, obs, key_partners)
        partner_action, memory = settle((partner_action, memory), state.time)
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
            did=self._told(partner_action),
        )
        return state, reward[np.array(cast.ego)], terminated, info

    def observe(self, state: RolesState, params: EnvParams) -> Observation:
        """What the learner's agents see; the global state is as `spec` says."""
        ego, spec = np.array(self.cast.ego), self.spec()  # widths do not depend on `params`
        obs = self.cast.env.observe(state.env_state.replace(time=state.time), params)
        told = obs.global_state
        if self.privileged:
            partner = jax.nn.one_hot(state.draw, len(self.cast.names))
            seen = obs.local[np.array(self.cast.others)].reshape(-1)
            told = jnp.concatenate([told, partner, seen, state.did.reshape(-1)])
        return Observation(
            local=obs.local[ego, : spec.obs_size],
            action_mask=obs.action_mask[ego, : spec.num_actions],
            global_state=told,
        )

    @property
    def partner_names(self) -> tuple[str, ...]:
        """The partners, or teams, that are drawn from; `info["partner"]` is a place in it."""
        return self.cast.names

    def partner_name(self, state: RolesState) -> str:
        """The name of the partner, or the names of the team, of one (unbatched) state."""
        return self.cast.names[int(state.draw)]

    def render(self, state: RolesState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3], the environment's picture over the name of the partner."""
        from marlx.envs import raster  # here, since few who import this module draw

        picture = self.cast.env.render(state.env_state.replace(time=state.time), params)
        width, foot = picture.shape[1], 22
        words = f"with {self.partner_name(state)}"
        strip = raster.Canvas(width, foot)
        strip.text(width / 2, foot / 2 - 2, words, min(13.0, 1.8 * width / len(words)))
        return np.concatenate([picture, strip.pixels()])

    def subgoals(self, params: EnvParams | None = None) -> Subgoals | None:
        """Those of the environment, for the learner's agents."""
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
        )

    def make_state(self, env_state: Tree, partner: int | str) -> RolesState:
        """The state of one (unbatched) episode in which the partners have not acted yet.

        Args:
          env_state: of the environment that is played in.
          partner: which draw, by number or by name.

        Raises:
          ValueError: there is no such draw.
        """
        names = self.cast.names
        if isinstance(partner, str):
            if partner not in names:
                raise unknown("partner", partner, names)
            partner = names.index(partner)
        if not 0 <= partner < len(names):
            raise ValueError(f"partner is {partner}; it must be 0 to {len(names) - 1}")
        return self._state(env_state, jnp.int32(partner))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Partnered(Roles):
    """What `with_partners` returns; its attributes are that function's arguments."""

    env: Environment[Any, Any]
    policies: tuple[Partner, ...]
    ego: tuple[int, ...] | str = (0,)
    teams: tuple[tuple[int, ...], ...] | None = None
    weights: tuple[float, ...] | None = None
    privileged: bool = False
    cast: Cast = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
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
) -> Partnered:
    """`env` with a learner in the place of the `ego` agents and fixed policies in all others.

    Each episode draws one of the `policies`, from the key it is reset with, and all agents but
    `ego` follow it to the episode's end; or, with `teams`, a team of them. Nothing that the learner
    observes tells the draw. Its rewards are those of its own agents, and the team reward is taken
    over them alone. For what `info` holds, see `Roles.step_env`.

    Args:
      env: any environment.
      policies: the pool.
      ego: indices of the learner's agents, in the order in which it is to see them; or the name of
        one of `env.spec().groups`.
      teams: what to draw from instead of single policies: for each team, indices into `policies`
        for the other agents, in ascending order of agents.
      weights: how likely each policy (or team) is, up to a factor; None for all alike.
      privileged: the global state goes on with the draw (one-hot), what the other agents see, in
        ascending order, and what they did last (one-hot; zeros at first). This is for training,
        upper bounds and analysis; what the agents see does not change.

    Raises:
      ValueError: there is no policy, `ego` is not a part of the agents, `teams` or `weights` do not
        fit, or a policy's actions or memory have the wrong shape.

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
    )


def from_runs(
    paths: Sequence[str | Path],
    env: Environment[Any, Any],
    *,
    every_seed: bool = False,
    explore: bool = False,
    epsilon: float = 0.0,
) -> tuple[Partner, ...]:
    """Partners that act by trained policies.

    Runs whose learners act by the same program, whatever their parameters, become partners that are
    evaluated as one.

    Args:
      paths: run folders.
      env: the environment they are to play in, which has to be the one they were trained in.
      every_seed: a partner for each seed of a run, instead of one for the best.
      explore: act as in training instead of greedily.
      epsilon: how often an agent does something uniformly random (and legal) instead.

    Raises:
      ValueError: a folder holds no policy, or one of another environment.
    """
    from marlx.policies import load_policy

    if not 0 <= epsilon <= 1:
        raise ValueError(f"epsilon is {epsilon}; it must be between 0 and 1")
    programs: dict[tuple[Any, ...], Partner] = {}
    partners = []
    for path in paths:
        best = load_policy(path)
        _check_home(best.spec, env.spec(), str(path))
        name = Path(path).name
        loaded = {name: best}
        if every_seed:
            loaded = {f"{name}/{seed}": load_policy(path, seed) for seed in _seeds(path)}
        for name, policy in loaded.items():
            partner = from_policy(policy, name, explore=explore, epsilon=epsilon)
            first = programs.setdefault(_program(partner, env), partner)
            partners.append(partner._replace(init=first.init, act=first.act))
    return tuple(partners)


def from_policy(
    policy: Policy, name: str = "trained", *, explore: bool = False, epsilon: float = 0.0
) -> Partner:
    """A partner that acts by a trained policy; see `from_runs` for the options."""
    learner, spec = policy.learner, policy.spec

    def init() -> Tree:
        return jax.tree.map(lambda x: x[0], learner.memory(1))

    def act(arrays: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        key_act, key_random, key_coin = jax.random.split(key, 3)
        memory, batch = jax.tree.map(lambda x: x[None], (memory, obs))
        action, memory, _ = learner.act(arrays, memory, batch, key_act, explore)
        action, memory = jax.tree.map(lambda x: x[0], (action, memory))
        if epsilon > 0:
            random = uniform_action(key_random, spec, obs.action_mask)
            coin = jax.random.uniform(key_coin, (spec.num_agents,)) < epsilon
            action = jnp.where(coin.reshape(-1, *[1] * (action.ndim - 1)), random, action)
        return action, memory

    return Partner(name, init, act, policy.arrays)


def make_cast(
    env: Environment[Any, Any],
    policies: tuple[Partner, ...],
    ego: tuple[int, ...] | str,
    teams: tuple[tuple[int, ...], ...] | None = None,
    weights: tuple[float, ...] | None = None,
) -> Cast:
    """The arguments of `with_partners`, checked and made ready.

    Raises:
      ValueError: see there.
    """
    spec = env.spec()
    if not policies:
        raise ValueError("policies is empty; give at least one Partner")
    own = _ego(spec, ego)
    others = tuple(a for a in range(spec.num_agents) if a not in own)
    for partner in policies:
        _check_partner(partner, env, spec)
    table = _table(policies, teams, len(others))
    names = tuple(_team_name(policies, team) for team in table)
    kinds, kind_of, place_of = _stack(policies)
    together = all(len(set(team)) == 1 for team in table)
    seats = []
    for s, agents in enumerate([others] if together else [(a,) for a in others]):
        choice = np.array([team[s] for team in table], np.int32)
        used = tuple(sorted({int(kind_of[p]) for p in choice}))
        seats.append(_Seat(agents, used, choice))
    log_weights = None if weights is None else _log_weights(weights, len(table))
    return Cast(
        env, own, others, names, log_weights, kinds, kind_of, place_of, tuple(seats)
    )  # fmt: skip


def _act(
    cast: Cast, memory: Tree, draw: Array, obs: Observation, key: Array
) -> tuple[list[Array], Tree]:
    """An action for each agent of `cast.others`, and all memories."""
    keys = [key] if len(cast.seats) == 1 else list(jax.random.split(key, len(cast.seats)))
    actions: dict[int, Array] = {}
    memories = []
    for seat, own, key_seat in zip(cast.seats, memory, keys, strict=True):
        chosen, own = _act_seat(cast, seat, own, draw, obs, key_seat)
        memories.append(own)
        actions |= dict(zip(seat.agents, chosen, strict=True))
    return [actions[a] for a in cast.others], memories


def _act_seat(
    cast: Cast, seat: _Seat, memory: list[Tree], draw: Array, obs: Observation, key: Array
) -> tuple[list[Array], list[Tree]]:
    """Actions of the agents of one seat, and its memories of all kinds of partners."""
    place = jnp.asarray(cast.place_of[seat.choice])[draw]

    def branch(slot: int) -> Callable[[list[Tree]], tuple[list[Array], list[Tree]]]:
        kind = cast.kinds[seat.kinds[slot]]

        def run(memory: list[Tree]) -> tuple[list[Array], list[Tree]]:
            # A place among another kind may lie beyond this one's partners: not used then.
            pick = place if kind.size > 1 else 0
            policy = jax.tree.map(lambda x: x[pick], kind.policy)
            action, own = kind.act(policy, memory[slot], obs, key)
            return [action[a] for a in seat.agents], [*memory[:slot], own, *memory[slot + 1 :]]

        return run

    if len(seat.kinds) == 1:
        return branch(0)(memory)
    slot_of = np.array([seat.kinds.index(int(cast.kind_of[p])) for p in seat.choice], np.int32)
    branches = [branch(slot) for slot in range(len(seat.kinds))]
    chosen: tuple[list[Array], list[Tree]] = jax.lax.switch(
        jnp.asarray(slot_of)[draw], branches, memory
    )
    return chosen


def _stack(policies: tuple[Partner, ...]) -> tuple[tuple[_Kind, ...], np.ndarray, np.ndarray]:
    """The kinds there are, and for each partner its kind and its place in that kind."""
    kinds: dict[Any, list[Partner]] = {}
    places = []
    for partner in policies:
        leaves, structure = jax.tree.flatten(partner.policy)
        arrays = [jnp.asarray(leaf) for leaf in leaves]
        shapes = tuple((array.shape, array.dtype) for array in arrays)
        members = kinds.setdefault((partner.act, partner.init, structure, shapes), [])
        places.append((list(kinds).index((partner.act, partner.init, structure, shapes)),
                       len(members)))  # fmt: skip
        members.append(partner)
    made = []
    for members in kinds.values():
        policy = jax.tree.map(
            lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]),
            *[member.policy for member in members],
        )
        made.append(_Kind(members[0].init, members[0].act, policy, len(members)))
    kind_of, place_of = np.array(places, np.int32).T
    return tuple(made), kind_of, place_of


def _ego(spec: EnvSpec, ego: tuple[int, ...] | str) -> tuple[int, ...]:
    """The learner's agents, checked."""
    if isinstance(ego, str):
        groups = dict(spec.groups)
        if ego not in groups:
            raise unknown("group", ego, groups, spec.id)
        ego = groups[ego]
    count = spec.num_agents
    if count < 2:
        raise ValueError(f"{spec.id} has {count} agent; partners need one with 2 or more")
    if not ego:
        raise ValueError("ego is empty; name at least one agent")
    if len(set(ego)) < len(ego) or not all(0 <= a < count for a in ego):
        raise ValueError(f"ego is {ego}; it must hold different agents from 0 to {count - 1}")
    if len(ego) == count:
        raise ValueError(f"ego is {ego}, all agents of {spec.id}; leave one to the partners")
    return tuple(int(a) for a in ego)


def _table(
    policies: tuple[Partner, ...], teams: tuple[tuple[int, ...], ...] | None, others: int
) -> tuple[tuple[int, ...], ...]:
    """For each draw the partner of each agent that is not the learner's."""
    if teams is None:
        return tuple((p,) * others for p in range(len(policies)))
    if not teams:
        raise ValueError("teams is empty; give at least one, or None to draw single policies")
    for team in teams:
        if len(team) != others or not all(0 <= p < len(policies) for p in team):
            raise ValueError(
                f"teams holds {team}; a team gives each of the {others} other agents an index from "
                f"0 to {len(policies) - 1}"
            )
    return teams


def _team_name(policies: tuple[Partner, ...], team: tuple[int, ...]) -> str:
    names = [policies[p].name for p in team]
    return names[0] if len(set(names)) == 1 else " + ".join(names)


def _log_weights(weights: tuple[float, ...], count: int) -> np.ndarray:
    """f32 [count]; -inf where a weight is 0."""
    right = len(weights) == count and all(math.isfinite(w) and w >= 0 for w in weights)
    if not right or sum(weights) <= 0:
        raise ValueError(
            f"weights is {weights}; it must hold {count} numbers of 0 or more, not all 0"
        )
    return np.array([math.log(w) if w > 0 else -np.inf for w in weights], np.float32)


def _check_partner(partner: Partner, env: Environment[Any, Any], spec: EnvSpec) -> None:
    """Raises ValueError unless the actions and memory of `partner` have the right types."""
    what = f"partner {partner.name!r}"
    try:
        memory, action, after = _trace(partner, env)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).split("\n")[0]
        raise ValueError(f"{what} cannot act in {spec.id}: {reason}") from error
    shape = (spec.num_agents, spec.num_actions) if spec.continuous else (spec.num_agents,)
    dtype = "float32" if spec.continuous else "int32"
    if not hasattr(action, "shape") or (action.shape, action.dtype.name) != (shape, dtype):
        found = f"{getattr(action, 'dtype', type(action).__name__)}{getattr(action, 'shape', '')}"
        raise ValueError(
            f"{what} gives actions {found}; they must be {dtype}{shape}, "
            f"for every agent of {spec.id}"
        )
    if _types(memory) != _types(after):
        raise ValueError(f"{what} changes the structure, shape or dtype of its memory as it acts")


def _trace(partner: Partner, env: Environment[Any, Any]) -> tuple[Tree, Tree, Tree]:
    """Shapes of a partner's memory, its actions and its next memory."""

    def once(key: Array) -> tuple[Tree, Tree, Tree]:
        obs, _ = env.reset(key)
        policy, memory = jax.tree.map(jnp.asarray, (partner.policy, partner.init()))
        action, after = partner.act(policy, memory, obs, key)
        return memory, action, after

    shapes: tuple[Tree, Tree, Tree] = jax.eval_shape(once, jax.random.key(0))
    return shapes


def _types(tree: Tree) -> tuple[Any, ...]:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def _seeds(path: str | Path) -> list[int]:
    """The seeds of a run whose policy has been read."""
    folder = Path(path)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    content = json.loads((folder / "policy.json").read_text(encoding="utf-8"))
    return [int(seed) for seed in content["seeds"]]


def _check_home(found: EnvSpec, wanted: EnvSpec, path: str) -> None:
    """Raises ValueError unless a policy for `found` can act where `wanted` holds."""
    if found.id != wanted.id:
        raise ValueError(
            f"the policy in {path} was trained in {found.id}; it cannot play {wanted.id}"
        )
    for field in dataclasses.fields(EnvSpec):
        its, ours = getattr(found, field.name), getattr(wanted, field.name)
        # The clock and the best return may differ: the policy is told neither.
        if its != ours and field.name not in ("horizon", "optimum"):
            raise ValueError(
                f"the policy in {path} was trained in a {wanted.id} whose {field.name} is {its}; "
                f"here it is {ours}"
            )


def _program(partner: Partner, env: Environment[Any, Any]) -> tuple[Any, ...]:
    """Equal for two partners whose `init` and `act` compute the same, given their parameters."""
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0))
    memory = partner.init()
    traced = jax.make_jaxpr(partner.act)(partner.policy, memory, obs, jax.random.key(0))
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))  # addresses of functions are not part of it
    return text, *map(_content, (*traced.consts, *jax.tree.leaves(memory)))


def _content(array: Any) -> tuple[Any, ...]:
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    array = np.asarray(array)
    return array.shape, str(array.dtype), array.tobytes()
