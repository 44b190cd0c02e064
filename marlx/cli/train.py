"""`marlx train`: from a checked command line to a run folder."""

from __future__ import annotations

import functools
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from marlx.cli.cluster import (
    agree_to_start,
    check_cluster,
    follow,
    heard_by_any,
    join,
    leave_together,
)
from marlx.cli.options import parse_train, positionals, value_of
from marlx.cli.records import Output
from marlx.cli.resume import (
    open_checkpoints,
    output_facts,
    parse_resume,
    reopen,
    reopen_to_follow,
    steps_of,
)
from marlx.cli.shared import complain, print_returns, use_compilation_cache
from marlx.cli.stopping import WAITING, Stopped, stoppable
from marlx.cli.tracking import check_loggers, loggers_of
from marlx.loop.cpu_devices import cpu_devices, use_cpu_devices
from marlx.runs.result import full_result
from marlx.text import bytes_text

if TYPE_CHECKING:
    import numpy as np

    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress
    from marlx.loop.run import Run
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder

TRAIN_USAGE = """\
usage: marlx train ALGO ENV [options]
       marlx train --config FILE [options]
       marlx train --resume RUN [options]

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
  --wandb MODE         Weights & Biases: off, offline or online (default: off)
  --tensorboard        write TensorBoard's files into the run folder too
  --devices N|all      devices for seeds, and for the environments of each; see docs/scaling.md
  --distributed        train together with other processes, as the cluster says, or as these say:
    --coordinator HOST:PORT --num-processes N --process-id I
  --resume RUN         go on with a run that was stopped, killed or is to get more --total-steps
  --no-checkpoints     keep none; such a run cannot be resumed
"""


def train_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx train ALGO ENV [options]`: everything up to the training, which is returned."""
    names, rest = positionals(argv)
    if not names and (not rest or rest[0] in ("-h", "--help")):
        print(TRAIN_USAGE, end="", file=sys.stdout if rest else sys.stderr)
        return 0 if rest else 2
    known = value_of(rest, "config") or value_of(rest, "resume")
    if len(names) > 2 or (len(names) < 2 and known is None):
        raise ValueError(
            f"marlx train takes ALGO and ENV before its options, got {' '.join(names) or 'neither'}"
            "; for example: marlx train qmix Foraging-8x8-2p-2f-coop-v3"
        )
    use_compilation_cache()
    was: Experiment | None = None
    if value_of(rest, "resume") is None:
        experiment, output = parse_train(names, rest)
    else:
        experiment, output, was = parse_resume(names, rest)
    check_loggers(output)
    check_cluster(output)
    count = join(output) if output.distributed else 1
    if count == 1:
        return _prepared(experiment, output, was)[0] or 0
    train = leave_together(lambda: _prepared_together(experiment, output, was, count), ValueError)
    return 0 if train is None else functools.partial(leave_together, train)


def _prepared_together(
    experiment: Experiment, output: Output, was: Experiment | None, count: int
) -> Callable[[], int] | None:
    """The training, in all of `count` processes; None if it is done.

    Raises:
      ValueError: one of them cannot start.
    """
    error: ValueError | None = None
    train, standing = None, 0
    try:
        train, standing = _prepared(experiment, output, was, count)
    except ValueError as cannot:
        error = cannot
    settings = f"{experiment.settings()} {output.devices} {output.checkpoints}"
    agree_to_start(error, settings, standing)
    return train


def _prepared(
    experiment: Experiment, output: Output, was: Experiment | None, count: int = 1
) -> tuple[Callable[[], int] | None, int]:
    """The training, with a folder for what it leaves, or None if it is done; and where it stands.

    Args:
      experiment: what to train.
      output: where results go.
      was: the experiment as it was, of a run that goes on.
      count: of the processes that train it.

    Raises:
      ValueError: settings that do not go together, or a folder that cannot be used.
    """
    from marlx.loop import multihost
    from marlx.loop.run import Run
    from marlx.runs.facts import environment_facts
    from marlx.runs.folder import RunFolder, config_text, default_path

    use_cpu_devices(cpu_devices(output.devices, experiment.train.seeds, count))
    env, params, learner = experiment.build()
    training = Run(env, params, learner, experiment.train, devices=output.devices)
    needed = sum(training.sizes().values()) * experiment.train.seeds
    _check_memory(needed // multihost.count())
    if not multihost.is_first():
        following = reopen_to_follow(training, output)
        if following is None:
            return None, training.total_steps
        return functools.partial(follow, training, *following), steps_of(following[1])
    if was is not None:
        reopened = reopen(experiment, training, output, was)
        if reopened is None:
            return None, training.total_steps
        return functools.partial(_train, experiment, training, *reopened), steps_of(reopened[-1])
    path = output.out or default_path(experiment.algorithm, experiment.environment)
    checkpoints = open_checkpoints(path, output)
    folder = RunFolder(path, complain)
    folder.lock()
    folder.write("config.yaml", config_text(experiment))
    folder.write_json("environment.json", environment_facts() | {"output": output_facts(output)})
    return functools.partial(_train, experiment, training, folder, output, checkpoints), 0


def _train(
    experiment: Experiment,
    training: Run,
    folder: RunFolder,
    output: Output,
    checkpoints: Checkpoints | None = None,
    reported: Sequence[Progress] = (),
) -> int:
    """Train, telling every logger, and write what a run leaves behind.

    Args:
      experiment: what `training` was made from.
      training: new, or restored.
      folder: locked; this unlocks it.
      output: where results go.
      checkpoints: where to keep them, if at all.
      reported: what a restored run has reported until then.
    """
    from marlx.loggers import Console
    from marlx.loop import multihost
    from marlx.runs.policies import save_policy

    history = list(reported)
    optimum = training.env.spec(training.params).optimum
    for line in _describe(experiment, training, folder, checkpoints, history):
        print(line, flush=True)
    console = Console(experiment.train.seeds, optimum)
    loggers = loggers_of(experiment, folder, output, console)
    random_returns: np.ndarray[Any, Any] | None = None
    result: dict[str, Any] | None = None

    def leave() -> None:
        console.close(None)
        complain(_stopped(folder, checkpoints, history))

    try:
        with stoppable(lambda: complain(WAITING), leave) as stop:
            stop.patient = multihost.several()  # they stop together, after a block
            console.start()
            random_returns = training.random_returns()
            console.random_return = float(random_returns.mean())
            training.compile()
            stop.patient = True
            if history:  # of a resumed run: where it stands, until there is more to show
                console.log(history[-1])
            for progress in training.blocks():
                history.append(progress)
                loggers.log(progress)
                save_policy(folder, experiment, progress.policies(), progress)
                stopped = heard_by_any(stop)
                if checkpoints is not None:
                    checkpoints.step(training, history, now=bool(stopped))
                if stopped and progress.steps < progress.total_steps:
                    stop.number = stopped
                    raise Stopped
            returns = training.final_returns()
        phases = training.phases
        result = full_result(experiment, phases, history, returns, random_returns, optimum)
        if folder.write_json("result.json", result) and checkpoints is not None:
            checkpoints.finish()
    except Stopped:
        pass
    finally:
        console.close(result)
        if history and random_returns is not None:  # loggers take the pictures along
            _draw(experiment, training, folder, history, random_returns, optimum, bool(result))
        loggers.close(result)
        folder.unlock()
    if checkpoints is not None and checkpoints.failed:
        folder.failed.add("checkpoints")
    if result is None or random_returns is None:
        complain(_stopped(folder, checkpoints, history))
        return 128 + stop.number
    steps = history[-1].steps
    print(f"\n{experiment.algorithm} on {experiment.environment}, {steps:,} steps per seed")
    print_returns(returns, random_returns, optimum)
    _print_times(training.phases, history[-1], experiment.train.seeds)
    _print_files(folder)
    return 1 if folder.failed else 0


def _stopped(
    folder: RunFolder, checkpoints: Checkpoints | None, history: Sequence[Progress]
) -> str:
    """What a stopped run leaves, in one line."""
    steps = history[-1].steps if history else 0
    if checkpoints is None:
        return f"stopped; {folder.path} holds what was reached at {steps:,} steps"
    if checkpoints.steps is None:
        kept = ", before the first checkpoint"
    else:
        kept = f", with a checkpoint at {checkpoints.steps:,}" if checkpoints.steps != steps else ""
    return f"stopped at {steps:,} steps{kept}; go on with: marlx train --resume {folder.path}"


def _describe(
    experiment: Experiment,
    training: Run,
    folder: RunFolder,
    checkpoints: Checkpoints | None,
    history: Sequence[Progress],
) -> Iterator[str]:
    """What is about to run, the memory it takes, and what it takes on the disk."""
    import jax

    from marlx.runs.checkpoints import nbytes

    train, layout, first = experiment.train, training.layout, jax.local_devices()[0]
    seeds = f"{train.seeds} seeds" if train.seeds > 1 else f"seed {train.seed}"
    yield f"{experiment.algorithm} on {experiment.environment}"
    yield (
        f"  {seeds}, {train.total_steps:,} steps each, {train.num_envs} environments, "
        f"{layout.groups * layout.share} x {first.device_kind}"
    )
    if layout.share > 1:
        groups = f", in {layout.groups} groups" if layout.groups > 1 else ""
        yield f"  {layout.share} devices share the environments of a seed{groups}"
    sizes = training.sizes()
    parts = ", ".join(f"{name} {bytes_text(size)}" for name, size in sizes.items() if size >= 1e3)
    yield f"  memory per seed: {bytes_text(sum(sizes.values()))} ({parts})"
    if checkpoints is not None:
        size, free = nbytes(training), shutil.disk_usage(folder.path).free
        kept = f"the last {checkpoints.keep} are kept" if checkpoints.keep > 1 else "one is kept"
        yield f"  checkpoints: at most {bytes_text(size)} each, {kept}"
        if size * (checkpoints.keep + 1) > free:
            yield f"  checkpoints may not fit: there are {bytes_text(free)} free"
    yield f"  run folder: {folder.path}"
    if history:
        yield f"  going on from {history[-1].steps:,} of {training.total_steps:,} steps"


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

    from marlx.analysis.plots import learning_curve
    from marlx.analysis.video import episode_frames, record_episode, write_gif

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
    policy = jax.tree.map(lambda x: x[best], jax.device_get(history[-1].policies()))
    key = jax.random.key(experiment.train.seed)
    episode = record_episode(training.env, training.params, training.learner, policy, key)
    try:
        frames = episode_frames(training.env, training.params, episode)
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
        "checkpoints": f"more steps: marlx train --resume {folder.path} --total-steps N",
        "policy": f'marlx.load_policy("{folder.path}")',
        "result.json": "the numbers above",
        "curve.png": "learning curve",
        "episode.gif": "a greedy episode of the best seed",
        "tensorboard": f"tensorboard --logdir {folder.path}/tensorboard",
        "wandb": f"Weights & Biases; what is offline: wandb sync {folder.path}/wandb/offline-run-*",
    }
    print(f"  run folder      {folder.path}")
    for name, text in about.items():
        if (folder.path / name).exists():
            print(f"    {name:<17} {text}")


def _check_memory(needed: int) -> None:
    """Refuse what cannot fit, before it is compiled.

    Raises:
      ValueError: a process's part of the state is larger than the memory of its devices.
    """
    from marlx.xla.memory import device_memory

    there = device_memory()
    if there is not None and needed > there:
        raise ValueError(
            f"this run needs {bytes_text(needed)} and there are {bytes_text(there)}; give it fewer "
            "seeds, fewer environments or a smaller replay"
        )
