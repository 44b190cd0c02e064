"""Simple spread: agents have to cover as many landmarks without colliding."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from marlx.environment import EnvParams
from marlx.envs.checks import at_least, between
from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    nearest,
    others,
    points,
    relative,
    touch,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array, Entities, Subgoals

SIZE = 0.15
COVERED = 0.1
"""An agent closer than this to a landmark covers it, as mpe2 counts occupied landmarks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread(Particles):
    """Agents have to cover all landmarks and lose reward when they collide.

    Reward of each agent: `local_ratio` times its own reward, -1 for every other agent that it
    overlaps, plus `1 - local_ratio` times the common reward, minus the sum over landmarks of the
    distance to the nearest agent.

    Observation: velocity, position, relative positions of the landmarks and of the other agents,
    and two zeros for each other agent (the place of messages in mpe2, where no agent can send one).

    Subgoals: one for each landmark, achieved by an agent within 0.1 of it.

    Attributes:
      num_agents: agents, and landmarks (mpe2: N).
      local_ratio: weight of an agent's own reward.

    Source: mpe2 1.1.1, simple_spread_v3.
    Differs from: mpe2's options `curriculum`, `terminate_on_success` and `num_*_neighbors`, which
      are not here.
    """

    ID: ClassVar[str] = "mpe/simple_spread_v3"

    num_agents: int = 3
    local_ratio: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, num_agents=1)
        between(self, local_ratio=(0, 1))

    @property
    def agents(self) -> tuple[Agent, ...]:
        """Equal agents."""
        return tuple(Agent(f"agent_{i}", "agents", SIZE) for i in range(self.num_agents))

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """As many as agents."""
        return (Landmark(),) * self.num_agents

    @property
    def entities(self) -> tuple[Entities, ...]:
        """Landmarks and other agents; the agent's velocity and position are its own numbers."""
        count, others = self.num_agents, self.num_agents - 1
        landmarks = Entities.block("landmarks", 4, count, 2)
        if not others:
            return (landmarks,)
        place = 4 + 2 * count
        said = place + 2 * others
        rows = tuple(
            (place + 2 * k, place + 2 * k + 1, said + 2 * k, said + 2 * k + 1)
            for k in range(others)
        )
        return landmarks, Entities("agents", rows)

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns velocity, position, landmarks, other agents, and zeros for messages."""
        pos, silence = state.agent_pos, jnp.zeros(2 * (self.num_agents - 1), state.agent_pos.dtype)
        return [
            [
                state.agent_vel[i],
                pos[i],
                relative(state.landmark_pos, pos[i]),
                relative(others(pos, i), pos[i]),
                silence,
            ]
            for i in range(self.num_agents)
        ]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns mixes of the common reward and each agent's collisions."""
        pos = points(state.agent_pos)
        common = -sum(nearest(pos, landmark) for landmark in points(state.landmark_pos))
        own: list[Number] = [0.0] * self.num_agents
        for i in range(self.num_agents):
            for j in range(i):
                hit = jnp.where(touch(pos[i], pos[j], 2 * SIZE), 1.0, 0.0)
                own[i], own[j] = own[i] - hit, own[j] - hit
        return [(1 - self.local_ratio) * common + self.local_ratio * mine for mine in own]

    def subgoals(self, params: EnvParams | None = None) -> Subgoals:
        """Returns one subgoal for each landmark; all can be chosen at any time."""
        del params
        count = self.num_agents
        everything = jnp.ones((count, count), bool)

        def achieved(state: ParticleState) -> Array:
            marks = points(state.landmark_pos)
            close = [touch(p, mark, COVERED) for p in points(state.agent_pos) for mark in marks]
            return jnp.stack(close).reshape(count, count)

        return Subgoals(
            names=tuple(f"landmark {k}" for k in range(count)),
            requires=((),) * count,
            achieved=achieved,
            available=lambda state: everything,
            choices=lambda local: everything,
        )
