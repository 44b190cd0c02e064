"""`marlx train --resume RUN`: the settings of a run, what may be changed, and restoring it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.options import parse_train, value_of
from marlx.cli.records import ONCE_OPTIONS, Output
from marlx.cli.shared import complain, quoted

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress
    from marlx.loop.run import Run
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder


def parse_resume(
    names: Sequence[str], argv: Sequence[str]
) -> tuple[Experiment, Output, Experiment]:
    """Returns the settings of a run, with what the command line changes.

    Args:
      names: ALGO and ENV, as far as they are given.
      argv: the options, `--resume` among them.

    Returns:
      The experiment to continue, the output options, and the experiment before the changes.

    Raises:
      ValueError: there is no run, or a setting is changed that a run must keep.
    """
    from marlx.config.tree import as_stored
    from marlx.config.yaml_text import parse
    from marlx.files import read_text
    from marlx.loop.settings import with_total_steps
    from marlx.runs.identity import first_change

    run = Path(value_of(argv, "resume") or "")
    config = run / "config.yaml"
    if not config.is_file():
        raise ValueError(f"{run} is not the folder of a run: it has no config.yaml")
    for option in ("config", "out"):
        if value_of(argv, option) is not None:
            raise ValueError(f"--{option} cannot be given with --resume: the run has its own")
    # a run without the setting goes on with the evaluations that it began with
    settings = as_stored(parse(read_text(config), str(config)))
    stored = ["--config", str(config), "--eval", str(settings["eval"])]
    was, _ = parse_train([], stored)
    for given, own in zip(names, (was.algorithm, was.environment), strict=False):
        if given != own:
            raise ValueError(f"{run} is a run of {own}, not of {given}")
    options = {word.split("=")[0] for word in argv}
    kept = _kept_output(run, None if "--distributed" in options else was.train.seeds)
    if "--workers" in options and "--devices" not in options:  # they replace the run's devices
        kept.pop("devices", None)
    now, output = parse_train([], [*stored, *_words(kept), *argv])
    if now.train.total_steps != was.train.total_steps and now.train.evals == was.train.evals:
        learner = was.build()[2]
        longer = with_total_steps(was.train, learner, now.train.total_steps)
        same = now._replace(train=dataclasses.replace(now.train, total_steps=was.train.total_steps))
        now = now._replace(train=longer)
    else:
        same = now
    if (change := first_change(was.settings(), same.settings())) is not None:
        raise ValueError(f"{change}; a run goes on with the settings it began with")
    return now, output, was


def _kept_output(run: Path, seeds: int | None) -> dict[str, Any]:
    """Returns the output options that the run was started with.

    On CPUs `--devices` is among them, since the last bits depend on the number of devices.

    Args:
      run: its folder.
      seeds: of the run; None where several processes continue it, whose devices may differ.
    """
    from marlx.runs.facts import read_facts  # NumPy takes a tenth of a second

    facts = read_facts(run)
    kept = dict(facts.get("output", {}))
    if facts.get("backend") == "cpu" and "devices" not in kept and seeds is not None:
        kept["devices"] = min(len(facts.get("devices", ())), seeds) or "auto"
    return kept


def _words(kept: Mapping[str, Any]) -> Iterator[str]:
    """Yields output options as words of a command line."""
    for field in dataclasses.fields(Output):
        if field.name in kept:
            value = kept[field.name]
            yield from (f"--{field.name}", *map(str, value if isinstance(value, list) else [value]))


def output_facts(output: Output) -> dict[str, Any]:
    """Returns the output options that a resumed run keeps, where they are not the default."""
    return {
        field.name: getattr(output, field.name)
        for field in dataclasses.fields(output)
        if field.name not in ONCE_OPTIONS and getattr(output, field.name) != field.default
    }


def open_checkpoints(path: str | Path, output: Output) -> Checkpoints | None:
    """Returns the checkpoints of the run in `path`; None if it keeps none.

    Raises:
      ValueError: an option is out of range.
    """
    from marlx.runs.checkpoints import Checkpoints

    checkpoints = Checkpoints(
        Path(path) / "checkpoints",
        keep=output.keep_checkpoints,
        seconds=output.checkpoint_seconds,
        complain=complain,
        parents=False,
    )
    return checkpoints if output.checkpoints else None


def reopen(
    experiment: Experiment, training: Run, output: Output, was: Experiment
) -> tuple[RunFolder, Output, Checkpoints | None, list[Progress]] | None:
    """Restores `training` from a run's folder, and the folder to the newest checkpoint.

    Args:
      experiment: `training` was made from it.
      training: new.
      output: `resume` names the folder.
      was: the experiment before the command line changed it.

    Returns:
      The folder, locked; `output`; the checkpoints, if any are kept; and the history until the
      newest one. None if the run is finished.

    Raises:
      ValueError: the run cannot be continued.
    """
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder, config_text
    from marlx.runs.policies import save_policy
    from marlx.runs.result import metrics_text

    path = Path(output.resume or "")
    if _finished(path, training.total_steps):
        print(
            f"{path} is finished, at {training.total_steps:,} steps; to train on: "
            f"marlx train --resume {quoted(path)} --total-steps N"
        )
        return None
    folder = RunFolder(path, complain, resume=True)
    folder.lock()
    try:
        checkpoints = open_checkpoints(path, output)
        history = _restored(training, checkpoints or Checkpoints(path / "checkpoints"), path)
        if not history:
            _check_source(training, path)
    except ValueError:
        folder.unlock()
        raise
    if experiment != was:
        folder.write("config.yaml", config_text(experiment))
        # it holds the old settings; it is written again with the arrays below
        folder.remove("policy/policy.json")
    folder.remove("failure.json")
    folder.cut("metrics.jsonl", metrics_text(history))
    if history:
        save_policy(folder, experiment, training.policies(), history[-1])
    folder.write_json("environment.json", _resumed_facts(path, output, history))
    return folder, output, checkpoints, history


def reopen_to_follow(
    training: Run, output: Output
) -> tuple[Checkpoints | None, list[Progress]] | None:
    """`reopen` for processes that are not the first, which print and write nothing.

    Returns:
      The checkpoints, if any are kept, and the history so far, empty for a new run. None if the run
      is finished.

    Raises:
      ValueError: the run cannot be continued.
    """
    from marlx.runs.checkpoints import Checkpoints

    path = Path(output.resume or "")
    checkpoints = Checkpoints(path / "checkpoints", complain=lambda line: None)
    history: list[Progress] = []
    if output.resume is not None:
        if _finished(path, training.total_steps):
            return None
        newest = checkpoints.newest()
        history = [] if newest is None else checkpoints.restore(training, newest)
    return checkpoints if output.checkpoints else None, history


def steps_of(history: Sequence[Progress]) -> int:
    """Returns the environment steps per seed at the last evaluation; 0 before the first."""
    return history[-1].steps if history else 0


def _restored(training: Run, checkpoints: Checkpoints, path: Path) -> list[Progress]:
    """Restores `training` from the newest checkpoint, if there is one; returns the history."""
    newest = checkpoints.newest()
    if newest is not None:
        return checkpoints.restore(training, newest)
    if (path / "result.json").exists():
        raise ValueError(f"{path} is finished and has no checkpoint to go on from")
    complain(f"{path} has no checkpoint, so it begins again from the start")
    return []


def _check_source(training: Run, path: Path) -> None:
    """Checks that a run that begins again finds the parameters that it began with.

    Raises:
      ValueError: the run that they are from is not there, or has changed.
    """
    from marlx.runs.facts import read_facts

    was, now = read_facts(path).get("warm_start", {}), training.read_warm_start() or {}
    if was and was.get("sha256") != now.get("sha256"):
        raise ValueError(
            f"{now.get('run')} has changed since {path} began with its parameters: the digest of "
            "its policy is another; train in a new folder"
        )


def _resumed_facts(path: Path, output: Output, history: Sequence[Progress]) -> dict[str, Any]:
    """Returns `environment.json` with the versions and devices of this part of the run added."""
    from marlx.runs.facts import environment_facts, read_facts

    facts, now = read_facts(path), environment_facts()
    part = {"steps": steps_of(history), **now}
    resumed = [*facts.get("resumed", ()), part]
    kept = output_facts(output)
    if "devices" not in facts.get("output", {}):  # it was `auto`, and stays so
        kept.pop("devices", None)
    return {**now, **facts, "output": kept, "resumed": resumed}


def _finished(path: Path, total_steps: int) -> bool:
    """Whether the run in `path` has a result at `total_steps`."""
    from marlx.runs.result import read_result

    return bool(read_result(path).get("steps") == total_steps)
