"""Tables of a protocol card: methods by environment, with intervals, seeds and steps to learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.protocol_cards import Card
from marlx.analysis.result_rows import Row, Study
from marlx.statistics import aggregate_iqm, first_reached, normalise, stratified_interval
from marlx.text import decimals, rounded, short

NOTHING = "-"
LEVEL = 0.9
"""Of the way from random play to the optimum, or to the best result, that counts as learned."""


class Entry(NamedTuple):
    """A method on an environment.

    Attributes:
      env: id.
      method: the algorithm and what was changed from its preset, or a published method.
      value: interquartile mean over seeds of the final return; a published mean.
      low: lower end of its 95% stratified bootstrap interval; None with one seed.
      high: upper end.
      seeds: number of them.
      reached: steps at which the mean of the middle half of the seeds reaches `LEVEL`.
      at: return by number of steps, of the nearest evaluation that is at most a tenth away.
      judged: how actions were chosen, `drawn` or `greedy`.
      differs: what there is less of than the card asks for.
      source: of a published number; None for a result of marlx.
      measure: what it is a number of; that of the card compares.
      deviation: of a published mean, over seeds.
      stored: it is one of the results that come with marlx.
    """

    env: str
    method: str
    value: float
    low: float | None
    high: float | None
    seeds: int
    reached: float | None
    at: Mapping[int, float]
    judged: str
    differs: Mapping[str, Any] | None = None
    source: str | None = None
    measure: str = ""
    deviation: float | None = None
    stored: bool = False

    @property
    def ranked(self) -> bool:
        """Whether it is a result of marlx that satisfies the card."""
        return self.source is None and not self.differs


def entries(
    protocol: Card,
    study: Study,
    published: Sequence[Mapping[str, Any]] = (),
    stored: Study | None = None,
) -> list[Entry]:
    """Returns the methods of a study, those that are stored with marlx, and the published ones.

    They are in the order of the card's environments; there, results of marlx that satisfy the card
    come first, the best before the others, then partial ones, then published ones.

    Args:
      protocol: the card.
      study: rows under it, marked as `protocol_rows.marked` does.
      published: records, from `protocol_rows.published`.
      stored: rows that stand beside those of `study`, and are not pooled with them.
    """
    found = []
    studies = [study] if stored is None else [study, stored]
    for env in protocol.environments:
        beside = [_published(protocol, record) for record in published if record["env"] == env]
        level = _level(protocol, studies, env, beside)
        own = [
            _entry(protocol, one.rows_of(digest), level)._replace(stored=one is stored)
            for one in studies
            for digest in _hashes(one, env)
        ]
        own.sort(key=lambda one: (not one.ranked, -one.value))
        found += [*own, *sorted(beside, key=lambda one: -one.value)]
    return found


def table_cells(protocol: Card, found: Iterable[Entry]) -> list[list[str]]:
    """Returns the cells of a table, its header first."""
    value = f"return ({protocol.unit})" if protocol.measure == "return" else protocol.measure
    head = ["environment", "method", value, "95% interval", "seeds"]
    head += [f"steps to {LEVEL:.0%}", *(f"at {short(step)}" for step in protocol.report), "notes"]
    return [head, *(_cells(protocol, one) for one in found)]


def markdown(cells: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return ["| " + " | ".join(line) + " |" for line in lines]


def not_run(protocol: Card, found: Iterable[Entry]) -> list[str]:
    """Returns the environments of a card without a result of marlx that satisfies it."""
    done = {one.env for one in found if one.ranked}
    return [env for env in protocol.environments if env not in done]


def less(protocol: Card, differs: Mapping[str, Any]) -> str:
    """Returns in words what a partial result has less of than the card asks for."""
    words = {"seeds": lambda pair: f"{pair[0]} of {pair[1]} seeds"}
    words["steps"] = lambda pair: f"{short(pair[0])} of {short(pair[1])} steps"
    return "partial: " + ", ".join(words[name](pair) for name, pair in differs.items())


def _cells(protocol: Card, one: Entry) -> list[str]:
    shown = [x for x in (one.value, one.low, one.high) if x is not None]
    digits = 0 if all(x.is_integer() for x in shown) else decimals(one.value)
    interval = NOTHING
    if one.low is not None and one.high is not None:
        interval = f"{rounded(one.low, digits)} to {rounded(one.high, digits)}"
    elif one.deviation is not None:
        interval = f"s.d. {rounded(one.deviation, digits)}"
    notes = [] if not one.differs else [less(protocol, one.differs)]
    notes += [f"{one.judged} actions"] if one.judged != protocol.judged else []
    notes += ["stored with marlx"] if one.stored else []
    notes += ["one seed"] if one.seeds == 1 else []
    notes += [f"published: {one.source}"] if one.source is not None else []
    measured = "" if one.measure == protocol.measure else f" ({one.measure})"
    return [
        one.env,
        one.method,
        rounded(one.value, digits) + measured,
        interval,
        str(one.seeds),
        NOTHING if one.reached is None else short(one.reached),
        *(rounded(one.at[x], digits) if x in one.at else NOTHING for x in protocol.report),
        "; ".join(notes),
    ]


def _hashes(study: Study, env: str) -> list[str]:
    """Returns the configurations of a study that are of an environment."""
    return list(dict.fromkeys(row["config_hash"] for row in study.rows if row["env"] == env))


def _entry(protocol: Card, rows: Sequence[Row], level: tuple[float, float] | None) -> Entry:
    """The entry of the seeds of one method."""
    finals = [np.array([row["final"] for row in rows], float)]
    low = high = None
    if len(rows) > 1:
        low, high = map(float, stratified_interval(aggregate_iqm, finals))
    steps, curve = _curve(rows)
    reached = None
    if level is not None and level[0] < level[1]:
        reached = first_reached(steps, normalise(curve, *level), LEVEL)
    return Entry(
        env=rows[0]["env"],
        method=rows[0]["arm"],
        value=float(aggregate_iqm(finals)),
        low=low,
        high=high,
        seeds=len(rows),
        reached=reached,
        at=_at(protocol, steps, curve),
        judged=rows[0]["judged"],
        measure=protocol.measure,
        differs=rows[0]["differs"],
    )


def _published(protocol: Card, record: Mapping[str, Any]) -> Entry:
    steps, curve = np.array(record["steps"], float), np.array(record["curve"], float)
    final = record["final"]
    return Entry(
        env=record["env"],
        method=record["method"],
        value=float(curve[-1] if final is None else final),
        low=None,
        high=None,
        seeds=record["seeds"],
        reached=None,
        at=_at(protocol, steps, curve),
        judged=record["judged"],
        source=record["code"],
        measure=record["measure"],
        deviation=record["deviation"],
    )


def _curve(rows: Sequence[Row]) -> tuple[Any, Any]:
    """Returns steps [K] and the interquartile mean of the seeds' returns there, until one ends."""
    shortest = min((row["steps"] for row in rows), key=len)
    values = np.array([row["curve"][: len(shortest)] for row in rows], float)
    return np.array(shortest, float), aggregate_iqm([values.T])


def _at(protocol: Card, steps: Any, curve: Any) -> dict[int, float]:
    found = {}
    for wanted in protocol.report:
        if len(steps) and abs(steps - wanted).min() <= wanted / 10:
            found[wanted] = float(curve[abs(steps - wanted).argmin()])
    return found


def _level(
    protocol: Card, studies: Sequence[Study], env: str, beside: Sequence[Entry]
) -> tuple[float, float] | None:
    """Returns the returns that score 0 and 1: of random play, and the optimum or the best one."""
    if protocol.measure != "return":
        return 0.0, 1.0  # a share of episodes
    pairs = [(study, digest) for study in studies for digest in _hashes(study, env)]
    records = [study.settings[digest] for study, digest in pairs]
    runs = [run for record in records for run in record["runs"]]
    random = [run["random_return"] for run in runs if run["random_return"] is not None]
    if not random:
        return None
    optima = [record["optimum"] for record in records if record["optimum"] is not None]
    best = [np.mean([row["final"] for row in study.rows_of(digest)]) for study, digest in pairs]
    best += [one.value for one in beside if one.measure == "return"]
    return float(np.mean(random)), float(optima[0] if optima else max(best))
