"""`marlx sweep`: try the settings of a sweep file, each in a run folder, and show what came out."""

from __future__ import annotations

import dataclasses
import functools
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marlx.cli.devices import cpu_devices, use_cpu_devices
from marlx.cli.options import SweepOptions, parse_train, run_and_options
from marlx.cli.shared import use_compilation_cache
from marlx.cli.sweep_results import short_text, show
from marlx.cli.train import bytes_text, device_memory, full_result
from marlx.suggest import unknown

if TYPE_CHECKING:
    import numpy as np
    import optuna

    from marlx.config import Experiment
    from marlx.runs import RunFolder
    from marlx.study import Study
    from marlx.sweeps import Sweep
    from marlx.training import Progress, Run
    from marlx.vmapped import Group

SWEEP_USAGE = """\
usage: marlx sweep FILE [options]
       marlx sweep FOLDER [options]

Try the settings that FILE describes, in the format of Weights & Biases, without an account. Called
again, it goes on where it stopped. With the FOLDER of a sweep: show what came out so far.

options:
  --trials N           how many, over all processes (default: run_cap of the file, or all of a grid)
  --vmap N             trials trained at once in one compiled program, where they fit (default: 1)
  --out FOLDER         sweep folder (default: runs/sweep-NAME, NAME being the file's)
  --storage URL        Optuna storage, for several processes or machines (default: study.db in it)
  --study NAME         of the sweep in that storage (default: the folder's)
  --seed N             of the search
  --devices N          CPU devices to lay trials and seeds over (default: auto)
"""


class Work(NamedTuple):
    """A sweep under way."""

    sweep: Sweep
    base: Experiment
    study: Study
    folder: Path
    options: SweepOptions


def sweep_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx sweep FILE|FOLDER [options]`: everything up to the trials, which are returned."""
    if not argv or argv[0] in ("-h", "--help"):
        print(SWEEP_USAGE, end="", file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    path, options = run_and_options(argv, "sweep", SweepOptions, "sweep file or folder")
    for name in ("trials", "vmap"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} is {value}; it must be at least 1")
    if "x" in options.devices:
        raise ValueError(f"--devices is {options.devices}; a sweep takes auto, all or a number")
    from marlx import sweeps
    from marlx.study import optuna_module

    optuna_module()
    if Path(path).is_dir():
        return _show_command(Path(path), options)
    sweep = sweeps.read(path)
    trials = options.trials or sweep.run_cap
    if trials is None and sweep.method != "grid":
        raise ValueError(f"a {sweep.method} search has no end; give it --trials N, or run_cap")
    use_compilation_cache()
    base = _base(sweep)
    use_cpu_devices(cpu_devices(options.devices, options.vmap * base.train.seeds))
    sweeps.check(sweep, base)
    _check_metric(sweep, base)
    folder = _folder(Path(options.out or f"runs/sweep-{Path(path).stem}"), sweep)
    study = _open(sweep, folder, dataclasses.replace(options, trials=trials), base.train.evals)
    return functools.partial(_run, Work(sweep, base, study, folder, options))


def _base(sweep: Sweep) -> Experiment:
    """The experiment of the sweep's command, with one value of each parameter."""
    from marlx import sweeps

    try:
        experiment, _ = parse_train(sweep.names, [*sweep.options, *sweeps.words(sweep.example())])
    except ValueError as error:
        raise ValueError(f"{sweep.source}: {error}") from None
    return experiment


def _check_metric(sweep: Sweep, base: Experiment) -> None:
    """See that the metric is one that a run has, from shapes alone."""
    if sweep.metric.name == "return":
        return
    import jax

    from marlx.training import loop

    functions = loop(*base.build(), base.train)
    _, metrics = jax.eval_shape(lambda key: functions.block(functions.init(key)), jax.random.key(0))
    known = ["return", *metrics]
    if sweep.metric.name not in known:
        raise unknown("metric", sweep.metric.name, known, sweep.source)


def _folder(path: Path, sweep: Sweep) -> Path:
    """The sweep folder, new or of the same sweep."""
    file = path / "sweep.yaml"
    try:
        if path.is_dir() and any(path.iterdir()) and not file.exists():
            raise ValueError(f"{path} is not the folder of a sweep; give another with --out")
        if file.exists() and file.read_text(encoding="utf-8") != sweep.text:
            raise ValueError(
                f"{path} holds a sweep of another file (compare {file}); give another with --out"
            )
        path.mkdir(parents=True, exist_ok=True)
        file.write_text(sweep.text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}") from None
    return path


def _open(sweep: Sweep, folder: Path, options: SweepOptions, evaluations: int) -> Study:
    from marlx.study import Study, sqlite

    return Study(
        sweep,
        options.study or folder.resolve().name,
        options.storage or sqlite(folder),
        trials=options.trials,
        evaluations=evaluations,
        seed=options.seed,
    )


def _run(work: Work) -> int:
    """Take trials and train them until there are none left; 1 if some failed."""
    study, sweep = work.study, work.sweep
    for line in _describe(work):
        print(line, flush=True)
    died = study.open()
    if died:
        print(f"  {died} trials that were cut off are run again", flush=True)
    finished = False
    try:
        while not _target_reached(study, sweep):
            trials = study.take(work.options.vmap)
            if not trials:
                break
            _train_trials(work, trials)
        finished = True
    finally:
        back = study.close()
        if not finished:
            print(
                f"marlx: stopped, {back} trials are put back; the same command goes on",
                file=sys.stderr,
            )
    rows = study.rows()
    others = sum(row.state == "running" for row in rows)
    if others:
        print(f"  other processes still run {others} trials")
    show(work.sweep, study, work.folder)
    return 1 if any(row.state == "failed" for row in rows) else 0


def _describe(work: Work) -> list[str]:
    sweep, base, options = work.sweep, work.base, work.options
    names = ", ".join(one.name for one in sweep.searched) or "nothing"
    seeds = f"{base.train.seeds} seeds" if base.train.seeds > 1 else "1 seed"
    return [
        f"{base.algorithm} on {base.environment}: {sweep.method} search over {names}",
        f"  {work.study.limit} trials of {seeds}, {base.train.total_steps:,} steps each, up to "
        f"{options.vmap} at once; {sweep.metric.goal} {sweep.metric.name}",
        f"  sweep folder: {work.folder}",
    ]


def _target_reached(study: Study, sweep: Sweep) -> bool:
    best = study.best() if sweep.metric.target is not None else None
    return best is not None and best.value is not None and sweep.metric.reached(best.value)


def _train_trials(work: Work, trials: Sequence[optuna.Trial]) -> None:
    """Train trials that were taken together, in as few programs as they allow."""
    from marlx import sweeps, vmapped

    kept, experiments = [], []
    for trial in trials:
        values = {**work.sweep.constants(), **work.study.values(trial)}
        try:
            experiments.append(sweeps.variant(work.base, values, work.sweep.source))
            kept.append(trial)
        except ValueError as error:
            _failed(work, trial, error)
    for group in vmapped.groups(experiments):
        own = [kept[i] for i in group.members]
        try:
            run = vmapped.start(experiments, group)
            width, each = vmapped.width_that_fits(run, device_memory(free=True), len(own))
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
            lanes.append(Lane(work, run, place, trial, experiment))
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


class Lane:
    """One trial's part of a program: its run folder, and what is told to the study."""

    def __init__(
        self, work: Work, run: Run, place: int, trial: optuna.Trial, experiment: Experiment
    ) -> None:
        from marlx.loggers import JsonLines
        from marlx.runs import RunFolder, config_text, environment_facts

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

        from marlx.vmapped import share

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

        from marlx.plots import learning_curve
        from marlx.policies import save_policy

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


def _show_command(folder: Path, options: SweepOptions) -> int:
    """`marlx sweep FOLDER`."""
    from marlx import sweeps

    file = folder / "sweep.yaml"
    if not file.exists():
        raise ValueError(f"{folder} is not the folder of a sweep: it has no sweep.yaml")
    if options.storage is None and not (folder / "study.db").exists():
        raise ValueError(f"{folder} has no study.db; say where its trials are: --storage URL")
    sweep = sweeps.read(file)
    show(sweep, _open(sweep, folder, dataclasses.replace(options, trials=1), 1), folder)
    return 0
