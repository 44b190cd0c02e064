"""The schedule of phases: who learns, and who speaks."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marlx.algos.population.config import PopulationConfig
from marlx.types import Array

SEED, LISTEN, SPEAK = range(3)
"""Phases: lessons alone, the listener's, the speaker's."""


class Phase(NamedTuple):
    """Where the schedule stands; all int32 []."""

    kind: Array  # `SEED`, `LISTEN` or `SPEAK`
    newest: Array  # index of the newest speaker, the one that learns
    begins: Array  # bool [], whether a speaker is new, and still to be made


def phase_of(config: PopulationConfig, updates: Array) -> Phase:
    """Returns the phase after some updates: seed, then listener and speaker in turn, T times.

    After the last speaker only the listener learns. A population that does not grow has one
    speaker, which is trained in all T phases.
    """
    since = updates - config.seed_updates
    turn = jnp.maximum(since, 0) // config.phase_updates
    speaking = (turn % 2 == 1) & (turn // 2 < config.population)
    kind = jnp.where(since < 0, SEED, jnp.where(speaking, SPEAK, LISTEN)).astype(jnp.int32)
    if not config.growing:
        return Phase(kind, jnp.zeros_like(kind), jnp.zeros_like(speaking))
    newest = jnp.minimum(turn // 2, config.population) + speaking
    begins = speaking & (since % config.phase_updates == 0)
    return Phase(kind, newest.astype(jnp.int32), begins)


def speaker_of(phase: Phase, envs: Array) -> Array:
    """Returns int32 [B], who speaks in each environment: all in turn, or the one that learns."""
    return jnp.where(phase.kind == LISTEN, envs % (phase.newest + 1), phase.newest)
