"""Simple speaker listener: one agent knows the goal and cannot move, the other only moves."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np

from marlx.envs.mpe.bodies import Agent, Landmark
from marlx.envs.mpe.geometry import (
    Number,
    one_hot,
    pick,
    points,
    relative,
    square,
)
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.types import Array

MARKS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpeakerListener(Particles):
    """A speaker that knows the goal, and a listener that has to go there.

    Reward of both: minus the squared distance of the listener to the goal, one of three landmarks.

    Observation of the speaker: the goal's colour (0.65 in its channel, 0.15 in the others). Of the
    listener: velocity, relative positions of the landmarks, the speaker's last message.

    Source: mpe2 1.1.1, simple_speaker_listener_v4.
    """

    ID: ClassVar[str] = "mpe/simple_speaker_listener_v4"
    DIM_C: ClassVar[int] = 3
    COLORED: ClassVar[bool] = True

    @property
    def agents(self) -> tuple[Agent, ...]:
        """The speaker, then the listener."""
        return (
            Agent("speaker_0", "speaker", 0.075, collide=False, movable=False, speaks=True),
            Agent("listener_0", "listener", 0.075, collide=False),
        )

    @property
    def landmarks(self) -> tuple[Landmark, ...]:
        """Three, of different colours."""
        return (Landmark(size=0.04),) * MARKS

    @property
    def goals(self) -> tuple[int, ...]:
        """Index of the landmark to reach."""
        return (MARKS,)

    def views(self, state: ParticleState) -> list[list[Array]]:
        """Returns the goal's colour; and velocity, landmarks and the message."""
        dtype = state.agent_pos.dtype
        listener = relative(state.landmark_pos, state.agent_pos[1])
        return [
            [one_hot(state.goal[0], MARKS, dtype) * 0.5 + np.asarray(0.15, dtype)],
            [state.agent_vel[1], listener, state.comm[0]],
        ]

    def rewards(self, state: ParticleState) -> list[Number]:
        """Returns minus the listener's squared distance to the goal, for both."""
        goal = pick(points(state.landmark_pos), state.goal[0])
        reward = -square(points(state.agent_pos)[1] - goal)
        return [reward, reward]
