"""Environments: pure functions with gymnax's step contract, one folder for each family."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.envs import acquaint as acquaint
    from marlx.envs import bridges as bridges
    from marlx.envs import checks as checks
    from marlx.envs import doorkey as doorkey
    from marlx.envs import foraging as foraging
    from marlx.envs import grid as grid
    from marlx.envs import integers as integers
    from marlx.envs import matrix as matrix
    from marlx.envs import mpe as mpe
    from marlx.envs import partners as partners
    from marlx.envs import raster as raster
    from marlx.envs import signal as signal
    from marlx.envs import sketch as sketch
    from marlx.envs import trashgrid as trashgrid
    from marlx.envs import vault as vault
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
