"""Timing shared by the speed benchmarks: interleaved repeats in one process, medians, ratios.

Absolute times move with whatever else a machine does; ratios of interleaved repeats do not. A
benchmark therefore times all rivals in turn, many times over, and compares medians.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

RESULTS = Path(__file__).parent / "results"


def versions(*packages: str) -> dict[str, str]:
    """Versions of Python, jax, jaxlib and `packages`."""
    names = ("jax", "jaxlib", *packages)
    return {"python": platform.python_version()} | {n: importlib.metadata.version(n) for n in names}


def device() -> dict[str, Any]:
    """What jax computes on."""
    first = jax.devices()[0]
    return {"platform": first.platform, "kind": first.device_kind, "count": jax.device_count()}


def timed(fn: Callable[[], Any]) -> float:
    """Seconds of one call, until its result is there."""
    begin = time.perf_counter()
    jax.block_until_ready(fn())
    return time.perf_counter() - begin


def interleaved(
    fns: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 2
) -> dict[str, list[float]]:
    """Seconds of each call, by name; every repeat calls each function once.

    The order turns with the repeats, so that none always follows the same one. `warmup` untimed
    calls come first and take the compilation; use `timed` for that where it is of interest.
    """
    for fn in fns.values():
        for _ in range(warmup):
            jax.block_until_ready(fn())
    seconds: dict[str, list[float]] = {name: [] for name in fns}
    names = list(fns)
    for i in range(repeats):
        turn = i % len(names)
        for name in names[turn:] + names[:turn]:
            seconds[name].append(timed(fns[name]))
    return seconds


def median(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each name's repeats."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def ratio(seconds: Mapping[str, Sequence[float]], slow: str, fast: str) -> float:
    """How many times as fast `fast` is as `slow`: the median over repeats of their ratio."""
    return statistics.median(s / f for s, f in zip(seconds[slow], seconds[fast], strict=True))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """`rows` as text, one column per key of the first."""
    if not rows:
        return "(no rows)"

    def show(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    columns = list(rows[0])
    cells = [columns] + [[show(row.get(column, "")) for column in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(c.rjust(w) for c, w in zip(line, widths, strict=True)) for line in cells
    )


def write(name: str, results: Mapping[str, Any], packages: Sequence[str] = ()) -> Path:
    """Write `results` to `results/<name>.json` with the date, versions and device; its path."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    about = {"date": date, "versions": versions(*packages), "device": device()}
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, **results}, indent=1) + "\n")
    return path
