"""Shared by the studies: where their rows go, progress lines, and text tables."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marlx import training
from marlx.analysis import make_rows, result_rows

RESULTS = Path(os.environ.get("MARLX_BENCH_RESULTS") or Path(__file__).parents[1] / "results")
"""Folder of the rows of all studies."""


def about() -> dict[str, Any]:
    """Returns the date, commit, versions and device of a result that is made now."""
    return make_rows.about("marlx", "flax", "optax")


def add(rows: Sequence[result_rows.Row], record: Mapping[str, Any]) -> None:
    """Adds rows to the study that they name, and prints their mean return, if they have one."""
    first = rows[0]
    result_rows.add_rows(RESULTS, first["study"], rows, record)
    run = record["runs"][-1]
    if run["mean"] is not None:
        low, high = run["interval"]
        print(
            f"{first['arm']:24} {first['comparison']:32} {run['mean']:8.3f} "
            f"[{low:.3f}, {high:.3f}]  seeds {[row['final'] for row in rows]}",
            flush=True,
        )


def read(study: str) -> result_rows.Study:
    """Returns the stored rows of a study, none if there are no files."""
    try:
        return result_rows.read_study(RESULTS, study)
    except FileNotFoundError:
        return result_rows.Study([], {})


def report(progress: training.Progress) -> None:
    """Prints the mean return of an evaluation, and that of training episodes."""
    found, exploring = (progress.metrics.get(name) for name in ("return", "train_return"))
    line = f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {found.mean():.3f}"
    print(line if exploring is None else f"{line}, exploring {exploring.mean():.3f}", flush=True)
