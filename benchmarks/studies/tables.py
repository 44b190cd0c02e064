"""Fills the tables of the documentation with the stored rows.

    python benchmarks/studies/tables.py            # writes the pages
    python benchmarks/studies/tables.py --check    # exit code 1 if a page differs from the rows

A table stands between two comments of a page; what is written between them is replaced:

    <!-- table: NAME -->
    <!-- end -->
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import _composite_tables
import _leaderboard
import _learning_tables
import _speed_tables

DOCS = Path(__file__).parents[2] / "docs"
TABLES: Mapping[str, Callable[[], str]] = {
    **_learning_tables.TABLES,
    **_composite_tables.TABLES,
    **_speed_tables.TABLES,
    **_leaderboard.TABLES,
}
"""Functions that return a Markdown table, by the name that pages use."""
_REGION = re.compile(r"^(<!-- table: ([\w-]+) -->)\n.*?^(<!-- end -->)$", re.M | re.S)


def filled(text: str) -> str:
    """Returns the text of a page with its tables made anew.

    Raises:
      ValueError: there is no table of a name, or a region has no end.
    """
    if text.count("<!-- table: ") != len(_REGION.findall(text)):
        raise ValueError("a table has no <!-- end -->")

    def region(match: re.Match[str]) -> str:
        if match[2] not in TABLES:
            raise ValueError(f"no table is called {match[2]!r}; there are {', '.join(TABLES)}")
        return f"{match[1]}\n{TABLES[match[2]]()}\n{match[3]}"

    return _REGION.sub(region, text)


def pages() -> list[Path]:
    """Returns the pages with tables of stored rows."""
    return [path for path in sorted(DOCS.glob("*.md")) if "<!-- table: " in path.read_text("utf-8")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    changed = []
    for path in pages():
        text = path.read_text("utf-8")
        if (new := filled(text)) != text:
            changed.append(path.name)
            if not args.check:
                path.write_text(new, "utf-8")
    print(f"{'differs' if args.check else 'changed'}: {', '.join(changed) or 'nothing'}")
    sys.exit(args.check and bool(changed))


if __name__ == "__main__":
    main()
