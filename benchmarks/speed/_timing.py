"""Timing for the speed benchmarks: interleaved repeats in one process, medians and ratios.

Absolute times vary with the load of the machine; ratios of interleaved repeats do not. A benchmark
therefore times all programs in turns, many times, and compares medians.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from marlx.analysis import make_rows, result_rows

if TYPE_CHECKING:
    from marlx.loop.run import Run

STUDY = "speed"
RESULTS = Path(__file__).parents[1] / "results"
"""Folder of the stored results; `marlx bench` names another one in MARLX_BENCH_RESULTS."""


def timed(fn: Callable[[], Any]) -> float:
    """Returns the seconds of one call, until its result is computed."""
    begin = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - begin


def interleaved(
    fns: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Returns the seconds of each call, by name; every repeat calls each function once.

    The order rotates with the repeats, so that no function always follows the same other one.
    `warmup` untimed calls come first and include compilation; use `timed` to measure that.
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
    """Returns the median of the repeats of each name."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """Returns the speed of `fast` over that of `slow`: the median over repeats of their ratio."""
    return statistics.median(s / f for s, f in zip(seconds[slow], seconds[fast], strict=True))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Returns `rows` as text, with one column per key of the first."""
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


def write(
    script: str,
    arm: str,
    settings: Mapping[str, Any],
    measured: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    packages: Sequence[str] = (),
    *,
    env: str | None = None,
    algorithm: str | None = None,
    seeds: Sequence[int | None] = (None,),
    extra: Mapping[str, Any] | None = None,
    quick: bool = False,
) -> None:
    """Writes the results of one case to the study `speed`.

    Rows of the same settings, device and seeds are replaced.

    Args:
      script: name of the benchmark, the `comparison` of the rows.
      arm: label of the case.
      settings: all that defines the case. The script and the device are added.
      measured: the results, or a list of those of each seed.
      packages: whose versions are stored, beside those of Python and JAX.
      env: environment id, if there is one.
      algorithm: its name, if there is one.
      seeds: the seeds, where there is a row for each.
      extra: results of all seeds together.
      quick: whether the timing is a rough one. It is then written only to the folder of
        `marlx bench`, and not among the stored results.
    """
    given = os.environ.get("MARLX_BENCH_RESULTS")
    if quick and not given:
        return
    about = make_rows.about(*packages)
    rows, record = make_rows.measured_rows(
        {"script": script, **settings, "device": result_rows.device_text(about["device"])},
        [measured] if isinstance(measured, Mapping) else measured,
        study=STUDY,
        comparison=script,
        arm=arm,
        about=about,
        env=env,
        algorithm=algorithm,
        seeds=seeds,
        extra=extra,
    )
    result_rows.add_rows(Path(given or RESULTS), STUDY, rows, record)


def missing(*peers: str) -> list[str]:
    """Returns those of these packages that are not installed, and prints a line for each."""
    absent = [name for name in peers if importlib.util.find_spec(name) is None]
    for name in absent:
        print(f"{name} is not installed and is left out; it is in marlx's extra `peers`")
    return absent


def apart(script: str, *args: str) -> dict[str, Any]:
    """Runs `script` with `args` in a separate process; returns its last line, parsed as JSON.

    Peak memory is then that of one case, and no compiled program is reused.

    Raises:
      RuntimeError: it failed; the message ends with the end of its error output.
    """
    environ = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "false"}
    command = [sys.executable, script, *args]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(args)} failed: {' '.join(done.stderr.split())[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def peak_memory() -> int:
    """Returns the peak resident bytes of this process, without accelerator memory."""
    with contextlib.suppress(OSError, StopIteration):
        # on Linux, getrusage includes the program that started this one
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def training_speed(run: Run) -> dict[str, Any]:
    """Trains to the end and returns its speed, compilation time and peak memory.

    Returns:
      `steps_per_second`: over all seeds, median over blocks, of rollouts and updates;
      `with_evaluation`: the same of all that follows compilation; `compile_s`: seconds;
      `peak_mb`: peak memory; `compile_peak_mb`: peak memory at the end of compilation;
      `last_return`: mean greedy return at the end, to show that the program learns.
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


def environment_speed(
    programs: Mapping[str, tuple[Callable[[int], Callable[[jax.Array], Any]], float]],
    num_envs: int,
    repeats: int,
    seconds: float,
) -> dict[str, Any]:
    """Times programs that step environments, in turns.

    Args:
      programs: by name, `steps -> program` and the steps per second that are expected. A program
        takes a random key and plays that many steps in every environment.
      num_envs: environments of each program.
      repeats: timings of each program.
      seconds: duration of one timing, roughly.

    Returns:
      For each program its median of steps per second over all environments, under its name, and
      `NAME_compile_s`. For two programs also `ratio`, the speed of the first over that of the
      second, and `cpu_ratio`, the processor time of a step of the second over that of the first:
      the steadier one of the two on a busy machine.
    """
    row: dict[str, Any] = {}
    compiled = {}
    for name, (make, rate) in programs.items():
        steps = max(100, int(rate * seconds / num_envs))
        start = time.perf_counter()
        program = jax.jit(make(steps)).lower(jax.random.key(0)).compile()
        row[f"{name}_compile_s"] = round(time.perf_counter() - start, 2)
        jax.block_until_ready(program(jax.random.key(0)))
        compiled[name] = program, steps * num_envs
    speeds: dict[str, list[float]] = {name: [] for name in programs}
    work: dict[str, list[float]] = {name: [] for name in programs}
    for turn in range(repeats):
        for name, (program, total) in compiled.items():
            start, busy = time.perf_counter(), time.process_time()
            jax.block_until_ready(program(jax.random.key(turn)))
            work[name].append((time.process_time() - busy) / total)
            speeds[name].append(total / (time.perf_counter() - start))
    row |= {name: round(statistics.median(each)) for name, each in speeds.items()}
    if len(programs) == 2:
        fast, slow = programs
        row["ratio"] = round(ratio(speeds, fast, slow), 1)
        row["cpu_ratio"] = round(ratio(work, slow, fast), 1)
    return row
