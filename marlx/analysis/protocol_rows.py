"""Results under a protocol card, stored as rows, and published numbers beside them.

Rows of a card are a study as `marlx.analysis.result_rows` describes it, named as the card:
`comparison` is the environment and `arm` the method. Returns are in the card's unit. `measured` has
the card's hash; `differs` has what a run has less of than the card
asks for, as `[run, card]`: `seeds` or `steps`. Such a row is partial: it is shown and not ranked.
Published numbers are records of `published.jsonl` beside the cards, each with its source.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.analysis.protocol_cards import Card, shipped
from marlx.analysis.protocol_checks import breaks, cuts
from marlx.analysis.protocol_runs import run_rows
from marlx.analysis.result_rows import (
    Row,
    Study,
    add_rows,
    check_study,
    config_hash,
    read_study,
    write_study,
)
from marlx.files import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE, Record, checked, parse_json

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.analysis.run_data import RunData

PUBLISHED = Record(
    {
        "card": TEXT,
        "env": TEXT,
        "method": TEXT,
        "code": TEXT,
        "measure": TEXT,
        "judged": TEXT,
        "seeds": WHOLE,
        "total_steps": NUMBER,
        "steps": [NUMBER],
        "curve": [NUMBER],
        "final": NUMBER_OR_NONE,
        "deviation": NUMBER_OR_NONE,
        "source": TEXT,
    },
)
"""Schema of a published number: means over seeds; `deviation` is over seeds too."""


def published(protocol: Card) -> list[dict[str, Any]]:
    """Returns the published numbers that stand beside a card's results.

    Raises:
      ValueError: a record does not fit `PUBLISHED`.
    """
    file = shipped() / "published.jsonl"
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        source = f"published.jsonl, line {number}"
        record = checked(parse_json(line, source), PUBLISHED, source)
        if len(record["curve"]) != len(record["steps"]):
            raise ValueError(f"{source}: {len(record['curve'])} numbers at other steps")
        found.append(record)
    return [dict(record) for record in found if record["card"] == protocol.name]


def stored(protocol: Card, folder: Path | Traversable | None = None) -> Study:
    """Returns the rows that were submitted under a card, by default those that are shipped.

    Raises:
      ValueError: the files hold something else.
    """
    try:
        return read_study(shipped() if folder is None else folder, protocol.name)
    except FileNotFoundError:
        return Study([], {})
    except (KeyError, TypeError, ValueError):
        raise ValueError(
            f"{protocol.name}.jsonl in {folder} does not hold rows of a card"
        ) from None


def add(protocol: Card, folder: Path, rows: Sequence[Row], record: Mapping[str, Any]) -> Path:
    """Adds the rows of a run to those of a card; returns the path of the rows.

    Raises:
      ValueError: a row breaks the card. Fewer seeds or steps are no break, and are marked.
    """
    for row in rows:
        if texts := breaks(protocol, row, record):
            raise ValueError(f"{row['arm']} on {row['env']}: {'; '.join(texts)}")
    add_rows(folder, protocol.name, rows, record)
    return write_study(folder, protocol.name, marked(protocol, read_study(folder, protocol.name)))


def with_runs(protocol: Card, study: Study, runs: Iterable[RunData]) -> tuple[Study, list[str]]:
    """Returns a study with the rows of runs in it, and a line for each run that breaks the card."""
    rows, settings = (
        {(row["config_hash"], row["seed"]): row for row in study.rows},
        dict(study.settings),
    )
    notes = []
    for run in runs:
        new, record = run_rows(protocol, run)
        texts = breaks(protocol, new[0], record)
        if texts:
            notes.append(f"left out: {run.path}: {'; '.join(texts)}")
            continue
        rows |= {(row["config_hash"], row["seed"]): row for row in new}
        before = settings.get(record["config_hash"], {"runs": []})["runs"]
        settings[record["config_hash"]] = {**record, "runs": [*before, *record["runs"]]}
    both = Study(list(rows.values()), settings)
    return marked(protocol, both), notes


def marked(protocol: Card, study: Study) -> Study:
    """Returns a study whose rows say in `differs` what their method has less of than asked for.

    Rows of a run that was made longer since are left out.
    """
    study = _without_beginnings(study)
    less = {digest: cuts(protocol, study.rows_of(digest)) or None for digest in study.settings}
    return study._replace(rows=[row | {"differs": less[row["config_hash"]]} for row in study.rows])


def check_rows(protocol: Card, study: Study) -> None:
    """Checks the stored rows of a card.

    Raises:
      ValueError: one is not valid, breaks the card, or hides that it is partial; it is named.
    """
    check_study(study)
    right_rows = marked(protocol, study).rows
    if len(right_rows) < len(study.rows):
        raise ValueError(f"card {protocol.name} has rows of runs that were made longer since")
    for row, right in zip(study.rows, right_rows, strict=True):
        place = f"{row['arm']} on {row['env']}, seed {row['seed']}"
        if row["study"] != protocol.name:
            raise ValueError(f"{place}: a row of {row['study']}, not of card {protocol.name}")
        if texts := breaks(protocol, row, study.settings[row["config_hash"]]):
            raise ValueError(f"{place}: {'; '.join(texts)}")
        if row["differs"] != right["differs"]:
            raise ValueError(f"{place}: differs is {row['differs']}; it is {right['differs']}")


def _without_beginnings(study: Study) -> Study:
    """Returns a study without configurations of which a longer one has all the seeds."""

    def begun(digest: str) -> tuple[str, int, set[int]]:
        settings = study.settings[digest]["settings"]
        rest = {k: v for k, v in settings.items() if k not in ("total_steps", "evals")}
        rows = study.rows_of(digest)
        return config_hash(rest), rows[0]["steps"][-1], {row["seed"] for row in rows}

    known = {digest: begun(digest) for digest in study.settings}
    kept = [
        digest
        for digest, (same, steps, seeds) in known.items()
        if not any(same == o and steps < longer and seeds <= s for o, longer, s in known.values())
    ]
    rows = [row for row in study.rows if row["config_hash"] in kept]
    return Study(rows, {digest: study.settings[digest] for digest in kept})
