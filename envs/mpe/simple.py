"""Simple: one agent goes to one landmark."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from marlx.envs.mpe.core import Agent, Landmark, Number, Particles, World, relative, square


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

    def see(self, world: World) -> list[list[Number]]:
        """Velocity and the landmark."""
        return [[*world.vel[0], *relative(world.landmarks, world.pos[0])]]

    def pay(self, world: World) -> list[Number]:
        """The negative squared distance."""
        return [-square(world.pos[0] - world.landmarks[0])]
