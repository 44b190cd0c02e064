"""Particle environments (MPE): agents that push themselves about a plane, and some that talk."""

from __future__ import annotations

import re

from marlx.envs.mpe.core import Particles
from marlx.envs.mpe.simple import Simple
from marlx.envs.mpe.spread import Spread
from marlx.registry import Family

SCENARIOS: tuple[type[Particles], ...] = (Simple, Spread)
EXAMPLES = tuple(scenario.ID for scenario in SCENARIOS)


def make(id: str) -> Particles:
    """The environment of an id such as `mpe/simple_spread_v3`, with mpe2's defaults.

    Raises:
      ValueError: there is none of that id.
    """
    for scenario in SCENARIOS:
        if scenario.ID == id:
            return scenario()
    raise ValueError(f"{id!r} is not a particle environment; they are {', '.join(EXAMPLES)}")


FAMILY = Family(
    name="mpe",
    pattern="|".join(map(re.escape, EXAMPLES)),
    usage=f"mpe/{{scenario}}: {', '.join(id.removeprefix('mpe/') for id in EXAMPLES)}",
    examples=EXAMPLES,
    make=make,
)
