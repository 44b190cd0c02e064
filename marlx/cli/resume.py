"""`marlx train --resume RUN`: what a run was started with, and what may be changed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.options import parse_train, value_of
from marlx.cli.records import CLUSTER_OPTIONS, Output
from marlx.cli.shared import complain

if TYPE_CHECKING:
    from marlx.config.layers import Experiment
    from marlx.loop.progress import Progress
    from marlx.loop.run import Run
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder


def parse_resume(
    names: Sequence[str], argv: Sequence[str]
) -> tuple[Experiment, Output, Experiment]:
    """The experiment of a run and its output options, with what the command line changes.

    Args:
      names: ALGO and ENV, or what of them is given.
      argv: the options, `--resume` among them.

    Returns:
      The experiment that goes on, the output options, and the experiment as it was.

    Raises:
      ValueError: there is no run, or a setting is changed that a run must keep.
    """
    from marlx.loop.settings import with_total_steps
    from marlx.runs.identity import first_change

    run = Path(value_of(argv, "resume") or "")
    config = run / "config.yaml"
    if not config.is_file():
        raise ValueError(f"{run} is not the folder of a run: it has no config.yaml")
    for option in ("config", "out"):
        if value_of(argv, option) is not None:
            raise ValueError(f"--{option} cannot be given with --resume: the run has its own")
    was, _ = parse_train([], ["--config", str(config)])
    for given, own in zip(names, (was.algorithm, was.environment), strict=False):
        if given != own:
            raise ValueError(f"{run} is a run of {own}, not of {given}")
    together = any(word.split("=")[0] == "--distributed" for word in argv)
    kept = _kept_output(run, None if together else was.train.seeds)
    now, output = parse_train([], ["--config", str(config), *kept, *argv])
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


def _kept_output(run: Path, seeds: int | None) -> Iterator[str]:
    """The output options that the run was started with.

    On CPUs also the number of devices that its `seeds` were laid over: with another one the last
    bits may differ. None: there are several processes, which may have others.
    """
    facts = _facts(run)
    kept = dict(facts.get("output", {}))
    if facts.get("backend") == "cpu" and "devices" not in kept and seeds is not None:
        kept["devices"] = min(len(facts.get("devices", ())), seeds) or "auto"
    for field in dataclasses.fields(Output):
        if field.name in kept:
            value = kept[field.name]
            yield from (f"--{field.name}", *map(str, value if isinstance(value, list) else [value]))


def output_facts(output: Output) -> dict[str, Any]:
    """The output options that a run is resumed with, where they are not the default."""
    return {
        field.name: getattr(output, field.name)
        for field in dataclasses.fields(output)
        if field.name not in ("config", "out", "resume", "distributed", *CLUSTER_OPTIONS)
        and getattr(output, field.name) != field.default
    }


def open_checkpoints(path: str | Path, output: Output) -> Checkpoints | None:
    """The checkpoints of the run in `path`, unless it keeps none.

    Raises:
      ValueError: options that make no sense.
    """
    from marlx.runs.checkpoints import Checkpoints

    checkpoints = Checkpoints(
        Path(path) / "checkpoints",
        keep=output.keep_checkpoints,
        seconds=output.checkpoint_seconds,
        complain=complain,
    )
    return checkpoints if output.checkpoints else None


def reopen(
    experiment: Experiment, training: Run, output: Output, was: Experiment
) -> tuple[RunFolder, Output, Checkpoints | None, list[Progress]] | None:
    """Let `training` go on from where the run stands, in its folder.

    Args:
      experiment: what `training` was made from.
      training: new.
      output: `resume` names the folder.
      was: the experiment before the command line changed it.

    Returns:
      The folder, locked and as it was at the checkpoint; `output`; where further checkpoints are
      kept, if at all; and what was reported until then. None if there is nothing left to do.

    Raises:
      ValueError: the run cannot go on.
    """
    from marlx.runs.checkpoints import Checkpoints
    from marlx.runs.folder import RunFolder, config_text
    from marlx.runs.policies import save_policy
    from marlx.runs.result import metrics_text

    path = Path(output.resume or "")
    if _finished(path, training.total_steps):
        print(
            f"{path} is finished, at {training.total_steps:,} steps; to train on: "
            f"marlx train --resume {path} --total-steps N"
        )
        return None
    folder = RunFolder(path, complain, resume=True)
    folder.lock()
    try:
        checkpoints = open_checkpoints(path, output)
        history = _restored(training, checkpoints or Checkpoints(path / "checkpoints"), path)
    except ValueError:
        folder.unlock()
        raise
    if experiment != was:
        folder.write("config.yaml", config_text(experiment))
        # it holds the settings, and is written anew with the arrays below
        (path / "policy" / "policy.json").unlink(missing_ok=True)
    folder.cut("metrics.jsonl", metrics_text(history))
    if history:
        save_policy(folder, experiment, training.policies(), history[-1])
    folder.write_json("environment.json", _resumed_facts(path, output, history))
    return folder, output, checkpoints, history


def reopen_to_follow(
    training: Run, output: Output
) -> tuple[Checkpoints | None, list[Progress]] | None:
    """`reopen` for the other processes, or what they do for a new run: they say and write nothing.

    Returns:
      Checkpoints to take part in, if any are kept, and what was reported. None if the run is done.

    Raises:
      ValueError: the run cannot go on.
    """
    from marlx.runs.checkpoints import Checkpoints

    path = Path(output.resume or "")
    checkpoints = Checkpoints(path / "checkpoints", complain=lambda line: None)
    history: list[Progress] = []
    if output.resume is not None:
        if _finished(path, training.total_steps):
            return None
        saved = checkpoints.newest()
        history = [] if saved is None else checkpoints.restore(training, saved)
    return checkpoints if output.checkpoints else None, history


def steps_of(history: Sequence[Progress]) -> int:
    """Environment steps per seed that were reported."""
    return history[-1].steps if history else 0


def _restored(training: Run, checkpoints: Checkpoints, path: Path) -> list[Progress]:
    """What the run in `path` had reported at its newest checkpoint, where `training` now stands."""
    saved = checkpoints.newest()
    if saved is not None:
        return checkpoints.restore(training, saved)
    if (path / "result.json").exists():
        raise ValueError(f"{path} is finished and has no checkpoint to go on from")
    complain(f"{path} has no checkpoint, so it begins again from the start")
    return []


def _resumed_facts(path: Path, output: Output, history: Sequence[Progress]) -> dict[str, Any]:
    """`environment.json` as it was, with what this part of the run is computed by."""
    from marlx.runs.facts import environment_facts

    facts, now = _facts(path), environment_facts()
    part = {"steps": history[-1].steps if history else 0, **now}
    resumed = [*facts.get("resumed", ()), part]
    kept = output_facts(output)
    if "devices" not in facts.get("output", {}):  # `auto`, as it was laid at first
        kept.pop("devices", None)
    return {**now, **facts, "output": kept, "resumed": resumed}


def _facts(path: Path) -> dict[str, Any]:
    try:
        facts = json.loads((path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _finished(path: Path, total_steps: int) -> bool:
    """Whether the run in `path` has come to its end."""
    try:
        result = json.loads((path / "result.json").read_text(encoding="utf-8"))
        return bool(result["steps"] == total_steps)
    except (OSError, ValueError, KeyError, TypeError):
        return False
