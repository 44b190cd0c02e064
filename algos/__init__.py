"""Learners: one file each, built from the parts in `marlx`.

`marlx.algos.qmix(spec, lr=3e-4)` builds a learner; every algorithm in `marlx list` is called alike.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.registry import Algorithm


def __getattr__(name: str) -> Algorithm:
    """The algorithm called `name`, which is called with a spec and settings."""
    from marlx.registry import algorithms

    if name.startswith("_") or name not in algorithms():
        raise AttributeError(f"module 'marlx.algos' has no attribute {name!r}")
    return algorithms()[name]
