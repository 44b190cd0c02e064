"""The rows of `benchmarks/protocols/` satisfy their cards."""

from pathlib import Path

import pytest

from marlx.analysis import protocol_cards, protocol_rows

FOLDER = Path(__file__).parents[2] / "benchmarks" / "protocols"
NAMES = protocol_cards.card_names()


@pytest.mark.parametrize("name", NAMES)
def test_rows_satisfy_their_card(name):
    card = protocol_cards.card(name)
    protocol_rows.check_rows(card, protocol_rows.stored(card, FOLDER))


def test_there_are_cards_their_rows_and_nothing_else():
    rows = {f"{name}{end}.jsonl" for name in NAMES for end in ("", ".settings")}
    files = {path.name for path in FOLDER.iterdir() if path.is_file()}
    cards = {f"{name}.yaml" for name in NAMES}
    assert cards <= files <= {*cards, *rows, "published.jsonl", "__init__.py"}
