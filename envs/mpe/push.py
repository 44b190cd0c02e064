"""Simple push: an adversary keeps a good agent away from its goal."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from marlx.envs.mpe.core import (
    Agent,
    Landmark,
    Number,
    Particles,
    ParticleState,
    distance,
    one_hot,
    others,
    pick,
    points,
    relative,
)
from marlx.types import Array

MARKS = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Push(Particles):
    """The good agent goes to one of two landmarks; the adversary does not know to which.

    The good agent is paid minus its distance to the goal, the adversary the good agent's distance
    minus its own.

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
        """Two, told apart by colour."""
        return (Landmark(),) * MARKS

    @property
    def goals(self) -> tuple[int, ...]:
        """The landmark that counts."""
        return (MARKS,)

    def see(self, state: ParticleState) -> list[list[Array]]:
        """Itself, the landmarks, the other; for the good agent the goal and all colours."""
        pos, marks, kind = state.agent_pos, state.landmark_pos, state.agent_pos.dtype
        goal = pick(list(marks), state.goal[0])
        # Colours are red, green, blue; landmark k shines in channel k + 1.
        mine = one_hot(state.goal[0] + 1, 3, kind) * 0.5 + np.asarray(0.25, kind)
        theirs = np.array([0.1, 0.9, 0.1, 0.1, 0.1, 0.9], kind)
        near = [relative(marks, p) for p in pos]
        other = [relative(others(pos, i), pos[i]) for i in range(2)]
        return [
            [state.agent_vel[0], near[0], other[0]],
            [state.agent_vel[1], goal - pos[1], mine, near[1], theirs, other[1]],
        ]

    def pay(self, state: ParticleState) -> list[Number]:
        """Who is how far from the goal."""
        goal = pick(points(state.landmark_pos), state.goal[0])
        adversary, good = (distance(p, goal) for p in points(state.agent_pos))
        return [good - adversary, -good]
