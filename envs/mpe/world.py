"""The base of all particle environments: round agents that push themselves about a plane.

A scenario is a short file with its agents and landmarks, observations and rewards; physics and
actions are here.

Rewards are arithmetic on scalars, unrolled over agents and landmarks: under `vmap` each becomes one
contiguous `[B]` vector. Contacts and observations are whole vectors for each agent, which was
measured to be several times as fast for them.
"""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs import sketch
from marlx.envs.checks import at_least, check_not_negative, numbers, one_of
from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import Number, Point, contact, nonzero, one_hot, square, uniform
from marlx.types import Array, Entities, EnvSpec, Observation, Scene
from marlx.xla.materialise import call_materialised

STEP = 0.1
"""Seconds of one step."""
DAMPING = 0.25
"""Share of its velocity that a body loses in a step."""
MOVES = 5
"""Number of moves: none, and a push in each of four directions."""

Integrator = Literal["mpe2", "openai"]
Signs = Literal["mpe2", "openai"]


@flax.struct.dataclass
class ParticleState(EnvState):
    """State of one episode."""

    agent_pos: Array  # f32 [N, 2], (x, y)
    agent_vel: Array  # f32 [N, 2], length per second
    landmark_pos: Array  # f32 [L, 2]
    comm: Array  # f32 [K, C], the last message of each of the K speakers, 0 at reset
    goal: Array  # int32 [G], drawn at reset, see `Particles.goals`

    def _drawing(self) -> str:
        """Returns an SVG: agents are numbered, landmarks are grey."""
        marks = [(float(x), float(y), "", "#8c909c") for x, y in self.landmark_pos]
        colors = sketch.COLORS
        return sketch.plane(
            marks
            + [
                (float(x), float(y), str(i), colors[i % len(colors)])
                for i, (x, y) in enumerate(self.agent_pos)
            ]
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Particles(Environment[ParticleState, EnvParams], abc.ABC):
    """Base of the particle environments: physics, actions, padding, pictures.

    Discrete actions: 0 nothing, 1 left (-x), 2 right (+x), 3 down (-y), 4 up (+y). Agents that move
    and speak choose `move + 5 * symbol`; agents that only speak choose a symbol.
    Continuous actions: f32 in [0, 1], clipped, (nothing, left, right, down, up), of which opposite
    ones are subtracted, then one number for each symbol.
    Actions, or components, that an agent does not have are masked.

    Global state: velocities of all agents, positions of all agents, positions of all landmarks,
    last messages of the speakers, and a one-hot for each number of the goal.

    Attributes:
      continuous_actions: agents choose numbers instead of an index.
      integrator: `mpe2` moves bodies by the velocity before the step's forces, so that an action
        changes positions one step later; `openai` by the velocity after them, as OpenAI's original
        and its forks in MADDPG, EPyMARL's first version and LIAM.
      action_signs: `openai` reverses every push: 1 right, 2 left, 3 up, 4 down, as OpenAI's
        original does with one-hot actions.
      horizon: steps after which an episode is truncated.

    Source: mpe2 1.1.1; Lowe et al. 2017, arXiv 1706.02275.
    Differs from mpe2 in:
      - two colliding bodies at exactly the same position, which become NaN there and do not push
        each other here;
      - observations, which are not padded there;
      - `state()`, which is the concatenation of all observations there and in some scenarios lacks
        a part of what the next step depends on.
    """

    ID: ClassVar[str] = ""
    """The id in `spec`."""
    DIM_C: ClassVar[int] = 0
    """C, the number of symbols."""
    LANDMARK_RANGE: ClassVar[float] = 1.0
    """Landmarks start within this distance of 0 on either axis."""
    AGENT_RANGE: ClassVar[float] = 1.0
    """Agents start within this distance of 0 on either axis."""
    COLORED: ClassVar[bool] = False
    """For pictures: whether landmarks have colours that agents see."""
    WALLS: ClassVar[tuple[float, float, float] | None] = None
    """For pictures: distance of the walls from the centre, half their length, half their width."""

    continuous_actions: bool = False
    integrator: Integrator = "mpe2"
    action_signs: Signs = "mpe2"
    horizon: int = 25

    def __post_init__(self) -> None:
        one_of(self, integrator=get_args(Integrator), action_signs=get_args(Signs))
        at_least(self, horizon=1)

    # Defined by each scenario.

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
        """Number of values of each number of the goal; it is uniform over them."""
        return ()

    @abc.abstractmethod
    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns the observation of each agent, as vectors to be concatenated and padded.

        Use vectors: with scalars, observations would take most of the time of a step.
        """

    @abc.abstractmethod
    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns each agent's reward for reaching this state, computed in scalars (`points`)."""

    # Derived from these.

    @property
    def default_params(self) -> EnvParams:
        """The time limit `horizon`."""
        return EnvParams(max_steps_in_episode=self.horizon)

    @functools.cached_property
    def speakers(self) -> tuple[int, ...]:
        """The agents that speak; their messages are the rows of a state's `comm`."""
        return tuple(i for i, agent in enumerate(self.agents) if agent.speaks)

    @functools.cached_property
    def _action_sizes(self) -> tuple[int, ...]:
        """Number of actions, or of components, of each agent."""
        sizes = []
        for agent in self.agents:
            moves, symbols = MOVES * agent.movable, self.DIM_C * agent.speaks
            joint = moves + symbols if self.continuous_actions else max(moves, 1) * max(symbols, 1)
            sizes.append(joint)
        return tuple(sizes)

    @functools.cached_property
    def _obs_sizes(self) -> tuple[int, ...]:
        """Width of each agent's observation."""
        state = jax.eval_shape(self.reset_env, jax.random.key(0), self.default_params)
        seen = jax.eval_shape(self.views, state)
        return tuple(sum(part.size for part in parts) for parts in seen)

    @functools.cached_property
    def _mask(self) -> np.ndarray:
        """Bool [N, A], the actions (or components) of each agent."""
        sizes = np.array(self._action_sizes)
        return np.asarray(np.arange(max(sizes)) < sizes[:, None])

    def spec(self, params: EnvParams | None = None) -> EnvSpec:
        """Returns static facts.

        The team's reward is the mean, not the sum, of the agents': those of a team share their
        reward, or most of it, so the mean is in mpe2's unit. EPyMARL sums.
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
            entities=self.entities,
        )

    @property
    def entities(self) -> tuple[Entities, ...]:
        """Rows of each agent's observation, see `EnvSpec.entities`; none unless a task has them."""
        return ()

    def reset_env(self, key: Array, params: EnvParams) -> ParticleState:
        """Returns a first state: positions and goals uniform and independent, all at rest."""
        del params
        count, marks = len(self.agents), len(self.landmarks)
        # One call for all random bits, since hashing costs more than the rest.
        bits = jax.random.bits(key, (2 * (count + marks) + len(self.goals),), jnp.uint32)
        draws = iter(jnp.unstack(bits))
        places = [uniform(next(draws), self.AGENT_RANGE) for _ in range(2 * count)]
        marked = [uniform(next(draws), self.LANDMARK_RANGE) for _ in range(2 * marks)]
        goal = [(next(draws) % size).astype(jnp.int32) for size in self.goals]
        dtype = places[0].dtype
        return ParticleState(
            time=jnp.int32(0),
            agent_pos=jnp.stack(places).reshape(count, 2),
            agent_vel=jnp.zeros((count, 2), dtype),
            landmark_pos=jnp.stack(marked).reshape(marks, 2) if marks else jnp.zeros((0, 2), dtype),
            comm=jnp.zeros((len(self.speakers), self.DIM_C), dtype),
            goal=jnp.stack(goal) if goal else jnp.zeros(0, jnp.int32),
        )

    def step_env(
        self, key: Array, state: ParticleState, action: Array, params: EnvParams
    ) -> tuple[ParticleState, Array, Array, dict[str, Any]]:
        """Plays one step: all push and speak, then bodies move. `key` is not used."""
        del key, params

        def after(state: ParticleState, action: Array) -> ParticleState:
            push, comm = self._act(action, state.agent_pos.dtype)
            pos, vel = self._move(state, push)
            return state.replace(  # type: ignore[attr-defined, no-any-return]
                time=state.time + 1, agent_pos=pos, agent_vel=vel, comm=comm
            )

        state = call_materialised(after, state.time, state, action)
        reward = [jnp.asarray(r, state.agent_pos.dtype) for r in self.rewards(state)]
        return state, jnp.stack(reward), jnp.bool_(False), {}

    def observe(self, state: ParticleState, params: EnvParams) -> Observation:
        """Returns views padded with 0, the action mask and the global state."""
        del params
        width = max(self._obs_sizes)
        dtype = state.agent_pos.dtype
        rows = [
            jnp.concatenate([*parts, jnp.zeros(width - size, dtype)] if size < width else parts)
            for parts, size in zip(self.views(state), self._obs_sizes, strict=True)
        ]
        whole = [state.agent_vel, state.agent_pos, state.landmark_pos, state.comm]
        goal = [one_hot(state.goal[k], size, dtype) for k, size in enumerate(self.goals)]
        return Observation(
            local=jnp.stack(rows),
            action_mask=jnp.asarray(self._mask),
            global_state=jnp.concatenate([part.reshape(part.size) for part in (*whole, *goal)]),
        )

    def render(self, state: ParticleState, params: EnvParams | None = None) -> np.ndarray:
        """Returns uint8 [height, width, 3]: agents by group, landmarks, goals, messages.

        A line on an agent ends where its velocity takes it in half a second. Goals are ringed. The
        frame is at distance 1 from the centre; the picture widens when a body leaves it.
        """
        from marlx.envs.mpe import picture  # imported here, since it loads Pillow

        spec = self.spec(params)
        return picture.draw(
            picture.Scene(
                agents=self.agents,
                landmarks=self.landmarks,
                groups=tuple(name for name, _ in spec.groups),
                agent_pos=np.asarray(state.agent_pos),
                agent_vel=np.asarray(state.agent_vel),
                landmark_pos=np.asarray(state.landmark_pos),
                messages=tuple(zip(self.speakers, np.asarray(state.comm), strict=True)),
                goals=tuple(self.goal_landmarks([int(k) for k in state.goal])),
                colored=self.COLORED,
                walls=self.WALLS,
                step=int(state.time),
                horizon=spec.horizon,
            )
        )

    def scene(self, params: EnvParams | None = None) -> Scene:
        """Returns the bodies; their places, messages and goals are in each frame."""
        spec = self.spec(params)
        names = [name for name, _ in spec.groups]
        facts = {
            "agents": len(self.agents),
            "names": [agent.name for agent in self.agents],
            "sizes": [agent.size for agent in self.agents],
            "groups": [names.index(agent.group) for agent in self.agents],
            "group_names": names,
            "landmarks": [{"size": mark.size, "kind": mark.kind} for mark in self.landmarks],
            "speakers": list(self.speakers),
            "colored": self.COLORED,
            "walls": None if self.WALLS is None else list(self.WALLS),
        }
        moves = ["stay", "left", "right", "down", "up"]
        if self.action_signs == "openai":
            moves = ["stay", "right", "left", "up", "down"]
        symbols = [chr(ord("A") + k) for k in range(self.DIM_C)]
        said = [f"{move} + {symbol}" for symbol in symbols for move in moves]
        facts["agent_actions"] = [
            said if agent.movable and agent.speaks else moves if agent.movable else symbols
            for agent in self.agents
        ]
        return Scene("particles", facts, self._frame)

    def _frame(self, state: ParticleState) -> dict[str, Any]:
        """Returns what a viewer draws of a state; `goals` int32 [K, 2] are landmark and agent."""
        goals = self.goal_landmarks([int(k) for k in state.goal])
        rows = [(mark, -1 if agent is None else agent) for mark, agent in goals]
        return {
            "agent_pos": state.agent_pos,
            "agent_vel": state.agent_vel,
            "landmark_pos": state.landmark_pos,
            "comm": state.comm,
            "goals": np.array(rows, np.int32).reshape(-1, 2),
        }

    def goal_landmarks(self, goal: Sequence[int]) -> list[tuple[int, int | None]]:
        """Returns, for pictures, the goal landmarks, each with the agent that must reach it.

        The agent is None if a landmark is the goal of all.
        """
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
        """Returns the state of one (unbatched) episode from arrays or lists.

        Args:
          agent_pos: [N, 2], (x, y) of each agent, in mpe2's order.
          agent_vel: [N, 2].
          landmark_pos: [L, 2], in mpe2's order.
          comm: [K, C], the last message of each of the `speakers`; None for silence.
          goal: integers [G], each below its entry of `goals`; None for zeros.
          step: steps since the episode began.

        Raises:
          ValueError: the state cannot occur; the message says why.
        """
        agents, marks = len(self.agents), len(self.landmarks)
        shape = (len(self.speakers), self.DIM_C)
        arrays = {
            name: jnp.asarray(numbers(name, values, wanted), float)
            for name, values, wanted in (
                ("agent_pos", agent_pos, (agents, 2)),
                ("agent_vel", agent_vel, (agents, 2)),
                ("landmark_pos", landmark_pos, (marks, 2)),
                ("comm", np.zeros(shape) if comm is None else comm, shape),
            )
        }
        values = self._checked_goal(np.zeros(len(self.goals), int) if goal is None else goal)
        check_not_negative(step=step)
        return ParticleState(time=jnp.int32(step), goal=jnp.asarray(values, jnp.int32), **arrays)

    def _checked_goal(self, goal: Any) -> np.ndarray:
        """Returns `goal` as an array [G], or raises ValueError if it is not one of `goals`."""
        values = np.asarray(goal)
        if values.shape != (len(self.goals),):
            raise ValueError(f"goal has shape {values.shape}; it must be {(len(self.goals),)}")
        whole = values.dtype.kind in "iu" or not values.size
        if not (whole and (values >= 0).all() and (values < np.array(self.goals)).all()):
            raise ValueError(
                f"goal is {values.tolist()}; it must hold integers from 0 and below "
                f"{list(self.goals)}"
            )
        return values

    def _act(self, action: Array, dtype: Any) -> tuple[Array, Array]:
        """Returns each agent's push, a force [N, 2], and each speaker's message [K, C].

        A discrete action above an agent's own range counts as no move and no message.
        """
        movable = np.array([agent.movable for agent in self.agents])
        if self.continuous_actions:
            parts = jnp.clip(action.astype(dtype), 0.0, 1.0)
            starts = [MOVES * self.agents[i].movable for i in self.speakers]
            said = [
                parts[i, start : start + self.DIM_C]
                for i, start in zip(self.speakers, starts, strict=True)
            ]
            comm = jnp.stack(said) if said else jnp.zeros((0, self.DIM_C), dtype)
            if not movable.any():
                return jnp.zeros((len(self.agents), 2), dtype), comm
            left, right, down, up = (parts[:, k] for k in range(1, MOVES))
        else:
            both = movable & np.array([agent.speaks for agent in self.agents])
            move = jnp.where(both, action % MOVES, action) if both.any() else action
            symbol = jnp.where(both, action // MOVES, action)[np.array(self.speakers, int)]
            comm = (symbol[:, None] == np.arange(self.DIM_C)).astype(dtype)
            left, right, down, up = ((move == k).astype(dtype) for k in range(1, MOVES))
        sign = 1.0 if self.action_signs == "mpe2" else -1.0
        strength = np.array([sign * agent.accel * agent.movable for agent in self.agents])
        return jnp.stack([right - left, up - down], -1) * strength[:, None].astype(dtype), comm

    def _move(self, state: ParticleState, push: Array) -> tuple[Array, Array]:
        """Returns positions and velocities [N, 2] of the agents after the step."""
        vel = state.agent_vel * (1 - DAMPING) + self._forces(state, push) * STEP
        fastest = [agent.max_speed for agent in self.agents]
        if any(fastest):
            most = np.array([np.inf if f is None else f for f in fastest], vel.dtype)
            speed = jnp.sqrt(square(Point(vel[:, 0], vel[:, 1])))
            vel = vel * jnp.where(speed > most, most / nonzero(speed), 1.0)[:, None]
        carry = state.agent_vel if self.integrator == "mpe2" else vel
        pos = state.agent_pos + carry * STEP
        movable = np.array([agent.movable for agent in self.agents])[:, None]
        if not movable.all():
            pos = jnp.where(movable, pos, state.agent_pos)
            vel = jnp.where(movable, vel, state.agent_vel)
        return pos, vel

    def _forces(self, state: ParticleState, push: Array) -> Array:
        """Returns the force [N, 2] on each agent: its push and its contacts."""
        # An agent's contacts with all later bodies are computed as vectors and added one by one:
        # the fastest of the ways that were measured, for one episode and for thousands.
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

        contacts = call_materialised(touch, state.time, places)
        forces = list(push)
        for i, pushed in contacts.items():
            for k, j in enumerate(solid[solid.index(i) + 1 :]):
                forces[i] = forces[i] + pushed[k]
                if j < len(forces):
                    forces[j] = forces[j] - pushed[k]
        return jnp.stack(forces)


def _rows(array: Array, which: list[int]) -> Array:
    """Returns the rows `which`; as a slice where they are consecutive, which is cheaper."""
    first, end = which[0], which[-1] + 1
    return array[first:end] if len(which) == end - first else array[np.array(which)]
