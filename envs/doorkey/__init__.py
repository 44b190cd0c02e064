"""DoorKey: fetch the key, open the door, reach the goal; alone or as a team in two rooms.

One agent: MiniGrid's DoorKey with the changes of GMAH. The goal is mostly on the agent's side of
the door, the reward falls to a half and not to a tenth, and the target may be the key or the door.
`tests/envs/test_doorkey.py` compares steps and views with `minigrid`, state by state, where it is
installed.

Several agents: a task of our own. One of them, drawn for each episode, starts on the left with the
key; the others start on the right, behind the locked door. The episode is won when all of them
stand on the goal. So the first agent must let the others out, and nobody can win alone, wherever
the goal is.
"""

from __future__ import annotations

import re

from marlx.envs.doorkey.state import (
    AGENT,
    CLOSED,
    DONE,
    DOOR,
    DROP,
    EMPTY,
    FORWARD,
    GOAL,
    GREEN,
    GREY,
    KEY,
    LEFT,
    LOCKED,
    NUM_ACTIONS,
    OPEN,
    PICKUP,
    RED,
    RIGHT,
    TOGGLE,
    UNSEEN,
    WALL,
    YELLOW,
    DoorKeyState,
)
from marlx.envs.doorkey.world import DoorKey
from marlx.envs.grid import EAST, NORTH, SOUTH, WEST
from marlx.registry import Family

__all__ = [
    "AGENT",
    "CLOSED",
    "DONE",
    "DOOR",
    "DROP",
    "EAST",
    "EMPTY",
    "FAMILY",
    "FORWARD",
    "GOAL",
    "GREEN",
    "GREY",
    "KEY",
    "LEFT",
    "LOCKED",
    "NORTH",
    "NUM_ACTIONS",
    "OPEN",
    "PATTERN",
    "PICKUP",
    "RED",
    "RIGHT",
    "SOUTH",
    "TOGGLE",
    "UNSEEN",
    "USAGE",
    "WALL",
    "WEST",
    "YELLOW",
    "DoorKey",
    "DoorKeyState",
    "make",
]

PATTERN = r"grid/doorkey-(?P<rows>\d+)x(?P<cols>\d+)(?:-(?P<agents>\d+)p)?"
USAGE = "grid/doorkey-{n}x{n}[-{p}p]"


def make(id: str) -> DoorKey:
    """Returns the environment of an id, e.g. `grid/doorkey-8x8-2p`.

    Raises:
      ValueError: the id does not have the form of `USAGE`, or no episode can be played.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None or match["rows"] != match["cols"]:
        raise ValueError(f"{id!r} is not a doorkey id; the form is {USAGE}")
    return DoorKey(size=int(match["rows"]), num_agents=int(match["agents"] or 1))


FAMILY = Family(
    name="doorkey",
    pattern=PATTERN,
    usage=USAGE,
    examples=(
        "grid/doorkey-5x5",
        "grid/doorkey-6x6",
        "grid/doorkey-8x8",
        "grid/doorkey-16x16",
        "grid/doorkey-8x8-2p",
    ),
    make=make,
)
