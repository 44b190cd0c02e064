"""Conversion of environments between marlx and other libraries.

========== =========================== ======================================
gymnax     `from_gymnax` (one agent)   `to_gymnax`, `register_in_gymnax`
JaxMARL    `from_jaxmarl`              `to_jaxmarl`
jumanji    `from_jumanji`
PettingZoo                             `to_pettingzoo` (parallel)
========== =========================== ======================================

A library is imported when an environment of it is made. If it is missing, the error says how to
install it.
"""

from __future__ import annotations

from marlx.envs.bridges import gymnax as _gymnax
from marlx.envs.bridges import jaxmarl as _jaxmarl
from marlx.envs.bridges import jumanji as _jumanji
from marlx.envs.bridges.as_gymnax import register_in_gymnax, to_gymnax
from marlx.envs.bridges.as_jaxmarl import to_jaxmarl
from marlx.envs.bridges.gymnax import from_gymnax
from marlx.envs.bridges.jaxmarl import from_jaxmarl
from marlx.envs.bridges.jumanji import from_jumanji
from marlx.envs.bridges.pettingzoo import to_pettingzoo

__all__ = [
    "from_gymnax",
    "from_jaxmarl",
    "from_jumanji",
    "register_in_gymnax",
    "to_gymnax",
    "to_jaxmarl",
    "to_pettingzoo",
]

FAMILIES = (_gymnax.FAMILY, _jaxmarl.FAMILY, _jumanji.FAMILY)
