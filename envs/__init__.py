"""Environments: pure functions with gymnax's step contract, one folder for each family."""

from __future__ import annotations
