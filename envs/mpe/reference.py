"""Simple reference: two agents, each of which knows only where the other has to go."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from marlx.envs.mpe.core import (
    Agent,
    Landmark,
    Number,
    Particles,
    ParticleState,
    check_ratio,
    distance,
    one_hot,
    pick,
    points,
    relative,
)
from marlx.types import Array

MARKS = 3
CHANNELS = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reference(Particles):
    """Two agents that move and speak; each knows the landmark that the other has to reach.

    An agent's own reward is minus the distance of the *other* agent to the landmark that this one
    knows of; it is paid `local_ratio` of that and `1 - local_ratio` of the mean of both. The goal
    holds, for each agent, the landmark it knows of.

    Observation: velocity, relative positions of the three landmarks, the colour of the landmark it
    knows of (0.75 in that landmark's channel, 0.25 in the others), what the other said last.

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
        check_ratio(self.local_ratio)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Two alike."""
        return tuple(Agent(f"agent_{i}", "agents", collide=False, speaks=True) for i in range(2))

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Three, told apart by colour."""
        return (Landmark(),) * MARKS

    @property
    def goals(self) -> tuple[int, ...]:
        """The landmark that each agent knows of."""
        return (MARKS, MARKS)

    def aims(self, goal: Sequence[int]) -> list[tuple[int, int | None]]:
        """The landmark each agent knows of is the other's goal."""
        return [(goal[0], 1), (goal[1], 0)]

    def see(self, state: ParticleState) -> list[list[Array]]:
        """Itself, the landmarks, the goal's colour, the other's message."""
        kind = state.agent_pos.dtype
        return [
            [
                state.agent_vel[i],
                relative(state.landmark_pos, state.agent_pos[i]),
                one_hot(state.goal[i], MARKS, kind) * 0.5 + np.asarray(0.25, kind),
                state.comm[1 - i],
            ]
            for i in range(2)
        ]

    def pay(self, state: ParticleState) -> list[Number]:
        """How far the other is from the goal one knows of, and the mean of both."""
        pos, marks = points(state.agent_pos), points(state.landmark_pos)
        own = [-distance(pos[1 - i], pick(marks, state.goal[i])) for i in range(2)]
        common = (own[0] + own[1]) / 2
        return [(1 - self.local_ratio) * common + self.local_ratio * mine for mine in own]
