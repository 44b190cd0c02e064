"""Signalling games: a speaker sees a target and sends a message, a listener has to find the target.

    signal/lewis-{n}         n targets, one symbol of n, the listener names the target
    signal/objects-{P}x{V}   objects of P properties with V values each, a message of P symbols of
                             P * V, and ten candidates to choose from

Message length, vocabulary, candidates, rounds in an episode, feedback and the split of the objects
are settings. Partners with a fixed language: `partners/signal/...`. Source: Lewis (1969) for the
game with single symbols; Gupta, Lanctot, Lazaridou (2021) for objects with properties, as read in
the code of Lowe et al. (2020), "On the interaction between supervision and self-play".
"""

from __future__ import annotations

import re
from typing import Any

from marlx.envs.signal.languages import Language, compositional, holistic, num_bijections
from marlx.envs.signal.values import lewis_return, round_accuracy
from marlx.envs.signal.world import Signal, SignalState
from marlx.registry import Family

__all__ = [
    "FAMILY",
    "PATTERN",
    "USAGE",
    "Language",
    "Signal",
    "SignalState",
    "compositional",
    "holistic",
    "lewis_return",
    "make",
    "num_bijections",
    "round_accuracy",
]

PATTERN = r"signal/(?:lewis-(?P<n>[1-9]\d{0,2})|objects-(?P<properties>[1-9])x(?P<values>[1-9]\d?))"
USAGE = "signal/lewis-{n}, signal/objects-{P}x{V}"
CANDIDATES = 10
"""Candidates of `signal/objects-...`, or all objects where there are fewer."""


def settings_of_game(n: str | None, properties: str | None, values: str | None) -> dict[str, Any]:
    """Returns the settings of `Signal` for the numbers in an id."""
    if n is not None:
        size = int(n)
        return {"properties": 1, "values": size, "length": 1, "vocabulary": size, "candidates": 0}
    count, each = int(properties or 1), int(values or 1)
    return {
        "properties": count,
        "values": each,
        "length": count,
        "vocabulary": count * each,
        "candidates": min(CANDIDATES, each**count),
    }


def make(id: str) -> Signal:
    """Returns the environment of an id, e.g. `signal/lewis-5`.

    Raises:
      ValueError: the id does not have the form of `USAGE`, or there is nothing to tell apart.
    """
    match = re.fullmatch(PATTERN, id)
    if match is None:
        raise ValueError(f"{id!r} is not a signal id; the forms are {USAGE}")
    return Signal(name=id, **settings_of_game(**match.groupdict()))


FAMILY = Family(
    name="signal",
    pattern=PATTERN,
    usage=USAGE,
    examples=("signal/lewis-5", "signal/objects-3x5"),
    make=make,
)
