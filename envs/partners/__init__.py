"""Environments in which a learner controls some agents and fixed partners play the others.

`with_partners(env, policies, ego)` is the setting of agent modelling and ad hoc teamwork. The
partner is drawn for each episode, stays for all of it, and is not observed. By name it is
`partners/{environment}`.

A `Partner` is a record of pure functions. `heuristics(env)` lists those that fit an environment;
they act on observations only, not on the state. `from_runs` makes partners of trained policies,
`from_episodes` of people who played, and `pretrained` is a trained opponent that comes with marlx.
"""

from __future__ import annotations

from marlx.envs.partners.choice import heuristics, random
from marlx.envs.partners.foraging import foraging_heuristics
from marlx.envs.partners.games import game_heuristics, majority_chances
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
from marlx.envs.partners.partner import Partner, no_memory
from marlx.envs.partners.people import from_episodes
from marlx.envs.partners.roles import Roles, RolesState, with_partners
from marlx.envs.partners.signals import signal_languages
from marlx.envs.partners.stored import from_policy, from_runs
from marlx.envs.partners.trained import has_pretrained, pretrained

__all__ = [
    "FAMILY",
    "LIAM_CODES",
    "LIAM_TEAMS",
    "PREDATORS",
    "Partner",
    "Roles",
    "RolesState",
    "foraging_heuristics",
    "from_episodes",
    "from_policy",
    "from_runs",
    "game_heuristics",
    "has_predators",
    "has_pretrained",
    "heuristics",
    "majority_chances",
    "make",
    "no_memory",
    "pool_of",
    "predator_heuristics",
    "pretrained",
    "random",
    "signal_languages",
    "speaker_heuristics",
    "spread_heuristics",
    "with_partners",
]
