"""`marlx protocol table`: results under a card, in columns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from marlx.cli.options import runs_and_options
from marlx.cli.shared import complain
from marlx.text import printable

if TYPE_CHECKING:
    from marlx.analysis.protocol_cards import Card
    from marlx.analysis.run_data import RunData


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableOptions:
    """Results under a card: those stored with marlx, those of the runs given, published ones."""

    format: Literal["text", "markdown", "jsonl"] = "text"
    """Output:
    `text`: columns for a terminal.
    `markdown`: for a page.
    `jsonl`: the rows themselves, a line per environment, method and seed."""
    stored: bool = True
    """Show the results that are stored with marlx too."""


def table_command(argv: Sequence[str]) -> int:
    """`marlx protocol table CARD [RUN...] [options]`."""
    names, options = runs_and_options(
        argv, "protocol table", TableOptions, "a card, and runs if any,", "CARD [RUN...]"
    )
    from marlx.analysis.protocol_cards import card

    protocol = card(names[0])
    print_table(protocol, names[1:], options)
    return 0


def print_table(protocol: Card, paths: Sequence[str | Path], options: TableOptions) -> None:
    """Prints the results of runs under a card, beside those that are stored and published.

    Raises:
      ValueError: a path has no run, or a run cannot be read.
    """
    from marlx.analysis import protocol_rows, protocol_tables, result_rows

    none = result_rows.Study([], {})
    study, stored = none, protocol_rows.stored(protocol) if options.stored else none
    if paths:
        study, notes = protocol_rows.with_runs(protocol, none, _runs(paths, protocol.environments))
        for note in notes:
            complain(note)
    if options.format == "jsonl":
        for row in (*study.rows, *stored.rows):
            print(json.dumps(row, allow_nan=False))
        return
    beside = protocol_rows.published(protocol)
    found = protocol_tables.entries(protocol, study, beside, stored)
    cells = protocol_tables.table_cells(protocol, found)
    if options.format == "markdown":
        for line in protocol_tables.markdown(cells):
            print(line)
        return
    print_columns(cells)
    if missing := protocol_tables.not_run(protocol, found):
        print(f"\n  no whole result yet: {', '.join(missing)}")


def _runs(paths: Sequence[str | Path], environments: Sequence[str]) -> list[RunData]:
    from marlx.analysis.reading import read_all

    runs, empty = read_all(paths)
    for note in empty:
        complain(note)
    return [run for run in runs if run.path is not None and run.environment in environments]


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows in columns."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = (printable(cell).ljust(size) for cell, size in zip(row, widths, strict=True))
        print(f"  {'  '.join(cells)}".rstrip())
