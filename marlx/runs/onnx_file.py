"""Export of a trained policy as one ONNX file, with the contract of its inputs and outputs in it.

The graph is made from the operations that JAX traces, so every learner can be exported whose acting
has only those of `onnx_operators`: those of marlx, with any settings. The conversion is our own:
`jax2onnx` takes no flax module under `jax.vmap`, as agents are here that share parameters in sets.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx._version import __version__
from marlx.runs.export import Arrays, by_name, inputs
from marlx.runs.onnx_operators import OPSET, Graph, convert, zeros
from marlx.runs.onnx_steps import Length, Program, Value, program
from marlx.runs.policies import Policy
from marlx.xla.names import named

if TYPE_CHECKING:
    from onnx import ModelProto

IR_VERSION = 8
"""Of the file format; later runtimes read it too."""
NEXT = "next_"
"""Before the names of the outputs that are the next memory."""
ACTS = (
    "Call it once a step with everyone's observation and the memory that the step before gave; an "
    "episode begins with the memory in `first`. `action` is the greedy one: of the largest legal "
    "value or probability, the first of equal ones. Where `judged` is `drawn`, the returns of the "
    "training are those of actions drawn from the output `probability`; draw to have the same. A "
    "part `last` of the memory holds the previous action, one-hot: put there what was really done."
)
"""What the file says about its use."""


def export_onnx(policy: Policy, out: str | Path) -> Path:
    """Writes `policy.onnx` into a folder, which is made if it does not exist, and returns its path.

    Its inputs are those parts of the observation that acting reads (`local` f32 [b, N, O],
    `action_mask` bool [b, N, A], `global_state` f32 [b, S], `active` bool [b, N]) and the memory by
    name. Its outputs are `action`, int32 [b, N] or f32 [b, N, A], what `Learner.inspect` shows,
    such as `q` or `probability` f32 [b, N, A], and the next memory, whose names begin with `next_`.
    The metadata `marlx` has all of this as JSON.

    Args:
      policy: a policy from `load_policy`.
      out: the folder.

    Raises:
      ValueError: the package `onnx` is not there, the policy has an operation that is not written
        for ONNX, or the folder cannot be written to.
    """
    content = onnx_model(policy).SerializeToString()
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.onnx").write_bytes(content)
    except OSError as error:
        raise ValueError(f"cannot write to {out}: {error.strerror or error}") from None
    return folder / "policy.onnx"


def onnx_model(policy: Policy) -> ModelProto:
    """Returns a policy as an ONNX model; see `export_onnx`.

    Raises:
      ValueError: see `export_onnx`.
    """
    if importlib.util.find_spec("onnx") is None:
        raise ValueError("--to onnx needs the package onnx: pip install 'marlx[onnx]'")
    from onnx import checker, helper

    obs, memory = inputs(policy)
    try:
        traced = program(acting(policy), lambda size: _examples(policy, size))
        graph, results = _graph(traced, policy, {**obs, **memory})
    except Exception as error:  # third-party learners may raise anything
        reason = " ".join(str(error).split())[:300]
        raise ValueError(f"the policy cannot be exported as ONNX: {reason}") from None
    read = {name for node in graph.nodes for name in node.input} | {x for x, _ in results.values()}
    given = {name: x for name, x in {**obs, **memory}.items() if name in read}
    constants = [one for one in graph.constants if one.name in read]
    takes = [
        _about(name, Value((Length(1, 0), *x.shape[1:]), x.dtype)) for name, x in given.items()
    ]
    gives = [_about(name, value) for name, (_, value) in results.items()]
    for name, (made, _) in results.items():
        graph.nodes.append(helper.make_node("Identity", [made], [name], f"output {name}"))
    body = helper.make_graph(graph.nodes, "policy", takes, gives, constants)
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version, model.producer_name, model.producer_version = IR_VERSION, "marlx", __version__
    contract = described(policy, given, {name: value for name, (_, value) in results.items()})
    helper.set_model_props(model, {"marlx": json.dumps(contract, default=str)})
    checker.check_model(model)
    return model


def acting(policy: Policy) -> Callable[[Arrays, Arrays, Any], tuple[Any, Arrays, Arrays]]:
    """Returns `(observation, memory, arrays) -> action, next memory, shown`, acting greedily."""
    import jax

    from marlx.types import Observation

    learner = policy.learner
    shape = jax.eval_shape(lambda: learner.memory(1))
    names, structure = list(by_name(shape)), jax.tree.structure(shape)

    def act(obs: Arrays, memory: Arrays, arrays: Any) -> tuple[Any, Arrays, Arrays]:
        before, seen = jax.tree.unflatten(structure, [memory[x] for x in names]), Observation(**obs)
        key = jax.random.key(0)  # not used, because acting is greedy
        action, after, extras = learner.act(arrays, before, seen, key, False)
        shown = {} if learner.inspect is None else learner.inspect(arrays, before, seen, extras)
        return action, dict(zip(names, jax.tree.leaves(after), strict=True)), shown

    return act


def described(
    policy: Policy, given: Mapping[str, Any], results: Mapping[str, Value]
) -> dict[str, Any]:
    """Returns the contract that is in the file.

    Args:
      policy: whose file it is.
      given: the inputs: an observation of zeros and the first memory, for a batch of one.
      results: shapes and types of the outputs.
    """
    obs, _ = inputs(policy)

    def shown(shape: Any, dtype: Any) -> dict[str, Any]:
        lengths = [length if isinstance(length, int) else "b" for length in shape]
        return {"shape": lengths, "dtype": str(np.dtype(dtype))}

    takes: dict[str, Any] = {}
    for name, x in given.items():
        takes[name] = {**shown(("b", *x.shape[1:]), x.dtype), "is": "observation"}
        if name not in obs:
            first = x[0].tolist() if x.any() else "zeros"
            takes[name] |= {"is": "memory", "first": first}
    gives = {name: shown(value.shape, value.dtype) for name, value in results.items()}
    for name in gives:
        if name.startswith(NEXT):
            gives[name]["becomes"] = name.removeprefix(NEXT)
    return {
        "marlx": __version__,
        "algorithm": policy.experiment.algorithm,
        "environment": policy.spec.id,
        "seed": policy.seed,
        "steps": policy.steps,
        "judged": policy.judged,
        "agents": policy.spec.num_agents,
        "actions": policy.spec.num_actions,
        "groups": dict(policy.spec.groups),
        "inputs": takes,
        "outputs": gives,
        "use": ACTS,
    }


def _examples(policy: Policy, size: int) -> tuple[Any, ...]:
    """Shapes of the arguments of `acting` for a batch."""
    import jax

    def shape(x: Any) -> Any:
        return jax.ShapeDtypeStruct((size, *x.shape[1:]), x.dtype)

    obs, memory = inputs(policy)
    arrays = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), policy.arrays)
    return jax.tree.map(shape, obs), jax.tree.map(shape, memory), arrays


def _graph(
    traced: Program, policy: Policy, given: Arrays
) -> tuple[Graph, dict[str, tuple[str, Value]]]:
    """The nodes of a program, and its outputs by name: `(name in the graph, shape and type)`.

    Args:
      traced: the program of `acting`.
      policy: for its arrays.
      given: examples of the inputs by name, without the arrays.
    """
    obs, memory = inputs(policy)
    order = [*named(obs), *by_name(memory)]
    graph = Graph("local" if policy.spec.continuous else "action_mask")
    known: dict[int, str] = {}
    for number, name in zip(traced.inputs, order, strict=False):
        value = Value((Length(1, 0), *given[name].shape[1:]), given[name].dtype)
        known[number] = zeros(graph, value) if 0 in value.shape else name
    for number, (name, x) in zip(
        traced.inputs[len(order) :], named(policy.arrays).items(), strict=True
    ):
        known[number] = graph.constant(np.asarray(x), f"arrays/{name}")

    def read(x: Any) -> str:
        return known[x] if isinstance(x, int) else graph.constant(x)

    for step in traced.steps:
        made = convert(graph, step, [read(x) for x in step.operands])
        known.update(zip(step.results, made, strict=True))
    count = len(traced.outputs) - 1 - len(memory)
    names = ["action", *(NEXT + name for name in by_name(memory)), *_shown_names(policy, count)]
    results = {
        name: (read(x), value)
        for name, x, value in zip(names, traced.outputs, traced.gives, strict=True)
        if 0 not in value.shape
    }
    return graph, results


def _shown_names(policy: Policy, count: int) -> list[str]:
    """The names of what `Learner.inspect` shows, in the order of the outputs."""
    import jax

    if not count:
        return []
    return list(named(jax.eval_shape(acting(policy), *_examples(policy, 1))[2]))


def _about(name: str, value: Value) -> Any:
    from onnx import helper

    kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
    shape = ["b" if isinstance(length, Length) else length for length in value.shape]
    return helper.make_tensor_value_info(name, kind, shape)
