"""How many runs fit side by side in memory."""

from __future__ import annotations

from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

from marlx.loop.run import Run
from marlx.xla.memory import nbytes


def width_that_fits(run: Run, available: int | None, most: int) -> tuple[int, int]:
    """How many runs like `run` fit side by side, at most `most`, and the bytes that one takes.

    What one takes is the most that is alive at any time in a block of the loop, and a third more
    for what a compiler adds: MAPPO took 1.2 times the first, QMIX 1.08 times, compiled for CPUs.

    Args:
      run: one variant, however many seeds.
      available: bytes; None where it is not known, and then `most` fit.
      most: wanted.

    Raises:
      ValueError: not even one fits.
    """
    block = jax.make_jaxpr(run.loop.block)(run.state_shape)
    each = _peak(block.jaxpr) * run.config.seeds * 4 // 3
    if available is None:
        return most, each
    if each > available:
        raise ValueError(
            f"one run takes about {each:,} bytes and {available:,} are free; give it fewer seeds, "
            "fewer environments or a smaller replay"
        )
    return min(most, available // each), each


def _peak(jaxpr: Any) -> int:
    """Bytes alive at the worst moment of a program, its inputs and outputs included."""
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if _is_var(var)}
    last |= {var: len(jaxpr.eqns) for var in jaxpr.outvars if _is_var(var)}
    inputs = [*jaxpr.constvars, *jaxpr.invars]
    ends: dict[int, list[Any]] = {}
    for var, i in last.items():
        ends.setdefault(i, []).append(var)
    alive = sum(map(_size, inputs))
    worst = alive
    for i, eqn in enumerate(jaxpr.eqns):
        inside = [_peak(one) - sum(map(_size, one.invars)) for one in jaxprs_in_params(eqn.params)]
        freed = sum(map(_size, ends.get(i, [])))
        # what is read for the last time can be overwritten, as a loop does with what it carries
        made = max(sum(map(_size, eqn.outvars)), freed)
        worst = max(worst, alive + made - freed + max(inside, default=0))
        unused = sum(_size(var) for var in eqn.outvars if var not in last)
        alive += sum(map(_size, eqn.outvars)) - freed - unused
    return worst


def _is_var(var: Any) -> bool:
    return not hasattr(var, "val")  # a literal has one


def _size(var: Any) -> int:
    return nbytes(var.aval)
