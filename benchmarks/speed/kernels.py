"""Kernels of programs: how often each runs, how long it takes and how many bytes it moves.

    python benchmarks/speed/kernels.py [--quick] [--only NAME ...]

It shows what is left to gain where a ratio of the speed table misses its target. A program runs
under JAX's profiler. Times are of the kernels as they ran; `in_kernels` is the share of the time in
which at least one of them ran, and the rest went to starting them. A kernel's bytes are those of
its operands and results in the compiled program, read or written once each, so an operation on a
part of an array counts too many. Numbers are per environment step, all environments together.
"""

from __future__ import annotations

import argparse
import functools
import glob
import math
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import _timing
import jax
import speed_foraging
import speed_jaxmarl
import speed_mpe

from marlx.config import layers as config_layers
from marlx.loop.run import Run

CONTROL = ("while", "call", "conditional")
"""Operations that only run others."""
BLOCKS = 3
"""Blocks of a training; one is measured."""
TRAININGS = (
    "qmix",
    "vdn",
    "ippo feed-forward",
    "ippo recurrent, shared trunk",
    "ippo recurrent, two networks",
)
"""Cases of `speed_jaxmarl`."""
SHOWN = 8
"""Kernels of a program that are stored, those that take longest."""
SHAPE = re.compile(r"\b(pred|[a-z]+\d+)\[([\d,]*)\]")
INSTRUCTION = re.compile(r"\s+(?:ROOT )?%?([\w.-]+) = (.*?[\])}]) ([a-z][\w-]*)\((.*)")
NAMED = re.compile(r'op_name="([^"]*)"')
CALLED = re.compile(r"calls=%?([\w.-]+)")
PARTS = (
    ("products", ("ynn", "dot", "convolution")),
    ("writes into arrays", ("dynamic-update-slice", "scatter")),
    ("reads by index", ("gather", "dynamic-slice")),
    ("copies", ("copy", "transpose", "concatenate", "slice", "pad")),
)
"""Parts of the time, each with words of kernels' names; other kernels are element-wise."""
SPLIT = "splitting keys"
"""The part of `jax.random.split`, which `vmap(env.step)` needs of its caller."""


class Traced(NamedTuple):
    """A program to run under the profiler.

    Attributes:
      text: of the compiled program.
      call: runs it; returns when it is done.
      steps: of the environments, in one call.
    """

    text: str
    call: Callable[[], Any]
    steps: int


class Kernel(NamedTuple):
    """An instruction of a compiled program."""

    kind: str
    bytes: int
    source: str  # the function that it comes from, as JAX names it


class Ran(NamedTuple):
    """A kernel's run."""

    name: str
    begin: float  # ns
    duration: float  # ns


def size_of(shapes: str) -> int:
    """Returns the bytes of all array types in a text of XLA's, as `(f32[8,2], s8[])`."""
    total = 0
    for kind, dimensions in SHAPE.findall(shapes):
        width = 1 if kind == "pred" else int(re.findall(r"\d+", kind)[0]) / 8
        total += math.ceil(width * math.prod(int(n) for n in dimensions.split(",") if n))
    return total


def kernels(text: str) -> dict[str, Kernel]:
    """Returns the instructions of a compiled program by name.

    The source of a fusion without one is that of the first instruction inside that has one.
    """
    found, inside, computation = [], defaultdict[str, list[str]](list), ""
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            computation = line.removeprefix("ENTRY ").lstrip("%").split(" ")[0]
        elif made := INSTRUCTION.match(line):
            found.append(made.groups())
            inside[computation] += NAMED.findall(line)
    sizes = {name: size_of(shape) for name, shape, *_ in found}
    known = {}
    for name, _, kind, rest in found:
        operands = re.findall(r"%([\w.-]+)", rest.split("), ")[0])
        called = CALLED.search(rest)
        sources = NAMED.findall(rest) + (inside[called.group(1)] if called else [])
        moved = sizes[name] + sum(sizes.get(operand, 0) for operand in operands)
        known[name] = Kernel(kind, moved, next(filter(None, sources), ""))
    return known


def profile(call: Callable[[], Any], names: Iterable[str]) -> tuple[list[Ran], float]:
    """Returns the runs of kernels with these names in a call, and its seconds."""
    known = frozenset(names)
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            began = time.perf_counter()
            call()
            seconds = time.perf_counter() - began
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        data = jax.profiler.ProfileData.from_file(path)
    ran = [
        Ran(event.name, event.start_ns, event.duration_ns)
        for plane in data.planes
        for line in plane.lines
        for event in line.events
        if event.name in known
    ]
    return ran, seconds


def covered(ran: Sequence[Ran]) -> float:
    """Returns the seconds in which at least one kernel ran."""
    total, until = 0.0, -math.inf
    for one in sorted(ran, key=lambda one: one.begin):
        end = one.begin + one.duration
        total += max(0.0, end - max(one.begin, until))
        until = max(until, end)
    return total / 1e9


def measure(program: Traced) -> dict[str, Any]:
    """Returns the time of a program, and of the kernels that take most of it."""
    known = {name: one for name, one in kernels(program.text).items() if one.kind not in CONTROL}
    ran, seconds = profile(program.call, known)
    if not ran:
        raise SystemExit("the profiler named no kernel of the program")
    times: dict[str, list[float]] = defaultdict(list)
    for one in ran:
        times[one.name].append(one.duration)
    every = sum(map(sum, times.values()))
    longest = sorted(times, key=lambda name: -sum(times[name]))[:SHOWN]
    parts: dict[str, float] = defaultdict(float)
    for name, each in times.items():
        parts[part_of(name, known[name])] += sum(each) / every
    per_step = 1e-3 / program.steps  # from ns
    return {
        "step_us": round(1e6 * seconds / program.steps, 2),
        "kernels_us": round(every * per_step, 2),
        "in_kernels": round(covered(ran) / seconds, 3),
        "kernels_per_step": round(len(ran) / program.steps, 1),
        "different": len(times),
        "parts": {
            name: round(share, 3) for name, share in sorted(parts.items(), key=lambda x: -x[1])
        },
        "longest": [
            {
                "kernel": name,
                "kind": known[name].kind,
                "source": source_of(known[name].source),
                "share": round(sum(times[name]) / every, 3),
                "each_us": round(sum(times[name]) / len(times[name]) / 1e3, 2),
                "per_step": round(len(times[name]) / program.steps, 3),
                "bytes": known[name].bytes,
            }
            for name in longest
        ],
    }


def part_of(name: str, kernel: Kernel) -> str:
    """Returns the kind of work of a kernel; the name of a fusion has those of its operations."""
    if "_threefry_split" in kernel.source:
        return SPLIT
    both = f"{kernel.kind} {name}".replace("_", "-")
    return next((part for part, words in PARTS if any(w in both for w in words)), "element-wise")


def source_of(name: str) -> str:
    """Returns the last three parts of a name of JAX's that say something."""
    parts = [part for part in name.split("/") if part not in ("while", "body", "closed_call")]
    return "/".join(parts[-3:])


def training(name: str, steps: int) -> Traced:
    """Returns a block of a case of `speed_jaxmarl`, ours, after one that is not measured."""
    case = speed_jaxmarl.CASES[name]
    learner = case.sizes["learner"]
    total = BLOCKS * steps + learner.get("warmup", 0)
    made = config_layers.experiment(
        case.algorithm,
        speed_jaxmarl.TASK,
        **case.sizes,
        total_steps=total,
        evals=BLOCKS,
        eval_episodes=1,
    )
    env, params, built = made.build()
    run = Run(env, params, built, made.train)
    run.compile()
    done = run.blocks()
    for _ in range(2):  # the evaluation before the first block, and that block
        next(done)
    block: Any = run.programs.block
    per_block = run.loop.block_rollouts * made.train.num_envs * made.train.rollout_length
    return Traced(block.as_text(), lambda: next(done), per_block)


def environment(program: Callable[[jax.Array], Any], steps: int) -> Traced:
    """Returns a program of the environment benchmarks, which plays so many steps."""
    compiled = jax.jit(program).lower(jax.random.key(0)).compile()
    jax.block_until_ready(compiled(jax.random.key(0)))
    text = compiled.as_text() or ""
    return Traced(text, lambda: jax.block_until_ready(compiled(jax.random.key(1))), steps)


def programs(quick: bool) -> dict[str, Callable[[], Traced]]:
    """Returns the programs by name: those that are near or below their target."""
    blocks = 2_000 if quick else 8_000
    found: dict[str, Callable[[], Traced]] = {
        name: functools.partial(training, name, blocks) for name in TRAININGS
    }
    few, many = (200, 20) if quick else (1_000, 100)
    for call in (_timing.VECTOR, _timing.VMAP):
        program = speed_foraging.ours(64, few, False, call)
        found[f"foraging, 64 environments, {call}"] = functools.partial(environment, program, few)
    worlds = (("simple_spread_v3", 1, few), ("simple_spread_v3", 4096, many))
    for name, count, steps in (*worlds, ("simple_tag_v3", 4096, many)):
        program = speed_mpe.ours(name, count, steps, _timing.VMAP)
        found[f"{name}, {count:,} environments, {_timing.VMAP}"] = functools.partial(
            environment, program, steps
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer steps")
    parser.add_argument("--only", nargs="*", default=[], help="names of programs")
    args = parser.parse_args()
    every = programs(args.quick)
    for name in args.only:
        if name not in every:
            parser.error(f"unknown program {name!r}; known: {', '.join(every)}")
    for name in args.only or every:
        measured = measure(every[name]())
        print(name, {key: value for key, value in measured.items() if key != "longest"})
        print(_timing.table(measured["longest"]), flush=True)
        packages = ("marlx", "flax", "optax")
        _timing.write("kernels", name, {"program": name}, measured, packages, quick=args.quick)


if __name__ == "__main__":
    main()
