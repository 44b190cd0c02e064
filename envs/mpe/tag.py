"""Simple tag: slower adversaries hunt faster agents among obstacles."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from marlx.envs.checks import at_least
from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    count,
    others,
    outside,
    points,
    relative,
    touch,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array

HUNTER, PREY, OBSTACLE = 0.075, 0.05, 0.2
CATCH = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tag(Particles):
    """Adversaries gain reward by touching good agents, which lose it.

    Reward of each adversary: 10 for every touching pair of any adversary and any good agent. A good
    agent loses 10 for each adversary that touches it, and a cost for leaving the screen: on each
    axis 0 up to 0.9 from the centre, then 10 per unit up to 1, then exp(2 |x| - 2), at most 10.

    Observation: velocity, position, relative positions of the obstacles and of all other agents,
    velocities of the other good agents. Agents are the adversaries, then the good ones.

    Attributes:
      num_good: good agents.
      num_adversaries: adversaries.
      num_obstacles: landmarks with which agents collide.

    Source: mpe2 1.1.1, simple_tag_v3.
    Differs from: mpe2's options `curriculum`, `terminate_on_success` and `num_*_neighbors`, which
      are not here.
    """

    ID: ClassVar[str] = "mpe/simple_tag_v3"
    LANDMARK_RANGE: ClassVar[float] = 0.9

    num_good: int = 1
    num_adversaries: int = 3
    num_obstacles: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, num_good=1, num_adversaries=1, num_obstacles=0)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The adversaries, then the good agents."""
        return (
            *(
                Agent(f"adversary_{i}", "adversaries", HUNTER, accel=3.0, max_speed=1.0)
                for i in range(self.num_adversaries)
            ),
            *(
                Agent(f"agent_{i}", "good", PREY, accel=4.0, max_speed=1.3)
                for i in range(self.num_good)
            ),
        )

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Obstacles."""
        return (Landmark(OBSTACLE, collide=True, kind="obstacle"),) * self.num_obstacles

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns velocity, position, obstacles, other agents, velocities of good agents."""
        first = self.num_adversaries
        good_vel = state.agent_vel[first:]
        seen = []
        for i in range(len(self.agents)):
            vel = good_vel if i < first else others(good_vel, i - first)
            pos = state.agent_pos
            near = relative(state.landmark_pos, pos[i])
            parts = [state.agent_vel[i], pos[i], near, relative(others(pos, i), pos[i])]
            seen.append([*parts, vel.reshape(vel.size)])
        return seen

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns rewards from touches and from leaving the screen."""
        pos = points(state.agent_pos)
        hunters, prey = pos[: self.num_adversaries], pos[self.num_adversaries :]
        caught = [count(touch(hunter, one, HUNTER + PREY) for hunter in hunters) for one in prey]
        gain = CATCH * sum(caught, start=jnp.zeros((), state.agent_pos.dtype))
        good = [-CATCH * n - outside(one) for n, one in zip(caught, prey, strict=True)]
        return [*[gain] * self.num_adversaries, *good]
