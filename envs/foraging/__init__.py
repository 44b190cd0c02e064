"""Level-based foraging: agents with levels collect foods that are too heavy for one of them.

Rules, observations and reset distribution are those of lbforaging 2.0.0 (ids ending in `-v3`);
`tests/envs/test_foraging_rules.py` compares them step by step.
"""

from __future__ import annotations

import re

from marlx.envs.foraging.checks import most_foods
from marlx.envs.foraging.state import EAST, LOAD, NONE, NORTH, SOUTH, WEST, ForagingState
from marlx.envs.foraging.world import NUM_ACTIONS, Foraging
from marlx.registry import Family

__all__ = [
    "EAST",
    "FAMILY",
    "LOAD",
    "NONE",
    "NORTH",
    "NUM_ACTIONS",
    "PATTERN",
    "SOUTH",
    "USAGE",
    "WEST",
    "Foraging",
    "ForagingState",
    "make",
    "most_foods",
]

PATTERN = (
    r"Foraging(?P<grid>-grid)?(?:-(?P<sight>\d+)s)?-(?P<rows>\d+)x(?P<cols>\d+)"
    r"-(?P<agents>\d+)p-(?P<foods>\d+)f(?P<coop>-coop)?(?P<pen>-pen)?-v3"
)
USAGE = "Foraging[-grid][-{k}s]-{rows}x{cols}-{p}p-{f}f[-coop][-pen]-v3"


def make(id: str) -> Foraging:
    """Returns the environment of an lbforaging id, with any size and numbers.

    Raises:
      ValueError: the id does not have the form of `USAGE`, or no episode can be played.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not a foraging id; the form is {USAGE}")
    return Foraging(
        size=(int(match["rows"]), int(match["cols"])),
        num_agents=int(match["agents"]),
        num_food=int(match["foods"]),
        sight=None if match["sight"] is None else int(match["sight"]),
        force_coop=match["coop"] is not None,
        penalty=0.0 if match["pen"] is None else 0.1,
        observation="vector" if match["grid"] is None else "grid",
    )


FAMILY = Family(
    name="foraging",
    pattern=PATTERN,
    usage=USAGE,
    examples=(
        "Foraging-8x8-2p-2f-coop-v3",
        "Foraging-2s-8x8-2p-2f-coop-v3",
        "Foraging-10x10-3p-3f-v3",
        "Foraging-15x15-3p-5f-v3",
        "Foraging-grid-2s-8x8-3p-2f-v3",
    ),
    make=make,
)
