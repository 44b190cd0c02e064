"""Which partner plays which agent, and how partners act.

Three levels: a `Kind` is a group of partners that share one program and differ in parameters only;
a `Seat` is a group of agents that always follow the same partner; the `Cast` of an environment is
its seats, and the teams from which each episode draws one. Within a seat, the team selects the kind
(a `switch`) and the parameters of that kind (an index).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.partners.partner import Partner, check_partner
from marlx.text import unknown
from marlx.types import Array, EnvSpec, Observation, Tree


class Kind(NamedTuple):
    """Partners that are evaluated as one."""

    init: Callable[[], Tree]
    act: Callable[[Tree, Tree, Observation, Array], tuple[Array, Tree]]
    policy: Tree  # leading axis: the partners of this kind
    size: int  # number of partners


class Seat(NamedTuple):
    """Agents that always follow the same partner."""

    agents: tuple[int, ...]
    kinds: tuple[Kind, ...]  # of the partners that may play these agents
    slot: np.ndarray  # int32 [teams], index into `kinds`
    place: np.ndarray  # int32 [teams], index of the partner within its kind


class Cast(NamedTuple):
    """Everything `Roles` needs to know about who plays."""

    env: Environment[Any, Any]
    ego: tuple[int, ...]  # agents that the learner controls, in its order
    others: tuple[int, ...]  # all other agents, ascending
    names: tuple[str, ...]  # of each team
    log_weights: np.ndarray | None  # f32 [teams]; None for equal weights
    kinds: tuple[Kind, ...]
    seats: tuple[Seat, ...]


def make_cast(
    env: Environment[Any, Any],
    policies: tuple[Partner, ...],
    ego: tuple[int, ...] | str,
    teams: tuple[tuple[int, ...], ...] | None = None,
    weights: tuple[float, ...] | None = None,
) -> Cast:
    """Returns the cast for the arguments of `with_partners`.

    Raises:
      ValueError: see `with_partners`.
    """
    spec = env.spec()
    if not policies:
        raise ValueError("policies is empty; give at least one Partner")
    own = _checked_ego(spec, ego)
    others = tuple(a for a in range(spec.num_agents) if a not in own)
    for partner in policies:
        check_partner(partner, env, spec)
    table = _checked_teams(policies, teams, len(others))
    names = tuple(_team_name(policies, team) for team in table)
    kinds, kind_of, place_of = _stack(policies)
    together = all(len(set(team)) == 1 for team in table)
    seats = []
    for s, agents in enumerate([others] if together else [(a,) for a in others]):
        partners = np.array([team[s] for team in table], np.int32)
        used = sorted({int(kind_of[p]) for p in partners})
        slot = np.array([used.index(int(kind_of[p])) for p in partners], np.int32)
        seats.append(Seat(agents, tuple(kinds[k] for k in used), slot, place_of[partners]))
    log_weights = None if weights is None else _log_weights(weights, len(table))
    return Cast(env, own, others, names, log_weights, kinds, tuple(seats))


def recast(cast: Cast, policy: Tree) -> Cast:
    """Returns the cast with other parameters for its only partner.

    Raises:
      ValueError: there are several partners.
    """
    if len(cast.names) != 1 or len(cast.kinds) != 1 or cast.kinds[0].size != 1:
        raise ValueError(f"the pool has {len(cast.names)} partners; other parameters are for one")
    kind = cast.kinds[0]._replace(policy=jax.tree.map(lambda x: jnp.asarray(x)[None], policy))
    seats = tuple(seat._replace(kinds=(kind,)) for seat in cast.seats)
    return cast._replace(kinds=(kind,), seats=seats)


def initial_memory(cast: Cast) -> Tree:
    """Returns the acting memories at an episode's start, for each seat one of each of its kinds."""
    memory = [[kind.init() for kind in seat.kinds] for seat in cast.seats]
    return jax.tree.map(jnp.asarray, memory)


def act_cast(
    cast: Cast, memory: Tree, team: Array, obs: Observation, key: Array
) -> tuple[list[Array], Tree]:
    """Returns an action for each agent of `cast.others`, and the memories of all seats.

    Args:
      cast: who plays.
      memory: of all seats, see `initial_memory`.
      team: int32 [], the team of this episode.
      obs: of all agents.
      key: consumed.
    """
    keys = [key] if len(cast.seats) == 1 else list(jax.random.split(key, len(cast.seats)))
    actions: dict[int, Array] = {}
    memories = []
    for seat, own, key_seat in zip(cast.seats, memory, keys, strict=True):
        chosen, own = act_seat(seat, own, team, obs, key_seat)
        memories.append(own)
        actions |= dict(zip(seat.agents, chosen, strict=True))
    return [actions[a] for a in cast.others], memories


def act_seat(
    seat: Seat, memory: list[Tree], team: Array, obs: Observation, key: Array
) -> tuple[list[Array], list[Tree]]:
    """Returns the actions of a seat's agents, and its memories, one for each of its kinds."""
    place = jnp.asarray(seat.place)[team]
    act = functools.partial(_act_slot, seat, place, obs, key)
    if len(seat.kinds) == 1:
        return act(0, memory)
    branches = [functools.partial(act, slot) for slot in range(len(seat.kinds))]
    chosen: tuple[list[Array], list[Tree]] = jax.lax.switch(
        jnp.asarray(seat.slot)[team], branches, memory
    )
    return chosen


def _act_slot(
    seat: Seat, place: Array, obs: Observation, key: Array, slot: int, memory: list[Tree]
) -> tuple[list[Array], list[Tree]]:
    """Returns actions and memories of a seat whose partner is of kind `seat.kinds[slot]`."""
    action, own = act_partner(seat.kinds[slot], place, memory[slot], obs, key)
    return [action[a] for a in seat.agents], [*memory[:slot], own, *memory[slot + 1 :]]


def act_partner(
    kind: Kind, place: Array, memory: Tree, obs: Observation, key: Array
) -> tuple[Array, Tree]:
    """Returns actions for all agents by the partner at `place` in `kind`, and its next memory.

    In a branch that is not taken, `place` may exceed the kind's size: it is the place in another
    kind, and the result is not used.
    """
    policy = jax.tree.map(lambda leaf: leaf[place if kind.size > 1 else 0], kind.policy)
    return kind.act(policy, memory, obs, key)


def _stack(policies: tuple[Partner, ...]) -> tuple[tuple[Kind, ...], np.ndarray, np.ndarray]:
    """Returns the kinds, and for each partner the index of its kind and its place in that kind."""
    kinds: dict[Any, list[Partner]] = {}
    places = []
    for partner in policies:
        leaves, structure = jax.tree.flatten(partner.policy)
        arrays = [jnp.asarray(leaf) for leaf in leaves]
        shapes = tuple((array.shape, array.dtype) for array in arrays)
        program = (partner.act, partner.init, structure, shapes)
        members = kinds.setdefault(program, [])
        places.append((list(kinds).index(program), len(members)))
        members.append(partner)
    made = []
    for members in kinds.values():
        policy = jax.tree.map(
            lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]),
            *[member.policy for member in members],
        )
        made.append(Kind(members[0].init, members[0].act, policy, len(members)))
    kind_of, place_of = np.array(places, np.int32).T
    return tuple(made), kind_of, place_of


def _checked_ego(spec: EnvSpec, ego: tuple[int, ...] | str) -> tuple[int, ...]:
    """Returns the learner's agents; raises ValueError if they are not a part of all agents."""
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


def _checked_teams(
    policies: tuple[Partner, ...], teams: tuple[tuple[int, ...], ...] | None, others: int
) -> tuple[tuple[int, ...], ...]:
    """Returns for each team the partner of each agent that is not the learner's."""
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
    """Returns the name of the partner, or the names joined where they differ."""
    names = [policies[p].name for p in team]
    return names[0] if len(set(names)) == 1 else " + ".join(names)


def _log_weights(weights: tuple[float, ...], count: int) -> np.ndarray:
    """Returns f32 [count], -inf where a weight is 0; raises ValueError for wrong weights."""
    right = len(weights) == count and all(math.isfinite(w) and w >= 0 for w in weights)
    if not right or sum(weights) <= 0:
        raise ValueError(
            f"weights is {weights}; it must hold {count} numbers of 0 or more, not all 0"
        )
    return np.array([math.log(w) if w > 0 else -np.inf for w in weights], np.float32)
