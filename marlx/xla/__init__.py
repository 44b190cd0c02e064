"""Compilation, sharding and memory: what the code tells XLA."""
