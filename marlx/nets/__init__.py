"""Flax networks: agents, mixers, recurrent cells and attention."""
