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
from marlx.loop.vector import vector_step

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

    Rows of the same settings, device and seeds are replaced, and rows of the same case and device
    with other settings are removed: no table shows numbers of an earlier form of a benchmark.

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
    folder = Path(given or RESULTS)
    result_rows.add_rows(folder, STUDY, rows, record)
    _remove_older(folder, rows[0])


def _remove_older(folder: Path, new: Mapping[str, Any]) -> None:
    """Removes rows of the same script, case and device with other settings than a new row's."""
    case = ("comparison", "arm", "device")
    stored = result_rows.read_study(folder, STUDY)
    rows = [
        row
        for row in stored.rows
        if row["config_hash"] == new["config_hash"] or any(row[key] != new[key] for key in case)
    ]
    if len(rows) < len(stored.rows):
        hashes = {row["config_hash"] for row in rows}
        kept = {digest: one for digest, one in stored.settings.items() if digest in hashes}
        result_rows.write_study(folder, STUDY, result_rows.Study(rows, kept))


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


def peak_memory(process: int | None = None) -> int:
    """Returns the peak resident bytes of a process, by default this; no accelerator memory."""
    with contextlib.suppress(OSError, StopIteration):
        # on Linux, getrusage includes the program that started this one
        status = Path(f"/proc/{process or 'self'}/status")
        lines = status.read_text(encoding="ascii").splitlines()
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
        takes a random key and plays that many steps in every environment. The last one is the
        other package's, where there are several.
      num_envs: environments of each program.
      repeats: timings of each program.
      seconds: duration of one timing, roughly.

    Returns:
      For each program its median of steps per second over all environments, under its name, and
      `NAME_compile_s`. `ratios` and `cpu_ratios` are by the names of all programs but the last,
      the peer, where it is not the only one: a program's speed over the peer's, median over
      repeats, and the processor time of a step of the peer's over the program's, the steadier of
      the two on a busy machine.
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
    *ours, peer = programs
    row["ratios"] = {name: round(ratio(speeds, name, peer), 2) for name in ours}
    row["cpu_ratios"] = {name: round(ratio(work, peer, name), 2) for name in ours}
    return row


VECTOR, VMAP = "vector_step", "vmap(env.step)"
"""The two calls that step environments side by side."""


def stepped(env: Any, params: Any, call: str, key: jax.Array, state: Any, action: Any) -> Any:
    """Returns the step of environments side by side by one of the two calls."""
    if call == VECTOR:
        return vector_step(env, params, key, state, action)
    keys = jax.random.split(key, len(action))
    return jax.vmap(env.step, in_axes=(0, 0, 0, None))(keys, state, action, params)


def calls(row: Mapping[str, Any]) -> list[str]:
    """Returns those of our calls that `environment_speed` measured."""
    return [call for call in (VECTOR, VMAP) if call in row]


def call_row(row: Mapping[str, Any], call: str, peer: str) -> dict[str, Any]:
    """Returns what `environment_speed` measured of one of our calls, as it is stored.

    Args:
      row: with VECTOR and perhaps VMAP among the programs.
      call: which.
      peer: name of the other package's program, which may not have run.
    """
    found = {"marlx": row[call], "marlx_compile_s": row[f"{call}_compile_s"]}
    for name in (peer, f"{peer}_compile_s"):
        if name in row:
            found[name] = row[name]
    for name in ("ratio", "cpu_ratio"):
        if peer in row:
            found[name] = row[f"{name}s"][call]
    return found
