"""`marlx sweep`: train the settings of a sweep file, each in a run folder, and show results."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import parse_train, run_and_options
from marlx.cli.records import SweepOptions
from marlx.cli.shared import complain
from marlx.cli.sweep_results import show
from marlx.files import read_text
from marlx.loop.cpu_devices import cpu_devices, use_cpu_devices
from marlx.runs.files import replace_file
from marlx.sweeps.worker import Work, work_through
from marlx.text import unknown

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.sweeps.parameters import Sweep
    from marlx.sweeps.study import Study

SWEEP_USAGE = """\
usage: marlx sweep FILE [options]
       marlx sweep FOLDER [options]

Try the settings that FILE describes, in the format of Weights & Biases, without an account. Called
again, it goes on where it stopped. With the FOLDER of a sweep: show the results so far.

options:
  --trials N           how many, over all processes (default: run_cap of the file, or all of a grid)
  --vmap N             trials trained at once in one compiled program, where they fit (default: 1)
  --out FOLDER         sweep folder (default: runs/sweep-NAME, NAME being the file's)
  --storage URL        Optuna storage, for several processes or machines (default: study.db in it)
  --study NAME         of the sweep in that storage (default: the folder's)
  --seed N             of the search
  --devices N          CPU devices to shard trials and seeds over (default: auto)
  --no-wait            leave when no trial is left, while other processes still run theirs
"""


def sweep_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx sweep FILE|FOLDER [options]`: returns the training, to be called."""
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
    from marlx.sweeps import file as sweep_file
    from marlx.sweeps.search import optuna_module

    optuna_module()
    if Path(path).is_dir():
        return _show_command(Path(path), options)
    sweep = sweep_file.read_sweep(path)
    trials = options.trials or sweep.run_cap
    if trials is None and sweep.method != "grid":
        raise ValueError(f"a {sweep.method} search has no end; give it --trials N, or run_cap")
    use_compilation_cache()
    base = _base(sweep)
    use_cpu_devices(cpu_devices(options.devices, options.vmap * base.train.seeds))
    sweep_file.check_sweep(sweep, base)
    _check_metric(sweep, base)
    folder = _folder(Path(options.out or f"runs/sweep-{Path(path).stem}"), sweep)
    study = _open(sweep, folder, dataclasses.replace(options, trials=trials), base.train.evals)
    work = Work(sweep, base, study, folder, options.vmap)
    return functools.partial(_run, work, wait=options.wait)


def _base(sweep: Sweep) -> Experiment:
    """Returns the experiment of the sweep's command, with one value of each parameter."""
    from marlx.sweeps import file as sweep_file

    try:
        experiment, _ = parse_train(
            sweep.names, [*sweep.options, *sweep_file.words(sweep.example())]
        )
    except ValueError as error:
        raise ValueError(f"{sweep.source}: {error}") from None
    return experiment


def _check_metric(sweep: Sweep, base: Experiment) -> None:
    """Check that a run has the metric, without compiling it."""
    if sweep.metric.name == "return":
        return
    import jax

    from marlx.loop.program import loop

    functions = loop(*base.build(), base.train)

    def first(key: Any) -> tuple[Any, Any]:
        state = functions.init(key)
        return functions.evaluate(state, key), functions.block(state)[1]

    evaluated, metrics = jax.eval_shape(first, jax.random.key(0))
    known = list(dict.fromkeys(["return", *evaluated, *metrics]))
    if sweep.metric.name not in known:
        raise unknown("metric", sweep.metric.name, known, sweep.source)


def _folder(path: Path, sweep: Sweep) -> Path:
    """Returns the sweep folder, new or of the same sweep."""
    file = path / "sweep.yaml"
    try:
        held = [one for one in path.iterdir() if one.name[0] != "."] if path.is_dir() else []
        if held and not file.exists():
            raise ValueError(f"{path} is not the folder of a sweep; give another with --out")
        if file.exists() and read_text(file) != sweep.text:
            raise ValueError(
                f"{path} holds a sweep of another file (compare {file}); give another with --out"
            )
        path.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            replace_file(file, sweep.text, shared=True)  # others may read it at this moment
    except OSError as error:
        raise ValueError(f"cannot write to {path}: {error.strerror}") from None
    return path


def _open(sweep: Sweep, folder: Path, options: SweepOptions, evaluations: int) -> Study:
    from marlx.sweeps.storage import sqlite
    from marlx.sweeps.study import Study

    return Study(
        sweep,
        options.study or folder.resolve().name,
        options.storage or sqlite(folder),
        trials=options.trials,
        evaluations=evaluations,
        seed=options.seed,
    )


def _run(work: Work, *, wait: bool) -> int:
    """Train trials until there are none left; returns 1 if some failed."""
    from marlx.sweeps.study import Unreachable

    study = work.study
    for line in _describe(work):
        print(line, flush=True)
    if died := study.open():
        print(f"  {died} trials that were cut off are run again", flush=True)
    finished = False
    try:
        with _leaving_on_sigterm():
            work_through(work, wait=wait)
        finished = True
    except Unreachable as error:
        complain(f"{error}; the same command goes on")
        return 1
    finally:
        back = _closed(study)
        if not finished:
            complain(f"stopped, {back} trials are put back; the same command goes on")
    rows = study.rows()
    others = sum(row.state == "running" for row in rows)
    if others:
        print(f"  other processes still run {others} trials")
    show(work.sweep, study, work.folder)
    study.disconnect()
    return 1 if any(row.state == "failed" for row in rows) else 0


def _closed(study: Study) -> int:
    """Closes a study and returns how many trials it put back; 0 if it cannot be reached."""
    try:
        return study.close()
    except Exception:  # of any database driver; its trials are put back by another process
        return 0


@contextlib.contextmanager
def _leaving_on_sigterm() -> Iterator[None]:
    """Leaves through `SystemExit` on SIGTERM, so that trials are put back at once."""

    def leave(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    old = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old or signal.SIG_DFL)


def _describe(work: Work) -> list[str]:
    sweep, base = work.sweep, work.base
    names = ", ".join(one.name for one in sweep.searched) or "nothing"
    seeds = f"{base.train.seeds} seeds" if base.train.seeds > 1 else "1 seed"
    return [
        f"{base.algorithm} on {base.environment}: {sweep.method} search over {names}",
        f"  {work.study.limit} trials of {seeds}, {base.train.total_steps:,} steps each, up to "
        f"{work.width} at once; {sweep.metric.goal} {sweep.metric.name}",
        f"  sweep folder: {work.folder}",
    ]


def _show_command(folder: Path, options: SweepOptions) -> int:
    """`marlx sweep FOLDER`."""
    from marlx.sweeps import file as sweep_file

    file = folder / "sweep.yaml"
    if not file.exists():
        raise ValueError(f"{folder} is not the folder of a sweep: it has no sweep.yaml")
    if options.storage is None and not (folder / "study.db").exists():
        raise ValueError(f"{folder} has no study.db; say where its trials are: --storage URL")
    sweep = sweep_file.read_sweep(file)
    study = _open(sweep, folder, dataclasses.replace(options, trials=1), 1)
    show(sweep, study, folder)
    study.disconnect()
    return 0
