"""`marlx watch`: all runs under a folder, as they go."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.options import positionals, run_and_options
from marlx.cli.records import WatchOptions
from marlx.text import bytes_text, duration, printable, short

if TYPE_CHECKING:
    from marlx.viewer.watching import Row, Watcher

BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
SPARK = 16
"""Characters of a sparkline."""
COLORS = {"live": "green", "failed": "red", "stopped": "yellow", "unreadable": "red"}
SIGNS = {"live": "\u25cf", "failed": "\u2717", "stopped": "\u25a0", "finished": "\u2713"}


def watch_command(argv: Sequence[str]) -> int:
    """`marlx watch [FOLDER] [options]`."""
    names, rest = positionals(argv)
    if not names and not {"-h", "--help"} & {*rest}:
        names = ["runs"]
    folder, options = run_and_options([*names, *rest], "watch", WatchOptions, "folder", "[FOLDER]")
    if not Path(folder).is_dir():
        raise ValueError(f"there is no folder {folder}; give one that has runs in it")
    from marlx.viewer.watching import Watcher

    watcher = Watcher(folder)
    if options.web:
        return _serve(watcher, options)
    if options.once or not sys.stdout.isatty():
        print_rows(watcher.rows())
        return 0
    return _live(watcher, options.every)


def print_rows(rows: list[Row]) -> None:
    """Prints the runs once, as plain lines."""
    if not rows:
        print("no runs")
    for row in rows:
        print("  ".join(part for part in cells(row) if part))


def cells(row: Row) -> list[str]:
    """Returns state, name, algorithm, steps, return, time, memory, curve, warnings as text."""
    sign = SIGNS.get(row.state, "?")
    what = f"{row.algorithm} on {row.environment}" if row.algorithm else ""
    steps = f"{short(row.steps)} of {short(row.total)} steps" if row.total else ""
    value = ""
    if row.value is not None:
        spread = f" ({row.low:.3g} to {row.high:.3g})" if row.low != row.high else ""
        value = f"return {row.value:.3g}{spread}"
    left = "" if row.left is None else f"{duration(row.left)} left"
    memory = "" if row.memory is None else bytes_text(row.memory)
    curve = sparkline([mean for _, mean, _, _ in row.curve])
    warned = f"! {'; '.join(row.warnings)}" if row.warnings else ""
    return [f"{sign} {row.state}", row.name, what, steps, value, left, memory, curve, warned]


def sparkline(values: Sequence[float]) -> str:
    """Returns the course of `values` in at most `SPARK` characters."""
    if len(values) < 2:
        return ""
    count = min(SPARK, len(values))
    shown = [values[round(k * (len(values) - 1) / (count - 1))] for k in range(count)]
    low, high = min(shown), max(shown)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in shown)


def _live(watcher: Watcher, every: float) -> int:
    """Show the runs in the terminal until Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    try:
        with Live(_table(watcher.rows()), console=Console(), auto_refresh=False) as live:
            while True:
                time.sleep(every)
                live.update(_table(watcher.rows()), refresh=True)
    except KeyboardInterrupt:
        return 0


COLUMNS = {
    "run": 10,
    "trained": 12,
    "steps": 10,
    "return": 18,
    "left": 7,
    "memory": 7,
    "curve": SPARK,
}
"""Of the table in the terminal, with the least width of each."""


def _table(rows: list[Row]) -> Any:
    """Returns a rich table; cells are text, never markup."""
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return Text("no runs yet")
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", no_wrap=True, min_width=max(len(state) for state in COLORS) + 2)
    for name, width in COLUMNS.items():
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=width)
    table.add_column("doctor", no_wrap=True, overflow="ellipsis", ratio=1)
    for row in rows:
        value = "" if row.value is None else f"{row.value:.3g}"
        spread = f" {row.low:.3g}..{row.high:.3g}" if row.low != row.high else ""
        table.add_row(
            Text(f"{SIGNS.get(row.state, '?')} {row.state}", COLORS.get(row.state, "")),
            Text(row.name),
            Text(f"{row.algorithm} {row.environment}"),
            Text(f"{short(row.steps)}/{short(row.total)}" if row.total else ""),
            Text(value + spread),
            Text("" if row.left is None else duration(row.left)),
            Text("" if row.memory is None else bytes_text(row.memory)),
            Text(sparkline([mean for _, mean, _, _ in row.curve])),
            Text("; ".join(row.warnings), "yellow"),
        )
    return table


def _serve(watcher: Watcher, options: WatchOptions) -> int:
    """Serve the page until Ctrl-C."""
    from marlx.viewer.page import page
    from marlx.viewer.serving import Server
    from marlx.viewer.watching import as_json, title_of

    scripts = ("drawing.js", "parallel.js", "watch.js")
    data = {"seconds": options.every}
    routes = {
        "": lambda _: page(title_of(watcher.folder), "", data, scripts, asks=True),
        "runs": lambda _: as_json(watcher.rows()),
        "picture": watcher.picture,
    }
    try:
        server = Server(routes, options.port)
    except OSError as error:
        raise ValueError(f"--port {options.port}: {error.strerror or error}") from None
    where = printable(watcher.folder)
    print(f"{server.url}  {where} in a browser on this computer; Ctrl-C ends", flush=True)
    try:
        server.serve()
    except KeyboardInterrupt:
        return 0
    return 0
