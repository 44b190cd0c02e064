"""`marlx protocol submit`: checks runs against their card and gives the rows of a pull request."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marlx.cli.options import runs_and_options
from marlx.cli.protocol_run import CARD, folder_card
from marlx.cli.shared import complain
from marlx.text import counted, printable

if TYPE_CHECKING:
    from marlx.analysis.protocol_cards import Card
    from marlx.analysis.result_rows import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmitOptions:
    """Check runs against their card, and print or write the rows that a pull request adds.

    Exit code 0: all satisfy the card; 1: one does not, and no row is written.
    """

    card: str | None = None
    """The card; the one that `marlx protocol run` left in the folder if not given."""
    partial: bool = False
    """Accept fewer seeds or steps than the card asks for; such rows are shown and not ranked."""
    out: str | None = None
    """Folder with the rows, `benchmarks/protocols` in a checkout; they are printed if not given."""


def submit_command(argv: Sequence[str]) -> int:
    """`marlx protocol submit RUN... [options]`."""
    names, options = runs_and_options(argv, "protocol submit", SubmitOptions)
    from marlx.analysis import protocol_rows, result_rows
    from marlx.analysis.protocol_checks import breaks
    from marlx.analysis.protocol_runs import run_rows
    from marlx.analysis.reading import read_all

    protocol = _card_of(names, options.card)
    out = None if options.out is None else Path(options.out)
    if out is not None and not out.is_dir():
        raise ValueError(f"cannot write to {out}: there is no such folder")
    runs, empty = read_all(names)
    made = [run_rows(protocol, run) for run in runs]
    before = protocol_rows.stored(protocol, out) if out is not None else result_rows.Study([], {})
    after, _ = protocol_rows.with_runs(protocol, before, runs)
    wrong = {note: [note] for note in empty}
    for run, (rows, record) in zip(runs, made, strict=True):
        texts = breaks(protocol, rows[0], record)
        texts += [] if run.finished else ["not finished"]
        if not texts and not options.partial:
            texts += _partial(protocol, after.rows_of(record["config_hash"]))
        wrong |= {str(run.path): texts} if texts else {}
    for path, texts in wrong.items():
        complain(printable(texts[0] if path == texts[0] else f"{path}: {'; '.join(texts)}"))
    if wrong:
        return 1
    if out is None:
        fresh = {record["config_hash"] for _, record in made}
        for row in (row for row in after.rows if row["config_hash"] in fresh):
            print(json.dumps(row, allow_nan=False))
        return 0
    for rows, record in made:
        file = protocol_rows.add(protocol, out, rows, record)
    count = sum(len(rows) for rows, _ in made)
    print(f"{file}: {counted(count, 'row')} under card {protocol.name}, {protocol.hash}")
    return 0


def _partial(protocol: Card, rows: Sequence[Row]) -> list[str]:
    from marlx.analysis.protocol_tables import less

    differs = rows[0]["differs"] if rows else None
    return [f"{less(protocol, differs)}; --partial accepts that"] if differs else []


def _card_of(paths: Sequence[str], given: str | None) -> Card:
    """Returns the card of runs: the one given, or the one that is left beside them.

    Raises:
      ValueError: there is none, several, or one that is not the shipped one of its name any more.
    """
    from marlx.analysis.protocol_cards import card, card_names

    if given is not None:
        return card(given)
    places = [place for path in paths for place in (Path(path), Path(path).resolve().parent)]
    cards = {one.hash: one for one in map(folder_card, places) if one is not None}
    if len(cards) != 1:
        many = "several cards" if cards else f"no {CARD}"
        raise ValueError(f"{paths[0]} has {many}; say which: --card NAME, see marlx protocol list")
    (found,) = cards.values()
    if found.name in card_names() and card(found.name).hash != found.hash:
        raise ValueError(
            f"{paths[0]} was made under card {found.name} {found.hash}, which is "
            f"{card(found.name).hash} now; run it again"
        )
    return found
