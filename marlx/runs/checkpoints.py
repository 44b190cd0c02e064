"""Checkpoints: everything that a run needs to continue bit for bit.

A folder of checkpoints has one folder for each, named after its environment steps:

    000000011776/manifest.json  name, size and CRC-32 of every other file
    000000011776/arrays/        parameters, optimisers, replays, environments, keys; by orbax
    000000011776/state.json     the rest:
        format      version of this format
        steps       environment steps per seed
        counters    blocks, evaluations and seconds so far, see `Run.snapshot`
        settings    of the run, which a run must share to continue from here
        schedule    rollouts of the warm-up and of a block, likewise
        facts       versions and devices; where they differ, the last bits may differ
        arrays      dtype and shape of every array, leading axis [replicas]
        history     every `Progress` so far

It is written under a temporary name, flushed to the disk and then renamed, so there is never half a
checkpoint. Before it is read, its files are checked against the manifest; a damaged checkpoint is
skipped for the one before.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from marlx.files import (
    ANY_NUMBER,
    ANYTHING,
    LARGEST_JSON,
    NUMBER,
    TEXT,
    WHOLE,
    Each,
    Kind,
    Record,
    checked,
    parse_json,
    read_json,
    read_text,
)
from marlx.learner import Learner
from marlx.loop import multihost
from marlx.loop.progress import Progress
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig, with_total_steps
from marlx.registry import settings_of
from marlx.runs.array_store import (
    Checkpoint,
    checksum,
    flush,
    is_array_type,
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
from marlx.text import print_line, printable, shortened
from marlx.types import Tree
from marlx.xla.memory import nbytes

FORMAT = 1
_PROGRESS = {
    "steps": WHOLE,
    "total_steps": WHOLE,
    "seconds": NUMBER,
    "phases": Each(NUMBER),
    "metrics": Each([ANY_NUMBER]),
}
_COUNTERS = {
    "blocks": WHOLE,
    "evaluations": WHOLE,
    "rollout_seconds": NUMBER,
    "phases": Each(NUMBER),
}
STATE = Record(
    {
        "format": WHOLE,
        "steps": WHOLE,
        "counters": Record(_COUNTERS),
        "settings": Record(
            {name: WHOLE for name in settings_of(TrainConfig) if name != "eval"},
            {"eval": TEXT},  # not there in checkpoints of greedy evaluations
        ),
        "schedule": Each(WHOLE),
        "facts": Each(ANYTHING),
        "arrays": Each(Kind("a dtype and a shape", is_array_type)),
        "history": [Record(_PROGRESS)],
    }
)
"""Schema of `state.json`."""
NEWER = ("actors/agent_return",)
"""Arrays that older checkpoints may not have; they go on from zero, which only metrics notice."""
WAIT_FACTOR = 20
"""The next checkpoint waits for this many times the seconds that one took: at most 5 % of a run."""
WRITING = 0.6
"""Memory that writing a checkpoint takes, in parts of its bytes: orbax compresses several arrays at
once. Measured: 0.49 for a state of 3.3 GB, 0.68 for one of 1.8 GB."""


class Checkpoints:
    """The checkpoints of one run: decides when to take one and which to keep.

    No failure to write raises, since a full disk must not end the training. It is reported in one
    line, and the earlier checkpoints stay.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        keep: int = 2,
        seconds: float = 60.0,
        complain: Callable[[str], None] | None = None,
        parents: bool = True,
    ) -> None:
        """Writes nothing yet.

        Args:
          path: of the folder; made when it is needed.
          keep: how many of the newest are kept.
          seconds: the least time between two, except for the first and the last of a run.
          complain: called with one line for each checkpoint that cannot be written or read; by
            default it is printed on stderr.
          parents: also make the folders that `path` is in. False in a run folder, which is not
            made again once it was deleted.

        Raises:
          ValueError: `keep` or `seconds` is out of range.
        """
        if keep < 1:
            raise ValueError(f"keep_checkpoints is {keep}; it must be at least 1")
        if not seconds >= 0:
            raise ValueError(f"checkpoint_seconds is {seconds}; it must be at least 0")
        self.path, self.keep, self.seconds = Path(path), keep, seconds
        self.failed = False
        """Whether the last attempt to write one failed."""
        self.steps: int | None = None
        """Environment steps of the newest one that this run has written or was restored from."""
        self._complain = complain or print_line
        self._wait, self._last, self._parents = 0.0, 0.0, parents
        self._damaged: list[Path] = []

    def begin(self) -> None:
        """Checks that the folder is free for a new run.

        Raises:
          ValueError: it holds checkpoints.
        """
        if multihost.is_first() and _finished_folders(self.path):
            raise ValueError(f"{self.path} holds checkpoints already; resume them, or name another")

    def step(self, run: Run, history: Sequence[Progress], *, now: bool = False) -> None:
        """Takes a checkpoint if it is time to, or in any case if `now`, unless it exists already.

        Of several processes all must call it; the clock of the first decides.
        """
        progress = history[-1]
        due = now or self.steps is None or progress.steps >= progress.total_steps
        due = due or time.perf_counter() - self._last >= max(self.seconds, self._wait)
        wanted = due and progress.steps != self.steps
        if multihost.is_multihost():
            wanted = bool(multihost.all_gather(wanted)[0, 0])
        if wanted:
            self.save(run, history)

    def save(self, run: Run, history: Sequence[Progress]) -> bool:
        """Takes a checkpoint; False if that failed. Only the first of several processes writes."""
        began, target = time.perf_counter(), self.path / f"{history[-1].steps:012d}"
        snapshot = run.snapshot()
        if not multihost.is_first():
            return True
        try:
            self._write(target, run, history, snapshot)
        except Exception as error:  # whatever a storage library raises must not end the training
            if not self.failed:
                self._complain(
                    f"cannot write checkpoint {target}: {reason_of(error)}{self._remaining()}"
                )
            self.failed = True
        else:
            self.failed, self.steps = False, history[-1].steps
            self._remove_old(target)
        # after a failure it is tried again, but no more often than after a success
        self._last = time.perf_counter()
        self._wait = WAIT_FACTOR * (self._last - began)
        run.phases["checkpoint"] = run.phases.get("checkpoint", 0.0) + self._last - began
        return not self.failed

    def finish(self) -> None:
        """Removes all but the newest, from which a finished run can be extended."""
        for old in _finished_folders(self.path)[:-1]:
            shutil.rmtree(old, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """Returns the newest checkpoint that is whole, or None where none was taken.

        Raises:
          ValueError: there are some, and none can be used.
        """
        folders, damaged, reason = _finished_folders(self.path), [], ""
        for folder in reversed(folders):
            try:
                checkpoint = open_checkpoint(folder)
            except (OSError, ValueError, KeyError, TypeError) as error:
                damaged.append(folder)
                reason = reason or reason_of(error)
                continue
            if damaged:
                names, are = ", ".join(map(str, damaged)), "s %s are" if damaged[1:] else " %s is"
                self._complain(f"checkpoint{are % names} damaged and left out: {reason}")
            self._damaged += damaged
            return checkpoint
        if folders:
            raise ValueError(
                f"none of the {len(folders)} checkpoints in {self.path} is whole: {reason}; "
                "delete them to start the run again"
            )
        return None

    def restore(self, run: Run, checkpoint: Checkpoint) -> list[Progress]:
        """Puts `run` into the state of `checkpoint`, and returns its history until then.

        Raises:
          ValueError: the run has other settings, or its state has other arrays.
        """
        check_settings(run, checkpoint)
        state = read_state(run, checkpoint)
        history = [_progress(run, content) for content in checkpoint.state["history"]]
        run.restore(state, checkpoint.state["counters"])
        for line in changes(checkpoint.state["facts"], facts_of(run)):
            self._complain(line)
        self.steps, self._last = checkpoint.steps, time.perf_counter()
        return history

    def _write(
        self,
        target: Path,
        run: Run,
        history: Sequence[Progress],
        snapshot: tuple[Tree, dict[str, Any]],
    ) -> None:
        """Writes a checkpoint under a temporary name and renames it to `target`."""
        partial = self.path / f".{target.name}.partial"
        for left in self.path.glob(".*.partial"):  # by a run that was killed
            shutil.rmtree(left)
        try:
            self.path.mkdir(parents=self._parents, exist_ok=True)
            partial.mkdir()
            write_checkpoint(partial, run, history, snapshot)
            if target.exists():  # a damaged one, or of a run that was restored from one before it
                shutil.rmtree(target)
            os.replace(partial, target)
            flush(self.path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise

    def _remove_old(self, newest: Path) -> None:
        """Removes damaged checkpoints, which do not count among those kept, and the oldest."""
        for damaged in self._damaged:
            if damaged != newest:
                shutil.rmtree(damaged, ignore_errors=True)
        self._damaged.clear()
        for old in _finished_folders(self.path)[: -self.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def _remaining(self) -> str:
        steps = [int(path.name) for path in _finished_folders(self.path)]
        return f"; the one at {max(steps):,} steps stays" if steps else "; there is none yet"


def resumable(
    make_run: Callable[[TrainConfig], Run],
    learner: Learner,
    config: TrainConfig,
    folder: str | Path,
    resume: bool,
) -> tuple[Run, Checkpoints, list[Progress]]:
    """Makes a run with a folder of checkpoints, restored from the newest one if `resume`.

    Args:
      make_run: makes a run with settings of the loop.
      learner: of the run.
      config: settings of the loop; with other `total_steps` than the checkpoint's, blocks keep
        their length.
      folder: of the checkpoints.
      resume: restore from the newest one, if there is any.

    Returns:
      The run, its checkpoints, and its history so far.

    Raises:
      ValueError: settings that cannot work, or that are not those of the checkpoint.
    """
    # of several processes only the first one prints
    checkpoints = Checkpoints(folder, complain=None if multihost.is_first() else lambda line: None)
    if not resume:
        checkpoints.begin()
    newest = checkpoints.newest() if resume else None
    if newest is None:
        return make_run(config), checkpoints, []
    old = {name: newest.state["settings"].get(name) for name in settings_of(TrainConfig)}
    old["eval"] = config.eval  # compared by `check_settings`
    if config.total_steps != old["total_steps"] and config == dataclasses.replace(
        TrainConfig(**old), total_steps=config.total_steps
    ):
        config = with_total_steps(TrainConfig(**old), learner, config.total_steps)
    run = make_run(config)
    return run, checkpoints, checkpoints.restore(run, newest)


def checkpoint_bytes(run: Run) -> int:
    """Returns the bytes of a checkpoint of `run` before compression."""
    return nbytes(_stored_shapes(run.replicas_shape()))


def _finished_folders(path: Path) -> list[Path]:
    """Returns the folders of checkpoints that were written completely, oldest first."""
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.name.isdecimal())


# --- writing ---


def write_checkpoint(
    folder: Path, run: Run, history: Sequence[Progress], snapshot: tuple[Tree, dict[str, Any]]
) -> None:
    """Writes the files of a checkpoint into `folder`, and flushes them to the disk.

    Args:
      folder: empty.
      run: its settings and versions are stored.
      history: evaluations so far.
      snapshot: from `run.snapshot`.

    Raises:
      OSError: it cannot be written; orbax may raise other errors.
    """
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
        "history": [_progress_content(progress) for progress in history],
    }
    # NaN and Infinity are kept, which JSON does not have, so that reading gives the same numbers
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")
    manifest = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        manifest[path.relative_to(folder).as_posix()] = checksum(path)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def _stored_shapes(tree: Tree) -> dict[str, Any]:
    """Returns the shapes and dtypes that the leaves of `tree` are stored with, by name."""
    return named(jax.eval_shape(lambda tree: jax.tree.map(stored_form, tree), tree))


def _progress_content(progress: Progress) -> dict[str, Any]:
    """Returns a `Progress` as JSON holds it, without its policies."""
    content = progress._asdict()
    del content["policies"]
    content["metrics"] = {name: np.asarray(x).tolist() for name, x in progress.metrics.items()}
    return content


# --- reading ---


def open_checkpoint(folder: Path) -> Checkpoint:
    """Returns the checkpoint in `folder`, after checking every file against the manifest.

    Raises:
      ValueError: a file is damaged, or the format is another.
      OSError: a file cannot be read.
    """
    manifest = read_json(folder / "manifest.json", Each([WHOLE]))
    if "state.json" not in manifest:
        raise ValueError("manifest.json names no state.json")
    for name, expected in manifest.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"manifest.json names {printable(name)}, outside the checkpoint")
        if not (folder / name).is_file():
            raise ValueError(f"{printable(name)} is missing")
        same_size = [(folder / name).stat().st_size] == expected[:1]
        if not same_size or checksum(folder / name) != expected:
            raise ValueError(f"{printable(name)} is not as it was written")
    content = parse_json(read_text(folder / "state.json", LARGEST_JSON), "state.json")
    if isinstance(content, dict) and content.get("format") != FORMAT:
        found = shortened(repr(content.get("format")))
        raise ValueError(f"it has format {found}; this marlx reads {FORMAT}")
    return Checkpoint(folder, checked(content, STATE, "state.json"))


def read_state(run: Run, checkpoint: Checkpoint) -> Tree:
    """Returns the state in a checkpoint on the host, with as many replicas as were saved.

    Raises:
      ValueError: its arrays are not those of `run`'s state, or cannot be read.
    """
    shape = run.replicas_shape()
    needed = {n: (str(x.dtype), tuple(x.shape)) for n, x in _stored_shapes(shape).items()}
    older = [n for n in NEWER if n in needed and n not in checkpoint.state["arrays"]]
    needed = {n: type_ for n, type_ in needed.items() if n not in older}
    saved = {n: (dtype, tuple(dims)) for n, (dtype, dims) in checkpoint.state["arrays"].items()}
    for name in sorted(needed.keys() | saved.keys()):
        was, now = _type_of(saved.get(name)), _type_of(needed.get(name))
        if was != now:
            raise ValueError(
                f"{checkpoint.path} does not fit marlx {facts_of(run)['marlx']}, it was made with "
                f"{shortened(checkpoint.state['facts'].get('marlx'))}: {printable(name)} was {was} "
                f"and is {now}"
            )
    arrays = read_arrays(checkpoint)
    count = len(next(iter(arrays.values())))
    for name in older:
        x = named(shape)[name]
        arrays[name] = np.zeros((count, *x.shape[1:]), x.dtype)
    leaves = [restored_as(arrays[name], x) for name, x in named(shape).items()]
    return jax.tree.unflatten(jax.tree.structure(shape), leaves)


def _progress(run: Run, content: Mapping[str, Any]) -> Progress:
    """Returns the `Progress` that `_progress_content` was made from."""
    metrics = {name: np.array(values, float) for name, values in content["metrics"].items()}
    known = {name: content[name] for name in Progress._fields if name in content}
    return Progress(**{**known, "metrics": metrics, "policies": run.policies})


def _type_of(array: tuple[str, tuple[int, ...]] | None) -> str:
    """Returns dtype and shape as text, without the axis of replicas, which devices decide."""
    return f"{array[0]}{list(array[1][1:])}" if array else "not there"
