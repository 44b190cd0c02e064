"""The world all particle environments share: round agents that push themselves about a plane.

A scenario is a short file that says which agents and landmarks there are, what they see and what
they are paid; everything else is here, once.

Rewards are arithmetic on single numbers, unrolled over agents and landmarks: under `vmap` each
number becomes one contiguous `[B]` vector. Contacts and observations are whole vectors per agent,
which was measured to be several times as fast there. Numbers keep the type of the state they come
from, so that with JAX's 64-bit mode the same code computes in double precision, as mpe2 does.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState, settled
from marlx.types import Array, EnvSpec, Observation

STEP = 0.1
"""Seconds of one step."""
DAMPING = 0.25
"""Part of its velocity that a body loses in a step."""
STIFFNESS = 100.0
"""Force of a contact, per length of overlap."""
MARGIN = 1e-3
"""Length over which a contact sets in."""
MOVES = 5
"""Ways to push oneself: not at all, and in four directions."""

Integrator = Literal["mpe2", "openai"]
Signs = Literal["mpe2", "openai"]
Number = Array | float


@flax.struct.dataclass
class ParticleState(EnvState):
    """One episode: where everything is, what was said last, and what is wanted."""

    agent_pos: Array  # f32 [N, 2], (x, y)
    agent_vel: Array  # f32 [N, 2], length per second
    landmark_pos: Array  # f32 [L, 2]
    comm: Array  # f32 [K, C], what each of the K agents that speak said last, 0 at reset
    goal: Array  # int32 [G], what the scenario draws at reset, see `Particles.goals`


class Agent(NamedTuple):
    """What does not change about an agent."""

    name: str  # as in mpe2
    group: str
    size: float = 0.05  # radius
    collide: bool = True
    movable: bool = True
    speaks: bool = False
    accel: float = 5.0  # force of a push; every mass is 1
    max_speed: float | None = None


class Landmark(NamedTuple):
    """What does not change about a landmark; landmarks never move."""

    size: float = 0.05  # radius
    collide: bool = False
    kind: str = "landmark"  # for pictures


class Point(NamedTuple):
    """A place, or a velocity, as single numbers."""

    x: Array
    y: Array

    def __sub__(self, other: Point) -> Point:
        """Where this is, seen from the other."""
        return Point(self.x - other.x, self.y - other.y)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Particles(Environment[ParticleState, EnvParams], abc.ABC):
    """Base of the particle environments: physics, actions, padding, pictures.

    Actions, discrete: 0 nothing, 1 left (-x), 2 right (+x), 3 down (-y), 4 up (+y); agents that
    both move and speak choose `move + 5 * symbol`, agents that only speak a symbol. Continuous: f32
    in [0, 1] (what lies outside is clipped), (nothing, left, right, down, up) of which opposite
    ones are subtracted, then one number for each symbol. What an agent lacks is masked.

    Global state, complete: all agents' velocities, all agents' positions, all landmarks' positions,
    what each speaking agent said last, and a one-hot for each number of the goal.

    Attributes:
      continuous_actions: agents choose numbers instead of an index.
      integrator: `mpe2` moves bodies by the velocity before the step's forces, so that an action
        shows in positions one step later; `openai` by the velocity after them, as OpenAI's original
        and the forks of it that MADDPG, EPyMARL's first version and LIAM use.
      action_signs: `openai` turns every push around: 1 right, 2 left, 3 up, 4 down, as in OpenAI's
        original when it is given one-hot actions.
      horizon: steps after which an episode is truncated.

    Source: mpe2 1.1.1; Lowe et al. 2017, arXiv 1706.02275.
    Differs from: mpe2, where two colliding bodies at exactly the same place become NaN (here: they
      do not push each other), where observations are not padded, and whose `state()` is all
      agents' observations in a row, which in some scenarios leaves out what the next step depends
      on (here: see above).
    """

    ID: ClassVar[str] = ""
    """The id that `spec` tells."""
    DIM_C: ClassVar[int] = 0
    """C, how many symbols there are."""
    LANDMARK_RANGE: ClassVar[float] = 1.0
    """Landmarks begin within this distance of 0 on either axis."""
    AGENT_RANGE: ClassVar[float] = 1.0
    """Agents likewise."""
    COLORED: ClassVar[bool] = False
    """For pictures: agents tell landmarks apart by colour."""
    WALLS: ClassVar[tuple[float, float, float] | None] = None
    """For pictures: distance from the centre, where they end along their length, half the width."""

    continuous_actions: bool = False
    integrator: Integrator = "mpe2"
    action_signs: Signs = "mpe2"
    horizon: int = 25

    def __post_init__(self) -> None:
        for setting, known in (("integrator", Integrator), ("action_signs", Signs)):
            if getattr(self, setting) not in get_args(known):
                raise ValueError(
                    f"{setting} is {getattr(self, setting)!r}; it must be one of {get_args(known)}"
                )
        at_least(self, horizon=1)

    # What a scenario says.

    @property
    @abc.abstractmethod
    def agents(self) -> tuple[Agent, ...]:
        """The agents, in mpe2's order."""

    @property
    @abc.abstractmethod
    def landmarks(self) -> tuple[Landmark, ...]:
        """The landmarks, in mpe2's order."""

    @property
    def goals(self) -> tuple[int, ...]:
        """Each number of the goal is uniform below one of these."""
        return ()

    @abc.abstractmethod
    def see(self, state: ParticleState) -> list[list[Array]]:
        """What each agent sees, as vectors to be put in a row; padding comes later.

        Vectors are copied in one go, single numbers are not: with those, observations are most of
        what a step costs.
        """

    @abc.abstractmethod
    def pay(self, state: ParticleState) -> list[Number]:
        """Each agent's reward for having reached this state, from single numbers: see `points`."""

    # What follows from it.

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    @functools.cached_property
    def speakers(self) -> tuple[int, ...]:
        """The agents that speak, whose messages are the rows of a state's `comm`."""
        return tuple(i for i, agent in enumerate(self.agents) if agent.speaks)

    @functools.cached_property
    def _action_sizes(self) -> tuple[int, ...]:
        sizes = []
        for agent in self.agents:
            moves, symbols = MOVES * agent.movable, self.DIM_C * agent.speaks
            joint = moves + symbols if self.continuous_actions else max(moves, 1) * max(symbols, 1)
            sizes.append(joint)
        return tuple(sizes)

    @functools.cached_property
    def _obs_sizes(self) -> tuple[int, ...]:
        state = jax.eval_shape(self.reset_env, jax.random.key(0), self.default_params)
        seen = jax.eval_shape(self.see, state)
        return tuple(sum(part.size for part in parts) for parts in seen)

    @functools.cached_property
    def _mask(self) -> np.ndarray:
        """Bool [N, A], the actions (or components) that an agent has."""
        sizes = np.array(self._action_sizes)
        return np.asarray(np.arange(max(sizes)) < sizes[:, None])

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Static facts for learners.

        Rewards are averaged, not summed, into the team's: agents of a team are each paid the same
        reward, or the same and a share of their own, and the mean is in mpe2's unit. EPyMARL sums.
        """
        groups: dict[str, list[int]] = {}
        for i, agent in enumerate(self.agents):
            groups.setdefault(agent.group, []).append(i)
        size = 4 * len(self.agents) + 2 * len(self.landmarks)
        return EnvSpec(
            id=self.ID,
            num_agents=len(self.agents),
            num_actions=max(self._action_sizes),
            obs_size=max(self._obs_sizes),
            state_size=size + self.DIM_C * len(self.speakers) + sum(self.goals),
            horizon=self.horizon if params is None else int(params.max_steps_in_episode),
            reward_aggregation="mean",
            groups=tuple((name, tuple(members)) for name, members in groups.items()),
            obs_sizes=self._obs_sizes,
            action_sizes=self._action_sizes,
            continuous=self.continuous_actions,
        )

    def reset_env(self, key: Array, params: EnvParams) -> ParticleState:
        """A fresh episode: places and goals uniform and independent, everything at rest."""
        del params
        count, marks = len(self.agents), len(self.landmarks)
        # One draw for all: hashing costs more than the rest.
        bits = jax.random.bits(key, (2 * (count + marks) + len(self.goals),), jnp.uint32)
        draws = iter(jnp.unstack(bits))
        places = [_within(next(draws), self.AGENT_RANGE) for _ in range(2 * count)]
        marked = [_within(next(draws), self.LANDMARK_RANGE) for _ in range(2 * marks)]
        goal = [(next(draws) % size).astype(jnp.int32) for size in self.goals]
        kind = places[0].dtype
        return ParticleState(
            time=jnp.int32(0),
            agent_pos=jnp.stack(places).reshape(count, 2),
            agent_vel=jnp.zeros((count, 2), kind),
            landmark_pos=jnp.stack(marked).reshape(marks, 2) if marks else jnp.zeros((0, 2), kind),
            comm=jnp.zeros((len(self.speakers), self.DIM_C), kind),
            goal=jnp.stack(goal) if goal else jnp.zeros(0, jnp.int32),
        )

    def step_env(
        self, key: Array, state: ParticleState, action: Array, params: EnvParams
    ) -> tuple[ParticleState, Array, Array, dict[str, Any]]:
        """One step: all push and speak, bodies move, then all are paid; `key` is not used."""
        del key, params

        def after(state: ParticleState, action: Array) -> ParticleState:
            push, comm = self._act(action, state.agent_pos.dtype)
            pos, vel = self._move(state, push)
            return state.replace(  # type: ignore[attr-defined, no-any-return]
                time=state.time + 1, agent_pos=pos, agent_vel=vel, comm=comm
            )

        state = settled(after, state.time, state, action)
        reward = [jnp.asarray(r, state.agent_pos.dtype) for r in self.pay(state)]
        return state, jnp.stack(reward), jnp.bool_(False), {}

    def observe(self, state: ParticleState, params: EnvParams) -> Observation:
        """What each agent sees, padded with 0, the actions it has, and the whole state."""
        del params
        width = max(self._obs_sizes)
        kind = state.agent_pos.dtype
        rows = [
            jnp.concatenate([*parts, jnp.zeros(width - size, kind)] if size < width else parts)
            for parts, size in zip(self.see(state), self._obs_sizes, strict=True)
        ]
        whole = [state.agent_vel, state.agent_pos, state.landmark_pos, state.comm]
        goal = [one_hot(state.goal[k], size, kind) for k, size in enumerate(self.goals)]
        return Observation(
            local=jnp.stack(rows),
            action_mask=jnp.asarray(self._mask),
            global_state=jnp.concatenate([part.reshape(part.size) for part in (*whole, *goal)]),
        )

    def render(self, state: ParticleState, params: EnvParams | None = None) -> np.ndarray:
        """uint8 [height, width, 3]: agents by group, landmarks, goals ringed, messages in bubbles.

        Lines on agents are where their velocity takes them in half a second. The frame is 1 from
        the centre; the picture widens when something leaves it.
        """
        from marlx.envs.mpe import picture  # here, since few who import this module draw

        return picture.draw(self, state, self.spec(params).horizon)

    def aims(self, goal: Sequence[int]) -> list[tuple[int, int | None]]:
        """For pictures: the landmarks that are goals, each with the agent it is for, if one."""
        return [(goal[0], None)] if goal else []

    def make_state(
        self,
        agent_pos: Any,
        agent_vel: Any,
        landmark_pos: Any,
        comm: Any = None,
        goal: Any = None,
        step: int = 0,
    ) -> ParticleState:
        """The state of one (unbatched) episode from plain arrays or lists.

        Args:
          agent_pos: [N, 2], (x, y) of each agent, in mpe2's order.
          agent_vel: [N, 2].
          landmark_pos: [L, 2], in mpe2's order.
          comm: [K, C], what each agent that speaks (see `speakers`) said last; None for nothing.
          goal: integers [G], each below its entry of `goals`; None for zeros.
          step: steps taken since the episode began.

        Raises:
          ValueError: for a state that cannot be, saying what is wrong with it.
        """
        agents, marks = len(self.agents), len(self.landmarks)
        shape = (len(self.speakers), self.DIM_C)
        arrays = {}
        for what, values, wanted in (
            ("agent_pos", agent_pos, (agents, 2)),
            ("agent_vel", agent_vel, (agents, 2)),
            ("landmark_pos", landmark_pos, (marks, 2)),
            ("comm", np.zeros(shape) if comm is None else comm, shape),
        ):
            array = np.asarray(values)
            if array.dtype.kind not in "iuf":
                raise ValueError(f"{what} holds {array.dtype} values; it must hold numbers")
            if array.shape != wanted and not array.size == np.prod(wanted) == 0:
                raise ValueError(f"{what} has shape {array.shape}; it must be {wanted}")
            if not np.isfinite(array).all():
                raise ValueError(f"{what} holds numbers that are not finite")
            arrays[what] = jnp.asarray(array.reshape(wanted), float)
        wants = np.zeros(len(self.goals), int) if goal is None else np.asarray(goal)
        if wants.shape != (len(self.goals),):
            raise ValueError(f"goal has shape {wants.shape}; it must be {(len(self.goals),)}")
        whole = wants.dtype.kind in "iu" or not wants.size
        if not (whole and (wants >= 0).all() and (wants < np.array(self.goals)).all()):
            raise ValueError(
                f"goal is {wants.tolist()}; it must hold integers from 0 and below "
                f"{list(self.goals)}"
            )
        if step < 0:
            raise ValueError(f"step is {step}; it must be 0 or more")
        return ParticleState(time=jnp.int32(step), goal=jnp.asarray(wants, jnp.int32), **arrays)

    def _act(self, action: Array, kind: Any) -> tuple[Array, Array]:
        """The force [N, 2] each agent applies to itself, and what each speaking agent says [K, C].

        In discrete actions numbers beyond an agent's own count as doing and saying nothing.
        """
        movable = np.array([agent.movable for agent in self.agents])
        if self.continuous_actions:
            parts = jnp.clip(action.astype(kind), 0.0, 1.0)
            starts = [MOVES * self.agents[i].movable for i in self.speakers]
            said = [
                parts[i, start : start + self.DIM_C]
                for i, start in zip(self.speakers, starts, strict=True)
            ]
            comm = jnp.stack(said) if said else jnp.zeros((0, self.DIM_C), kind)
            if not movable.any():
                return jnp.zeros((len(self.agents), 2), kind), comm
            left, right, down, up = (parts[:, k] for k in range(1, MOVES))
        else:
            both = movable & np.array([agent.speaks for agent in self.agents])
            move = jnp.where(both, action % MOVES, action) if both.any() else action
            symbol = jnp.where(both, action // MOVES, action)[np.array(self.speakers, int)]
            comm = (symbol[:, None] == np.arange(self.DIM_C)).astype(kind)
            left, right, down, up = ((move == k).astype(kind) for k in range(1, MOVES))
        sign = 1.0 if self.action_signs == "mpe2" else -1.0
        strength = np.array([sign * agent.accel * agent.movable for agent in self.agents])
        return jnp.stack([right - left, up - down], -1) * strength[:, None].astype(kind), comm

    def _move(self, state: ParticleState, push: Array) -> tuple[Array, Array]:
        """Positions and velocities [N, 2] of the agents one step later."""
        vel = state.agent_vel * (1 - DAMPING) + self._forces(state, push) * STEP
        fastest = [agent.max_speed for agent in self.agents]
        if any(fastest):
            most = np.array([np.inf if f is None else f for f in fastest], vel.dtype)
            speed = jnp.sqrt(square(Point(vel[:, 0], vel[:, 1])))
            vel = vel * jnp.where(speed > most, most / _nonzero(speed), 1.0)[:, None]
        carry = state.agent_vel if self.integrator == "mpe2" else vel
        pos = state.agent_pos + carry * STEP
        movable = np.array([agent.movable for agent in self.agents])[:, None]
        if not movable.all():
            pos = jnp.where(movable, pos, state.agent_pos)
            vel = jnp.where(movable, vel, state.agent_vel)
        return pos, vel

    def _forces(self, state: ParticleState, push: Array) -> Array:
        """The force [N, 2] on each agent: its own push, and contacts with whatever it overlaps."""
        # An agent's contacts with all that come after it are computed as vectors, and added up one
        # by one: of what was tried this is the fastest, for one episode and for thousands.
        bodies: list[Agent | Landmark] = [*self.agents, *self.landmarks]
        places = jnp.concatenate([state.agent_pos, state.landmark_pos])
        solid = [k for k, body in enumerate(bodies) if body.collide]
        if not [i for i in solid[:-1] if i < len(self.agents)]:
            return push

        def touch(places: Array) -> dict[int, Array]:
            contacts = {}
            for i in solid[:-1]:
                if i < len(self.agents):
                    after = solid[solid.index(i) + 1 :]
                    reach = np.array([bodies[i].size + bodies[j].size for j in after], places.dtype)
                    contacts[i] = contact(places[i] - _rows(places, after), reach)
            return contacts

        contacts = settled(touch, state.time, places)
        forces = list(push)
        for i, pushed in contacts.items():
            for k, j in enumerate(solid[solid.index(i) + 1 :]):
                forces[i] = forces[i] + pushed[k]
                if j < len(forces):
                    forces[j] = forces[j] - pushed[k]
        return jnp.stack(forces)


def _rows(array: Array, which: list[int]) -> Array:
    """Some rows; as a slice where they follow each other, which is cheaper."""
    first, end = which[0], which[-1] + 1
    return array[first:end] if len(which) == end - first else array[np.array(which)]


def points(array: Array) -> list[Point]:
    """The rows of [K, 2] as single numbers."""
    numbers = jnp.unstack(array.reshape(array.size))
    return list(map(Point, numbers[::2], numbers[1::2]))


def one_hot(which: Array, size: int, kind: Any) -> Array:
    """[size], 1 at `which`."""
    return (which == np.arange(size)).astype(kind)


def pick(rows: Sequence[Any], which: Array) -> Any:
    """`rows[which]`, of numbers, vectors or points, for a traced `which`."""

    def select(chosen: Any, row: tuple[int, Any]) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(which == row[0], b, a), chosen, row[1])

    return functools.reduce(select, enumerate(rows[1:], 1), rows[0])


def contact(apart: Array, reach: np.ndarray) -> Array:
    """The forces [K, 2] on a body at `apart` [K, 2] from others that it touches within `reach`."""
    dist = jnp.sqrt(square(Point(apart[:, 0], apart[:, 1])))
    strength = STIFFNESS * overlap(dist - reach) / _nonzero(dist)
    return apart * strength[:, None]


def overlap(gap: Array) -> Array:
    """How deep two bodies are in each other; fades out where there is a gap between them."""
    u = gap / MARGIN
    # log(1 + exp(-u)) without overflow.
    return MARGIN * (jnp.maximum(-u, 0.0) + jnp.log(1.0 + jnp.exp(-jnp.abs(u))))


def _nonzero(number: Array) -> Array:
    """`number`, or 1 where it is 0, to divide by."""
    return jnp.where(number > 0, number, 1.0)


def square(apart: Point) -> Array:
    """Squared length."""
    return apart.x * apart.x + apart.y * apart.y


def distance(a: Point, b: Point) -> Array:
    """How far `a` is from `b`."""
    return jnp.sqrt(square(a - b))


def touch(a: Point, b: Point, reach: float) -> Array:
    """Bool [], whether `a` and `b` are nearer than `reach`."""
    return square(a - b) < reach * reach


def count(conditions: Iterable[Array]) -> Array:
    """How many hold."""
    return functools.reduce(jnp.add, [jnp.where(yes, 1.0, 0.0) for yes in conditions])


def outside(place: Point) -> Array:
    """What mpe2 takes for leaving the screen, both axes together."""

    def one(x: Array) -> Array:
        x = jnp.abs(x)
        far = jnp.minimum(jnp.exp(2.0 * x - 2.0), 10.0)
        return jnp.where(x < 0.9, 0.0, jnp.where(x < 1.0, (x - 0.9) * 10.0, far))

    return one(place.x) + one(place.y)


def nearest(places: Sequence[Point], to: Point) -> Array:
    """Distance of the nearest of `places`."""
    return jnp.sqrt(functools.reduce(jnp.minimum, [square(place - to) for place in places]))


def relative(places: Array, to: Array) -> Array:
    """`places` [K, 2] as seen from `to` [2], in a row: [2 K]."""
    return (places - to).reshape(places.size)


def others(things: Array, i: int) -> Array:
    """All rows but the i-th."""
    return jnp.concatenate([things[:i], things[i + 1 :]])


def _within(draw: Array, bound: float) -> Array:
    """A number uniform in [-bound, bound) from 32 random bits."""
    return (draw >> 8).astype(float) * (bound * 2.0**-23) - bound


def check_ratio(local_ratio: float) -> None:
    """Raise ValueError unless this is a proportion."""
    if not 0 <= local_ratio <= 1:
        raise ValueError(f"local_ratio is {local_ratio}; it must be between 0 and 1")


def at_least(env: Any, **lowest: int) -> None:
    """Raise ValueError in one line for a setting below its lowest value."""
    for setting, least in lowest.items():
        if getattr(env, setting) < least:
            raise ValueError(f"{setting} is {getattr(env, setting)}; it must be {least} or more")
