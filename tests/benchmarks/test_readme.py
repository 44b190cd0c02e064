"""The numbers of README are those of stored rows."""

import re
from pathlib import Path

import pytest

from marlx.analysis.result_rows import read_study

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SPEED = read_study(ROOT / "benchmarks" / "results", "speed").rows


def ratios(comparison, ratio, *words):
    """The ratios of a speed script whose arm has all of `words`."""
    rows = [row for row in SPEED if row["comparison"] == comparison]
    found = (row["measured"] for row in rows if all(word in row["arm"] for word in words))
    return [measured[ratio] for measured in found if ratio in measured]


@pytest.mark.parametrize(
    ("line", "stored"),
    [
        ("foraging 8x8, 2 players", ratios("speed_foraging", "ratio", "as played")),
        ("`simple_spread_v3`", ratios("speed_mpe", "ratio", "simple_spread_v3")),
        ("`simple_tag_v3`", ratios("speed_mpe", "ratio", "simple_tag_v3")),
        ("uniform replay", ratios("speed_replay", "loop_ratio", "uniform")),
        ("prioritised replay", ratios("speed_replay", "loop_ratio", "prioritised update")),
    ],
)
def test_ratios_are_the_stored_ones(line, stored):
    (row,) = [text for text in README.splitlines() if text.startswith("|") and line in text]
    shown = [float(number) for number in re.findall(r"[\d.]+", row.split("|")[3])]
    assert len(stored) >= 4 and shown == [round(min(stored), 1), round(max(stored), 1)]
