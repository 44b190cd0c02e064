"""Memory of a compiled training, and how many runs fit into it."""

from __future__ import annotations

import jax

from marlx.loop.run import Run
from marlx.xla.memory import live_bytes


def width_that_fits(run: Run, available: int | None, most: int) -> tuple[int, int]:
    """Returns how many runs like `run` fit into memory, at most `most`, and the bytes of one.

    The bytes are the largest live set in a block of the loop, plus a third for temporaries of the
    compiler: compiled for CPUs, MAPPO used 1.2 times and QMIX 1.08 times the live set.

    Args:
      run: one variant, with any number of seeds.
      available: bytes of free memory; None if unknown, and then `most` fit.
      most: number of runs that are wanted.

    Raises:
      ValueError: not even one fits.
    """
    block = jax.make_jaxpr(run.loop.block)(run.state_shape)
    each = live_bytes(block.jaxpr) * run.config.seeds * 4 // 3
    if available is None:
        return most, each
    if each > available:
        raise ValueError(
            f"one run takes about {each:,} bytes and {available:,} are free; give it fewer seeds, "
            "fewer environments or a smaller replay"
        )
    return min(most, available // each), each
