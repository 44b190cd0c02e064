"""Records of a sweep: its parameters, its metric and when trials are stopped early."""

from __future__ import annotations

import itertools
import math
from typing import Any, Literal, NamedTuple

import numpy as np

MOST_POINTS = 100_000
"""Most points of a grid."""
Method = Literal["grid", "random", "bayes"]
Kind = Literal["choice", "uniform", "log", "whole", "steps", "log_steps"]

DISTRIBUTIONS: dict[str, Kind] = {
    "constant": "choice",
    "categorical": "choice",
    "uniform": "uniform",
    "int_uniform": "whole",
    "q_uniform": "steps",
    "log_uniform_values": "log",
    # the inverse of what is uniform in its logarithm is uniform in its logarithm
    "inv_log_uniform_values": "log",
    "q_log_uniform_values": "log_steps",
}


class Parameter(NamedTuple):
    """The values of one setting that a sweep tries.

    Attributes:
      name: of the setting, e.g. `learner.lr`.
      kind: `choice` among `values`; `uniform`, `log` (uniform in the logarithm), `whole` numbers,
        `steps` (multiples of `step` from `low`), `log_steps` (`log`, rounded to multiples).
      values: of a choice; a constant has one.
      low: smallest value of the other kinds.
      high: largest value.
      step: between two values; 0 for none.
    """

    name: str
    kind: Kind
    values: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float = 0

    @property
    def constant(self) -> bool:
        """Whether there is one value only."""
        return self.kind == "choice" and len(self.values) == 1

    def ends(self) -> tuple[Any, ...]:
        """Returns every choice, or the smallest and the largest value."""
        if self.kind == "choice":
            return self.values
        return tuple(dict.fromkeys((self.rounded(self.low), self.rounded(self.high))))

    def points(self) -> tuple[Any, ...]:
        """Returns every value, for a grid.

        Raises:
          ValueError: the parameter is a continuous range, or has too many values.
        """
        if self.kind == "choice":
            return self.values
        if self.kind in ("whole", "steps") and self.number_of_points() > MOST_POINTS:
            count = f"{self.number_of_points():,} values"
            raise ValueError(f"{self.name} has {count}; a grid may have {MOST_POINTS:,} points")
        if self.kind == "whole":
            return tuple(range(int(self.low), int(self.high) + 1))
        if self.kind == "steps":  # without the largest, as in wandb
            return tuple(map(self.rounded, np.arange(self.low, self.high, self.step).tolist()))
        raise ValueError(f"{self.name} has a range, and a grid needs `values`")

    def number_of_points(self) -> int:
        """Returns the number of values in a grid; 0 for a continuous range."""
        if self.kind == "choice":
            return len(self.values)
        if self.kind == "whole":
            return int(self.high) - int(self.low) + 1
        return math.ceil((self.high - self.low) / self.step) if self.kind == "steps" else 0

    def rounded(self, value: float) -> float:
        """Returns `value` rounded to this parameter's steps; an int if all its values are whole."""
        if self.kind == "log_steps":
            value = round(value / self.step) * self.step
        return round(value) if self.whole else float(value)

    @property
    def whole(self) -> bool:
        """Whether all values between the ends are whole numbers."""
        stepped = self.kind in ("steps", "log_steps") and isinstance(self.step, int)
        return self.kind == "whole" or (
            stepped and (self.kind == "log_steps" or isinstance(self.low, int))
        )


class Metric(NamedTuple):
    """The metric that a sweep maximises or minimises."""

    name: str  # `return`, or another name in `metrics.jsonl`; the mean over seeds
    goal: Literal["maximize", "minimize"]
    target: float | None  # the sweep ends when a trial reaches it

    def reached(self, value: float) -> bool:
        """Whether `value` is as good as the target."""
        if self.target is None:
            return False
        return value >= self.target if self.goal == "maximize" else value <= self.target


class Hyperband(NamedTuple):
    """Early termination: the worse trials end after 1, eta, eta^2... times `least` evaluations."""

    least: int  # evaluations before the first decision
    most: int | None  # evaluations of a whole trial; all of them if None
    eta: int  # one of `eta` trials continues


class Sweep(NamedTuple):
    """The content of a sweep file."""

    source: str  # the file, for errors
    text: str
    names: tuple[str, ...]  # ALGO and ENV, or those of them that the command gives
    options: tuple[str, ...]  # the command's other words
    method: Method
    metric: Metric
    parameters: tuple[Parameter, ...]
    early: Hyperband | None
    run_cap: int | None

    @property
    def searched(self) -> tuple[Parameter, ...]:
        """Returns the parameters that have more than one value."""
        return tuple(one for one in self.parameters if not one.constant)

    def example(self) -> dict[str, Any]:
        """Returns one value of every parameter."""
        return {one.name: one.ends()[0] for one in self.parameters}

    def constants(self) -> dict[str, Any]:
        """Returns the values of the parameters that have only one."""
        return {one.name: one.values[0] for one in self.parameters if one.constant}

    def grid(self) -> list[dict[str, Any]]:
        """Returns every combination of the searched parameters' values.

        Numbers of the learner vary fastest, so that neighbours can share a compiled program.

        Raises:
          ValueError: a parameter with a range, or more than `MOST_POINTS` combinations.
        """

        def varies_fast(one: Parameter) -> bool:
            return one.name.startswith("learner.") and all(
                isinstance(value, int | float) and not isinstance(value, bool)
                for value in one.points()
            )

        size = math.prod(one.number_of_points() for one in self.searched)
        if size > MOST_POINTS:
            raise ValueError(
                f"the grid has more than {MOST_POINTS:,} points; take values out, or write "
                "`method: random`"
            )
        order = sorted(self.searched, key=varies_fast)
        found = itertools.product(*(one.points() for one in order))
        return [dict(zip((one.name for one in order), point, strict=True)) for point in found]
