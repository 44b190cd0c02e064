"""The tables of signalling games."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import _cells as cells

LISTENERS = {
    "no memory": "IPPO without memory",
    "GRU": "IPPO, GRU",
    "transformer": "IPPO, transformer",
    "clam": "CLAM",
    "liam": "LIAM",
    "random": "CLAM, an encoder that is never trained",
    "oracle": "told the number of the language",
}
GAMES = {"lewis-5": 5, "lewis-10": 10, "objects-3x5": 125}
"""Objects to speak of, by game of pairs."""
LESSONS = (
    "lessons only",
    "self-play only",
    "self-play after lessons",
    "lessons and self-play",
    "population",
    "population, meta-learning",
)


def pairs() -> str:
    """Returns the table of pairs that invent a language."""
    rows = []
    for game, objects in GAMES.items():
        for name in ("ippo", "mappo", "iql", "qmix"):
            found = cells.result("signalling", game, name)
            if found is not None:
                solved = sum(row["measured"]["different_messages"] == objects for row in found.rows)
                seeds = f"{solved} of {len(found.rows)}"
                arm = [f"`signal/{game}`", f"`{name}`", f"{cells.asked_steps(found):,}"]
                rows.append([*arm, cells.drawn(found), cells.greedy(found), seeds])
    head = ["steps", "drawn", "greedy", "seeds with a message for each target"]
    return cells.table(["game", "pair", *head], rows)


def listeners() -> str:
    """Returns the table of listeners that have to learn a speaker's language."""
    rows = []
    for name, label in LISTENERS.items():
        found = cells.result("signalling", "listeners", name)
        if found is None:
            continue
        extra = found.runs[0]["extra"]
        bound = {"no memory": extra["one_round"], "oracle": 25.0}.get(name, extra["bound"])
        share = cells.mean(found) / bound
        steps = f"{cells.asked_steps(found):,}"
        values = [steps, str(len(found.rows)), cells.drawn(found), cells.number(bound, 2)]
        rows.append([label, *values, f"{share:.0%}"])
    head = ["steps", "seeds", "hits in 25 rounds, drawn", "at most", "share"]
    return cells.table(["", *head], rows)


def lessons() -> str:
    """Returns the table of what is understood and spoken of a language that was taught in part."""
    rows = []
    for name in LESSONS:
        found = cells.result("signalling", "lessons", name)
        if found is None:
            continue
        values = [
            cells.spread(row["measured"][what] for row in found.rows)
            for what in ("understood", "spoken")
        ]
        rows.append([name, *values, cells.drawn(found)])
    return cells.table(["", "understood", "spoken", "drawn"], rows)


TABLES: Mapping[str, Callable[[], str]] = {
    "signal-pairs": pairs,
    "signal-listeners": listeners,
    "signal-lessons": lessons,
}
