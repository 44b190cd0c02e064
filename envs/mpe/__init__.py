"""Particle environments (MPE): agents move on a plane, and some send messages."""

from __future__ import annotations

import re

from marlx.envs.mpe.adversary import Adversary
from marlx.envs.mpe.crypto import Crypto
from marlx.envs.mpe.liam import LiamPredatorPrey, LiamSpeakerListener
from marlx.envs.mpe.push import Push
from marlx.envs.mpe.reference import Reference
from marlx.envs.mpe.simple import Simple
from marlx.envs.mpe.speaker_listener import SpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.mpe.tag import Tag
from marlx.envs.mpe.world import Particles, ParticleState
from marlx.envs.mpe.world_comm import WorldComm
from marlx.registry import Family

__all__ = [
    "FAMILY",
    "Adversary",
    "Crypto",
    "LiamPredatorPrey",
    "LiamSpeakerListener",
    "ParticleState",
    "Particles",
    "Push",
    "Reference",
    "Simple",
    "SpeakerListener",
    "Spread",
    "Tag",
    "WorldComm",
    "make",
]

SCENARIOS: tuple[type[Particles], ...] = (
    Simple,
    Spread,
    Reference,
    SpeakerListener,
    Tag,
    Adversary,
    Crypto,
    Push,
    WorldComm,
    LiamPredatorPrey,
    LiamSpeakerListener,
)
EXAMPLES = tuple(scenario.ID for scenario in SCENARIOS)


def make(id: str) -> Particles:
    """Returns the environment of an id such as `mpe/simple_spread_v3`, with mpe2's defaults.

    Raises:
      ValueError: there is no particle environment of that id.
    """
    for scenario in SCENARIOS:
        if scenario.ID == id:
            return scenario()
    raise ValueError(f"{id!r} is not a particle environment; known: {', '.join(EXAMPLES)}")


FAMILY = Family(
    name="mpe",
    pattern="|".join(map(re.escape, EXAMPLES)),
    usage=f"mpe/{{scenario}}: {', '.join(id.removeprefix('mpe/') for id in EXAMPLES)}",
    examples=EXAMPLES,
    make=make,
)
