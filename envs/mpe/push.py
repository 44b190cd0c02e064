"""Simple push: an adversary keeps a good agent away from its goal landmark."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    distance,
    one_hot,
    others,
    pick,
    points,
    relative,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array

MARKS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Push(Particles):
    """The good agent goes to one of two landmarks; the adversary does not know to which.

    Reward of the good agent: minus its distance to the goal. Reward of the adversary: the good
    agent's distance minus its own.

    Observation of the good agent: velocity, the goal's relative position, the goal's colour (0.25,
    and 0.5 more in its channel), relative positions and colours (0.1, and 0.8 more) of both
    landmarks, the adversary's relative position. Of the adversary: velocity, relative positions of
    the landmarks and of the good agent. Agents are the adversary, then the good one.

    Source: mpe2 1.1.1, simple_push_v3.
    """

    ID: ClassVar[str] = "mpe/simple_push_v3"
    COLORED: ClassVar[bool] = True

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The adversary, the good agent."""
        return Agent("adversary_0", "adversaries"), Agent("agent_0", "good")

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Two, of different colours."""
        return (Landmark(),) * MARKS

    @property
    def goals(self) -> tuple[int, ...]:
        """Index of the goal landmark."""
        return (MARKS,)

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns velocity, landmarks, the other agent; for the good agent goal and colours too."""
        pos, marks, dtype = state.agent_pos, state.landmark_pos, state.agent_pos.dtype
        goal = pick(list(marks), state.goal[0])
        # Colours have channels red, green, blue; landmark k has channel k + 1.
        mine = one_hot(state.goal[0] + 1, 3, dtype) * 0.5 + np.asarray(0.25, dtype)
        theirs = np.array([0.1, 0.9, 0.1, 0.1, 0.1, 0.9], dtype)
        near = [relative(marks, p) for p in pos]
        other = [relative(others(pos, i), pos[i]) for i in range(2)]
        return [
            [state.agent_vel[0], near[0], other[0]],
            [state.agent_vel[1], goal - pos[1], mine, near[1], theirs, other[1]],
        ]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns rewards from the distances to the goal."""
        goal = pick(points(state.landmark_pos), state.goal[0])
        adversary, good = (distance(p, goal) for p in points(state.agent_pos))
        return [good - adversary, -good]
