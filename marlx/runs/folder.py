"""The run folder: everything that a run writes.

It can be read without an account and without training code:

    config.yaml           every setting; `marlx train --config` runs it again
    environment.json      versions and devices
    metrics.jsonl         one line per evaluation, every metric per seed
    policy/               see `marlx.runs.policies`
    checkpoints/          see `marlx.runs.checkpoints`; `marlx train --resume` continues from them
    result.json           final returns, intervals, times
    failure.json          only if NaN or infinity ended the run: where they come from
    curve.png, episode.gif

Files are replaced in one step, so that a run that is interrupted leaves whole files behind.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import itertools
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from marlx.config.layers import Experiment, Layer, build, merge, schema
from marlx.config.tree import as_stored
from marlx.config.yaml_text import dump, parse
from marlx.files import CannotRead, read_text
from marlx.runs.files import Content, finite, replace_file
from marlx.text import print_line


class RunFolder:
    """Writes the files of a run.

    Once the folder is made, no failure to write raises, since a full disk must not end the
    training. Each file that cannot be written is reported once, in one line, and listed in
    `failed`. A folder that is deleted during the training is not made again.
    """

    def __init__(
        self,
        path: str | Path,
        complain: Callable[[str], None] | None = None,
        *,
        resume: bool = False,
    ) -> None:
        """Makes the folder, or opens it again.

        Args:
          path: of the folder; it must be empty or not exist yet.
          complain: called with a line for each file that cannot be written; by default it is
            printed on stderr.
          resume: the folder may hold a run, which is continued.

        Raises:
          ValueError: it cannot be made or written to, or it is not empty.
        """
        self.path = Path(path)
        self.failed: set[str] = set()
        self._lock: int | None = None
        self._complain = complain or print_line
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not resume and any(self.path.iterdir()):
                raise ValueError(
                    f"{path} is not empty; give a run a folder of its own, empty or new"
                )
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise _cannot_write(path, error) from None

    def write(self, name: str, content: Content) -> bool:
        """Replaces a file in one step; False if that failed, and the old file is left.

        Args:
          name: of the file, relative to the folder.
          content: its text or bytes, or a function that writes it to a given path.
        """
        with self.guard(name):
            target = self.path / name
            if target.parent != self.path:
                target.parent.mkdir(exist_ok=True)  # fails where the run folder was deleted
            replace_file(target, content)
            return True
        return False

    def write_json(self, name: str, content: Any) -> bool:
        """Replaces a JSON file; numbers that are not finite become null. False if that failed."""
        return self.write(name, json.dumps(finite(content), indent=2) + "\n")

    def append(self, name: str, line: Mapping[str, Any]) -> None:
        """Appends a whole line of JSON, or nothing, and flushes it."""
        with self.guard(name), open(self.path / name, "ab", buffering=0) as file:
            size = file.tell()
            text = (json.dumps(finite(line)) + "\n").encode("utf-8")
            try:
                if file.write(text) < len(text):  # on a nearly full disk a part of it fits
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise

    def cut(self, name: str, content: str) -> None:
        """Truncates a file to `content` if it begins with that, else replaces it by `content`."""
        expected = content.encode("utf-8")
        with self.guard(name):
            path = self.path / name
            if path.is_file():
                with open(path, "rb") as file:  # it may be larger than the memory
                    begins = file.read(len(expected)) == expected
                if begins:
                    os.truncate(path, len(expected))  # works on a full disk too
                    return
            self.write(name, expected)

    def remove(self, name: str) -> None:
        """Removes a file, if it is there."""
        with self.guard(name):
            (self.path / name).unlink(missing_ok=True)

    def lock(self) -> None:
        """Locks the folder against training by other processes, until `unlock` or exit.

        Raises:
          ValueError: another process has locked it.
        """
        try:
            import fcntl
        except ImportError:  # Windows has no such locks
            return
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.unlock()
            raise ValueError(f"{self.path} is being trained by another process") from None
        except OSError:
            self.unlock()  # a file system without locks

    def unlock(self) -> None:
        """Releases the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Reports an `OSError` inside a `with` block as that of a file; it is not raised."""
        try:
            yield
        except OSError as error:
            if name not in self.failed:
                self.failed.add(name)
                self._complain(f"cannot write {self.path / name}: {error.strerror or error}")


def make_folder(algorithm: str, env_id: str, parent: str | Path = "runs") -> Path:
    """Makes a new folder `runs/{algorithm}-{environment}-{date}-{time}` and returns its path.

    It belongs to this process alone: of several that begin in the same second, each gets its own.

    Raises:
      ValueError: it cannot be made.
    """
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{algorithm}-{env_id}-{now}".replace("/", "-")
    for count in itertools.count(1):
        path = Path(parent) / (name if count == 1 else f"{name}-{count}")
        try:
            Path(parent).mkdir(parents=True, exist_ok=True)
            path.mkdir()
        except FileExistsError:
            if not path.exists():  # it is the parent that exists, and is no folder
                raise _cannot_write(
                    path, NotADirectoryError(errno.ENOTDIR, "Not a directory")
                ) from None
        except OSError as error:
            raise _cannot_write(path, error) from None
        else:
            return path
    raise AssertionError("there is always a next number")


def _cannot_write(path: str | Path, error: OSError) -> ValueError:
    return ValueError(
        f"cannot write to {path}: {error.strerror}; give a folder that can be written to"
    )


def load_experiment(path: str | Path) -> Experiment:
    """Returns the experiment in a run folder's `config.yaml`.

    Raises:
      ValueError: there is no such file, or this version of marlx lacks one of its settings.
    """
    file = Path(path) / "config.yaml"
    try:
        text = read_text(file)
    except CannotRead as error:
        if not error.missing:
            raise
        raise ValueError(f"{path} is not the folder of a run: it has no config.yaml") from None
    return experiment_of(parse(text, str(file)), str(file))


def experiment_of(settings: Mapping[str, Any], source: str) -> Experiment:
    """Returns the experiment with exactly these settings, in the form of `Experiment.settings`.

    Args:
      settings: of the experiment.
      source: where they come from, for messages.

    Raises:
      ValueError: a setting is missing, unknown or invalid.
    """
    for name in ("algorithm", "environment"):
        if not isinstance(settings.get(name), str):
            raise ValueError(f"{source} names no {name}")
    algorithm, env_id = settings["algorithm"], settings["environment"]
    values = {k: v for k, v in settings.items() if k not in ("algorithm", "environment")}
    merged = merge(schema(algorithm, env_id), [Layer(source, as_stored(values))])
    return build(algorithm, env_id, merged)


def config_text(experiment: Experiment) -> str:
    """Returns the text of `config.yaml`."""
    return "# Every setting of this run. Run it again: marlx train --config THIS_FILE\n" + dump(
        experiment.settings()
    )
