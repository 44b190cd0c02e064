"""`marlx train`: from the command line to a run folder."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marlx.cli.cache import use_compilation_cache
from marlx.cli.cluster import (
    agree_to_start,
    any_stopped,
    check_cluster,
    follow,
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
from marlx.cli.run_text import describe, kept_line, print_result, stopped_line
from marlx.cli.shared import complain, in_one_line
from marlx.cli.stopping import WAITING, Stop, stoppable
from marlx.cli.tracking import check_loggers, loggers_of
from marlx.cli.workers import check_workers, made_run
from marlx.loop.cpu_devices import cpu_devices, use_cpu_devices

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.loggers import Console, Logger
    from marlx.loop.progress import Progress, Result
    from marlx.loop.run import Run
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder

TRAIN_USAGE = """\
usage: marlx train ALGO ENV [options]
       marlx train ALGO,ALGO ENV,ENV [options]
       marlx train --config FILE [options]
       marlx train --resume RUN [options]

Train ALGO in ENV, several seeds at once; `marlx list` shows both. Results go to a run folder.

  marlx train ALGO ENV --help    every setting of that algorithm and that environment, with the
                                 value it would have

Several names with commas between them: every algorithm in every environment, one after another, in
one folder with one report. `--resume FOLDER` goes on with those that are not finished.

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
  --workers N          processes that share the seeds, each on CPU cores of its own
  --distributed        train together with other processes, as the cluster says, or as these say:
    --coordinator HOST:PORT --num-processes N --process-id I
  --resume RUN         continue a run that was stopped or killed, or give it more --total-steps
  --no-checkpoints     keep none; such a run cannot be resumed
  --dry-run            check everything and print the plan; train nothing, write nothing
  --quiet              print nothing but errors
"""


def train_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx train ALGO ENV [options]`: checks everything and returns the training, or a code."""
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
        train = _prepared(experiment, output, was)[0]
    else:
        together = functools.partial(_prepared_together, experiment, output, was, count)
        train = leave_together(together, ValueError)
        train = None if train is None else functools.partial(leave_together, train)
    if train is None:
        return 0
    return functools.partial(quietly, train) if output.quiet else train


def quietly(train: Callable[[], int]) -> int:
    """Trains without a word on stdout."""
    with open(os.devnull, "w", encoding="utf-8") as sink, contextlib.redirect_stdout(sink):
        return train()


def _prepared_together(
    experiment: Experiment, output: Output, was: Experiment | None, count: int
) -> Callable[[], int] | None:
    """Returns the training in one of `count` processes; None if the run is finished.

    Raises:
      ValueError: one of them cannot start.
    """
    error: ValueError | None = None
    train, steps = None, 0
    try:
        train, steps = _prepared(experiment, output, was, count)
    except ValueError as refused:
        error = refused
    settings = f"{experiment.settings()} {output.devices} {output.checkpoints}"
    agree_to_start(error, settings, steps)
    return train


def _prepared(
    experiment: Experiment, output: Output, was: Experiment | None, count: int = 1
) -> tuple[Callable[[], int] | None, int]:
    """Makes or restores the run and its folder.

    Args:
      experiment: to train.
      output: where results go.
      was: of a resumed run, the experiment before the command line changed it.
      count: number of processes that train it.

    Returns:
      The training, which returns an exit code, or None if the run is finished; and the environment
      steps so far.

    Raises:
      ValueError: settings that do not go together, or a folder that cannot be used.
    """
    from marlx.loop import multihost
    from marlx.loop.capacity import require_memory
    from marlx.runs.facts import environment_facts
    from marlx.runs.folder import RunFolder, config_text, make_folder
    from marlx.testing.checks import require_types

    check_workers(output, experiment.train.seeds)
    devices = "1" if output.workers > 1 else output.devices
    use_cpu_devices(cpu_devices(devices, experiment.train.seeds, count))
    env, params, learner = experiment.build()
    require_types(env, params)
    training = made_run(experiment, output, (env, params, learner))
    begins = training.read_warm_start() if was is None else None
    require_memory(training)
    if output.dry_run:
        if multihost.is_first():
            _print_plan(experiment, training, output)
        return None, 0
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
    open_checkpoints("", output)  # checks its options before a folder is made
    path = output.out or make_folder(experiment.algorithm, experiment.environment)
    checkpoints = open_checkpoints(path, output)
    folder = RunFolder(path, complain)
    folder.lock()
    folder.write("config.yaml", config_text(experiment))
    facts = environment_facts() | {"output": output_facts(output)}
    folder.write_json("environment.json", facts | ({"warm_start": begins} if begins else {}))
    return functools.partial(_train, experiment, training, folder, output, checkpoints), 0


def _print_plan(experiment: Experiment, training: Run, output: Output) -> None:
    """Prints what a training would begin with, for `--dry-run`.

    Raises:
      ValueError: the run folder could not be used.
    """
    if output.out is not None and os.path.lexists(output.out):
        if not os.path.isdir(output.out) or os.listdir(output.out):
            raise ValueError(f"{output.out} is not an empty folder; give a run a folder of its own")
    named = output.resume or output.out
    path = Path(named) if named else Path("runs")  # where a folder of its own would be made
    for line in describe(experiment, training, path, open_checkpoints(path, output), ()):
        print(line)
    print("  dry run: nothing was trained and nothing was written")


class _Job(NamedTuple):
    """A run, and where its results go."""

    experiment: Experiment
    training: Run
    folder: RunFolder
    checkpoints: Checkpoints | None
    history: list[Progress]
    optimum: float | None
    console: Console
    loggers: Logger


def _train(
    experiment: Experiment,
    training: Run,
    folder: RunFolder,
    output: Output,
    checkpoints: Checkpoints | None = None,
    reported: Sequence[Progress] = (),
) -> int:
    """Trains, logs, and writes the files of the run; returns the exit code.

    Args:
      experiment: `training` was made from it.
      training: new, or restored.
      folder: locked; this unlocks it.
      output: where results go.
      checkpoints: None if none are kept.
      reported: evaluations so far of a restored run.
    """
    from marlx.loggers import Console
    from marlx.loop.finite import NotFinite
    from marlx.loop.workers import WorkerGone

    history = list(reported)
    optimum = training.env.spec(training.params).optimum
    for line in describe(experiment, training, folder.path, checkpoints, history):
        print(line, flush=True)
    console = Console(experiment.train.seeds, optimum)
    loggers = loggers_of(experiment, folder, output, console)
    job = _Job(experiment, training, folder, checkpoints, history, optimum, console, loggers)
    result, content, failure, missing = None, None, None, {}
    try:
        with stoppable(lambda: complain(WAITING), lambda: _leave(job)) as stop:
            result = _drive(job, stop)
        if result is not None:
            from marlx.runs.result import full_result  # NumPy takes a tenth of a second

            content = full_result(experiment, result, optimum)
            if folder.write_json("result.json", content) and checkpoints is not None:
                checkpoints.finish()
    except (NotFinite, WorkerGone) as error:
        failure = _failed(job, error)
    finally:
        training.close()
        console.close(content)
        missing = _draw(job, finished=content is not None)  # loggers upload pictures when closed
        loggers.close(content)
        folder.unlock()
    if checkpoints is not None and checkpoints.failed:
        folder.failed.add("checkpoints")
    if failure is not None:
        complain(failure)
        return 1
    if result is None:
        complain(stopped_line(folder.path, checkpoints, steps_of(history)))
        return 128 + stop.number
    print_result(experiment, folder, result, optimum)
    for name, reason in missing.items():
        print(f"  no {name}: {reason}")
    return 1 if folder.failed else 0


def _drive(job: _Job, stop: Stop) -> Result | None:
    """Compiles and trains; None if a signal stopped it.

    Raises:
      NotFinite: the environment or the learner gave NaN or infinity.
    """
    from marlx.loop import multihost
    from marlx.loop.drive import drive
    from marlx.loop.finite import check_returns
    from marlx.runs.policies import save_policy

    stop.patient = multihost.is_multihost()  # several processes stop together, after a block
    job.console.start()
    job.training.compile()
    random_returns = job.training.random_returns()
    check_returns(job.training, random_returns, job.history)
    job.console.random_return = float(random_returns.mean())
    stop.patient = True
    if job.history:  # of a resumed run: its last evaluation, until there is a new one
        job.console.log(job.history[-1]._replace(total_steps=job.training.total_steps))

    def save(run: Run, history: Sequence[Progress], *, now: bool) -> None:
        save_policy(job.folder, job.experiment, history[-1].policies(), history[-1])
        if job.checkpoints is not None:
            job.checkpoints.step(run, history, now=now)

    return drive(
        job.training, job.history, log=job.loggers.log, save=save, stop=lambda: any_stopped(stop)
    )


def _failed(job: _Job, error: Exception) -> str:
    """Returns the line about a run that an error ended; stores what is known of NaN or infinity."""
    from marlx.loop.finite import NotFinite

    if isinstance(error, NotFinite):
        job.folder.write_json("failure.json", {"message": str(error), **vars(error)})
        return f"{error}; {kept_line(job.folder, job.checkpoints)}"
    return f"{error}; {stopped_line(job.folder.path, job.checkpoints, steps_of(job.history))}"


def _leave(job: _Job) -> None:
    """Restores the terminal and reports, before the process exits at once."""
    job.console.close(None)
    complain(stopped_line(job.folder.path, job.checkpoints, steps_of(job.history)))


def _draw(job: _Job, *, finished: bool) -> dict[str, str]:
    """Draws the learning curve, and of a finished run also an episode.

    Pictures are optional. Whatever keeps one from being drawn, such as an environment's own error
    or no file left for a font, is no error of the run.

    Returns:
      Names of the pictures that there are not, with the reason.
    """
    missing = {}
    pictures = {"curve.png": _draw_curve, "episode.gif": _draw_episode}
    for name in pictures if finished else ("curve.png",):
        try:
            pictures[name](job)
        except Exception as error:
            if os.environ.get("MARLX_DEBUG"):
                raise
            kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
            missing[name] = f"{kind}{in_one_line(error)}"
    return missing


def _draw_curve(job: _Job) -> None:
    """Draws the learning curve, if there is a finite evaluation."""
    history = [one for one in job.history if math.isfinite(one.metrics["return"].sum())]
    if not history or job.console.random_return is None:
        return
    import numpy as np

    from marlx.analysis.plots import learning_curve

    draw_curve = functools.partial(
        learning_curve,
        steps=[progress.steps for progress in history],
        returns=np.array([progress.metrics["return"] for progress in history]),
        title=f"{job.experiment.algorithm} on {job.experiment.environment}",
        random_return=job.console.random_return,
        optimum=job.optimum,
        judged=job.training.modes[0],
    )
    job.folder.write("curve.png", draw_curve)


def _draw_episode(job: _Job) -> None:
    """Draws an episode of the best seed, acting as it is judged.

    Raises:
      ValueError: the environment draws no pictures.
    """
    import jax
    import numpy as np

    from marlx.analysis.video import episode_frames, record_episode, write_gif

    experiment, training, last = job.experiment, job.training, job.history[-1]
    best = int(np.argmax(last.metrics["return"]))
    policy = jax.tree.map(lambda x: x[best], jax.device_get(last.policies()))
    key = jax.random.key(experiment.train.seed)
    acting = training.learner, policy, key, training.modes[0]
    episode = record_episode(training.env, training.params, *acting)
    frames = episode_frames(training.env, training.params, episode)
    job.folder.write("episode.gif", lambda path: write_gif(path, frames))
