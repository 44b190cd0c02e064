"""Memory of a compiled training, and how many runs fit into it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr

from marlx.loop.run import Run
from marlx.xla.memory import nbytes


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
    """Returns the largest number of live bytes in a program, inputs and outputs included."""
    last = {var: i for i, eqn in enumerate(jaxpr.eqns) for var in eqn.invars if _is_var(var)}
    last |= {var: len(jaxpr.eqns) for var in jaxpr.outvars if _is_var(var)}
    inputs = [*jaxpr.constvars, *jaxpr.invars]
    ends: dict[int, list[Any]] = {}
    for var, i in last.items():
        ends.setdefault(i, []).append(var)
    alive = sum(map(_size, inputs))
    worst = alive
    for i, eqn in enumerate(jaxpr.eqns):
        inside = [_peak(one) - sum(map(_size, one.invars)) for one in _inner(eqn.params)]
        freed = sum(map(_size, ends.get(i, [])))
        # a value that is read for the last time can be overwritten, as the carry of a loop is
        made = max(sum(map(_size, eqn.outvars)), freed)
        worst = max(worst, alive + made - freed + max(inside, default=0))
        unused = sum(_size(var) for var in eqn.outvars if var not in last)
        alive += sum(map(_size, eqn.outvars)) - freed - unused
    return worst


def _inner(params: Mapping[str, Any]) -> Iterator[Any]:
    """Yields the programs inside an equation: the body of a loop, the branches of a condition."""
    for value in params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, Jaxpr):
                yield one


def _is_var(var: Any) -> bool:
    return not hasattr(var, "val")  # a literal has one


def _size(var: Any) -> int:
    return nbytes(var.aval)
