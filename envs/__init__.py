"""Environments: pure functions with gymnax's step contract, one folder for each family."""

from __future__ import annotations

BUILT_IN = (
    "marlx.envs.foraging:FAMILY",
    "marlx.envs.matrix:FAMILY",
    "marlx.envs.mpe:FAMILY",
    "marlx.envs.doorkey:FAMILY",
    "marlx.envs.trashgrid:FAMILY",
    "marlx.envs.partners:FAMILY",
    "marlx.envs.bridges:FAMILIES",
)
"""References to the built-in `marlx.registry.Family` records, imported when first needed."""
