"""marlx: cooperative multi-agent reinforcement learning in JAX.

Every public name below, and every module, is imported when it is first used, so that `import marlx`
costs nothing and the command line can answer before JAX has loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from marlx._version import __version__ as __version__

if TYPE_CHECKING:
    from marlx import algos, envs
    from marlx import analysis as analysis
    from marlx import config as config
    from marlx import data as data
    from marlx import environment as environment
    from marlx import learner as learner
    from marlx import learning as learning
    from marlx import loggers as loggers
    from marlx import loop as loop
    from marlx import nets as nets
    from marlx import registry as registry
    from marlx import runs as runs
    from marlx import settings as settings
    from marlx import statistics as statistics
    from marlx import subgoals as subgoals
    from marlx import sweeps as sweeps
    from marlx import testing as testing
    from marlx import training as training
    from marlx import types as types
    from marlx import xla as xla
    from marlx.environment import Environment, EnvParams, EnvState
    from marlx.learner import Learner
    from marlx.loop.evaluation import evaluate
    from marlx.loop.settings import TrainConfig
    from marlx.loop.vector import vector_reset, vector_step
    from marlx.registry import Algorithm, Family, algorithm, algorithms, families, make
    from marlx.runs.policies import Policy, load_policy
    from marlx.subgoals import with_subgoals
    from marlx.sweeps.vmapped import train_many
    from marlx.training import train
    from marlx.types import EnvSpec, Observation, Transition

_HOME = {
    "Algorithm": "registry",
    "EnvParams": "environment",
    "EnvSpec": "types",
    "EnvState": "environment",
    "Environment": "environment",
    "Family": "registry",
    "Learner": "learner",
    "Observation": "types",
    "Policy": "runs.policies",
    "TrainConfig": "loop.settings",
    "Transition": "types",
    "algorithm": "registry",
    "algorithms": "registry",
    "algos": "",
    "envs": "",
    "evaluate": "loop.evaluation",
    "families": "registry",
    "load_policy": "runs.policies",
    "make": "registry",
    "train": "training",
    "train_many": "sweeps.vmapped",
    "vector_reset": "loop.vector",
    "vector_step": "loop.vector",
    "with_subgoals": "subgoals",
}
"""Public name -> module it lives in; the packages themselves have none."""

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        import importlib

        from marlx._modules import missing, modules_of

        home = _HOME.get(name, "")
        if name not in _HOME and (name.startswith("_") or name not in modules_of("marlx")):
            raise missing("marlx", name, sorted({*_HOME, *modules_of("marlx")}))
        module = importlib.import_module(f"marlx.{home or name}")
        value = getattr(module, name) if home else module
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    from marlx._modules import modules_of

    return sorted({*globals(), *_HOME, *modules_of("marlx")})


__all__ = [
    "Algorithm",
    "EnvParams",
    "EnvSpec",
    "EnvState",
    "Environment",
    "Family",
    "Learner",
    "Observation",
    "Policy",
    "TrainConfig",
    "Transition",
    "algorithm",
    "algorithms",
    "algos",
    "envs",
    "evaluate",
    "families",
    "load_policy",
    "make",
    "train",
    "train_many",
    "vector_reset",
    "vector_step",
    "with_subgoals",
]
