"""The run folder.

A run is a folder that needs no account and no training code to be read:

    config.yaml           every setting; `marlx train --config` runs it again
    environment.json      versions and device
    metrics.jsonl         a line per evaluation, every metric per seed
    policy/               see `marlx.runs.policies`
    checkpoints/          what `marlx train --resume` goes on from
    result.json           final returns, intervals, times
    curve.png, episode.gif

Files are replaced in one step, so that whatever stops a run leaves whole files behind.
"""

from __future__ import annotations

import contextlib
import datetime
import errno
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.config.layers import Experiment, Layer, build, merge, schema
from marlx.config.yaml_text import dump, parse
from marlx.runs.files import finite

if TYPE_CHECKING:
    pass


class RunFolder:
    """Writes a run's files.

    Once the folder is made, no failure to write raises: each file that cannot be written is told of
    once, in one line, and listed in `failed`, for a full disk must not cost the training.
    """

    def __init__(
        self,
        path: str | Path,
        complain: Callable[[str], None] | None = None,
        *,
        resume: bool = False,
    ) -> None:
        """Make the folder, or open it again.

        Args:
          path: of the folder; it must be empty or not there yet.
          complain: is given a line for each file that cannot be written; prints it by default.
          resume: it may hold a run, which is going on.

        Raises:
          ValueError: it cannot be made or written to, or holds something already.
        """
        self.path = Path(path)
        self.failed: set[str] = set()
        self._lock: int | None = None
        self._complain = complain or (lambda line: print(line, file=sys.stderr))
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not resume and any(self.path.iterdir()):
                raise ValueError(
                    f"{path} is not empty; give a run a folder of its own, empty or new"
                )
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise ValueError(
                f"cannot write to {path}: {error.strerror}; give a folder that can be written to"
            ) from None

    def write(self, name: str, content: str | bytes | Callable[[Path], None]) -> bool:
        """Write a whole file, or leave the one that was there; False if that failed.

        Args:
          name: of the file, relative to the folder.
          content: its text or bytes, or what writes it to a given path.
        """
        with self._guard(name):
            target = self.path / name
            target.parent.mkdir(exist_ok=True)
            temporary = target.with_name(f".{target.stem}.partial{target.suffix}")
            try:
                if callable(content):
                    content(temporary)
                else:
                    temporary.write_bytes(
                        content.encode("utf-8") if isinstance(content, str) else content
                    )
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
            return True
        return False

    def write_json(self, name: str, content: Any) -> bool:
        """Write a JSON file; what is not a finite number becomes null."""
        return self.write(name, json.dumps(finite(content), indent=2) + "\n")

    def append(self, name: str, record: Mapping[str, Any]) -> None:
        """Append a whole line of JSON, or nothing, and flush it."""
        with self._guard(name), open(self.path / name, "ab", buffering=0) as file:
            size = file.tell()
            line = (json.dumps(finite(record)) + "\n").encode("utf-8")
            try:
                if file.write(line) < len(line):  # on a full disk a part of it fits
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(size)
                raise

    def cut(self, name: str, content: str) -> None:
        """Cut a file that begins with `content` down to it, or write it where none does."""
        expected = content.encode("utf-8")
        with self._guard(name):
            path = self.path / name
            if path.exists() and path.read_bytes().startswith(expected):
                os.truncate(path, len(expected))  # works on a full disk, too
            else:
                self.write(name, expected)

    def lock(self) -> None:
        """Keep other processes from training in this folder, until `unlock` or the process ends.

        Raises:
          ValueError: another process does so now.
        """
        try:
            import fcntl
        except ImportError:  # there are none on Windows
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
        """Let other processes train in this folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def _guard(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if name not in self.failed:
                self.failed.add(name)
                self._complain(f"cannot write {self.path / name}: {error.strerror or error}")


def default_path(algorithm: str, env_id: str, parent: str | Path = "runs") -> Path:
    """A path that is not there yet, `runs/{algorithm}-{environment}-{date}-{time}`."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    name = f"{algorithm}-{env_id}-{now}".replace("/", "-")
    path = Path(parent) / name
    count = 1
    while path.exists():
        count += 1
        path = Path(parent) / f"{name}-{count}"
    return path


def load_experiment(path: str | Path) -> Experiment:
    """The experiment that a run folder's `config.yaml` holds.

    Raises:
      ValueError: there is none, or this version of marlx does not know one of its settings.
    """
    file = Path(path) / "config.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        raise ValueError(f"{path} is not the folder of a run: it has no config.yaml") from None
    return experiment_of(parse(text, str(file)), str(file))


def experiment_of(settings: Mapping[str, Any], source: str) -> Experiment:
    """The experiment with exactly these settings, as `Experiment.settings` gave them."""
    for name in ("algorithm", "environment"):
        if not isinstance(settings.get(name), str):
            raise ValueError(f"{source} names no {name}")
    algorithm, env_id = settings["algorithm"], settings["environment"]
    values = {k: v for k, v in settings.items() if k not in ("algorithm", "environment")}
    merged = merge(schema(algorithm, env_id), [Layer(source, values)])
    return build(algorithm, env_id, merged)


def config_text(experiment: Experiment) -> str:
    """The text of `config.yaml`."""
    return "# Every setting of this run. Run it again: marlx train --config THIS_FILE\n" + dump(
        experiment.settings()
    )
