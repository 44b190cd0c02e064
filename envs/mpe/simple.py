"""Simple: one agent goes to one landmark."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from marlx.envs.mpe.core import (
    Agent,
    Landmark,
    Number,
    Particles,
    ParticleState,
    points,
    relative,
    square,
)
from marlx.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Simple(Particles):
    """One agent is paid the negative squared distance to the landmark.

    Observation: velocity, the landmark's relative position.

    Source: mpe2 1.1.1, simple_v3.
    """

    ID: ClassVar[str] = "mpe/simple_v3"

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The agent."""
        return (Agent("agent_0", "agents", collide=False),)

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """The landmark."""
        return (Landmark(),)

    def see(self, state: ParticleState) -> list[list[Array]]:
        """Velocity and the landmark."""
        return [[state.agent_vel[0], relative(state.landmark_pos, state.agent_pos[0])]]

    def pay(self, state: ParticleState) -> list[Number]:
        """The negative squared distance."""
        (agent,), (landmark,) = points(state.agent_pos), points(state.landmark_pos)
        return [-square(agent - landmark)]
