"""Enters stored results of the study `learning` under the protocol cards that they satisfy.

    python benchmarks/studies/adopt.py            # writes rows into benchmarks/protocols/
    python benchmarks/studies/adopt.py --check    # says which there are, writes nothing

Only whole results are entered: in the card's environment and settings, with its steps, seeds,
evaluations and actions. Everything else is run again with `marlx protocol run`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import _study

from marlx import registry
from marlx.analysis import protocol_cards, protocol_checks, protocol_rows, protocol_runs
from marlx.analysis.result_rows import Row, Study

CARDS = Path(__file__).parents[1] / "protocols"


def adopted(
    card: protocol_cards.Card, study: Study, digest: str
) -> tuple[list[Row], dict[str, Any]] | None:
    """Returns rows and record of a configuration under a card; None if it breaks it."""
    record = study.settings[digest]
    if record["env"] not in card.environments:
        return None
    env, params = registry.make(record["env"], **card.env)
    if protocol_runs.unit_factor(card, env.spec(params)) != 1:
        return None  # its returns are in another unit
    shared = {"study": card.name, "comparison": record["env"], "measured": {"card": card.hash}}
    rows = [row | shared | {"returns": None, "calls": None} for row in study.rows_of(digest)]
    run = record["runs"][-1]
    rows = [row for row in rows if row["seed"] in run["seeds"] and row["curve"] is not None]
    if not rows or protocol_checks.cuts(card, rows):
        return None
    if any(protocol_checks.breaks(card, row, record) for row in rows):
        return None
    return rows, record | {"id": None, "runs": [run]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    learning = _study.read("learning")
    for name in protocol_cards.card_names():
        card = protocol_cards.card(name)
        for digest in learning.settings:
            if (found := adopted(card, learning, digest)) is not None:
                rows, record = found
                print(f"{name}: {rows[0]['arm']} on {rows[0]['env']}, {len(rows)} seeds")
                if not check:
                    protocol_rows.add(card, CARDS, rows, record)


if __name__ == "__main__":
    main()
