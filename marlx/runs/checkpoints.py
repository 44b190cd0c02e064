"""Checkpoints: everything that a run needs to continue bit for bit.

A folder of checkpoints has one folder for each, named after its environment steps, for example
`000000011776`; `marlx.runs.checkpoint_files` says what is in it. It is written under a temporary
name, flushed to the disk and then renamed, so there is never half a checkpoint. A damaged one is
skipped for the one before.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from marlx.config.coerce import coerce
from marlx.config.tree import as_stored
from marlx.learner import Learner
from marlx.loop import multihost
from marlx.loop.progress import Progress
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig, with_total_steps
from marlx.registry import settings_of
from marlx.runs import checkpoint_files
from marlx.runs.array_store import Checkpoint, flush, reason_of
from marlx.runs.checkpoint_files import open_checkpoint, progress_of, read_state
from marlx.runs.identity import changes, check_settings, facts_of
from marlx.text import print_line
from marlx.types import Tree

WAIT_FACTOR = 20
"""The next checkpoint waits for this many times the seconds that one took: at most 5 % of a run."""


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
        history = [progress_of(run, content) for content in checkpoint.state["history"]]
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
            checkpoint_files.write_checkpoint(partial, run, history, snapshot)
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
    stored, hints = as_stored(newest.state["settings"]), settings_of(TrainConfig)
    old = {name: coerce(stored[name], hint) for name, hint in hints.items()}
    old["eval"] = config.eval  # compared by `check_settings`
    if config.total_steps != old["total_steps"] and config == dataclasses.replace(
        TrainConfig(**old), total_steps=config.total_steps
    ):
        config = with_total_steps(TrainConfig(**old), learner, config.total_steps)
    run = make_run(config)
    return run, checkpoints, checkpoints.restore(run, newest)


def _finished_folders(path: Path) -> list[Path]:
    """Returns the folders of checkpoints that were written completely, oldest first."""
    if not path.is_dir():
        return []
    return sorted(child for child in path.iterdir() if child.name.isdecimal())
