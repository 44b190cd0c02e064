"""Simple adversary: good agents cover a goal landmark that the adversary has to guess."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from marlx.envs.checks import at_least
from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    distance,
    nearest,
    others,
    pick,
    points,
    relative,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adversary(Particles):
    """Good agents know which landmark is the goal; the adversary has to find it.

    Reward of each good agent: the adversary's distance to the goal minus that of the nearest good
    agent. Reward of the adversary: minus its distance.

    Observation of a good agent: relative positions of the goal, of all landmarks and of all other
    agents. The adversary does not see the goal. Velocities are not
    observed (but are in the global state). Agents are the adversary, then the good ones.

    Attributes:
      num_good: good agents, and landmarks (mpe2: N).

    Source: mpe2 1.1.1, simple_adversary_v3.
    Differs from: mpe2's options `num_*_neighbors`, which are not here.
    """

    ID: ClassVar[str] = "mpe/simple_adversary_v3"

    num_good: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, num_good=1)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The adversary, then the good agents."""
        good = (Agent(f"agent_{i}", "good", 0.15, collide=False) for i in range(self.num_good))
        return (Agent("adversary_0", "adversaries", 0.15, collide=False), *good)

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """As many as good agents."""
        return (Landmark(0.08),) * self.num_good

    @property
    def goals(self) -> tuple[int, ...]:
        """Index of the goal landmark."""
        return (self.num_good,)

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns the goal (good agents only), all landmarks and the other agents."""
        pos, marks = state.agent_pos, state.landmark_pos
        goal = pick(list(marks), state.goal[0])
        return [
            [
                *([goal - pos[i]] if i else []),
                relative(marks, pos[i]),
                relative(others(pos, i), pos[i]),
            ]
            for i in range(len(self.agents))
        ]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns rewards from the distances to the goal."""
        adversary, *good = points(state.agent_pos)
        goal = pick(points(state.landmark_pos), state.goal[0])
        away = distance(adversary, goal)
        return [-away, *[away - nearest(good, goal)] * self.num_good]
