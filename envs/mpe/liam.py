"""The two particle scenarios of LIAM: one prey and three predators, and two speakers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import jax.numpy as jnp

from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    STIFFNESS,
    Number,
    Point,
    count,
    nearest,
    one_hot,
    others,
    overlap,
    pick,
    points,
    relative,
    square,
    touch,
)
from marlx.envs.mpe.world import Integrator, Particles, ParticleState, Signs
from marlx.types import Array

PREDATORS = 3
SIZE, OBSTACLE = 0.07, 0.2
TOUCH = 2 * (SIZE + SIZE)
"""A predator closer than this touches the prey: twice the distance at which bodies meet."""
SIGHT, UNSEEN = 0.5, -5.0
"""How far the prey sees along each axis, and the value it observes for anything farther."""
EDGE = 0.99
"""Distance from the centre beyond which the prey loses reward."""
WALL, WALL_END, WALL_HALF = 1.3, 1.0, 0.05
"""Distance of the four walls from the centre, half their length, half their width; corners are
open."""
MARKS, SYMBOLS = 3, 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiamPredatorPrey(Particles):
    """Three predators and one prey, which gains if one predator touches it and loses if more do.

    Reward of the prey: 1 if exactly one predator touches it, -1 if more do, and -10 while it is
    farther than 0.99 from the centre on either axis. Reward of each predator: minus a tenth of the
    sum of all predators' distances to the prey, 1 if more than one touch it, -1 if exactly one
    does. Walls are at 1.3 from the centre and end at 1, so the corners are open.

    Observation of a predator: velocity, position, relative positions of the two obstacles and of
    the other agents, the prey's velocity. Of the prey: velocity, position, relative positions of
    obstacles and predators, each (-5, -5) if farther than 0.5 on either axis. Agents are the
    predators, then the prey.

    Source: LIAM (Papoudakis et al. 2021, arXiv 2006.09447), commit 8545b9e, on the fork
      github.com/shariqiqbal2810/multiagent-particle-envs, commit a3ccb43. That fork applies an
      agent's acceleration twice, so a push is 3 x 3 for predators and 4 x 4 for the prey.
    Differs from: LIAM's evaluation, which adds 10 back to every reward below -2.
    """

    ID: ClassVar[str] = "mpe/liam_predator_prey"
    AGENT_RANGE: ClassVar[float] = 0.9
    LANDMARK_RANGE: ClassVar[float] = 0.9
    WALLS: ClassVar[tuple[float, float, float]] = (WALL, WALL_END, WALL_HALF)

    integrator: Integrator = "openai"
    action_signs: Signs = "openai"
    horizon: int = 50

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The predators, then the prey."""
        predators = (
            Agent(f"predator_{i}", "predators", SIZE, accel=9.0, max_speed=1.0)
            for i in range(PREDATORS)
        )
        return *predators, Agent("prey_0", "prey", SIZE, accel=16.0, max_speed=1.3)

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Two obstacles."""
        return (Landmark(OBSTACLE, collide=True, kind="obstacle"),) * 2

    def _forces(self, state: ParticleState, push: Array) -> Array:
        """Returns the forces of the base class and those of the walls."""
        x, y = state.agent_pos[:, 0], state.agent_pos[:, 1]
        right = up = jnp.zeros_like(x)
        for side in (-WALL, WALL):
            upright, level = _wall(x - side, y), _wall(y - side, x)
            right, up = right + upright.x + level.y, up + upright.y + level.x
        return super()._forces(state, push) + jnp.stack([right, up], -1)

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns everything to the predators, and what is near to the prey."""
        pos, marks, prey_vel = state.agent_pos, state.landmark_pos, state.agent_vel[PREDATORS]
        seen = []
        for i in range(PREDATORS + 1):
            parts = [relative(marks, pos[i]), relative(others(pos, i), pos[i])]
            if i == PREDATORS:
                parts = [_near(part) for part in parts]
            seen.append([state.agent_vel[i], pos[i], *parts])
        return [[*parts, prey_vel] for parts in seen[:PREDATORS]] + [seen[PREDATORS]]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns rewards from touches, distances and leaving the field."""
        *predators, prey = points(state.agent_pos)
        touching = count(touch(predator, prey, TOUCH) for predator in predators)
        one, more = jnp.where(touching == 1, 1.0, 0.0), jnp.where(touching > 1, 1.0, 0.0)
        left = jnp.maximum(jnp.abs(prey.x), jnp.abs(prey.y)) > EDGE
        away = sum(nearest([prey], predator) for predator in predators)
        hunt = more - one - 0.1 * away
        return [*[hunt] * PREDATORS, one - more - jnp.where(left, 10.0, 0.0)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiamSpeakerListener(Particles):
    """Two agents that move and speak; each knows the landmark that the other has to reach.

    Reward of each agent: minus the squared distance of the *other* to the landmark that it knows.
    The team's reward, from which LIAM learns, is the mean. The goal holds, for each agent, the
    landmark it knows.

    Observation: velocity, relative positions of the three landmarks, for the second agent (the
    learning one in LIAM) the first one's relative position, the one-hot colour of the landmark it
    knows, the other's last message.

    Source: LIAM (Papoudakis et al. 2021, arXiv 2006.09447), commit 8545b9e.
    Differs from: LIAM, where move and symbol are two actions; here they are one index,
      `move + 5 * symbol`.
    """

    ID: ClassVar[str] = "mpe/liam_speaker_listener"
    DIM_C: ClassVar[int] = SYMBOLS
    COLORED: ClassVar[bool] = True

    integrator: Integrator = "openai"
    action_signs: Signs = "openai"

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The modelled agent, then the learning one."""
        return tuple(
            Agent(f"{name}_0", name, collide=False, speaks=True)
            for name in ("modelled", "controlled")
        )

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Three, of different colours."""
        return (Landmark(),) * MARKS

    @property
    def goals(self) -> tuple[int, ...]:
        """The landmark that each agent knows."""
        return (MARKS, MARKS)

    def goal_landmarks(self, goal: Sequence[int]) -> list[tuple[int, int | None]]:
        """Returns each agent's known landmark as the goal of the other."""
        return [(goal[0], 1), (goal[1], 0)]

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns velocity, landmarks, the colour of the other's goal, the other's message."""
        pos = state.agent_pos
        return [
            [
                state.agent_vel[i],
                relative(state.landmark_pos, pos[i]),
                *([pos[0] - pos[1]] if i == 1 else []),
                one_hot(state.goal[i], MARKS, pos.dtype),
                state.comm[1 - i],
            ]
            for i in range(2)
        ]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns minus the other's squared distance to the known landmark."""
        pos, marks = points(state.agent_pos), points(state.landmark_pos)
        return [-square(pos[1 - i] - pick(marks, state.goal[i])) for i in range(2)]


def _near(places: Array) -> Array:
    """Returns relative positions [2 K], with `UNSEEN` for those out of sight."""
    pairs = places.reshape(places.size // 2, 2)
    far = [(jnp.abs(p.x) > SIGHT) | (jnp.abs(p.y) > SIGHT) for p in points(pairs)]
    return jnp.where(jnp.stack(far)[:, None], UNSEEN, pairs).reshape(places.size)


def _wall(apart: Array, along: Array) -> Point:
    """Returns the force of a wall on agents, across it (x) and along it (y); its ends are round."""
    past = along - jnp.clip(along, -WALL_END, WALL_END)  # distance beyond the wall's end
    sine = jnp.clip(past / SIZE, -1.0, 1.0)
    cosine = jnp.sqrt(1.0 - sine * sine)
    deep = overlap(jnp.abs(apart) - (cosine * SIZE + WALL_HALF))
    force = jnp.where(jnp.abs(past) > SIZE, 0.0, STIFFNESS * deep)
    return Point(cosine * jnp.sign(apart) * force, sine * force)
