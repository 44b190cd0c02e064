"""TrashGrid: a team with little capacity collects trash, splits big pieces and fills a bin.

It follows the Trash-Grid of GMAH, whose environment is not in its public code. Board, starting
positions and actions are those in its logs; rules and rewards are our own. Returns are therefore
not comparable with those in its paper.
"""

from __future__ import annotations

import re

from marlx.envs.grid import EAST, NORTH, SOUTH, WEST
from marlx.envs.trashgrid.state import (
    BIG,
    FORWARD,
    LEFT,
    NUM_ACTIONS,
    PICKUP,
    PUTDOWN,
    RIGHT,
    SMALL,
    SPLIT,
    TrashGridState,
)
from marlx.envs.trashgrid.world import TrashGrid
from marlx.registry import Family

__all__ = [
    "BIG",
    "EAST",
    "FAMILY",
    "FORWARD",
    "LEFT",
    "NORTH",
    "NUM_ACTIONS",
    "PATTERN",
    "PICKUP",
    "PUTDOWN",
    "RIGHT",
    "SMALL",
    "SOUTH",
    "SPLIT",
    "USAGE",
    "WEST",
    "TrashGrid",
    "TrashGridState",
    "make",
]

PATTERN = r"grid/trashgrid-(?P<rows>\d+)x(?P<cols>\d+)-(?P<agents>\d+)p"
USAGE = "grid/trashgrid-{rows}x{cols}-{p}p"


def make(id: str) -> TrashGrid:
    """Returns the environment of an id, e.g. `grid/trashgrid-10x10-3p`.

    Raises:
      ValueError: the id does not have the form of `USAGE`, or no episode can be played.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not a trashgrid id; the form is {USAGE}")
    return TrashGrid(size=(int(match["rows"]), int(match["cols"])), num_agents=int(match["agents"]))


FAMILY = Family(
    name="trashgrid",
    pattern=PATTERN,
    usage=USAGE,
    examples=("grid/trashgrid-10x10-3p", "grid/trashgrid-8x8-2p"),
    make=make,
)
