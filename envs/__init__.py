"""Environments: pure functions behind gymnax's contract, each family in one file or folder."""

from __future__ import annotations
