"""Languages: what a speaker says of each object."""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np

MOST_BIJECTIONS = 120
"""Up to so many, all bijections of symbols and targets are listed; else seeded ones."""


class Language(NamedTuple):
    """A compositional language: each symbol of a message names the value of one property.

    Attributes:
      order: int32 [P], the position in the message at which a property is named.
      words: int32 [P, V], the symbol that names a value of a property. No two are the same.
    """

    order: np.ndarray
    words: np.ndarray

    def messages(self, objects: np.ndarray) -> np.ndarray:
        """Returns int32 [..., P], the message of each object, given as values int32 [..., P]."""
        said: np.ndarray = self.words[np.arange(len(self.order)), objects]
        message: np.ndarray = np.empty_like(said)
        message[..., self.order] = said
        return message


def num_bijections(values: int, vocabulary: int) -> int:
    """Returns how many bijections there are, if they are few enough to list them; else 0."""
    if values != vocabulary or values > 10:
        return 0
    count = math.factorial(values)
    return count if count <= MOST_BIJECTIONS else 0


def compositional(seed: int, properties: int, values: int, vocabulary: int) -> Language:
    """Returns the compositional language with a number.

    Where one property is named by one of as many symbols and there are at most 120 bijections, the
    numbers 0, 1, ... go through all of them in lexicographic order. Otherwise the symbols and the
    order of the positions are drawn with `seed`.

    Raises:
      ValueError: the vocabulary has fewer symbols than there are property values.
    """
    needed = properties * values
    if vocabulary < needed:
        raise ValueError(
            f"vocabulary is {vocabulary}; a language that names {properties} x {values} property "
            f"values needs {needed} symbols or more"
        )
    if properties == 1 and seed < num_bijections(values, vocabulary):
        listed = next(itertools.islice(itertools.permutations(range(values)), seed, None))
        return Language(np.zeros(1, np.int32), np.asarray(listed, np.int32)[None])
    rng = np.random.default_rng((0, seed))
    words = rng.permutation(vocabulary)[:needed].reshape(properties, values)
    return Language(rng.permutation(properties).astype(np.int32), words.astype(np.int32))


def holistic(seed: int, objects: int, length: int, vocabulary: int) -> np.ndarray:
    """Returns int32 [objects, length]: a message for each object, all different, without parts.

    Raises:
      ValueError: there are fewer messages than objects.
    """
    if vocabulary**length < objects:
        raise ValueError(
            f"{objects} objects need as many messages; {length} symbols of {vocabulary} make "
            f"{vocabulary**length}"
        )
    rng = np.random.default_rng((1, seed))
    if vocabulary**length <= 4 * objects:
        numbers: np.ndarray = rng.permutation(vocabulary**length)[:objects]
    else:  # draw until there are enough different ones; each draw is new with probability > 3/4
        drawn: dict[int, None] = {}
        while len(drawn) < objects:
            for number in rng.integers(0, vocabulary**length, objects).tolist():
                drawn.setdefault(number)
        numbers = np.asarray(list(drawn)[:objects])
    places = vocabulary ** np.arange(length)[::-1]
    return np.asarray(numbers[:, None] // places % vocabulary, np.int32)
