"""Operations of JAX as nodes of an ONNX graph: those that acting networks are made of.

A rule adds the nodes of one operation and returns the names of its results. `RULES` has them by the
name of JAX's primitive.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from marlx.runs.onnx_steps import Length, Shape, Step, Value

OPSET = 18
"""Of the operators; runtimes of 2023 and later know it."""
LAST = np.iinfo(np.int64).max
"""End of a slice that goes to the end."""
NARROW = ("bool", "int8", "int16", "uint8")
"""Types that runtimes choose, compare or reduce as int32."""


class Graph:
    """Nodes and constants of a graph; what is already there is not added again.

    Args:
      batch: name of an input whose first axis is the batch.
    """

    def __init__(self, batch: str) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._made: dict[Any, str] = {}
        self._batch = batch

    def constant(self, array: Any, name: str | None = None) -> str:
        """Returns the name of a constant."""
        from onnx import numpy_helper

        value = np.ascontiguousarray(array).reshape(np.shape(array))
        key = "constant", value.tobytes(), value.dtype.str, value.shape
        if key not in self._made:
            self._made[key] = name or f"constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(value, self._made[key]))
        return self._made[key]

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Returns the name of the result of a node."""
        from onnx import helper

        key = operator, inputs, repr(sorted(attributes.items()))
        if key not in self._made:
            name = f"{operator.lower()}_{len(self.nodes)}"
            self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
            self._made[key] = name
        return self._made[key]

    def cast(self, x: str, dtype: Any) -> str:
        """Returns `x` in another type."""
        from onnx import helper

        return self.node("Cast", x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def shape(self, shape: Shape) -> str:
        """Returns a shape as int64 [rank]."""
        if all(isinstance(length, int) for length in shape):
            return self.constant(np.array(shape, np.int64))
        size = self.node("Shape", self._batch, start=0, end=1)
        parts = []
        for length in shape:
            if isinstance(length, int):
                parts.append(self.constant(np.array([length], np.int64)))
                continue
            part = size
            if length.slope != 1:
                part = self.node("Mul", part, self.constant(np.array([length.slope], np.int64)))
            if length.offset:
                part = self.node("Add", part, self.constant(np.array([length.offset], np.int64)))
            parts.append(part)
        return self.node("Concat", *parts, axis=0)

    def reshape(self, x: str, shape: Shape) -> str:
        """Returns `x` in another shape of as many numbers."""
        moving = [isinstance(length, Length) for length in shape]
        if sum(moving) == 1 and 0 not in shape:  # one length may be worked out by the runtime
            known = [-1 if isinstance(length, Length) else length for length in shape]
            return self.node("Reshape", x, self.constant(np.array(known, np.int64)))
        return self.node("Reshape", x, self.shape(shape), allowzero=1)


Rule = Callable[[Graph, Step, Sequence[str]], str | list[str]]
"""`(graph, operation, names of its operands) -> name of its result, or names`."""


def convert(graph: Graph, step: Step, operands: Sequence[str]) -> list[str]:
    """Returns the names of an operation's results.

    Raises:
      ValueError: there is no rule for it.
    """
    rule = RULES.get(step.name)
    if rule is None:
        raise ValueError(f"it has the operation {step.name!r}, which is not written for ONNX")
    names = rule(graph, step, operands)
    return [names] if isinstance(names, str) else names


def _plain(operator: str) -> Rule:
    """The rule of an operation that ONNX has as it is."""
    return lambda graph, step, x: graph.node(operator, *x)


def _widened(graph: Graph, operator: str, step: Step, x: Sequence[str]) -> str:
    """An operation that is computed as int32 for narrow types, and keeps the result's type."""
    if step.reads[-1].dtype.name not in NARROW:
        return graph.node(operator, *x)
    made = graph.node(operator, *(graph.cast(one, np.int32) for one in x))
    wanted = step.gives[0].dtype
    return made if wanted.name == "bool" and operator in COMPARING else graph.cast(made, wanted)


def _wide(operator: str) -> Rule:
    return lambda graph, step, x: _widened(graph, operator, step, x)


COMPARING = ("Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual")


def _logical(operator: str) -> Rule:
    def rule(graph: Graph, step: Step, x: Sequence[str]) -> str:
        if step.reads[0].dtype != bool:
            raise ValueError(f"it has a bitwise {step.name!r} of whole numbers")
        return graph.node(operator, *x)

    return rule


def _unequal(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return graph.node("Not", _widened(graph, "Equal", step, x))


def _integer_pow(graph: Graph, step: Step, x: Sequence[str]) -> str:
    power = graph.constant(np.array(step.params["y"], step.reads[0].dtype))
    return graph.node("Pow", x[0], power)


def _square(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return graph.node("Mul", x[0], x[0])


def _rsqrt(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return graph.node("Reciprocal", graph.node("Sqrt", x[0]))


def _shifted(operator: str, before: float, after: float) -> Rule:
    """The rule of `operator(x + before) + after`."""

    def rule(graph: Graph, step: Step, x: Sequence[str]) -> str:
        name, kind = x[0], step.reads[0].dtype
        if before:
            name = graph.node("Add", name, graph.constant(np.array(before, kind)))
        name = graph.node(operator, name)
        return graph.node("Add", name, graph.constant(np.array(after, kind))) if after else name

    return rule


def _is_finite(graph: Graph, step: Step, x: Sequence[str]) -> str:
    wrong = graph.node("Or", graph.node("IsInf", x[0]), graph.node("IsNaN", x[0]))
    return graph.node("Not", wrong)


def _cast(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return graph.cast(x[0], step.gives[0].dtype)


def _same(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return x[0]


def _to_shape(graph: Graph, step: Step, x: Sequence[str]) -> str:
    """Reshape, squeeze and expand_dims."""
    if step.params.get("dimensions") is not None and step.name == "reshape":
        raise ValueError("it has a reshape that also transposes")
    return graph.reshape(x[0], step.gives[0].shape)


def _broadcast(graph: Graph, step: Step, x: Sequence[str]) -> str:
    shape, source = step.gives[0].shape, step.reads[0].shape
    apart: list[int | Length] = [1] * len(shape)
    for axis, length in zip(step.params["broadcast_dimensions"], source, strict=True):
        apart[axis] = length
    name = x[0] if tuple(apart) == source else graph.reshape(x[0], tuple(apart))
    return name if tuple(apart) == shape else graph.node("Expand", name, graph.shape(shape))


def _transpose(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return graph.node("Transpose", x[0], perm=list(step.params["permutation"]))


def _concatenate(graph: Graph, step: Step, x: Sequence[str]) -> str:
    return graph.node("Concat", *x, axis=step.params["dimension"])


def _stack(graph: Graph, step: Step, x: Sequence[str]) -> str:
    axis = step.params["axis"]
    place = graph.constant(np.array([axis], np.int64))
    return graph.node("Concat", *(graph.node("Unsqueeze", one, place) for one in x), axis=axis)


def _part(graph: Graph, x: str, start: int, end: int, axis: int, stride: int = 1) -> str:
    bounds = (graph.constant(np.array([k], np.int64)) for k in (start, end, axis, stride))
    return graph.node("Slice", x, *bounds)


def _slice(graph: Graph, step: Step, x: Sequence[str]) -> str:
    name, shape = x[0], step.reads[0].shape
    starts, ends = step.params["start_indices"], step.params["limit_indices"]
    strides = step.params["strides"] or (1,) * len(shape)
    parts = zip(starts, ends, strides, shape, step.gives[0].shape, strict=True)
    for axis, (start, end, stride, before, after) in enumerate(parts):
        if before == after:
            continue
        if isinstance(before, Length):
            raise ValueError("it takes a part of the batch")
        name = _part(graph, name, start, end, axis, stride)
    return name


def _split(graph: Graph, step: Step, x: Sequence[str]) -> list[str]:
    ends = np.cumsum(step.params["sizes"])
    starts = [0, *ends[:-1]]
    return [
        _part(graph, x[0], int(start), int(end), step.params["axis"])
        for start, end in zip(starts, ends, strict=True)
    ]


def _dot(graph: Graph, step: Step, x: Sequence[str]) -> str:
    (over_left, over_right), (same_left, same_right) = step.params["dimension_numbers"]
    left, right = (len(value.shape) for value in step.reads)
    if not same_left and right == 2 and (over_left, over_right) == ((left - 1,), (0,)):
        return graph.node("MatMul", *x)
    letters = iter(string.ascii_lowercase)
    names = [""] * left, [""] * right
    for mine, others in ((same_left, same_right), (over_left, over_right)):
        for a, b in zip(mine, others, strict=True):
            names[0][a] = names[1][b] = next(letters)
    free = [
        [axis for axis in range(rank) if axis not in (*same, *over)]
        for rank, same, over in ((left, same_left, over_left), (right, same_right, over_right))
    ]
    result = [names[0][axis] for axis in same_left]
    for side, axes in zip(names, free, strict=True):
        for axis in axes:
            side[axis] = next(letters)
            result.append(side[axis])
    equation = f"{''.join(names[0])},{''.join(names[1])}->{''.join(result)}"
    return graph.node("Einsum", *x, equation=equation)


def _select(graph: Graph, step: Step, x: Sequence[str]) -> str:
    if step.reads[0].dtype != bool or len(x) != 3:
        raise ValueError("it chooses among more than two cases")
    which, otherwise, chosen = x
    kind = step.gives[0].dtype
    if kind.name not in NARROW:
        return graph.node("Where", which, chosen, otherwise)
    both = (graph.cast(one, np.int32) for one in (chosen, otherwise))
    return graph.cast(graph.node("Where", which, *both), kind)


def _clamp(graph: Graph, step: Step, x: Sequence[str]) -> str:
    low, middle, high = x
    return graph.node("Min", graph.node("Max", middle, low), high)


def _largest(operator: str) -> Rule:
    """The rule of the place of the largest or smallest number, the first of equal ones."""

    def rule(graph: Graph, step: Step, x: Sequence[str]) -> str:
        (axis,) = step.params["axes"]
        wide = graph.cast(x[0], np.int32) if step.reads[0].dtype.name in NARROW else x[0]
        found = graph.node(operator, wide, axis=axis, keepdims=0)
        return graph.cast(found, step.gives[0].dtype)

    return rule


def _reduce(operator: str) -> Rule:
    def rule(graph: Graph, step: Step, x: Sequence[str]) -> str:
        axes = graph.constant(np.array(step.params["axes"], np.int64))
        kind = step.reads[0].dtype
        if kind.name not in NARROW:
            return graph.node(operator, x[0], axes, keepdims=0)
        made = graph.node(operator, graph.cast(x[0], np.int32), axes, keepdims=0)
        return graph.cast(made, kind)

    return rule


def _iota(graph: Graph, step: Step, x: Sequence[str]) -> str:
    (value,), axis = step.gives, step.params["dimension"]
    length = value.shape[axis]
    if isinstance(length, Length):
        raise ValueError("it counts over the batch")
    counted: list[int | Length] = [1] * len(value.shape)
    counted[axis] = length
    numbers = np.arange(length).reshape([length if k == axis else 1 for k in range(len(counted))])
    name = graph.constant(numbers.astype(value.dtype))
    return (
        name
        if tuple(counted) == value.shape
        else graph.node("Expand", name, graph.shape(value.shape))
    )


def _gather(graph: Graph, step: Step, x: Sequence[str]) -> str:
    """Rows by their places; one outside gets the nearest row, where JAX may give NaN."""
    source, places = step.reads
    about, sizes, given = step.params["dimension_numbers"], step.params["slice_sizes"], source.shape
    rank = len(given)
    # a part as long as its axis can only begin at 0; indexed are the axes of which one row is taken
    columns = [k for k, axis in enumerate(about.start_index_map) if given[axis] != sizes[axis]]
    indexed = [int(about.start_index_map[k]) for k in columns]
    lengths = [given[axis] for axis in indexed]
    rest = [axis for axis in range(rank) if axis not in indexed]
    fixed = all(isinstance(length, int) for length in lengths)
    if not indexed or not fixed or about.operand_batching_dims:
        raise ValueError("it gathers along the batch")
    if any(sizes[axis] != 1 for axis in indexed):
        raise ValueError("it gathers parts of more than one row")
    index = x[1]
    if len(columns) != places.shape[-1]:
        index = graph.node("Gather", index, graph.constant(np.array(columns, np.int64)), axis=-1)
    last = np.array(lengths, np.int64) - 1
    index = graph.node("Max", graph.cast(index, np.int64), graph.constant(np.int64(0)))
    index = graph.node("Min", index, graph.constant(last))
    order = [*indexed, *rest]
    rows = x[0] if order == [*range(rank)] else graph.node("Transpose", x[0], perm=order)
    found = graph.node("GatherND", rows, index)  # [places, rest]
    before = iter(range(len(places.shape) - 1))
    kept = iter(axis for axis in range(rank) if axis not in about.collapsed_slice_dims)
    wanted = []
    for axis in range(len(step.gives[0].shape)):
        of = next(kept) if axis in about.offset_dims else None
        if of is None:
            wanted.append(next(before))
        elif of in rest:
            wanted.append(len(places.shape) - 1 + rest.index(of))
    if wanted != sorted(wanted):
        found = graph.node("Transpose", found, perm=wanted)
    return graph.reshape(found, step.gives[0].shape)


def zeros(graph: Graph, value: Value) -> str:
    """Returns an array of zeros."""
    zero = graph.constant(np.zeros((), value.dtype))
    return graph.node("Expand", zero, graph.shape(value.shape))


RULES: dict[str, Rule] = {
    **{name: _plain(name.capitalize()) for name in ("add", "sub", "mul", "div", "neg", "exp")},
    **{name: _plain(name.capitalize()) for name in ("log", "tanh", "sqrt", "abs", "sign", "erf")},
    **{name: _plain(name.capitalize()) for name in ("floor", "ceil", "sin", "cos", "pow")},
    "logistic": _plain("Sigmoid"),
    "max": _wide("Max"), "min": _wide("Min"), "clamp": _clamp,
    "eq": _wide("Equal"), "ne": _unequal, "lt": _wide("Less"), "le": _wide("LessOrEqual"),
    "gt": _wide("Greater"), "ge": _wide("GreaterOrEqual"),
    "and": _logical("And"), "or": _logical("Or"), "xor": _logical("Xor"), "not": _logical("Not"),
    "integer_pow": _integer_pow, "square": _square, "rsqrt": _rsqrt, "is_finite": _is_finite,
    "log1p": _shifted("Log", 1.0, 0.0), "expm1": _shifted("Exp", 0.0, -1.0),
    "convert_element_type": _cast, "stop_gradient": _same, "copy": _same, "copy_p": _same,
    "reshape": _to_shape, "squeeze": _to_shape, "expand_dims": _to_shape,
    "broadcast_in_dim": _broadcast, "transpose": _transpose, "concatenate": _concatenate,
    "stack": _stack, "slice": _slice, "split": _split, "dot_general": _dot, "select_n": _select,
    "argmax": _largest("ArgMax"), "argmin": _largest("ArgMin"),
    "reduce_sum": _reduce("ReduceSum"), "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"), "reduce_prod": _reduce("ReduceProd"),
    "reduce_and": _reduce("ReduceMin"), "reduce_or": _reduce("ReduceMax"),
    "iota": _iota, "gather": _gather,
}  # fmt: skip
"""Rules by the names of JAX's primitives."""
