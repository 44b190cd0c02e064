"""Messages of `marlx train` about a run: before it, when it stops, and at its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.resume import steps_of
from marlx.cli.shared import print_returns, quoted
from marlx.text import bytes_text, counted, printable

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress, Result
    from marlx.loop.run import Run
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder

JAX_ITSELF, PER_OPERATION = 450_000_000, 60_000
"""Memory of a process on CPUs besides its arrays: Python and JAX, and what XLA keeps of compiling
for each operation of the block and the evaluation. Measured: 0.6 GB for a small Q-learner, 0.97 GB
for IQL on foraging (8,623 operations), 1.56 GB for QMIX on SMAX (17,613)."""


def stopped_line(path: str | Path, checkpoints: Checkpoints | None, steps: int) -> str:
    """Returns a line about a stopped run: what it leaves and how to continue it.

    Args:
      path: its folder.
      checkpoints: None if none are kept.
      steps: environment steps at the last evaluation.
    """
    if checkpoints is None:
        return f"stopped; {path} holds what was reached at {steps:,} steps"
    if checkpoints.steps is None:
        kept = ", before the first checkpoint"
    else:
        kept = f", with a checkpoint at {checkpoints.steps:,}" if checkpoints.steps != steps else ""
    return f"stopped at {steps:,} steps{kept}; go on with: marlx train --resume {quoted(path)}"


def kept_line(folder: RunFolder, checkpoints: Checkpoints | None) -> str:
    """Returns the part of a line about what a run with NaN or infinity leaves."""
    if checkpoints is None or checkpoints.steps is None:
        return f"no checkpoint was taken before; see marlx doctor {quoted(folder.path)}"
    return (
        f"the last good checkpoint, at {checkpoints.steps:,} steps, is kept; "
        f"see marlx doctor {quoted(folder.path)}"
    )


def describe(
    experiment: Experiment,
    training: Run,
    path: Path,
    checkpoints: Checkpoints | None,
    history: Sequence[Progress],
) -> Iterator[str]:
    """Yields lines about the run, its memory, its checkpoints and its folder."""
    import jax

    from marlx.runs.checkpoint_files import checkpoint_bytes

    train, layout, first = experiment.train, training.layout, jax.local_devices()[0]
    seeds = f"{train.seeds} seeds" if train.seeds > 1 else f"seed {train.seed}"
    yield f"{experiment.algorithm} on {experiment.environment}"
    yield (
        f"  {seeds}, {train.total_steps:,} steps each, {train.num_envs} environments, "
        f"{layout.groups * layout.group_size} x {first.device_kind}"
    )
    if layout.group_size > 1:
        groups = f", in {layout.groups} groups" if layout.groups > 1 else ""
        yield f"  {layout.group_size} devices share the environments of a seed{groups}"
    if not history and (begins := training.begins_with) is not None:
        yield f"  {_warm_start_text(begins, train.warm_start_rate)}"
    yield from _memory_lines(training, checkpoints)
    if checkpoints is not None:
        there = next(one for one in (path, *path.absolute().parents) if one.exists())
        size, free = checkpoint_bytes(training), shutil.disk_usage(there).free
        kept = f"the last {checkpoints.keep} are kept" if checkpoints.keep > 1 else "one is kept"
        yield f"  checkpoints: at most {bytes_text(size)} each, {kept}"
        if size * (checkpoints.keep + 1) > free:
            yield f"  checkpoints may not fit: there are {bytes_text(free)} free"
    yield f"  run folder: {path}"
    if history:
        yield f"  going on from {history[-1].steps:,} of {training.total_steps:,} steps"


def _warm_start_text(begins: Mapping[str, Any], rate: float) -> str:
    """Returns what a run begins with, in words."""
    learns, count = {0.0: ", which stay as they are", 1.0: ""}, len(begins["arrays"])
    return (
        f"begins with {counted(count, 'array')} of {begins['run']} "
        f"({printable(begins['algorithm'])} on {printable(begins['environment'])}, seed "
        f"{begins['seed']}, {begins['steps']:,} steps)"
        + learns.get(rate, f", with {rate} of the step size")
    )


def print_result(
    experiment: Experiment, folder: RunFolder, result: Result, optimum: float | None
) -> None:
    """Prints returns, times and files of a finished run."""
    steps = steps_of(result.history)
    print(f"\n{experiment.algorithm} on {experiment.environment}, {steps:,} steps per seed")
    print_returns(result.evaluated, result.random_returns, optimum, result.judged)
    _print_times(result.phases, result.history[-1], experiment.train.seeds)
    _print_files(folder)


def _print_times(phases: Mapping[str, float], last: Progress, seeds: int) -> None:
    total = sum(phases.values())
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases.items())
    speed = last.steps * seeds / max(last.seconds, 1e-9)
    print(f"  time            {total:.1f} s: {parts}")
    print(f"  speed           {speed:,.0f} environment steps/s over all seeds, without compiling")


def _print_files(folder: RunFolder) -> None:
    path = quoted(folder.path)
    about = {
        "config.yaml": f"every setting; again: marlx train --config {path}/config.yaml",
        "environment.json": "versions and device",
        "metrics.jsonl": "a line per evaluation, every metric per seed",
        "checkpoints": f"more steps: marlx train --resume {path} --total-steps N",
        "policy": f"marlx.load_policy({json.dumps(str(folder.path), ensure_ascii=False)})",
        "result.json": "the numbers above",
        "curve.png": "learning curve",
        "episode.gif": "an episode of the best seed",
        "tensorboard": f"tensorboard --logdir {path}/tensorboard",
        "wandb": f"Weights & Biases; what is offline: wandb sync {path}/wandb/offline-run-*",
    }
    print(f"  run folder      {folder.path}")
    for name, text in about.items():
        if (folder.path / name).exists():
            print(f"    {name:<17} {text}")


def _memory_lines(training: Run, checkpoints: Checkpoints | None) -> Iterator[str]:
    """Yields lines about the memory of a seed's state and of the whole run at its peak."""
    import jax

    from marlx.runs.checkpoint_files import WRITING, checkpoint_bytes
    from marlx.xla.memory import device_memory

    sizes = training.sizes()
    parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in sizes.items() if size >= 1e3)
    yield f"  memory per seed: {bytes_text(sum(sizes.values()))} ({parts})"
    plan = training.memory_plan()
    writing = int(WRITING * checkpoint_bytes(training)) if checkpoints is not None else 0
    if jax.default_backend() != "cpu":
        yield f"  memory of the devices: about {bytes_text(plan.peak)} at the peak"
        return
    itself = JAX_ITSELF + PER_OPERATION * plan.operations
    peak = itself + max(plan.peak, plan.state + writing)
    how = f"{bytes_text(itself)} of it JAX and its compiler"
    if writing > peak // 10:
        how += f", {bytes_text(writing)} while a checkpoint is written"
    yield f"  memory of the process: about {bytes_text(peak)} at the peak, {how}"
    free = device_memory(free=True)
    if free is not None and peak > free:
        yield f"  that may not fit: there are {bytes_text(free)} free"
