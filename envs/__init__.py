"""Environments: pure functions behind gymnax's contract, each family in one file or folder."""

from __future__ import annotations

BUILT_IN = (
    "marlx.envs.doorkey:FAMILY",
    "marlx.envs.foraging:FAMILY",
    "marlx.envs.matrix:FAMILY",
    "marlx.envs.trashgrid:FAMILY",
)
"""Where the built-in `marlx.registry.Family` records are; imported when they are first needed."""
