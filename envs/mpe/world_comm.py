"""Simple world comm: tag among forests that hide agents, with a leader that sees all and speaks."""

from __future__ import annotations

import dataclasses
import functools
from typing import ClassVar

import jax.numpy as jnp

from marlx.envs.checks import at_least
from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    count,
    nearest,
    others,
    outside,
    points,
    relative,
    touch,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array

HUNTER, PREY, OBSTACLE, FOOD, FOREST = 0.075, 0.045, 0.2, 0.03, 0.3
CATCH = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldComm(Particles):
    """Adversaries hunt good agents, which look for food and hide in forests.

    Reward of each adversary: 5 for every touching pair of any adversary and any good agent, minus
    a tenth of its distance to the nearest good agent. A good agent loses 5 for each adversary that
    touches it, twice the cost of leaving the screen in `Tag`, and a twentieth of its distance to
    the nearest food; it gains 2 for each food that it touches.

    Observation: velocity, position, relative positions of all landmarks, relative positions of all
    other agents, velocities of the other good agents, 1 or -1 for each forest that the agent is or
    is not in; for adversaries also the leader's last message. In a good agent's observation the
    forests come before the velocities. Numbers of another agent are 0 unless both are in the same
    forest or neither is in any; the leader sees all agents. Landmarks are obstacles, foods,
    forests. Agents are the leader, the other adversaries, the good agents.

    Attributes:
      num_good: good agents.
      num_adversaries: adversaries, the leader among them.
      num_obstacles: landmarks with which agents collide.
      num_food: foods, which are never used up.
      num_forests: forests.

    Source: mpe2 1.1.1, simple_world_comm_v3.
    """

    ID: ClassVar[str] = "mpe/simple_world_comm_v3"
    DIM_C: ClassVar[int] = 4
    LANDMARK_RANGE: ClassVar[float] = 0.9

    num_good: int = 2
    num_adversaries: int = 4
    num_obstacles: int = 1
    num_food: int = 2
    num_forests: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, num_good=1, num_adversaries=1, num_food=1, num_obstacles=0, num_forests=0)

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The leader, the other adversaries, the good agents."""
        hunter = Agent("leadadversary_0", "leader", HUNTER, accel=3.0, max_speed=1.0, speaks=True)
        more = (
            hunter._replace(name=f"adversary_{i}", group="adversaries", speaks=False)
            for i in range(self.num_adversaries - 1)
        )
        prey = (
            Agent(f"agent_{i}", "good", PREY, accel=4.0, max_speed=1.3)
            for i in range(self.num_good)
        )
        return hunter, *more, *prey

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Obstacles, foods, forests."""
        return (
            *[Landmark(OBSTACLE, collide=True, kind="obstacle")] * self.num_obstacles,
            *[Landmark(FOOD, kind="food")] * self.num_food,
            *[Landmark(FOREST, kind="forest")] * self.num_forests,
        )

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns the numbers that the class lists, with 0 for hidden agents."""
        dtype, first = state.agent_pos.dtype, self.num_adversaries
        forests = points(state.landmark_pos)[self.num_obstacles + self.num_food :]
        inside = [
            [touch(pos, forest, agent.size + FOREST) for forest in forests]
            for agent, pos in zip(self.agents, points(state.agent_pos), strict=True)
        ]
        seen = []
        for i in range(len(self.agents)):
            shown = jnp.stack([_shown(inside[i], them, i == 0) for them in inside])[:, None]
            pos, vel = state.agent_pos, jnp.where(shown, state.agent_vel, 0.0)
            there = jnp.where(shown, pos - pos[i], 0.0)
            good_vel = vel[first:] if i < first else others(vel[first:], i - first)
            good_vel = good_vel.reshape(good_vel.size)
            flags = [jnp.where(yes, 1.0, -1.0).astype(dtype) for yes in inside[i]]
            forest = jnp.stack(flags) if flags else jnp.zeros(0, dtype)
            last = [good_vel, forest, state.comm[0]] if i < first else [forest, good_vel]
            there = others(there, i)
            seen.append(
                [
                    state.agent_vel[i],
                    pos[i],
                    relative(state.landmark_pos, pos[i]),
                    there.reshape(there.size),
                    *last,
                ]
            )
        return seen

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns rewards from touches, food, distances and leaving the screen."""
        pos, marks = points(state.agent_pos), points(state.landmark_pos)
        hunters, prey = pos[: self.num_adversaries], pos[self.num_adversaries :]
        foods = marks[self.num_obstacles : self.num_obstacles + self.num_food]
        caught = [count(touch(hunter, one, HUNTER + PREY) for hunter in hunters) for one in prey]
        gain = CATCH * sum(caught, start=jnp.zeros((), state.agent_pos.dtype))
        rewards: list[Number] = [gain - 0.1 * nearest(prey, hunter) for hunter in hunters]
        for n, one in zip(caught, prey, strict=True):
            eaten = count(touch(one, food, PREY + FOOD) for food in foods)
            rewards.append(
                2.0 * eaten - CATCH * n - 2.0 * outside(one) - 0.05 * nearest(foods, one)
            )
        return rewards


def _shown(mine: list[Array], theirs: list[Array], leader: bool) -> Array:
    """Returns bool [], whether one agent sees another, from the forests that each is in."""
    no = jnp.bool_(False)
    both = [a & b for a, b in zip(mine, theirs, strict=True)]
    together: Array = functools.reduce(jnp.logical_or, both, no)
    hidden: Array = functools.reduce(jnp.logical_or, [*mine, *theirs], no)
    return together | ~hidden | leader
