"""Games of getting to know a partner, in which every memory's worth can be computed.

    acquaint/delay-{d}    two showings, d steps of nothing, then six steps that pay
    acquaint/sparse-{t}   noisy showings throughout, and a single payment at the last of t steps
    acquaint/kept-{k}     k rounds of five steps with one partner; noisy showings, every step pays

In `kept` the rounds are those of a policy whose memory is reset after each of them
(`--learner.policy-steps 5` of `clam`), while what a model knows of the partner is kept. All numbers
are settings too. Source: ours, for the question what an embedding of the partner is worth beside a
policy's own memory.
"""

from __future__ import annotations

import re
from typing import Any

from marlx.envs.acquaint.values import accuracy
from marlx.envs.acquaint.world import Acquaint, AcquaintState
from marlx.registry import Family

__all__ = ["FAMILY", "PATTERN", "USAGE", "Acquaint", "AcquaintState", "accuracy", "make"]

PATTERN = r"acquaint/(?P<game>delay|sparse|kept)-(?P<number>[1-9]\d{0,2})"
USAGE = "acquaint/delay-{d}, acquaint/sparse-{t}, acquaint/kept-{k}"
ROUND = 5
"""Steps of a round of `kept`."""


def settings_of_game(game: str, number: int) -> dict[str, Any]:
    """Returns the settings of `Acquaint` for a game and its number."""
    if game == "delay":
        pay_from = 2 + number
        return {"kinds": 5, "show": 2, "pay_from": pay_from, "horizon": pay_from + 6}
    if game == "sparse":
        steps = {"show": number, "pay_from": number - 1, "horizon": number}
        return {"kinds": 4, "noise": 0.7, **steps}
    steps = {"show": number * ROUND, "pay_from": 0, "horizon": number * ROUND}
    return {"kinds": 4, "noise": 0.7, **steps}


def make(id: str) -> Acquaint:
    """Returns the environment of an id, e.g. `acquaint/delay-16`.

    Raises:
      ValueError: the id does not have the form of `USAGE`.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not an acquaint id; the forms are {USAGE}")
    return Acquaint(name=id, **settings_of_game(match["game"], int(match["number"])))


FAMILY = Family(
    name="acquaint",
    pattern=PATTERN,
    usage=USAGE,
    examples=("acquaint/delay-16", "acquaint/sparse-50", "acquaint/kept-10"),
    make=make,
)
