"""Which heuristic partners fit an environment."""

from __future__ import annotations

from typing import Any

from marlx.environment import Environment
from marlx.envs.foraging import Foraging
from marlx.envs.matrix import MatrixGame
from marlx.envs.mpe.core import Particles
from marlx.envs.mpe.liam import LiamSpeakerListener
from marlx.envs.mpe.spread import Spread
from marlx.envs.partners.foraging import foraging_heuristics
from marlx.envs.partners.games import game_heuristics
from marlx.envs.partners.particles import (
    has_predators,
    predator_heuristics,
    speaker_heuristics,
    spread_heuristics,
)
from marlx.envs.roles import Partner, no_memory
from marlx.learning.returns import uniform_action
from marlx.types import Array, Observation, Tree


def heuristics(env: Environment[Any, Any]) -> dict[str, Partner]:
    """The heuristic partners that fit `env`, by name; `random` fits every environment."""
    made: tuple[Partner, ...] = ()
    if isinstance(env, Foraging):
        made = foraging_heuristics(env)
    elif isinstance(env, MatrixGame):
        made = game_heuristics(env)
    elif isinstance(env, Spread):
        made = spread_heuristics(env)
    elif isinstance(env, LiamSpeakerListener):
        made = speaker_heuristics(env)
    elif isinstance(env, Particles) and has_predators(env):
        made = predator_heuristics(env)
    return {partner.name: partner for partner in (*made, random(env))}


def random(env: Environment[Any, Any]) -> Partner:
    """A partner that does something legal, all of it equally likely, at every step."""
    spec = env.spec()

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        return uniform_action(key, spec, obs.action_mask), memory

    return Partner("random", no_memory, act)
