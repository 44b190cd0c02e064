"""Settings: presets, YAML files and the command line, merged into an experiment.

`experiment` and `Experiment` of `marlx.config.layers` are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.config.layers import Experiment, experiment

__all__ = ["Experiment", "experiment"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'marlx.config' has no attribute {name!r}")
    from marlx.config import layers

    return getattr(layers, name)
