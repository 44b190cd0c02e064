"""Environments: pure functions behind gymnax's contract, each family in one file."""
