"""What a logger is, several of them as one, and one of them on a thread of its own."""

from __future__ import annotations

import collections
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from marlx.runs.folder import RunFolder
from marlx.runs.result import metrics_line

if TYPE_CHECKING:
    from marlx.loop.progress import Progress
    from marlx.types import Tree

PICTURES = ("curve.png", "episode.gif")
"""What a run folder holds by the time its loggers are closed, if it could be drawn."""


@runtime_checkable
class Logger(Protocol):
    """What a run tells its progress to."""

    def log(self, progress: Progress) -> None:
        """Take in an evaluation and the training before it."""

    def close(self, result: Mapping[str, Any] | None) -> None:
        """The run is over, and its pictures are in its folder.

        Args:
          result: as in `result.json`; None where the run was stopped.
        """


class JsonLines:
    """`metrics.jsonl` in the run folder."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def log(self, progress: Progress) -> None:
        """Append a line."""
        self._folder.append("metrics.jsonl", metrics_line(progress))

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Nothing to close: every line is flushed as it is written."""


class Loggers:
    """Several loggers as one, which never raises: each may fail, and that costs a line."""

    def __init__(self, loggers: Iterable[Logger], name: str = "") -> None:
        """Take charge of `loggers`; the line calls them `name`, or by their classes if empty."""
        self._loggers, self._name = list(loggers), name
        self._said: set[tuple[str, str]] = set()

    def log(self, progress: Progress) -> None:
        """Tell every one of them."""
        for logger in self._loggers:
            self._harmless(logger, "log", progress)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Close every one of them."""
        for logger in self._loggers:
            self._harmless(logger, "close", result)

    def _harmless(self, logger: Logger, what: str, argument: Any) -> None:
        try:
            getattr(logger, what)(argument)
        except Exception as error:
            name = self._name or type(logger).__name__
            if (name, what) not in self._said:  # a logger that is down is told of once
                self._said.add((name, what))
                complain(name, f"could not {what}", error)


class Background:
    """A logger on a thread of its own, so that nobody waits for it.

    What it has not got round to is kept in a queue. A queue that is full gives up its oldest
    entries, with a line, for the newest say most about where a run stands.
    """

    def __init__(
        self, name: str, start: Callable[[], Logger], *, limit: int = 1000, patience: float = 20.0
    ) -> None:
        """Start the thread.

        Args:
          name: of the logger, in what is said about it.
          start: makes the logger, on that thread.
          limit: entries that are kept while it is busy.
          patience: seconds that closing may take.
        """
        self._name, self._patience = name, patience
        self._waiting: collections.deque[Progress] = collections.deque(maxlen=limit)
        self._changed = threading.Condition()
        self._closing: tuple[Mapping[str, Any] | None] | None = None
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, args=(start,), name=name, daemon=True)
        self._thread.start()

    def log(self, progress: Progress) -> None:
        """Leave it for the thread."""
        with self._changed:
            if len(self._waiting) == self._waiting.maxlen:
                self._dropped += 1
                if self._dropped == 1:
                    say(self._name, "too slow; what it has no time for is left out, oldest first")
            self._waiting.append(progress._replace(policies=_gone))
            self._changed.notify()

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Let the thread finish, for as long as there is patience."""
        with self._changed:
            self._closing = (result,)
            self._changed.notify()
        self._thread.join(min(5.0, self._patience))
        if self._thread.is_alive():
            say(self._name, f"still busy; waiting up to {self._patience:.0f} s")
            self._thread.join(max(0.0, self._patience - 5.0))
        if self._thread.is_alive():
            say(self._name, "gave up waiting; the run folder has every metric all the same")

    def _work(self, start: Callable[[], Logger]) -> None:
        try:
            logger = start()
        except Exception as error:
            complain(self._name, "could not start", error)
            return
        guarded = Loggers([logger], self._name)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    break
                progress = self._waiting.popleft()
            guarded.log(progress)
        assert self._closing is not None
        guarded.close(self._closing[0])


class Filed(NamedTuple):
    """A metric, or a set of them, of one seed or of the mean over seeds."""

    seed: int | None  # index among the run's seeds; None for the mean
    values: dict[str, float]


def by_seed(progress: Progress) -> list[Filed]:
    """Every metric as plain numbers: the means over seeds first, then each seed's own.

    A mean leaves out seeds whose number does not exist. Numbers that do not exist are left out.
    """
    tables = {name: np.atleast_1d(np.asarray(x, float)) for name, x in progress.metrics.items()}
    seeds = max((len(each) for each in tables.values()), default=0)
    rows: list[Filed] = []
    for seed in (None, *range(seeds)):
        values = {name: _mean(x) if seed is None else float(x[seed]) for name, x in tables.items()}
        rows.append(Filed(seed, {name: x for name, x in values.items() if np.isfinite(x)}))
    return rows


def together(report: Any) -> Logger:
    """Whatever may be given as `report` as one logger: None, a function, a logger, or several.

    An exception in a function is the caller's own and is not caught; one in a logger is.

    Raises:
      ValueError: it is none of these.
    """
    if isinstance(report, Logger):
        return report if isinstance(report, Loggers) else Loggers([report])
    if report is None or callable(report):
        return _Called(report)
    if isinstance(report, Iterable):
        loggers = list(report)
        if all(isinstance(one, Logger) for one in loggers):
            return Loggers(loggers)
    raise ValueError(
        f"report is {report!r}; it must be a function of a Progress, a logger (an object with log "
        "and close), or a list of loggers"
    )


class _Called:
    """A function of the progress as a logger."""

    def __init__(self, function: Callable[[Progress], None] | None) -> None:
        self._function = function

    def log(self, progress: Progress) -> None:
        if self._function is not None:
            self._function(progress)

    def close(self, result: Mapping[str, Any] | None) -> None:
        """Nothing to close."""


def say(name: str, what: str) -> None:
    """Print a line about a logger."""
    print(f"{name}: {what}", file=sys.stderr, flush=True)


def complain(name: str, what: str, error: Exception) -> None:
    """Print a line about what went wrong with a logger."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    say(name, f"{what}: {reason[:200]}")


def pictures(folder: Path) -> dict[str, Path]:
    """The pictures there are in a run folder, by name without ending."""
    return {Path(name).stem: folder / name for name in PICTURES if (folder / name).is_file()}


def _mean(each: np.ndarray[Any, Any]) -> float:
    known = each[np.isfinite(each)]
    return float(known.mean()) if known.size else float("nan")


def _gone() -> Tree:
    raise ValueError("policies have to be read before the next block starts")
