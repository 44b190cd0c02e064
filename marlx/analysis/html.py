"""HTML helpers for a self-contained report: no scripts, no fonts, no other files."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from marlx.files import read_bytes
from marlx.text import printable

STYLE = """
:root { color-scheme: light dark; --ink: #16181d; --quiet: #666d76; --line: #dfe2e6;
  --page: #fff; --soft: #f5f6f8; --win: 31, 111, 180; --lose: 209, 96, 61; --mark: #9a5b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --quiet: #9aa1aa; --line: #343941;
  --page: #14171b; --soft: #1d2126; --mark: #f0b35a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 2rem 1.5rem 4rem; background: var(--page);
  color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; padding-top: .7rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 48rem; } p { margin: .4rem 0; }
.quiet { color: var(--quiet); font-size: .9rem; } .mark { color: var(--mark); font-weight: 600; }
.scroll { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
th, td { padding: .32rem .8rem; text-align: left; white-space: nowrap;
  border-bottom: 1px solid var(--line); }
th { font-weight: 600; color: var(--quiet); } tbody th { color: var(--ink); }
td.number, th.number { text-align: right; }
td.text { white-space: normal; min-width: 16rem; }
td small { color: var(--quiet); font-size: .85em; }
table.pairs small { display: block; }
table.pairs td { text-align: center; border: 2px solid var(--page); border-radius: 4px; }
tr.task th { background: var(--soft); }
figure { margin: .8rem 0; } figure svg { max-width: 100%; height: auto; display: block; }
svg text { font-family: inherit; }
figcaption { color: var(--quiet); font-size: .88rem; max-width: 48rem; }
.films { display: flex; flex-wrap: wrap; gap: 1.4rem; align-items: flex-start; }
.films figure { margin: 0; max-width: 22rem; } .films img { max-width: 100%; border-radius: 6px; }
details { margin: .4rem 0; } summary { cursor: pointer; }
pre { background: var(--soft); padding: .8rem 1rem; border-radius: 6px; overflow-x: auto;
  font-size: .84rem; line-height: 1.4; }
@media print { body { max-width: none; padding: 0; font-size: 10.5pt; } details { display: none; }
  h2, h3 { break-after: avoid; } figure, tr { break-inside: avoid; }
  .scroll { overflow: visible; } }
"""


class Cell(NamedTuple):
    """A table cell.

    Attributes:
      text: content.
      small: more text after it, in a smaller font.
      number: aligned right.
      long: may be wrapped.
      fill: CSS colour of the background.
    """

    text: str
    small: str = ""
    number: bool = False
    long: bool = False
    fill: str = ""


def document(title: str, subtitle: str, sections: Iterable[str]) -> str:
    """Returns an HTML document with a heading, a subtitle and the given sections."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<link rel="icon" href="data:,">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f'<h1>{escape(title)}</h1>\n<p class="quiet">{escape(subtitle)}</p>\n'
        + "\n".join(sections)
        + "\n</body>\n</html>\n"
    )


def escape(text: object) -> str:
    """Returns `text` with HTML's special characters escaped, and those that cannot be shown."""
    return html.escape("\n".join(map(printable, str(text).split("\n"))))


def section(title: str, *parts: str) -> str:
    """Returns a section with a heading; its id is the title in lower case."""
    name = "".join(c if c.isalnum() else "-" for c in title.lower())
    return f'<section id="{name}">\n<h2>{escape(title)}</h2>\n' + "\n".join(parts) + "\n</section>"


def paragraph(text: str, kind: str = "") -> str:
    """Returns a paragraph of plain text, with `kind` as its CSS class."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def table(header: Sequence[str], rows: Iterable[Sequence[Cell | str]], kind: str = "") -> str:
    """Returns a table with `kind` as its CSS class.

    The first cell of a row is its heading. A row of one cell is a heading for the rows below it.
    """
    body = []
    numbers = [False] * len(header)
    for row in rows:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
        if len(cells) == 1:
            name = escape(cells[0].text)
            body.append(f'<tr class="task"><th colspan="{len(header)}">{name}</th></tr>')
            continue
        numbers = [a or cell.number for a, cell in zip(numbers, cells, strict=True)]
        body.append(f"<tr>{_cell('th', cells[0])}{''.join(_cell('td', c) for c in cells[1:])}</tr>")
    names = zip(header, numbers, strict=True)
    head = "".join(_cell("th", Cell(name, number=number)) for name, number in names)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>'
        + "\n".join(body)
        + "</tbody></table></div>"
    )


def figure(picture: str, caption: str) -> str:
    """Returns a picture, as HTML or SVG, with a caption."""
    return f"<figure>{picture}<figcaption>{escape(caption)}</figcaption></figure>"


def image(path: Path, text: str) -> str:
    """Returns an image file as an `<img>` with its data inside, and `text` as its alternative."""
    kind = path.suffix.lstrip(".")
    data = base64.b64encode(read_bytes(path)).decode()
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(text)}">'


def details(title: str, text: str) -> str:
    """Returns preformatted text that is shown when its title is clicked."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _cell(tag: str, cell: Cell) -> str:
    kind = "number" if cell.number else "text" if cell.long else ""
    look = f' class="{kind}"' if kind else ""
    look += f' style="background: {cell.fill}"' if cell.fill else ""
    small = f" <small>{escape(cell.small)}</small>" if cell.small else ""
    return f"<{tag}{look}>{escape(cell.text)}{small}</{tag}>"
