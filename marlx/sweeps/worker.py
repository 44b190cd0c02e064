"""Training the trials of a sweep, several in one compiled program."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marlx.runs.result import full_result
from marlx.text import bytes_text, short_text

if TYPE_CHECKING:
    import numpy as np
    import optuna

    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress
    from marlx.loop.run import Run
    from marlx.runs.folder import RunFolder
    from marlx.sweeps.parameters import Sweep
    from marlx.sweeps.study import Study
    from marlx.sweeps.vmapped import Group


class Work(NamedTuple):
    """A sweep under way."""

    sweep: Sweep
    base: Experiment
    study: Study
    folder: Path
    width: int  # trials trained at once, at most


def train_trials(work: Work, trials: Sequence[optuna.Trial]) -> None:
    """Train trials that were taken together, in as few programs as they allow."""
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

    there = device_memory(free=True)
    free = "" if there is None else f" of {bytes_text(there)} free"
    names = ", ".join(group.values) or "seed"
    rounds = "at once" if parts == 1 else f"in {parts} rounds, more do not fit"
    print(
        f"  {len(group.members)} trials {rounds}, one program with {names} as arguments; "
        f"about {bytes_text(each)} per trial{free}",
        flush=True,
    )


def _train_part(work: Work, run: Run, members: Sequence[tuple[optuna.Trial, Experiment]]) -> None:
    """Train one program's trials; what goes wrong with it is told to each."""
    import jax

    lanes = []
    for place, (trial, experiment) in enumerate(members):
        try:
            lanes.append(Trial(work, run, place, trial, experiment))
        except ValueError as error:  # its folder cannot be made
            _failed(work, trial, error)
    if not lanes:
        return
    began = time.perf_counter()
    try:
        for done, progress in enumerate(run.blocks()):
            for lane in lanes:
                lane.log(progress, done)
            if all(lane.stopped for lane in lanes):
                break
        going = [lane for lane in lanes if not lane.stopped]
        if going:
            returns = run.final_returns()
            policies = jax.device_get(run.policies())
            seconds = time.perf_counter() - began
            for lane in going:
                lane.finish(returns, policies, seconds)
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        for lane in lanes:
            if not lane.stopped:
                _failed(work, lane.trial, error)


class Trial:
    """One trial's part of a program: its run folder, and what is told to the study."""

    def __init__(
        self, work: Work, run: Run, place: int, trial: optuna.Trial, experiment: Experiment
    ) -> None:
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
        trial.set_user_attr("folder", str(path))
        self.folder.write("config.yaml", config_text(experiment))
        self.folder.write_json("environment.json", environment_facts())
        self._logger = JsonLines(self.folder)

    def log(self, progress: Progress, done: int) -> None:
        """Take in an evaluation, the `done`-th, and stop where the pruner says so."""
        import numpy as np

        from marlx.sweeps.vmapped import share

        if self.stopped:
            return
        own = share(progress, self.place, self.experiment.train.seeds)
        self.history.append(own)
        self._logger.log(own)
        if done == 0:
            return
        value = self._metric(own)
        if not np.isfinite(value):  # of learners that learned nothing yet, for instance
            return
        self.trial.report(value, done)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stop = self.work.sweep.early is not None and self.trial.should_prune()
        if stop and done < self.run.loop.blocks:
            self.stopped = True
            self.work.study.prune(self.trial)
            _print_trial(self.work, self.trial, value, f"stopped after {done}")

    def finish(
        self,
        returns: np.ndarray[Any, Any],
        policies: Any,
        seconds: float,
    ) -> None:
        """Write the policy and the result, and tell the study the value.

        Args:
          returns: f64 [lanes, episodes].
          policies: leading axis [lanes].
          seconds: that the program took.
        """
        import jax
        import numpy as np

        from marlx.analysis.plots import learning_curve
        from marlx.runs.policies import save_policy

        seeds = self.experiment.train.seeds
        own = slice(self.place * seeds, (self.place + 1) * seeds)
        spec = self.run.env.spec(self.run.params)
        random_returns = self.run.random_returns(self.place)
        last = self.history[-1]
        save_policy(self.folder, self.experiment, jax.tree.map(lambda x: x[own], policies), last)
        result = full_result(
            self.experiment,
            self.run.phases,
            self.history,
            returns[own],
            random_returns,
            spec.optimum,
        )
        together = returns.shape[0] // seeds
        self.folder.write_json("result.json", {**result, "trials_at_once": together})
        self.folder.write(
            "curve.png",
            lambda path: learning_curve(
                path,
                [progress.steps for progress in self.history],
                np.array([progress.metrics["return"] for progress in self.history]),
                title=f"trial {self.trial.number}",
                random_return=float(random_returns.mean()),
                optimum=spec.optimum,
            ),
        )
        final = self.work.sweep.metric.name == "return"
        value = float(returns[own].mean()) if final else self._metric(last)
        self.trial.set_user_attr("seconds", round(seconds / together, 2))
        self.trial.set_user_attr("together", together)
        self.work.study.finish(self.trial, value)
        self.stopped = True
        _print_trial(self.work, self.trial, value, "")

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
