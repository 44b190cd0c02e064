"""Simple reference: two agents, each of which knows only the other's goal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from marlx.envs.checks import between
from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    distance,
    one_hot,
    pick,
    points,
    relative,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array

MARKS = 3
CHANNELS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference(Particles):
    """Two agents that move and speak; each knows the landmark that the other has to reach.

    An agent's own reward is minus the distance of the *other* agent to the landmark that this one
    knows. Its reward is `local_ratio` of that and `1 - local_ratio` of the mean of both. The goal
    holds, for each agent, the landmark it knows.

    Observation: velocity, relative positions of the three landmarks, the colour of the landmark it
    knows (0.75 in that landmark's channel, 0.25 in the others), the other's last message.

    Attributes:
      local_ratio: weight of an agent's own reward.

    Source: mpe2 1.1.1, simple_reference_v3.
    """

    ID: ClassVar[str] = "mpe/simple_reference_v3"
    DIM_C: ClassVar[int] = CHANNELS
    COLORED: ClassVar[bool] = True

    local_ratio: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        between(self, local_ratio=(0, 1))

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Two equal agents."""
        return tuple(Agent(f"agent_{i}", "agents", collide=False, speaks=True) for i in range(2))

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
        dtype = state.agent_pos.dtype
        return [
            [
                state.agent_vel[i],
                relative(state.landmark_pos, state.agent_pos[i]),
                one_hot(state.goal[i], MARKS, dtype) * 0.5 + np.asarray(0.25, dtype),
                state.comm[1 - i],
            ]
            for i in range(2)
        ]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns mixes of each agent's own reward and the mean of both."""
        pos, marks = points(state.agent_pos), points(state.landmark_pos)
        own = [-distance(pos[1 - i], pick(marks, state.goal[i])) for i in range(2)]
        common = (own[0] + own[1]) / 2
        return [(1 - self.local_ratio) * common + self.local_ratio * mine for mine in own]
