"""Checks of settings and arrays: accepted values, and one-line errors for others."""

from __future__ import annotations

import math
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from marlx.envs import checks
from marlx.envs.integers import below

SETTINGS = SimpleNamespace(
    steps=3, none=None, share=0.5, nan=math.nan, kind="one", size=(1, 2), negative=-1
)


def test_settings_that_are_right_pass() -> None:
    checks.at_least(SETTINGS, steps=3, share=0)
    checks.at_least_or_none(SETTINGS, none=1, steps=1)
    checks.between(SETTINGS, share=(0.5, 1))
    checks.one_of(SETTINGS, kind=("one", "two"))
    checks.check_not_negative(step=0)
    checks.check_probability(epsilon=1.0)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: checks.at_least(SETTINGS, steps=4), "steps is 3; it must be 4 or more"),
        (lambda: checks.at_least(SETTINGS, nan=0), "nan is nan; it must be 0 or more"),
        (
            lambda: checks.at_least_or_none(SETTINGS, steps=4),
            "steps is 3; it must be 4 or more, or None",
        ),
        (
            lambda: checks.between(SETTINGS, share=(0.6, 1)),
            "share is 0.5; it must be between 0.6 and 1",
        ),
        (lambda: checks.one_of(SETTINGS, kind=("a",)), "kind is 'one'; it must be 'a'"),
        (
            lambda: checks.one_of(SETTINGS, kind=("a", "b", "c")),
            "kind is 'one'; it must be 'a', 'b' or 'c'",
        ),
        (lambda: checks.check_not_negative(step=-1), "step is -1; it must be 0 or more"),
        (
            lambda: checks.check_probability(epsilon=1.5),
            "epsilon is 1.5; it must be between 0 and 1",
        ),
        (lambda: checks.integers("x", [[1], [2, 3]]), "x has rows of different lengths"),
        (lambda: checks.integers("x", [0.5]), "x holds float64 values; it must hold integers"),
        (lambda: checks.integers("x", [1], (2,)), "x has shape (1,); it must be (2,)"),
        (lambda: checks.numbers("x", ["a"], (1,)), "x holds <U1 values; it must hold numbers"),
        (lambda: checks.numbers("x", [1.0], (2,)), "x has shape (1,); it must be (2,)"),
        (lambda: checks.numbers("x", [math.inf], (1,)), "x holds numbers that are not finite"),
    ],
)
def test_what_is_wrong_is_one_line(check: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        check()


def test_arrays_keep_their_values() -> None:
    found = checks.integers("x", [[1, 2]], (1, 2))
    assert found.dtype == np.int32 and found.tolist() == [[1, 2]]
    assert checks.numbers("x", [], (0, 2)).shape == (0, 2)


def test_integers_from_bits_are_below_their_bound() -> None:
    bits = np.array([0, 1, 6, 7, 2**32 - 1], np.uint32)
    assert below(bits, 7).tolist() == [0, 1, 6, 0, (2**32 - 1) % 7]
    assert below(bits, np.array([1, 2, 3, 4, 5])).tolist() == [0, 1, 0, 3, 0]
