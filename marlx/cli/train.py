"""`marlx train`: from a checked command line to a run folder."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marlx.cli.options import Output, parse_train, positionals, value_of
from marlx.cli.shared import print_returns, use_compilation_cache

if TYPE_CHECKING:
    import numpy as np

    from marlx.config import Experiment
    from marlx.runs import RunFolder
    from marlx.training import Progress, Run

TRAIN_USAGE = """\
usage: marlx train ALGO ENV [options]
       marlx train --config FILE [options]

Train ALGO in ENV, several seeds at once; `marlx list` shows both. Results go to a run folder.

  marlx train ALGO ENV --help    every setting of that algorithm and that environment, with the
                                 value it would have

options for every ALGO and ENV (and those that --help shows for a pair):
  --seeds N            runs trained at once
  --total-steps N      environment steps per seed
  --learner.NAME X     a setting of the algorithm
  --env.NAME X         a setting of the environment
  --config FILE        settings from a YAML file, below those of the command line
  --out FOLDER         run folder, new or empty (default: runs/ALGO-ENV-DATE-TIME)
  --wandb MODE         off, offline or online (default: off)
  --devices N          CPU devices to lay seeds over (default: auto)
"""


def train_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx train ALGO ENV [options]`: everything up to the training, which is returned."""
    names, rest = positionals(argv)
    if not names and (not rest or rest[0] in ("-h", "--help")):
        print(TRAIN_USAGE, end="", file=sys.stdout if rest else sys.stderr)
        return 0 if rest else 2
    if len(names) > 2 or (len(names) < 2 and value_of(rest, "config") is None):
        raise ValueError(
            f"marlx train takes ALGO and ENV before its options, got {' '.join(names) or 'neither'}"
            "; for example: marlx train qmix Foraging-8x8-2p-2f-coop-v3"
        )
    use_compilation_cache()
    experiment, output = parse_train(names, rest)
    _use_cpu_devices(output.devices, experiment.train.seeds)

    from marlx.runs import RunFolder, config_text, default_path, environment_facts
    from marlx.training import Run

    env, params, learner = experiment.build()
    training = Run(env, params, learner, experiment.train)
    _check_memory(sum(training.sizes().values()) * experiment.train.seeds)
    path = output.out or default_path(experiment.algorithm, experiment.environment)
    folder = RunFolder(path, lambda line: print(f"marlx: {line}", file=sys.stderr))
    folder.write("config.yaml", config_text(experiment))
    folder.write_json("environment.json", environment_facts())
    return functools.partial(_train, experiment, training, folder, output)


def _train(experiment: Experiment, training: Run, folder: RunFolder, output: Output) -> int:
    """Train, telling every logger, and write what a run leaves behind."""
    from marlx.loggers import Console, JsonLines, Logger, Wandb
    from marlx.policies import save_policy

    spec = training.env.spec(training.params)
    for line in _describe(experiment, training, folder):
        print(line, flush=True)
    console = Console(experiment.train.seeds, spec.optimum)
    loggers: list[Logger] = [JsonLines(folder), console]
    history: list[Progress] = []
    result: dict[str, Any] | None = None
    stopped = 0
    try:
        with _stoppable():
            console.start()
            random_returns = training.random_returns()
            console.random_return = float(random_returns.mean())
            if output.wandb != "off":
                settings = experiment.settings()
                loggers.append(Wandb(output.wandb, folder.path, settings, output.wandb_project))
            for progress in training.blocks():
                history.append(progress)
                for logger in loggers:
                    logger.log(progress)
                save_policy(folder, experiment, progress.policies(), progress)
            returns = training.final_returns()
        result = _result(experiment, training, history, returns, random_returns, spec.optimum)
        folder.write_json("result.json", result)
    except _Stopped as stop:
        stopped = stop.code
    finally:
        for logger in loggers:
            logger.close(result)
    if history:
        _draw(experiment, training, folder, history, random_returns, spec.optimum, bool(result))
    if stopped:
        steps = history[-1].steps if history else 0
        print(
            f"marlx: stopped; {folder.path} holds what was reached at {steps:,} steps",
            file=sys.stderr,
        )
        return stopped
    steps = history[-1].steps
    print(f"\n{experiment.algorithm} on {experiment.environment}, {steps:,} steps per seed")
    print_returns(returns, random_returns, spec.optimum)
    _print_times(training.phases, history[-1], experiment.train.seeds)
    _print_files(folder)
    return 1 if folder.failed else 0


def _describe(experiment: Experiment, training: Run, folder: RunFolder) -> Iterator[str]:
    """What is about to run, and the memory it takes."""
    import jax

    train, devices = experiment.train, jax.local_devices()
    seeds = f"{train.seeds} seeds" if train.seeds > 1 else f"seed {train.seed}"
    yield f"{experiment.algorithm} on {experiment.environment}"
    yield (
        f"  {seeds}, {train.total_steps:,} steps each, {train.num_envs} environments, "
        f"{len(devices)} x {devices[0].device_kind}"
    )
    sizes = training.sizes()
    parts = ", ".join(f"{name} {_bytes(size)}" for name, size in sizes.items() if size >= 1e3)
    yield f"  memory per seed: {_bytes(sum(sizes.values()))} ({parts})"
    yield f"  run folder: {folder.path}"


def _bytes(size: float) -> str:
    for unit, letters in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.3g} {letters}"
    return f"{size:.0f} B"


def _result(
    experiment: Experiment,
    training: Run,
    history: Sequence[Progress],
    returns: np.ndarray[Any, Any],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
) -> dict[str, Any]:
    """What `result.json` holds."""
    from marlx.statistics import bootstrap_interval, iqm, mean

    low, high = bootstrap_interval(returns)
    first = experiment.train.seed
    return {
        "algorithm": experiment.algorithm,
        "environment": experiment.environment,
        "steps": history[-1].steps,
        "seeds": list(range(first, first + experiment.train.seeds)),
        "episodes_per_seed": returns.shape[1],
        "return": {
            "mean": mean(returns),
            "interval_95": [low, high],
            "iqm": iqm(returns),
            "per_seed": returns.mean(1).tolist(),
        },
        "random_return": mean(random_returns),
        "optimum": optimum,
        "seconds": {name: round(seconds, 3) for name, seconds in training.phases.items()},
    }


def _draw(
    experiment: Experiment,
    training: Run,
    folder: RunFolder,
    history: Sequence[Progress],
    random_returns: np.ndarray[Any, Any],
    optimum: float | None,
    finished: bool,
) -> None:
    """The pictures of a run; a stopped one gets its curve only."""
    import jax
    import numpy as np

    from marlx.evaluation import record_episode
    from marlx.plots import learning_curve
    from marlx.video import episode_frames, write_gif

    steps = [progress.steps for progress in history]
    returns = np.array([progress.metrics["return"] for progress in history])
    title = f"{experiment.algorithm} on {experiment.environment}"
    folder.write(
        "curve.png",
        lambda path: learning_curve(
            path,
            steps,
            returns,
            title=title,
            random_return=float(random_returns.mean()),
            optimum=optimum,
        ),
    )
    if not finished:
        return
    best = int(np.argmax(returns[-1]))
    policy = jax.tree.map(lambda x: x[best], jax.device_get(training.policies()))
    key = jax.random.key(experiment.train.seed)
    states, rewards = record_episode(training.env, training.params, training.learner, policy, key)
    try:
        frames = episode_frames(training.env, training.params, states, rewards)
    except ValueError:
        return  # an environment without a picture
    folder.write("episode.gif", lambda path: write_gif(path, frames))


def _print_times(phases: Mapping[str, float], last: Progress, seeds: int) -> None:
    total = sum(phases.values())
    parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in phases.items())
    speed = last.steps * seeds / max(last.seconds, 1e-9)
    print(f"  time            {total:.1f} s: {parts}")
    print(f"  speed           {speed:,.0f} environment steps/s over all seeds, without compiling")


def _print_files(folder: RunFolder) -> None:
    about = {
        "config.yaml": f"every setting; again: marlx train --config {folder.path}/config.yaml",
        "environment.json": "versions and device",
        "metrics.jsonl": "a line per evaluation, every metric per seed",
        "policy": f'marlx.load_policy("{folder.path}")',
        "result.json": "the numbers above",
        "curve.png": "learning curve",
        "episode.gif": "a greedy episode of the best seed",
    }
    print(f"  run folder      {folder.path}")
    for name, text in about.items():
        if (folder.path / name).exists():
            print(f"    {name:<17} {text}")


class _Stopped(Exception):
    """Ctrl-C or SIGTERM."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """Raise `_Stopped` on SIGINT and SIGTERM, which the shell's exit codes then tell."""

    def stop(number: int, frame: object) -> None:
        raise _Stopped(128 + number)

    old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _check_memory(needed: int) -> None:
    """Refuse what cannot fit, before it is compiled.

    Raises:
      ValueError: the state of all seeds is larger than the memory of all devices.
    """
    import jax

    devices = jax.local_devices()
    stats = [device.memory_stats() for device in devices]
    if all(stat and "bytes_limit" in stat for stat in stats):
        there = sum(stat["bytes_limit"] for stat in stats if stat)
    elif devices[0].platform == "cpu" and hasattr(os, "sysconf"):
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    else:
        return
    if needed > there:
        raise ValueError(
            f"this run needs {_bytes(needed)} and there are {_bytes(there)}; give it fewer seeds, "
            "fewer environments or a smaller replay"
        )


def _use_cpu_devices(devices: str, seeds: int) -> None:
    """Split the CPU into devices before JAX starts it; accelerators are left as they are."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if devices == "auto":
        count = min(cores or 1, seeds)
    elif devices.isdecimal() and int(devices) > 0:
        count = int(devices)
    else:
        raise ValueError(f"--devices is {devices}; it must be auto or a number from 1 up")
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    import jax

    with contextlib.suppress(RuntimeError):  # JAX has started already, in a program of the user's
        jax.config.update("jax_num_cpu_devices", count)
