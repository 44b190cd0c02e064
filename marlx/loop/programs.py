"""The compiled programs of a run: the training loop over all replicas and devices."""

from __future__ import annotations

import concurrent.futures
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.loop.placement import Placement
from marlx.loop.program import Loop, RunState
from marlx.types import Array, Tree
from marlx.xla.compiling import compile_fast

Values = dict[str, Array]
"""Numbers in which the variants of a run differ, by name, each [replicas]."""


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled function of the loop over all replicas.

    Attributes:
      compiled: takes `values` before its other arguments.
      values: see `Values`.
    """

    compiled: Any
    values: Values

    def __call__(self, *args: Tree) -> Any:
        """Calls the function with arrays that have a leading axis [replicas]."""
        return self.compiled(self.values, *args)

    def as_text(self) -> str:
        """Returns the optimised program as text, as XLA prints it."""
        return str(self.compiled.as_text())


class Programs(NamedTuple):
    """The compiled functions of a run; see `marlx.loop.program.Loop` for what they compute.

    Attributes:
      block: `(state, rollouts) -> state, metrics`, donates its first argument; `rollouts` int32 [].
      evaluate: `(state, keys) -> metrics`, each f32 [replicas, episodes].
      random: `(key) -> f32 [episodes]`, returns of the uniform policy.
      init: `(keys) -> state`; None in a restored run, which does not call it.
      warm_up: `(state) -> state`, donates its argument; None in a restored run.
      policies: `(state) -> policies` that every process can read; None where there is one process,
        which reads them from the state.
    """

    block: Program
    evaluate: Program
    random: Callable[[Array], Array]
    init: Program | None = None
    warm_up: Program | None = None
    policies: Program | None = None


class _Function(NamedTuple):
    """A function of the loop before it is compiled."""

    function: Callable[..., Tree]  # (values, *args) of one replica
    in_shardings: tuple[Any, ...]  # of args
    out_shardings: Any
    args: tuple[Tree, ...]  # arrays or shapes [replicas, ...]
    donate: bool = False
    shared: int = 0  # the last so many of args are without the axis of replicas


def trace_programs(
    make_loop: Callable[[Values], Loop],
    placement: Placement,
    state_sharding: Any,
    values: Values,
    state: RunState,
    keys: Array,
    names: Sequence[str],
) -> dict[str, Any]:
    """Traces some of the loop's functions over all replicas, each into a `jax.stages.Traced`.

    Args:
      make_loop: `(values of one replica) -> Loop`, called while a function is traced.
      placement: of the replicas.
      state_sharding: of the state, one for all arrays or a tree.
      values: see `Values`; on the devices already.
      state: shapes of the state, leading axis [replicas].
      keys: one key per replica, for the types of arguments.
      names: of the functions, those of `Programs`.
    """
    functions = _functions(make_loop, placement, state_sharding, state, keys)
    return {name: _trace(functions[name], placement, values) for name in names}


def compile_programs(traced: Mapping[str, Any], values: Values) -> Programs:
    """Compiles traced functions, before their first calls.

    They are compiled in parallel, since a compiler keeps one core busy and compilation is most of
    what a short run costs. Only the block is optimised fully, and evaluations a little; the others
    run once.

    Args:
      traced: from `trace_programs`, and `random`; the block, which takes longest, comes first.
      values: see `Values`; on the devices already.
    """

    def compile_one(name: str, lowered: Any) -> Any:
        if name == "block":
            return Program(lowered.compile(), values)
        compiled = compile_fast(lowered, level=int(name in ("evaluate", "random")))
        return compiled if name == "random" else Program(compiled, values)

    # lowered one after the other: it is Python, and holds its lock; compiling does not
    with concurrent.futures.ThreadPoolExecutor(len(traced)) as pool:
        compiling = {n: pool.submit(compile_one, n, one.lower()) for n, one in traced.items()}
        return Programs(**{name: one.result() for name, one in compiling.items()})


def _functions(
    make_loop: Callable[[Values], Loop],
    placement: Placement,
    state_sharding: Any,
    state: RunState,
    keys: Array,
) -> dict[str, _Function]:
    """Returns the functions that `compile_programs` can compile, by name."""

    def init(values: Values, key: Array) -> Tree:
        return make_loop(values).init(key)

    def warm_up(values: Values, state: RunState) -> Tree:
        return make_loop(values).warm_up(state)

    def block(values: Values, state: RunState, rollouts: Array) -> Tree:
        return make_loop(values).block(state, rollouts)

    def evaluate(values: Values, state: RunState, key: Array) -> Tree:
        return make_loop(values).evaluate(state, key)

    def policies(values: Values, state: RunState) -> Tree:
        return make_loop(values).policies(state)

    of_keys, of_state, visible = placement.sharding, state_sharding, placement.host_visible
    # the length is an argument, so that a cache of programs knows those of runs of any length
    before, length = (of_state, placement.replicated), jax.ShapeDtypeStruct((), jnp.int32)
    return {
        "block": _Function(block, before, (of_state, visible), (state, length), True, shared=1),
        "evaluate": _Function(evaluate, (of_state, of_keys), visible, (state, keys)),
        "init": _Function(init, (of_keys,), of_state, (keys,)),
        "warm_up": _Function(warm_up, (of_state,), of_state, (state,), donate=True),
        "policies": _Function(policies, (of_state,), visible, (state,)),
    }


def _trace(f: _Function, placement: Placement, values: Values) -> Any:
    jitted = jax.jit(
        placement.map_replicas(f.function, f.shared),
        in_shardings=(placement.sharding, *f.in_shardings),
        out_shardings=f.out_shardings,
        donate_argnums=(1,) if f.donate else (),
    )
    return jitted.trace(values, *f.args)
