"""Checkpoints: all that a run needs to go on to the bit, and never half of it.

A folder of checkpoints holds one folder for each, named after its environment steps:

    000000011776/state.json     counters, history, settings, versions, and what the arrays are
    000000011776/arrays/        parameters, optimisers, replays, environments, keys; by orbax
    000000011776/manifest.json  size and checksum of every file above

It is written beside its place, flushed to the disk and then moved there. Before one is read, its
files are held against the manifest, and one that does not fit is passed over for the one before.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from marlx.loop import multihost
from marlx.runs.array_store import (
    Saved,
    checksum,
    flush,
    read_arrays,
    reason_of,
    restored_as,
    save_arrays,
)
from marlx.runs.identity import (
    changes,
    check_settings,
    facts_of,
    schedule_of,
    settings_of_run,
    stored_form,
)
from marlx.runs.policies import named

if TYPE_CHECKING:
    from marlx.environment import Environment, EnvParams
    from marlx.learner import Learner
    from marlx.loop.placement import Devices
    from marlx.loop.progress import Progress
    from marlx.loop.run import Run
    from marlx.loop.settings import TrainConfig
    from marlx.types import Tree

FORMAT = 1
SHARE = 20
"""A checkpoint is followed by at least this many times the seconds it took: 5 % of a run."""


class Checkpoints:
    """The checkpoints of one run: when to take one, and which to keep.

    No failure to write raises, for a full disk must not cost the training: it is told of in one
    line, and the checkpoints that were there stay.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        keep: int = 2,
        seconds: float = 60.0,
        complain: Callable[[str], None] | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
          path: of the folder; made when it is needed.
          keep: how many of the newest are kept.
          seconds: the least time between two, except for the first and the last of a run.
          complain: is given what cannot be written or read, in one line each; prints it by default.

        Raises:
          ValueError: a setting that makes no sense.
        """
        if keep < 1:
            raise ValueError(f"keep_checkpoints is {keep}; it must be at least 1")
        if not seconds >= 0:
            raise ValueError(f"checkpoint_seconds is {seconds}; it must be at least 0")
        self.path, self.keep, self.seconds = Path(path), keep, seconds
        self.failed = False
        """Whether the last one that was due could not be written."""
        self.steps: int | None = None
        """Where the newest one was taken that this run has written or been restored from."""
        self._complain = complain or (lambda line: print(line, file=sys.stderr))
        self._wait, self._last = 0.0, 0.0
        self._damaged: list[Path] = []

    def begin(self) -> None:
        """Make sure that a new run does not mix its checkpoints with those of another.

        Raises:
          ValueError: there are some already.
        """
        if multihost.is_first() and _finished_folders(self.path):
            raise ValueError(f"{self.path} holds checkpoints already; resume them, or name another")

    def step(self, run: Run, history: Sequence[Progress], *, now: bool = False) -> None:
        """Take a checkpoint if one is due, or in any case if `now`, unless it is there already.

        Of several processes all must call it; the clock of the first says when one is due.
        """
        progress = history[-1]
        due = now or self.steps is None or progress.steps >= progress.total_steps
        due = due or time.perf_counter() - self._last >= max(self.seconds, self._wait)
        wanted = due and progress.steps != self.steps
        if multihost.several():
            wanted = bool(multihost.gathered(wanted)[0, 0])
        if wanted:
            self.save(run, history)

    def save(self, run: Run, history: Sequence[Progress]) -> bool:
        """Take a checkpoint; False if that failed. Only the first of several processes writes."""
        began, target = time.perf_counter(), self.path / f"{history[-1].steps:012d}"
        partial = self.path / f".{target.name}.partial"
        snapshot = run.snapshot()
        if not multihost.is_first():
            return True
        try:
            self._clear()
            partial.mkdir(parents=True)
            _write(partial, run, history, snapshot)
            if target.exists():  # a damaged one, or of a run that was restored from one before it
                shutil.rmtree(target)
            os.replace(partial, target)
            flush(self.path)
        except Exception as error:  # whatever a storage library raises must not cost the training
            shutil.rmtree(partial, ignore_errors=True)
            if not self.failed:
                self._complain(
                    f"cannot write checkpoint {target}: {reason_of(error)}{self._left()}"
                )
            self.failed = True
        else:
            self.failed, self.steps = False, history[-1].steps
            for damaged in self._damaged:  # none of those that are kept
                if damaged != target:
                    shutil.rmtree(damaged, ignore_errors=True)
            self._damaged.clear()
            for old in _finished_folders(self.path)[: -self.keep]:
                shutil.rmtree(old, ignore_errors=True)
        # after a failure it is tried again, but no more often than if it had worked
        self._last = time.perf_counter()
        self._wait = SHARE * (self._last - began)
        run.phases["checkpoint"] = run.phases.get("checkpoint", 0.0) + self._last - began
        return not self.failed

    def finish(self) -> None:
        """The run is over: of its checkpoints the last one stays, from which it can be extended."""
        for old in _finished_folders(self.path)[:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Saved | None:
        """The newest checkpoint that is whole, or None where none was taken.

        Raises:
          ValueError: there are some, and none can be used.
        """
        folders = _finished_folders(self.path)
        for folder in reversed(folders):
            try:
                return Saved(folder, _checked(folder))
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._damaged.append(folder)
                self._complain(f"checkpoint {folder} is damaged and left out: {reason_of(error)}")
        if folders:
            raise ValueError(
                f"none of the {len(folders)} checkpoints in {self.path} is whole; delete them to "
                "start the run again"
            )
        return None

    def restore(self, run: Run, saved: Saved) -> list[Progress]:
        """Let `run` go on from `saved`; what it had reported until then.

        Raises:
          ValueError: the run has other settings, or its state has another form.
        """
        check_settings(run, saved)
        state = _fitted(run, saved)
        history = [_progress(run, record) for record in saved.state["history"]]
        run.restore(state, saved.state["counters"])
        for line in changes(saved.state["facts"], facts_of(run)):
            self._complain(line)
        self.steps, self._last = saved.steps, time.perf_counter()
        return history

    def _clear(self) -> None:
        """Remove what was left half-written."""
        for partial in self.path.glob(".*.partial"):
            shutil.rmtree(partial)

    def _left(self) -> str:
        steps = [int(path.name) for path in _finished_folders(self.path)]
        return f"; the one at {max(steps):,} steps stays" if steps else "; there is none yet"


def resumable(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    config: TrainConfig,
    folder: str | Path,
    resume: bool,
    devices: Devices = "auto",
) -> tuple[Run, Checkpoints, list[Progress]]:
    """A run with a folder of checkpoints, restored from the newest one if `resume` and it has any.

    Raises:
      ValueError: settings that cannot work, or that are not those of the checkpoint.
    """
    from marlx.loop.run import Run
    from marlx.loop.settings import TrainConfig, with_total_steps

    # of several processes the first one speaks for all
    checkpoints = Checkpoints(folder, complain=None if multihost.is_first() else lambda line: None)
    if not resume:
        checkpoints.begin()
        return Run(env, params, learner, config, devices=devices), checkpoints, []
    saved = checkpoints.newest()
    if saved is None:
        return Run(env, params, learner, config, devices=devices), checkpoints, []
    names = [field.name for field in dataclasses.fields(TrainConfig)]
    old = {name: saved.state["settings"].get(name) for name in names}
    if config.total_steps != old["total_steps"] and config == dataclasses.replace(
        TrainConfig(**old), total_steps=config.total_steps
    ):
        config = with_total_steps(TrainConfig(**old), learner, config.total_steps)
    run = Run(env, params, learner, config, devices=devices)
    return run, checkpoints, checkpoints.restore(run, saved)


def nbytes(run: Run) -> int:
    """Bytes of a checkpoint of `run` before they are compressed."""
    stored = _stored(run.lanes_shape()).values()
    return sum(math.prod(x.shape) * int(x.dtype.itemsize) for x in stored)


def _finished_folders(path: Path) -> list[Path]:
    """The folders that were moved to their place, oldest first."""
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.name.isdecimal())


# --- writing ---


def _write(
    folder: Path, run: Run, history: Sequence[Progress], snapshot: tuple[Tree, dict[str, Any]]
) -> None:
    """Write all of a checkpoint into `folder`, and flush it to the disk."""
    state, counters = snapshot
    arrays = {name: stored_form(x) for name, x in named(state).items()}
    save_arrays(folder / "arrays", arrays)
    content = {
        "format": FORMAT,
        "steps": history[-1].steps,
        "counters": counters,
        "settings": settings_of_run(run),
        "schedule": schedule_of(run),
        "facts": facts_of(run),
        "arrays": {name: [str(x.dtype), list(x.shape)] for name, x in arrays.items()},
        "history": [_record(progress) for progress in history],
    }
    # not JSON to the letter: NaN and Infinity are kept, so that what is read is what was written
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")
    manifest = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        manifest[path.relative_to(folder).as_posix()] = checksum(path)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def _stored(tree: Tree) -> dict[str, Any]:
    """Shapes and types that the leaves of `tree` are stored with, by name."""
    return named(jax.eval_shape(lambda tree: jax.tree.map(stored_form, tree), tree))


def _record(progress: Progress) -> dict[str, Any]:
    record = progress._replace(policies=lambda: None)._asdict()
    del record["policies"]
    record["metrics"] = {name: np.asarray(x).tolist() for name, x in progress.metrics.items()}
    return record


# --- reading ---


def _checked(folder: Path) -> dict[str, Any]:
    """What `state.json` holds, after every file was held against the manifest.

    Raises:
      ValueError: a file is not as it was written, or the format is another.
      OSError: one cannot be read.
    """
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    if "state.json" not in manifest:
        raise ValueError("manifest.json names no state.json")
    for name, expected in manifest.items():
        if not (folder / name).is_file():
            raise ValueError(f"{name} is missing")
        if checksum(folder / name) != expected:
            raise ValueError(f"{name} is not as it was written")
    state: dict[str, Any] = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    if state["format"] != FORMAT:
        raise ValueError(f"it has format {state['format']}; this marlx reads {FORMAT}")
    return state


def _progress(run: Run, record: Mapping[str, Any]) -> Progress:
    from marlx.loop.progress import Progress

    metrics = {name: np.array(values, float) for name, values in record["metrics"].items()}
    return Progress(**{**record, "metrics": metrics, "policies": run.policies})


def _fitted(run: Run, saved: Saved) -> Tree:
    """The saved arrays as `run` holds them, on the host, with as many lanes as were saved."""
    shape = run.lanes_shape()
    expected = {name: (str(x.dtype), tuple(x.shape)) for name, x in _stored(shape).items()}
    there = {name: (dtype, tuple(dims)) for name, (dtype, dims) in saved.state["arrays"].items()}
    for name in sorted(expected.keys() | there.keys()):
        was, now = _described(there.get(name)), _described(expected.get(name))
        if was != now:
            raise ValueError(
                f"{saved.path} does not fit marlx {facts_of(run)['marlx']}, it was made with "
                f"{saved.state['facts']['marlx']}: {name} was {was} and is {now}"
            )
    arrays = read_arrays(saved)
    leaves = [restored_as(arrays[name], x) for name, x in named(shape).items()]
    return jax.tree.unflatten(jax.tree.structure(shape), leaves)


def _described(array: tuple[str, tuple[int, ...]] | None) -> str:
    """Type and shape in words, without the leading axis: other devices may have other lanes."""
    return f"{array[0]}{list(array[1][1:])}" if array else "not there"
