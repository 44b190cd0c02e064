"""Algorithms by name: `marlx.algos.qmix(spec, lr=3e-4)` returns a learner.

Every algorithm of `marlx list` is a function here, those of other packages too. No module here
bears the name of an algorithm, which it would hide. Type checkers and editors read `__init__.pyi`,
which `python tests/stubs.py` makes from the settings.
"""

from __future__ import annotations

import importlib
from typing import Any

from marlx._modules import missing, modules_of


def __getattr__(name: str) -> Any:
    """Returns the function of the algorithm called `name`, or the module of that name."""
    from marlx.registry import algorithms

    if not name.startswith("_"):
        if name in modules_of("marlx.algos"):
            return importlib.import_module(f"marlx.algos.{name}")
        if name in algorithms():
            from marlx.algos.functions import function_of

            return function_of(algorithms()[name])
    raise missing("marlx.algos", name, __dir__())


def __dir__() -> list[str]:
    """Returns the names of the algorithms."""
    from marlx.registry import algorithms

    return sorted(algorithms())
