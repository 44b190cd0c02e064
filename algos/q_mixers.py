"""The mixer of each Q-learner, by the algorithm's name."""

from __future__ import annotations

from marlx.algos.q_config import QConfig
from marlx.nets import mixers
from marlx.nets.mixers import Mixer
from marlx.types import EnvSpec


def mixer_of(algorithm: str, spec: EnvSpec, config: QConfig) -> Mixer:
    """Returns the mixer of `iql`, `vdn`, `qmix`, `qplex` or `joint_q`.

    Args:
      algorithm: its name.
      spec: the environment's.
      config: settings of the mixer's networks.

    Raises:
      ValueError: there are too many joint actions, or they are to be learned one by one at first.
    """
    c = config
    if algorithm == "qmix":
        return mixers.monotonic(
            spec, embed=c.mixer_embed, hypernet=c.mixer_hidden, normalise=c.mixer_norm
        )
    if algorithm == "qplex":
        return mixers.duplex(
            spec,
            hidden=c.mixer_hidden,
            normalise=c.mixer_norm,
            exponent=c.mixer_exponent,
            gradient=c.mixer_gradient,
        )
    if algorithm == "joint_q":
        if c.mixing_delay:
            raise ValueError(
                f"mixing_delay is {c.mixing_delay}; a joint action has no single values"
            )
        return mixers.joint(spec, features=c.hidden, hidden=c.mixer_hidden)
    return {"iql": mixers.independent, "vdn": mixers.additive}[algorithm]()
