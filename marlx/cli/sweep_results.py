"""Results of a sweep: a table on the terminal, and table and pictures in its folder."""

from __future__ import annotations

import csv
import functools
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.runs.files import Content, replace_file
from marlx.text import short_text

if TYPE_CHECKING:
    from marlx.sweeps.parameters import Sweep
    from marlx.sweeps.study import Study
    from marlx.sweeps.trials import Row


def show(sweep: Sweep, study: Study, folder: Path) -> None:
    """Print the table, and write table and pictures into the folder."""
    from marlx.sweeps.plots import importance_bars, parallel_coordinates
    from marlx.sweeps.trials import table

    rows, names = study.rows(), [one.name for one in sweep.searched]
    records = table(rows, names)
    importances = study.importances()
    _print_table(sweep, rows, names)
    content = {
        "metric": sweep.metric._asdict(),
        "importances": importances,
        "trials": records,
    }
    written = {
        "table.csv": _csv(records),
        "table.json": json.dumps(content, indent=2, default=str) + "\n",
    }
    for name, text in written.items():
        _write(folder / name, text)
    if any(row.value is not None for row in rows) and sweep.searched:
        draw = functools.partial(
            parallel_coordinates,
            rows=rows,
            parameters=sweep.searched,
            metric=sweep.metric.name,
            goal=sweep.metric.goal,
        )
        _write(folder / "parallel.png", draw)
    if importances:
        bars = functools.partial(importance_bars, importances=importances, metric=sweep.metric.name)
        _write(folder / "importance.png", bars)
        shares = ", ".join(f"{name} {value:.2f}" for name, value in importances.items())
        print(f"  importance (PED-ANOVA): {shares}")
    pictures = [n for n in ("parallel.png", "importance.png") if (folder / n).exists()]
    print(f"  {', '.join(['table.csv', 'table.json', *pictures])} in {folder}")


def _print_table(sweep: Sweep, rows: Sequence[Row], names: Sequence[str], most: int = 20) -> None:
    states = [row.state for row in rows]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    print(f"\n{len(rows)} trials: {counts or 'none yet'}")
    shown = [row for row in rows if row.state != "waiting"][:most]
    header = ["trial", sweep.metric.name, *names, ""]
    lines = [
        [
            str(row.trial),
            "" if row.value is None else f"{row.value:.4g}",
            *(short_text(row.values.get(name)) for name in names),
            "" if row.state == "finished" else row.about.get("reason") or row.state,
        ]
        for row in shown
    ]
    widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header) - 1)]
    for line in [header, *lines]:
        cells = [cell.rjust(width) for cell, width in zip(line, widths, strict=False)]
        print(f"  {'  '.join([*cells, line[-1]])}".rstrip())
    hidden = len([state for state in states if state != "waiting"]) - len(shown)
    if hidden > 0:
        print(f"  and {hidden} more in table.csv")


def _csv(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _write(target: Path, content: Content) -> None:
    """Replaces a file of the sweep folder; a failure costs a line."""
    try:
        replace_file(target, content, shared=True)
    except OSError as error:
        print(f"marlx: cannot write {target}: {error.strerror}", file=sys.stderr)
