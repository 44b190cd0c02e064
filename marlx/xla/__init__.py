"""Compilation, sharding and memory: hints to XLA."""
