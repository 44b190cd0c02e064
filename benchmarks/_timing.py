"""Timing shared by the speed benchmarks: interleaved repeats in one process, medians, ratios.

Absolute times move with whatever else a machine does; ratios of interleaved repeats do not. A
benchmark therefore times all rivals in turn, many times over, and compares medians.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from marlx.loop.run import Run

RESULTS = Path(os.environ.get("MARLX_BENCH_RESULTS") or Path(__file__).parent / "results")
"""Where results go; `marlx bench` says where."""


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, jax, jaxlib and those of `packages` that are installed."""
    found = {"python": platform.python_version()}
    for name in ("jax", "jaxlib", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def device() -> dict[str, Any]:
    """What jax computes on."""
    first = jax.devices()[0]
    return {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count()}


def timed(fn: Callable[[], Any]) -> float:
    """Seconds of one call, until its result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - begin


def interleaved(
    fns: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Seconds of each call, by name; every repeat calls each function once.

    The order turns with the repeats, so that none always follows the same one. `warmup` untimed
    calls come first and take the compilation; use `timed` for that where it is of interest.
    """
    for fn in fns.values():
        for _ in range(warmup):
            jax.block_until_ready(fn())
    seconds: dict[str, list[float]] = {name: [] for name in fns}
    names = list(fns)
    for i in range(repeats):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(fns[name]))
    return seconds


def median(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each name's repeats."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times as fast `fast` is as `slow`: the median over repeats of their ratio."""
    return statistics.median(s / f for s, f in zip(seconds[slow], seconds[fast], strict=True))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows` as text, one column per key of the first."""
    if not rows:
        return "(no rows)"

    def show(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    columns = list(rows[0])
    cells = [columns] + [[show(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells
    )


def about(*packages: str) -> dict[str, Any]:
    """The date, versions of those `packages` that are installed, and the device."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    return {"date": date, "versions": versions(*packages), "device": device()}


def write(name: str, results: Mapping[str, Any], packages: Sequence[str] = ()) -> Path:
    """Write `results` to `results/<name>.json` with the date, versions and device; its path."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about(*packages), **results}, indent=1) + "\n")
    return path


def missing(*peers: str) -> list[str]:
    """Which of these packages are not installed; a line says so for each."""
    absent = [name for name in peers if importlib.util.find_spec(name) is None]
    for name in absent:
        print(f"{name} is not installed and is left out; it is in marlx's extra `peers`")
    return absent


def apart(script: str, *args: str) -> dict[str, Any]:
    """What `script` prints last, as JSON, when run with `args` in a process of its own.

    So peak memory is that of one case, and nothing compiled before is found again.

    Raises:
      RuntimeError: it failed; the message is the end of what it said.
    """
    environ = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, script, *args]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)} failed: {' '.join(done.stderr.split())[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_memory() -> int:
    """Most bytes that this process had resident so far; accelerators' memory is not among them."""
    with contextlib.suppress(OSError, StopIteration):
        # Linux: what getrusage says would include the program that started this one
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def training_speed(run: Run) -> dict[str, Any]:
    """Train to the end: steps per second of each block, compiling and peak memory.

    Returns:
      `steps_per_second`: median over blocks of rollouts and updates, over all seeds;
      `with_evaluation`: the same of everything after compiling; `compile_s`; `peak_mb` of memory,
      and `compile_peak_mb`, what it had come to when all was compiled; `last_return`, the last
      evaluation's mean greedy return, so that a speed without learning is seen.
    """
    run.compile()
    compiled = peak_memory()
    speeds, before = [], None
    for progress in run.blocks():
        busy = progress.phases["rollout"] + progress.phases["update"]
        if before is not None:
            speeds.append((progress.steps - before[0]) / (busy - before[1]))
        else:
            first = progress
        before = progress.steps, busy
    last, seeds = progress, run.config.seeds
    whole = (last.steps - first.steps) / (last.seconds - first.seconds)
    return {
        "steps_per_second": round(seeds * statistics.median(speeds)),
        "with_evaluation": round(seeds * whole),
        "compile_s": round(run.phases["compile"], 1),
        "peak_mb": round(peak_memory() / 1e6),
        "compile_peak_mb": round(compiled / 1e6),
        "last_return": round(float(last.metrics["return"].mean()), 3),
    }
