"""Compilation with optimisations off, for programs that run rarely."""

from __future__ import annotations

from typing import Any

import jax


def compile_fast(lowered: Any) -> Any:
    """Compiles a lowered program, on a CPU with optimisations off.

    This is about 3 times faster to compile and 2 times slower to run, so it is for programs that
    run once or rarely. On accelerators it is an ordinary compilation.
    """
    if jax.default_backend() != "cpu":
        return lowered.compile()
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    try:
        return lowered.compile({**options, "xla_cpu_use_fusion_emitters": False})
    except jax.errors.JaxRuntimeError as error:
        if "No such compile option" not in str(error):  # jaxlib 0.11.2 and later lack the last one
            raise
        return lowered.compile(options)
