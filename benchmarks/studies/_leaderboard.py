"""The leaderboard: a table and a picture of each protocol card, with published numbers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import _plots
import numpy as np
from matplotlib.ticker import EngFormatter

from marlx import statistics
from marlx.analysis import protocol_cards, protocol_rows, protocol_tables
from marlx.analysis.protocol_tables import Entry
from marlx.analysis.result_rows import Row, Study

NAMES = protocol_cards.card_names()
COLUMNS = 3
"""Panels of a picture side by side."""


@functools.cache
def results(name: str) -> tuple[protocol_cards.Card, Study, list[Entry]]:
    """Returns a card, its rows, and the methods in the order of the tables."""
    card = protocol_cards.card(name)
    study = protocol_rows.stored(card)
    return card, study, protocol_tables.entries(card, study, protocol_rows.published(card))


def section(name: str) -> str:
    """Returns what the page says under a card: tables, curves, and what was not run."""
    card, study, found = results(name)
    parts = [f"Card [`{name}`](../benchmarks/protocols/{name}.yaml), hash `{card.hash}`."]
    whole = [one for one in found if one.ranked or one.source is not None]
    if whole:
        parts.append(_table(card, whole))
    partial = [one for one in found if one.differs]
    if partial:
        parts += ["Partial, with less than the card asks for:", _table(card, partial)]
    if study.rows:
        parts.append(f"![learning curves](images/leaderboard-{name}.png)")
    sources = {one["code"]: one["source"] for one in protocol_rows.published(card)}
    parts += [f"{code}: {source}." for code, source in sources.items()]
    return "\n\n".join([*parts, _not_run(card, found)])


def _not_run(card: protocol_cards.Card, found: Sequence[Entry]) -> str:
    """Returns what has no result that satisfies the card: environments, then single methods."""
    missing = protocol_tables.not_run(card, found)
    if missing == list(card.environments):
        return "Not run: no result of marlx satisfies this card yet, in any of its environments."
    texts = [f"`{env}` by any method" for env in missing]
    done = {(one.method, one.env) for one in found if one.ranked}
    for method in sorted({method for method, _ in done}):
        left = [e for e in card.environments if e not in missing and (method, e) not in done]
        texts += [f"{method} on {', '.join(f'`{env}`' for env in left)}"] if left else []
    return f"Not run: {'; '.join(texts)}." if texts else "Every method shown was run everywhere."


def _table(card: protocol_cards.Card, found: Sequence[Entry]) -> str:
    return "\n".join(protocol_tables.markdown(protocol_tables.table_cells(card, found)))


def draw(name: str) -> Any:
    """Draws the learning curves of a card, a panel per environment, with published numbers."""
    card, study, _ = results(name)
    shown = [env for env in card.environments if any(row["env"] == env for row in study.rows)]
    wide, high = min(COLUMNS, len(shown)), -(-len(shown) // COLUMNS)
    figure, axes = _plots.panels(1, width=4 * wide, height=3.2 * high)
    axes.remove()
    arms = dict.fromkeys(row["arm"] for row in study.rows)
    names = [*arms, *dict.fromkeys(record["method"] for record in protocol_rows.published(card))]
    colours = {name: f"C{i}" for i, name in enumerate(names)}  # the same in every panel
    for panel, env in zip(figure.subplots(high, wide, squeeze=False).flat, shown, strict=False):
        _draw_panel(panel, study, env, colours)
        for record in protocol_rows.published(card):
            if record["env"] == env and record["steps"] and record["measure"] == card.measure:
                label = f"{record['method']} ({record['code']})"
                line = {"ms": 3, "lw": 1, "color": colours[record["method"]]}
                panel.plot(record["steps"], record["curve"], "o:", label=label, **line)
        _plots.legend(panel)
    for panel in figure.axes[len(shown) :]:
        panel.remove()
    measured = f"return ({card.unit})" if card.measure == "return" else card.measure
    figure.supylabel(f"{measured}, IQM over seeds", size="medium")
    return figure


def _draw_panel(panel: Any, study: Study, env: str, colours: Mapping[str, str]) -> None:
    groups: dict[str, list[Row]] = {}
    for row in study.rows:
        if row["env"] == env:
            groups.setdefault(row["config_hash"], []).append(row)
    for rows in groups.values():
        steps = min((row["steps"] for row in rows), key=len)
        curve = np.array([row["curve"][: len(steps)] for row in rows], float).T
        low, high = statistics.stratified_interval(statistics.aggregate_iqm, [curve], resamples=500)
        partial = " (partial)" if rows[0]["differs"] else ""
        (line,) = panel.plot(
            steps,
            statistics.aggregate_iqm([curve]),
            lw=2,
            label=rows[0]["arm"] + partial,
            color=colours[rows[0]["arm"]],
        )
        panel.fill_between(steps, low, high, alpha=0.15, lw=0, color=line.get_color())
    panel.set(title=env, xlabel="environment steps")
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))


TABLES: Mapping[str, Callable[[], str]] = {
    f"leaderboard-{name}": functools.partial(section, name) for name in NAMES
}
PICTURES: Mapping[str, Callable[[], Any]] = {
    f"leaderboard-{name}": functools.partial(draw, name) for name in NAMES if results(name)[1].rows
}
"""Functions that draw a figure, by the name of its file."""
