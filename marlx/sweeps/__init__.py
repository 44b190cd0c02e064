"""Sweeps: files, search, vmapped trials."""
