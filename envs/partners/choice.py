"""The heuristic partners that fit an environment."""

from __future__ import annotations

from typing import Any

from marlx.environment import Environment
from marlx.envs.partners import foraging, games, particles, signals
from marlx.envs.partners.partner import HeuristicSet, Partner, no_memory
from marlx.learning.returns import uniform_action
from marlx.types import Array, Observation, Tree

HEURISTICS: tuple[HeuristicSet, ...] = (
    foraging.HEURISTICS,
    games.HEURISTICS,
    *particles.HEURISTICS,
    signals.HEURISTICS,
)
"""All heuristics; an environment has those of the first set that fits."""

BY_NAME = ("random", "majority")
"""Partners that are in a pool only where it names them, while there are others."""


def heuristics(env: Environment[Any, Any]) -> dict[str, Partner]:
    """Returns the heuristic partners that fit `env`, by name; `random` fits every environment."""
    found = _fitting(env)
    made = () if found is None else found.make(env)
    return {partner.name: partner for partner in (*made, random(env))}


def default_ego(env: Environment[Any, Any]) -> tuple[int, ...]:
    """Returns the agents that learn in `partners/{environment}` unless a setting says otherwise."""
    found = _fitting(env)
    return (0,) if found is None else found.ego(env)


def _fitting(env: Environment[Any, Any]) -> HeuristicSet | None:
    """Returns the first set of heuristics that fits `env`."""
    for one in HEURISTICS:
        if isinstance(env, one.kind) and one.fits(env):
            return one
    return None


def random(env: Environment[Any, Any]) -> Partner:
    """Returns a partner that takes a uniformly random legal action at every step."""
    spec = env.spec()

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        return uniform_action(key, spec, obs.action_mask), memory

    return Partner("random", no_memory, act)
