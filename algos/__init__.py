"""Algorithms by name: `marlx.algos.qmix(spec, lr=3e-4)` returns a learner.

Every algorithm of `marlx list` is an attribute, those of other packages too. No module here bears
the name of an algorithm, which it would hide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.registry import Algorithm


def __getattr__(name: str) -> Algorithm:
    """Returns the algorithm called `name`, to be called with a spec and settings."""
    from marlx.registry import algorithms

    if name.startswith("_") or name not in algorithms():
        raise AttributeError(f"module 'marlx.algos' has no attribute {name!r}")
    return algorithms()[name]
