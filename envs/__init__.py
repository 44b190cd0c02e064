"""Environments: pure functions behind gymnax's contract, each family in one file or folder."""

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
"""Where the built-in `marlx.registry.Family` records are; imported when they are first needed."""
