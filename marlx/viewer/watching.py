"""The state of all runs under a folder, read again and again, and never written."""

from __future__ import annotations

import base64
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from marlx.analysis.comparison import UNCOMPARED
from marlx.analysis.doctor import examine
from marlx.analysis.run_data import EmptyRun, RunData, read_run
from marlx.files import read_bytes
from marlx.text import printable, shortened
from marlx.viewer.liveness import Locks

DEPTH = 3
"""Folders below the given one that may be runs: runs, runs of a grid, trials of a sweep in it."""
MOST_RUNS = 1000
"""Most runs that are shown."""
MOST_POINTS = 200
"""Most points of a curve on the page."""
PICTURE = "episode.gif"
"""What `marlx render RUN` writes into a run folder."""
LARGEST_PICTURE = 8_000_000
"""Bytes of the largest picture that is shown."""
FILES = ("config.yaml", "metrics.jsonl", "result.json", "failure.json", "checkpoints", "policy")
"""What changes while a run goes on."""
LEAST_RUNS, MOST_AXES = 3, 8
"""Runs that make a sweep, and axes of its picture."""
STATES = ("live", "failed", "stopped", "finished", "unreadable")
"""Of a run, in the order in which they are shown."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A run as it is shown; all text is printable.

    Attributes:
      name: path of the folder below the one that is watched.
      state: one of `STATES`.
      algorithm: its name.
      environment: its id.
      steps: environment steps of each seed so far.
      total: those it will make.
      value: mean return over seeds at the last evaluation; None before the first.
      low: return of the lowest seed.
      high: return of the highest.
      left: seconds to the end, of a live run; None where that is not known.
      curve: `(steps, mean, lowest, highest)` of each evaluation, thinned.
      memory: bytes that the process of a live run holds; None where that is not known.
      picture: when the run's GIF was written, in seconds since the epoch; None without one.
      settings: of the run, by dotted name.
      warnings: what `marlx doctor` finds, or why the run cannot be read.
    """

    name: str
    state: str
    algorithm: str = ""
    environment: str = ""
    steps: float = 0.0
    total: float = 0.0
    value: float | None = None
    low: float | None = None
    high: float | None = None
    left: float | None = None
    curve: tuple[tuple[float, float, float, float], ...] = ()
    memory: int | None = None
    picture: float | None = None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Watcher:
    """Reads runs under a folder; files that have not changed are not read again.

    Args:
      folder: a run folder, or one that has run folders in it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._read: dict[Path, tuple[Any, Row]] = {}
        self._paths: dict[str, Path] = {}

    def rows(self) -> list[Row]:
        """Returns the runs there are now: live ones first, then by name."""
        locks, now, rows = Locks(), time.time(), []
        kept = {}
        for path in sorted(self._folders())[:MOST_RUNS]:
            try:
                stamp, changed = _stamp(path)
                live = locks.live(path, changed, now)
                before = self._read.get(path)
                row = before[1] if before and before[0] == stamp else self._row(path)
            except OSError:
                continue  # it was deleted just now
            kept[path] = stamp, row
            if row.state == "stopped" and live:
                passed = max(0.0, now - changed)
                left = None if row.left is None else max(0.0, row.left - passed)
                memory = locks.memory(path)
                row = dataclasses.replace(row, state="live", left=left, memory=memory)
            elif row.left is not None:
                row = dataclasses.replace(row, left=None)
            rows.append(dataclasses.replace(row, picture=_written(path / PICTURE)))
        self._read = kept
        self._paths = {row.name: path for (path, _), row in zip(kept.items(), rows, strict=True)}
        return sorted(rows, key=lambda row: (STATES.index(row.state), row.name))

    def picture(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Returns the GIF of the run `{name}`, as a data address.

        Raises:
          ValueError: there is no such run.
          OSError: it has no GIF.
        """
        path = self._paths.get(str(asked["name"]))
        if path is None:
            raise ValueError("there is no such run")
        content = read_bytes(path / PICTURE, limit=LARGEST_PICTURE)
        return {"data": f"data:image/gif;base64,{base64.b64encode(content).decode('ascii')}"}

    def _folders(self) -> Iterator[Path]:
        """Folders with settings, at most `DEPTH` below."""
        patterns = ["config.yaml", *("/".join(["*"] * k) + "/config.yaml" for k in range(1, DEPTH))]
        for pattern in patterns:
            yield from (file.parent for file in self.folder.glob(pattern))

    def _row(self, path: Path) -> Row:
        """Returns a run that is not known to be live."""
        name = path.relative_to(self.folder).as_posix()
        name = shortened(name if name != "." else path.resolve().name, 60)
        try:
            run = read_run(path)
        except EmptyRun:
            return Row(name=name, state="stopped", warnings=("no evaluation yet",))
        except (ValueError, OSError) as error:
            return Row(name=name, state="unreadable", warnings=(shortened(error, 120),))
        failed = (path / "failure.json").is_file()
        state = "finished" if run.finished else "failed" if failed else "stopped"
        returns = run.metrics["return"]
        with np.errstate(all="ignore"):
            band = [_over_seeds(row) for row in returns]
        mean, low, high = band[-1]
        return Row(
            name=name,
            state=state,
            algorithm=run.algorithm,
            environment=run.environment,
            steps=float(run.steps[-1]),
            total=run.total_steps,
            value=mean,
            low=low,
            high=high,
            left=_seconds_left(run),
            curve=tuple(_thinned(run.steps, band)),
            settings=run.settings,
            warnings=tuple(shortened(finding.title, 60) for finding in _findings(run)),
        )


def _findings(run: RunData) -> list[Any]:
    try:
        return examine(run)
    except (ValueError, OSError, ArithmeticError):  # numbers of others
        return []


def _over_seeds(returns: np.ndarray[Any, Any]) -> tuple[float | None, ...]:
    """Returns mean, lowest and highest of the seeds that have a number; None without any."""
    known = returns[np.isfinite(returns)]
    if not known.size:
        return None, None, None
    return float(known.mean()), float(known.min()), float(known.max())


def _thinned(
    steps: np.ndarray[Any, Any], band: list[tuple[float | None, ...]]
) -> Iterator[tuple[float, float, float, float]]:
    """Yields the points of a curve that have numbers, about evenly over it, always the last."""
    there = [i for i, point in enumerate(band) if point[0] is not None]
    kept = {there[round(k)] for k in np.linspace(0, len(there) - 1, MOST_POINTS)} if there else ()
    for i in sorted(kept):
        mean, low, high = (float(x) for x in band[i] if x is not None)
        yield float(steps[i]), mean, low, high


def _seconds_left(run: RunData) -> float | None:
    """Returns the seconds to the end at the speed between the last two evaluations."""
    seconds = run.metrics.get("seconds")
    if run.finished or seconds is None or len(run.steps) < 2:
        return None
    made, took = run.steps[-1] - run.steps[-2], float(seconds[-1, 0] - seconds[-2, 0])
    if not (made > 0 and took > 0):
        return None
    return max(0.0, (run.total_steps - float(run.steps[-1])) * took / float(made))


def _stamp(path: Path) -> tuple[tuple[Any, ...], float]:
    """Returns what changes when a run writes, and when it last did."""
    stamp: list[tuple[int, int] | None] = []
    changed = 0.0
    for name in FILES:
        try:
            about = (path / name).stat()
        except FileNotFoundError:
            stamp.append(None)
            continue
        stamp.append((about.st_mtime_ns, about.st_size))
        changed = max(changed, about.st_mtime)
    return tuple(stamp), changed


def _written(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def as_json(rows: list[Row]) -> dict[str, Any]:
    """Returns the rows for the page."""
    shown = [{**vars(row), "settings": None} for row in rows]
    return {"runs": shown, "states": list(STATES), "sweeps": sweeps(rows)}


def sweeps(rows: list[Row]) -> list[dict[str, Any]]:
    """Returns folders whose runs differ in their settings, for parallel coordinates.

    A folder counts with `LEAST_RUNS` or more runs of one environment that have a return. Axes are
    the settings in which they differ, at most `MOST_AXES`, those with most values first: an axis
    has a number for each run, or the texts that there are.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.value is not None:
            groups.setdefault((row.name.rpartition("/")[0], row.environment), []).append(row)
    made = []
    for (folder, environment), group in groups.items():
        names = {name for row in group for name in row.settings} - {*UNCOMPARED} | {"algorithm"}
        values = {
            name: [_cell(row.settings.get(name, row.algorithm if name == "algorithm" else None))
                   for row in group]
            for name in sorted(names)
        }  # fmt: skip
        axes = [name for name, cells in values.items() if len({*map(str, cells)}) > 1]
        axes = sorted(axes, key=lambda name: -len({*map(str, values[name])}))[:MOST_AXES]
        if len(group) >= LEAST_RUNS and axes:
            runs = [
                {"name": row.name, "values": [values[name][k] for name in axes]}
                for k, row in enumerate(group)
            ]
            axes = [shortened(name, 40) for name in axes]
            made.append({"name": folder, "environment": environment, "axes": axes, "runs": runs})
    return made


def _cell(value: Any) -> float | str:
    """Returns a setting as the page shows it: a number, or text."""
    if isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value):
        return float(value)
    return shortened(value, 24)


def title_of(folder: Path) -> str:
    """Returns the heading for a folder that is watched."""
    return f"runs in {printable(folder)}"
