"""Listeners that meet a growing population of speakers, in signalling games."""
