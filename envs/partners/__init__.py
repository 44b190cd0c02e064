"""Heuristic partners, and environments with partners by name: `partners/{environment}`.

A heuristic acts on what its agent observes, never on the state. All are `Partner` records, to be
given to `marlx.envs.roles.with_partners`; `heuristics(env)` tells which fit an environment.
"""

from __future__ import annotations

from marlx.envs.partners.choice import heuristics, random
from marlx.envs.partners.foraging import foraging_heuristics
from marlx.envs.partners.games import game_heuristics
from marlx.envs.partners.named import FAMILY, make, pool_of
from marlx.envs.partners.particles import (
    LIAM_CODES,
    LIAM_TEAMS,
    PREDATORS,
    has_predators,
    predator_heuristics,
    speaker_heuristics,
    spread_heuristics,
)
from marlx.envs.partners.trained import has_pretrained, pretrained

__all__ = [
    "FAMILY",
    "LIAM_CODES",
    "LIAM_TEAMS",
    "PREDATORS",
    "foraging_heuristics",
    "game_heuristics",
    "has_predators",
    "has_pretrained",
    "heuristics",
    "make",
    "pool_of",
    "predator_heuristics",
    "pretrained",
    "random",
    "speaker_heuristics",
    "spread_heuristics",
]
