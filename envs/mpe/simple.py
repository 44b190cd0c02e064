"""Simple: one agent goes to one landmark."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    points,
    relative,
    square,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simple(Particles):
    """One agent and one landmark.

    Reward: minus the squared distance to the landmark.

    Observation: velocity, the landmark's relative position.

    Source: mpe2 1.1.1, simple_v3.
    """

    ID: ClassVar[str] = "mpe/simple_v3"

    @property
    def agents(self) -> tuple[Agent, ...]:
        """One agent."""
        return (Agent("agent_0", "agents", collide=False),)

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """One landmark."""
        return (Landmark(),)

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns velocity and the landmark's relative position."""
        return [[state.agent_vel[0], relative(state.landmark_pos, state.agent_pos[0])]]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns minus the squared distance."""
        (agent,), (landmark,) = points(state.agent_pos), points(state.landmark_pos)
        return [-square(agent - landmark)]
