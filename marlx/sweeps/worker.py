"""Trains the trials of a sweep, several in one compiled program.

Several processes may work on one sweep; none of them leaves while a trial is left behind.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marlx.text import bytes_text, short_text

if TYPE_CHECKING:
    import optuna

    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress, Result
    from marlx.loop.run import Run
    from marlx.runs.folder import RunFolder
    from marlx.sweeps.parameters import Sweep
    from marlx.sweeps.study import Study
    from marlx.sweeps.vmapped import Group


POLL_SECONDS = (0.2, 5.0)
"""Shortest and longest time between two looks at the trials of other processes."""


class Work(NamedTuple):
    """A sweep, and where its results go."""

    sweep: Sweep
    base: Experiment
    study: Study
    folder: Path
    width: int  # trials trained at once, at most

    def target_reached(self) -> bool:
        """Whether a finished trial is as good as the sweep's target, if it has one."""
        best = self.study.best() if self.sweep.metric.target is not None else None
        return best is not None and best.value is not None and self.sweep.metric.reached(best.value)


def work_through(
    work: Work,
    train: Callable[[Work, Sequence[optuna.Trial]], None] | None = None,
    *,
    wait: bool = True,
) -> None:
    """Trains trials until all are finished, those of processes that died on the way included.

    Args:
      work: the sweep; its study is open.
      train: trains trials; `train_trials` if None.
      wait: stay until other processes have finished theirs, to take over those of one that dies.
    """
    study, train = work.study, train or train_trials
    pause, waiting = POLL_SECONDS[0], 0
    while True:
        if died := study.requeue():
            print(f"  {died} trials that were cut off are run again", flush=True)
        if work.target_reached():
            return
        if trials := study.take(work.width):
            train(work, trials)
            pause, waiting = POLL_SECONDS[0], 0
            continue
        others = study.unfinished()
        if not others or not wait:
            return
        if others != waiting:
            print(f"  {others} trials are run by other processes; waiting for them", flush=True)
        waiting = others
        time.sleep(pause)
        pause = min(2 * pause, POLL_SECONDS[1])


def train_trials(work: Work, trials: Sequence[optuna.Trial]) -> None:
    """Trains trials in as few compiled programs as their settings allow.

    Results, failures and pruning are reported to the study; nothing is raised for a failed trial.
    """
    from marlx.sweeps import file as sweep_file
    from marlx.sweeps import memory, vmapped
    from marlx.xla.memory import device_memory

    kept, experiments = [], []
    for trial in trials:
        values = {**work.sweep.constants(), **work.study.values(trial)}
        try:
            experiments.append(sweep_file.variant(work.base, values, work.sweep.source))
            kept.append(trial)
        except ValueError as error:
            _failed(work, trial, error)
    for group in vmapped.groups(experiments):
        own = [kept[i] for i in group.members]
        try:
            run = vmapped.start(experiments, group)
            width, each = memory.width_that_fits(run, device_memory(free=True), len(own))
        except ValueError as error:
            for trial in own:
                _failed(work, trial, error)
            continue
        parts = vmapped.rounds(group, width)
        if len(own) > 1:
            _print_plan(group, len(parts), each)
        for part in parts:
            if len(parts) > 1:
                run = vmapped.start(experiments, part)
            members = [(kept[i], experiments[i]) for i in part.members]
            _train_part(work, run, members)


def _print_plan(group: Group, parts: int, each: int) -> None:
    from marlx.xla.memory import device_memory

    available = device_memory(free=True)
    free = "" if available is None else f" of {bytes_text(available)} free"
    names = ", ".join(group.values) or "seed"
    rounds = "at once" if parts == 1 else f"in {parts} rounds, more do not fit"
    print(
        f"  {len(group.members)} trials {rounds}, one program with {names} as arguments; "
        f"about {bytes_text(each)} per trial{free}",
        flush=True,
    )


def _train_part(work: Work, run: Run, members: Sequence[tuple[optuna.Trial, Experiment]]) -> None:
    """Trains the trials of one program; an error of the program fails each of them."""
    import jax

    from marlx.loop.drive import drive
    from marlx.loop.finite import watch_variants

    going: list[Trial] = []
    for place, (trial, experiment) in enumerate(members):
        try:
            going.append(Trial(work, run, place, trial, experiment))
        except ValueError as error:  # its folder cannot be made
            _failed(work, trial, error)
    if not going:
        return

    check = watch_variants(run)

    def log(progress: Progress) -> None:
        found = check(progress)
        for one in going:
            one.log(progress, found[one.place])

    began = time.perf_counter()
    try:
        result = drive(run, [], log=log, stop=lambda: all(one.stopped for one in going))
        if result is not None:
            seconds = time.perf_counter() - began
            for one in going:
                one.finish(result, seconds)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        for one in going:
            if not one.stopped:
                _failed(work, one.trial, error)


class Trial:
    """One trial of a program: writes its run folder and reports to the study.

    Attributes:
      stopped: whether it was pruned or has finished.
      history: its evaluations so far.
    """

    def __init__(
        self, work: Work, run: Run, place: int, trial: optuna.Trial, experiment: Experiment
    ) -> None:
        """Makes the run folder.

        Args:
          work: the sweep.
          run: trains this trial among others.
          place: index of the trial among them.
          trial: of the study.
          experiment: its settings.

        Raises:
          ValueError: the folder cannot be made, or is not empty.
        """
        from marlx.loggers import JsonLines
        from marlx.runs.facts import environment_facts
        from marlx.runs.folder import RunFolder, config_text

        self.work, self.run, self.place = work, run, place
        self.trial, self.experiment = trial, experiment
        self.stopped = False
        self.history: list[Progress] = []
        path = work.folder / f"trial-{trial.number:04}"
        self.folder: RunFolder = RunFolder(
            path, lambda line: print(f"marlx: {line}", file=sys.stderr)
        )
        work.study.note(trial, folder=str(path))
        self.folder.write("config.yaml", config_text(experiment))
        begins = run.read_warm_start()
        facts = environment_facts() | ({"warm_start": begins} if begins else {})
        self.folder.write_json("environment.json", facts)
        self._logger = JsonLines(self.folder)

    def log(self, progress: Progress, wrong: str | None = None) -> None:
        """Writes an evaluation of all trials' program, and stops if the pruner says so.

        Args:
          progress: of the program.
          wrong: where this trial has NaN or infinity, which fails it; None if it has none.
        """
        import numpy as np

        from marlx.sweeps.vmapped import share

        if self.stopped:
            return
        own = share(progress, self.place, self.experiment.train.seeds)
        self.history.append(own)
        self._logger.log(own)
        if wrong is not None:
            self.stopped = True
            _failed(self.work, self.trial, ValueError(f"{wrong}, found at {own.steps:,} steps"))
            return
        done = len(self.history) - 1  # blocks; the first evaluation is before any
        if done == 0:
            return
        value = self._metric(own)
        if not np.isfinite(value):  # for instance a loss before the first update
            return
        verdict = self.work.study.report(self.trial, value, done)
        if verdict == "lost":
            self._lost()
        elif verdict == "prune" and done < self.run.loop.blocks:
            self.stopped = True
            self.work.study.prune(self.trial)
            _print_trial(self.work, self.trial, value, f"stopped after {done}")

    def finish(self, result: Result, seconds: float) -> None:
        """Writes the policy and the result, and reports the value; nothing if it was pruned.

        Args:
          result: of all trials of the program.
          seconds: that the program took.
        """
        import numpy as np

        from marlx.analysis.plots import learning_curve
        from marlx.loop.drive import variant_result
        from marlx.runs.policies import save_policy

        if self.stopped:
            return
        own = variant_result(self.run, result, self.place, self.history)
        optimum = self.run.env.spec(self.run.params).optimum
        save_policy(self.folder, self.experiment, own.policies, self.history[-1])
        from marlx.runs.result import full_result  # NumPy takes a tenth of a second

        content = full_result(self.experiment, own, optimum)
        together = result.returns.shape[0] // self.experiment.train.seeds
        self.folder.write_json("result.json", {**content, "trials_at_once": together})
        draw_curve = functools.partial(
            learning_curve,
            steps=[progress.steps for progress in self.history],
            returns=np.array([progress.metrics["return"] for progress in self.history]),
            title=f"trial {self.trial.number}",
            random_return=float(own.random_returns.mean()),
            optimum=optimum,
            judged=own.judged,
        )
        self.folder.write("curve.png", draw_curve)
        last = own.evaluated.get(self.work.sweep.metric.name)  # of more episodes
        value = float(last.mean()) if last is not None else self._metric(self.history[-1])
        about = {"seconds": round(seconds / together, 2), "together": together}
        if not self.work.study.finish(self.trial, value, **about):
            self._lost()
            return
        self.stopped = True
        _print_trial(self.work, self.trial, value, "")

    def _lost(self) -> None:
        self.stopped = True
        print(
            f"marlx: trial {self.trial.number} was given to another process while this one was "
            f"silent; what this one has of it stays in {self.folder.path}",
            file=sys.stderr,
        )

    def _metric(self, progress: Progress) -> float:
        return float(progress.metrics[self.work.sweep.metric.name].mean())


def _print_trial(work: Work, trial: optuna.Trial, value: float, note: str) -> None:
    values = "  ".join(f"{k} {short_text(v)}" for k, v in work.study.values(trial).items())
    note = f"  ({note})" if note else ""
    print(
        f"  trial {trial.number:<4} {work.sweep.metric.name} {value:<8.4g} {values}{note}",
        flush=True,
    )


def _failed(work: Work, trial: optuna.Trial, error: Exception) -> None:
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 300 else f"{reason[:300]}..."
    work.study.fail(trial, reason)
    print(f"marlx: trial {trial.number} failed: {reason}", file=sys.stderr)
