"""A JAX function as a flat list of operations whose shapes say how they follow the batch size.

The function is traced with two batch sizes. A length that is the same in both is fixed; one that
differs is linear in the batch size, as those of the acting functions are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

SIZES = 5, 7
"""Batch sizes of the two traces."""
INLINED = (
    "jit",
    "pjit",
    "closed_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "remat",
    "checkpoint",
)
"""Operations that only hold others."""


class Length(NamedTuple):
    """A length of `slope * b + offset` at batch size b."""

    slope: int
    offset: int


Shape = tuple[int | Length, ...]
"""Of an array: fixed lengths, and those that follow the batch size."""
Operand = int | np.ndarray[Any, Any]
"""What an operation reads: the number of a value, or a constant."""


class Value(NamedTuple):
    """Shape and type of an operand or a result."""

    shape: Shape
    dtype: np.dtype[Any]


class Step(NamedTuple):
    """An operation."""

    name: str  # of JAX's primitive
    operands: tuple[Operand, ...]
    reads: tuple[Value, ...]
    results: tuple[int, ...]
    gives: tuple[Value, ...]
    params: dict[str, Any]


class Program(NamedTuple):
    """A function as operations; those that no result needs are left out."""

    inputs: tuple[int, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Operand, ...]
    gives: tuple[Value, ...]  # shapes and types of the outputs


def program(function: Callable[..., Any], examples: Callable[[int], tuple[Any, ...]]) -> Program:
    """Returns a function as a program.

    Args:
      function: of pytrees of arrays.
      examples: its arguments, or their shapes, at a batch size.

    Raises:
      ValueError: the operations depend on the batch size.
    """
    import jax

    both = [jax.make_jaxpr(function)(*examples(size)) for size in SIZES]
    inputs, steps, outputs = zip(*map(_flat, both), strict=True)
    same = len(steps[0]) == len(steps[1]) and all(
        (a.name, a.results, len(a.operands)) == (b.name, b.results, len(b.operands))
        for a, b in zip(*steps, strict=True)
    )
    if not same:
        raise ValueError("its operations depend on the batch size")
    joined = [_joined(a, b) for a, b in zip(*steps, strict=True)]
    gives = tuple(
        Value(lengths(a.shape, b.shape), np.dtype(a.dtype))
        for a, b in zip(*(one.out_avals for one in both), strict=True)
    )
    return Program(tuple(inputs[0]), tuple(_needed(joined, outputs[0])), tuple(outputs[0]), gives)


def lengths(first: tuple[int, ...], second: tuple[int, ...]) -> Shape:
    """Returns a shape from those at both batch sizes of `SIZES`."""
    small, large = SIZES

    def one(a: int, b: int) -> int | Length:
        slope = (b - a) // (large - small)
        return a if a == b else Length(slope, a - slope * small)

    return tuple(one(a, b) for a, b in zip(first, second, strict=True))


def _flat(closed: Any) -> tuple[list[int], list[Step], list[Operand]]:
    """Returns inputs, operations and outputs of a trace, with the inner ones in their place."""
    numbers = itertools.count()
    inputs = [next(numbers) for _ in closed.jaxpr.invars]
    steps: list[Step] = []
    outputs = _inline(closed.jaxpr, closed.consts, inputs, numbers, steps)
    return inputs, steps, outputs


def _inline(
    jaxpr: Any,
    constants: Any,
    given: list[Any],
    numbers: Iterator[int],
    steps: list[Step],
) -> list[Operand]:
    """Adds the operations of a trace to `steps`, and returns its outputs."""
    from jax.extend.core import Literal

    known = dict(zip(jaxpr.invars, given, strict=True))
    known.update((var, _constant(x)) for var, x in zip(jaxpr.constvars, constants, strict=True))

    def read(atom: Any) -> Operand:
        return np.asarray(atom.val) if isinstance(atom, Literal) else known[atom]

    for equation in jaxpr.eqns:
        operands, name = [read(atom) for atom in equation.invars], equation.primitive.name
        if name in INLINED:
            inner = next(x for x in equation.params.values() if hasattr(x, "eqns"))
            core = getattr(inner, "jaxpr", inner)
            results = _inline(core, getattr(inner, "consts", ()), operands, numbers, steps)
            known.update(zip(equation.outvars, results, strict=True))
            continue
        made = [next(numbers) for _ in equation.outvars]
        known.update(zip(equation.outvars, made, strict=True))
        reads, gives = (
            tuple(Value(tuple(atom.aval.shape), atom.aval.dtype) for atom in atoms)
            for atoms in (equation.invars, equation.outvars)
        )
        steps.append(Step(name, tuple(operands), reads, tuple(made), gives, dict(equation.params)))
    return [read(atom) for atom in jaxpr.outvars]


def _constant(x: Any) -> Any:
    """Returns an array, or a key as it is: what greedy acting needs reads none."""
    import jax

    return x if jax.numpy.issubdtype(x.dtype, jax.dtypes.prng_key) else np.asarray(x)


def _joined(first: Step, second: Step) -> Step:
    """Returns the operation at any batch size."""

    def values(a: tuple[Value, ...], b: tuple[Value, ...]) -> tuple[Value, ...]:
        return tuple(
            Value(lengths(x.shape, y.shape), x.dtype)  # type: ignore[arg-type]
            for x, y in zip(a, b, strict=True)
        )

    reads, operands = values(first.reads, second.reads), first.operands
    if first.name == "concatenate":  # what has no numbers need not be known
        full = [value.shape[first.params["dimension"]] != 0 for value in reads]
        reads = tuple(x for x, there in zip(reads, full, strict=True) if there)
        operands = tuple(x for x, there in zip(operands, full, strict=True) if there)
    return first._replace(operands=operands, reads=reads, gives=values(first.gives, second.gives))


def _needed(steps: list[Step], outputs: list[Operand]) -> list[Step]:
    """Returns the operations that the outputs depend on, in their order."""
    wanted = {x for x in outputs if isinstance(x, int)}
    kept = []
    for step in reversed(steps):
        if wanted & {*step.results}:
            wanted |= {x for x in step.operands if isinstance(x, int)}
            kept.append(step)
    return kept[::-1]
