"""Highest expected return of a listener that does not know the speaker's language."""

from __future__ import annotations


def round_accuracy(targets: int, earlier: int) -> float:
    """Returns the highest probability to name the target after some rounds with feedback.

    The speaker's language is a bijection of n symbols and n targets, all of them equally likely,
    and targets are drawn uniformly. With k different targets seen, a known symbol (probability k/n)
    names its target; of the other n - k symbols the best guess is right with probability
    1 / (n - k). So the probability is (k + [k < n]) / n, and its expectation over k

    `(E k + P(k < n)) / n`, with `E k = n (1 - (1 - 1/n)^earlier)`.

    Args:
      targets: n.
      earlier: rounds before this one, after each of which the target was shown.
    """
    n = targets
    # P(k different targets after r draws), by k, exact recursion
    chance = [1.0] + [0.0] * n
    for _ in range(earlier):
        after = [0.0] * (n + 1)
        for k, p in enumerate(chance):
            after[k] += p * k / n
            if k < n:
                after[k + 1] += p * (n - k) / n
        chance = after
    return sum(p * (k + (k < n)) / n for k, p in enumerate(chance))


def lewis_return(targets: int, rounds: int, *, remembers: int | None = None) -> float:
    """Returns the highest expected hits in `rounds` rounds of a Lewis game with feedback.

    Args:
      targets: n.
      rounds: of an episode, with the same unknown bijection.
      remembers: last rounds that the listener knows; None: all. 0: it gets no feedback. An agent
        without a memory has 1 with `feedback`, since it sees the round before.
    """
    most = rounds if remembers is None else remembers
    return sum(round_accuracy(targets, min(earlier, most)) for earlier in range(rounds))
