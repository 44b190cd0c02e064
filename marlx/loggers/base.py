"""The protocol of loggers, a group of loggers, and a logger in a background thread."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from marlx.loop.progress import Progress
from marlx.runs.folder import RunFolder
from marlx.runs.result import metrics_line
from marlx.text import print_line as _print
from marlx.types import Tree

PICTURES = ("curve.png", "episode.gif")
"""Pictures that are in a run folder when its loggers are closed, if they could be drawn."""


@runtime_checkable
class Logger(Protocol):
    """Receiver of a run's progress."""

    def log(self, progress: Progress) -> None:
        """Logs an evaluation and the training block before it."""

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Ends the log, once the run is over and its pictures are in the run folder.

        Args:
          result: content of `result.json`; None if the run was stopped.
        """


class JsonLines:
    """Logger that appends to `metrics.jsonl` in the run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def log(self, progress: Progress) -> None:
        """Appends a line."""
        self._folder.append("metrics.jsonl", metrics_line(progress))

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Does nothing, because each line is flushed when it is written."""


class Loggers:
    """Group of loggers that never raises: the first error of each is printed in one line."""

    def __init__(self, loggers: Iterable[Logger], name: str = "") -> None:
        """Makes a group of `loggers`; `name` is used in error lines instead of their classes."""
        self._loggers, self._name = list(loggers), name
        self._failed: set[tuple[str, str]] = set()

    def log(self, progress: Progress) -> None:
        """Logs to all of them."""
        for logger in self._loggers:
            self._call(logger, "log", progress)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Closes all of them."""
        for logger in self._loggers:
            self._call(logger, "close", result)

    def _call(self, logger: Logger, method: str, argument: Any) -> None:
        try:
            getattr(logger, method)(argument)
        except Exception as error:
            name = self._name or type(logger).__name__
            if (name, method) not in self._failed:
                self._failed.add((name, method))
                print_error(name, f"could not {method}", error)


class Background:
    """Runs a logger in a background thread, so that training never waits for it.

    Progress is kept in a queue until the logger is free. If the queue is full, the oldest entries
    are dropped, and a line is printed.
    """

    def __init__(
        self, name: str, start: Callable[[], Logger], *, limit: int = 1000, patience: float = 20.0
    ) -> None:
        """Starts the thread.

        Args:
          name: name of the logger for error lines.
          start: makes the logger; called in the thread.
          limit: length of the queue.
          patience: longest time that `close` waits, in seconds.
        """
        self._name, self._patience = name, patience
        self._queue: collections.deque[Progress] = collections.deque(maxlen=limit)
        self._changed = threading.Condition()
        self._closing: tuple[Mapping[str, Any] | None] | None = None
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, args=(start,), name=name, daemon=True)
        self._thread.start()

    def log(self, progress: Progress) -> None:
        """Adds progress to the queue."""
        with self._changed:
            if len(self._queue) == self._queue.maxlen:
                self._dropped += 1
                if self._dropped == 1:
                    print_line(self._name, "too slow, so its oldest entries are dropped")
            self._queue.append(progress._replace(policies=_no_policies))
            self._changed.notify()

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Waits until the thread has finished, at most `patience` seconds."""
        with self._changed:
            self._closing = (result,)
            self._changed.notify()
        self._thread.join(min(5.0, self._patience))
        if self._thread.is_alive():
            print_line(self._name, f"still busy; waiting up to {self._patience:.0f} s")
            self._thread.join(max(0.0, self._patience - 5.0))
        if self._thread.is_alive():
            print_line(self._name, "gave up waiting; all metrics are in the run folder")

    def _work(self, start: Callable[[], Logger]) -> None:
        try:
            logger = start()
        except Exception as error:
            print_error(self._name, "could not start", error)
            return
        guarded = Loggers([logger], self._name)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closing)
                if not self._queue:
                    break
                progress = self._queue.popleft()
            guarded.log(progress)
        assert self._closing is not None
        guarded.close(self._closing[0])


class SeedMetrics(NamedTuple):
    """Metrics of one seed, or their means over seeds."""

    seed: int | None  # index of the seed; None for the means
    values: dict[str, float]


def by_seed(progress: Progress) -> list[SeedMetrics]:
    """Returns all metrics as plain numbers: means over seeds first, then those of each seed.

    Numbers that are not finite are left out, of the means too.
    """
    tables = {name: np.atleast_1d(np.asarray(x, float)) for name, x in progress.metrics.items()}
    seeds = max((len(each) for each in tables.values()), default=0)
    rows: list[SeedMetrics] = []
    for seed in (None, *range(seeds)):
        values = {name: _mean(x) if seed is None else float(x[seed]) for name, x in tables.items()}
        rows.append(SeedMetrics(seed, {name: x for name, x in values.items() if np.isfinite(x)}))
    return rows


def together(report: Any) -> Logger:
    """Returns the `report` argument of `marlx.train` as a single logger.

    Args:
      report: None, a function of a `Progress`, a logger, or several loggers. Exceptions of a
        function are raised; those of a logger are printed.

    Raises:
      ValueError: it is none of these.
    """
    if isinstance(report, Logger):
        return report if isinstance(report, Loggers) else Loggers([report])
    if report is None or callable(report):
        return _Function(report)
    if isinstance(report, Iterable):
        loggers = list(report)
        if all(isinstance(one, Logger) for one in loggers):
            return Loggers(loggers)
    raise ValueError(
        f"report is {report!r}; it must be a function of a Progress, a logger (an object with log "
        "and close), or a list of loggers"
    )


class _Function:
    """A function of the progress as a logger."""

    def __init__(self, function: Callable[[Progress], None] | None) -> None:
        self._function = function

    def log(self, progress: Progress) -> None:
        if self._function is not None:
            self._function(progress)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Does nothing."""


def print_line(name: str, text: str) -> None:
    """Prints a line about a logger to standard error."""
    _print(f"{name}: {text}")


def print_error(name: str, text: str, error: Exception) -> None:
    """Prints a line about an error of a logger to standard error."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    print_line(name, f"{text}: {reason[:200]}")


def pictures(folder: Path) -> dict[str, Path]:
    """Returns the pictures in a run folder, by name without suffix."""
    return {Path(name).stem: folder / name for name in PICTURES if (folder / name).is_file()}


def _mean(each: np.ndarray[Any, Any]) -> float:
    known = each[np.isfinite(each)]
    return float(known.mean()) if known.size else float("nan")


def _no_policies() -> Tree:
    raise ValueError("policies have to be read before the next block starts")
