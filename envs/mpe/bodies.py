"""Constants of the bodies in a particle world: agents and landmarks."""

from __future__ import annotations

from typing import NamedTuple


class Agent(NamedTuple):
    """Constants of an agent."""

    name: str  # as in mpe2
    group: str
    size: float = 0.05  # radius
    collide: bool = True
    movable: bool = True
    speaks: bool = False
    accel: float = 5.0  # force of a full push; every mass is 1
    max_speed: float | None = None


class Landmark(NamedTuple):
    """Constants of a landmark; landmarks never move."""

    size: float = 0.05  # radius
    collide: bool = False
    kind: str = "landmark"  # for pictures
