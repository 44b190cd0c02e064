"""Compilation for the checks, which call each function a few times."""

import functools

import jax

jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
"""`jax.jit` without optimisation: compiling is the cost here, and takes half as long or less."""
