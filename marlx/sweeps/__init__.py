"""Sweeps: files, search, and trials trained in one program."""
