"""Exact posterior of a hidden kind after some noisy observations of it."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator


@functools.lru_cache(maxsize=4096)
def accuracy(kinds: int, noise: float, observations: int) -> float:
    """Returns the highest probability of naming the kind after so many observations.

    Kinds are equally likely; an observation is the kind, or with probability `noise` any kind, all
    alike. The kind seen most often is the most likely one, so

    `sum over counts c of n! / (c_1! ... c_K!) max_z p^{c_z} q^{n - c_z} / K`,

    with p the probability that a kind shows itself, and q that it shows a certain other one.

    Args:
      kinds: K.
      noise: in [0, 1].
      observations: n.
    """
    other = noise / kinds
    own = 1.0 - noise + other
    if observations == 0 or own <= other:
        return 1.0 / kinds
    if other == 0.0:
        return 1.0
    # which kind has which count does not matter: the counts of every partition, and in how many
    # orders the kinds can have them
    total = 0.0
    for parts in _partitions(observations, kinds, observations):
        log = math.lgamma(observations + 1) - sum(math.lgamma(part + 1) for part in parts)
        log += parts[0] * math.log(own) + (observations - parts[0]) * math.log(other)
        orders = math.factorial(kinds)
        for count in set(parts):
            orders //= math.factorial(parts.count(count))
        total += orders * math.exp(log)
    return total / kinds


def _partitions(number: int, parts: int, largest: int) -> Iterator[tuple[int, ...]]:
    """Yields the ways to write `number` as `parts` numbers of at most `largest`, descending."""
    if parts == 1:
        if number <= largest:
            yield (number,)
        return
    for first in range(min(number, largest), -(-number // parts) - 1, -1):
        for rest in _partitions(number - first, parts - 1, first):
            yield (first, *rest)
