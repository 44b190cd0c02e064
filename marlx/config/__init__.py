"""Settings: presets, YAML files and the command line, merged into an experiment.

`experiment` and `Experiment` of `marlx.config.layers` are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.config import coerce as coerce
    from marlx.config import layers as layers
    from marlx.config import tree as tree
    from marlx.config import yaml_text as yaml_text
    from marlx.config.layers import Experiment, experiment
else:
    from marlx._modules import lazy

    _get_module, _modules = lazy(__name__)

    def __getattr__(name: str) -> object:
        if name not in __all__:
            return _get_module(name)
        from marlx.config import layers

        return getattr(layers, name)

    def __dir__() -> list[str]:
        return sorted({*__all__, *_modules()})


__all__ = ["Experiment", "experiment"]
