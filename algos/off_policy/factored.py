"""FACMAC: actors that maximise a mixed value, all at once.

Each agent's critic reads what the agent sees and does; a mixer makes the team's value of them. It
need not be monotonic: nothing is searched for a best joint action. The gradient passes through the
actions of all agents by their present policies, so they learn to act together, where MADDPG's
actors take the others' actions from the replay.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from marlx.algos.off_policy.config import FACMACConfig
from marlx.algos.off_policy.core import build_learner
from marlx.algos.off_policy.critics import factored
from marlx.algos.off_policy.deterministic import deterministic_parts
from marlx.algos.off_policy.parts import Parts
from marlx.learner import Learner
from marlx.nets import mixers
from marlx.nets.mixers import Mixer
from marlx.registry import Algorithm
from marlx.types import EnvSpec


def mixer_of(spec: EnvSpec, config: FACMACConfig) -> Mixer:
    """Returns the mixer that the setting `mixer` names."""
    if config.mixer == "additive":
        return mixers.additive()
    return mixers.monotonic(
        spec,
        embed=config.mixer_embed,
        hypernet=config.mixer_hidden,
        normalise=config.mixer_norm,
        positive=config.mixer == "monotonic",
    )


def facmac(spec: EnvSpec, config: FACMACConfig | None = None, **settings: Any) -> Learner:
    """FACMAC: factored critics and a centralised policy gradient (Peng et al. 2021).

    Differs from: the authors' code, which mixes nothing for one agent, and whose targets of
    discrete actions take the most probable one where ours draw.
    """
    c = dataclasses.replace(config or FACMACConfig(), **settings)

    def build(spec: EnvSpec) -> Parts:
        return deterministic_parts(spec, c, factored(spec, c, mixer_of(spec, c)))

    return build_learner(spec, c.last_action, build)


ALGORITHMS = (Algorithm("facmac", "DDPG with a mixed critic", FACMACConfig, facmac, preset="ddpg"),)
