"""Compilation with optimisations off."""

import jax
import pytest

from marlx.xla import compiling


def test_compile_fast_works_with_an_xla_that_lacks_an_option():
    """As later versions do; any other error is raised."""

    class Program:
        lacks = "No such compile option: 'xla_cpu_use_fusion_emitters'"

        def compile(self, options):
            if "xla_cpu_use_fusion_emitters" in options:
                raise jax.errors.JaxRuntimeError(f"INVALID_ARGUMENT: {self.lacks}")
            return options

    program = Program()
    assert compiling.compile_fast(program)["xla_backend_optimization_level"] == 0
    program.lacks = "out of memory"
    with pytest.raises(jax.errors.JaxRuntimeError, match="out of memory"):
        compiling.compile_fast(program)
