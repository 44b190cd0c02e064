"""marlx: cooperative multi-agent reinforcement learning in JAX."""

from marlx.environment import Environment, EnvParams, EnvState, vector_reset, vector_step
from marlx.learner import Learner
from marlx.types import EnvSpec, Observation, Transition

__version__ = "0.1.0"

__all__ = [
    "EnvParams",
    "EnvSpec",
    "EnvState",
    "Environment",
    "Learner",
    "Observation",
    "Transition",
    "vector_reset",
    "vector_step",
]
