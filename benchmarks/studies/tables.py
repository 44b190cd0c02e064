"""Fills the documentation with the stored rows: its tables, and the numbers in its sentences.

    python benchmarks/studies/tables.py            # writes the pages
    python benchmarks/studies/tables.py --check    # exit code 1 if a page differs from the rows

A table stands between two comments of a page; what is written between them is replaced:

    <!-- table: NAME -->
    <!-- end -->

Numbers in sentences are found by the words around them, which `_claims` lists.
"""

from __future__ import annotations

import argparse
import functools
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import _agents_tables
import _attack_tables
import _choose_tables
import _claims
import _clam_tables
import _everyone_tables
import _gmah_tables
import _leaderboard
import _learning_tables
import _mansa_tables
import _mansa_verdicts
import _prose
import _qplex_verdicts
import _signal_tables
import _speed_tables
import _verdicts

STUDIES = Path(__file__).parent
ROOT = STUDIES.parents[1]
DOCS = ROOT / "docs"
PAGES = (*sorted(DOCS.glob("*.md")), *sorted(STUDIES.glob("*.md")), ROOT / "README.md")
TABLES: Mapping[str, Callable[[], str]] = {
    **_learning_tables.TABLES,
    **_everyone_tables.TABLES,
    **_choose_tables.TABLES,
    **_mansa_tables.TABLES,
    "qplex-claims": lambda: _verdicts.table(_qplex_verdicts.claims()),
    "qplex-long": _qplex_verdicts.curve,
    "mansa-claims": lambda: _verdicts.table(_mansa_verdicts.claims()),
    **_gmah_tables.TABLES,
    **_clam_tables.TABLES,
    **_signal_tables.TABLES,
    **_attack_tables.TABLES,
    **_agents_tables.TABLES,
    **_speed_tables.TABLES,
    **_leaderboard.TABLES,
}
"""Functions that return a Markdown table, by the name that pages use."""
_REGION = re.compile(r"^(<!-- table: ([\w-]+) -->)\n.*?^(<!-- end -->)$", re.M | re.S)


def filled(text: str, page: str = "") -> str:
    """Returns the text of a page with its tables and the numbers of its sentences made anew.

    Args:
      text: what the page has now.
      page: its path from the root; without one only tables are filled.

    Raises:
      ValueError: there is no table of a name, a region has no end, or a sentence is not there.
    """
    if text.count("<!-- table: ") != len(_REGION.findall(text)):
        raise ValueError("a table has no <!-- end -->")

    def region(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise ValueError(f"no table is called {match[2]!r}; there are {', '.join(TABLES)}")
        return f"{match[1]}\n{_made(match[2])}\n{match[3]}"

    text = _REGION.sub(region, text)
    return _prose.filled(text, _claims.claims(page))


@functools.cache
def _made(table: str) -> str:
    return TABLES[table]()


def name(path: Path) -> str:
    """Returns the path of a page from the root, as `_claims` names it."""
    return path.relative_to(ROOT).as_posix()


def pages() -> list[Path]:
    """Returns the pages with stored rows."""
    return [
        path
        for path in PAGES
        if name(path) in _claims.CLAIMS or "<!-- table: " in path.read_text("utf-8")
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    changed = []
    for path in pages():
        text = path.read_text("utf-8")
        if (new := filled(text, name(path))) != text:
            changed.append(path.name)
            if not args.check:
                path.write_text(new, "utf-8")
    print(f"{'differs' if args.check else 'changed'}: {', '.join(changed) or 'nothing'}")
    sys.exit(args.check and bool(changed))


if __name__ == "__main__":
    main()
