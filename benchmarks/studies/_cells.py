"""Numbers of stored rows as the text of a table's cells."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import _study
import numpy as np

from marlx import statistics, text
from marlx.analysis import result_rows

MISSING = "-"


class Result(NamedTuple):
    """The stored rows of one arm of a comparison, which may be of several trainings."""

    rows: list[result_rows.Row]
    records: list[dict[str, Any]]

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The trainings that made the rows."""
        return [run for record in self.records for run in record["runs"]]


@functools.cache
def study(name: str) -> result_rows.Study:
    """Returns a stored study; read once."""
    return _study.read(name)


def result(name: str, comparison: str, arm: str) -> Result | None:
    """Returns the rows of an arm, ordered by seed, or None if there are none.

    An arm may have rows of several configurations, each with seeds of its own. Where seeds were
    trained again with other settings, the configuration stored last counts.
    """
    stored = study(name)
    rows = [r for r in stored.rows if (r["comparison"], r["arm"]) == (comparison, arm)]
    rows = _without_repeated(rows)
    rows.sort(key=lambda row: -1 if row["seed"] is None else row["seed"])
    hashes = dict.fromkeys(row["config_hash"] for row in rows)
    return Result(rows, [stored.settings[digest] for digest in hashes]) if rows else None


def _without_repeated(rows: list[result_rows.Row]) -> list[result_rows.Row]:
    """Returns the rows without configurations whose seeds a later one has too."""
    by_hash: dict[str, list[result_rows.Row]] = {}
    for row in rows:
        by_hash.setdefault(row["config_hash"], []).append(row)
    kept: list[result_rows.Row] = []
    for own in reversed(by_hash.values()):
        later = {row["seed"] for row in kept} - {None}
        if not later & {row["seed"] for row in own}:
            kept = [*own, *kept]
    return kept


def need(name: str, comparison: str, arm: str) -> Result:
    """Returns the rows of an arm.

    Raises:
      ValueError: there are none.
    """
    found = result(name, comparison, arm)
    if found is None:
        raise ValueError(f"study {name} has no rows of {arm!r} in {comparison!r}")
    return found


def known(found: Result | None) -> Result:
    """Returns the rows of an arm that has to have some."""
    assert found is not None
    return found


def asked_steps(found: Result) -> int:
    """Returns the steps per seed, without what a last whole rollout adds."""
    return int(found.records[0]["settings"]["total_steps"])


def seconds(found: Result) -> float:
    """Returns the wall time of a training of all its seeds, with compiling and evaluations."""
    return float(np.mean([sum(run["seconds"].values()) for run in found.runs]))


def machine(found: Result) -> str:
    """Returns what trained: `2 cores` or the name of an accelerator."""
    device = found.runs[-1]["device"]
    if device["platform"] == "cpu":
        return f"{device['count']} cores"
    return str(device["kind"]).removeprefix("NVIDIA ").split()[0]


def number(value: float, decimals: int | None = None) -> str:
    """Returns a number with three digits or so: `0.972`, `9.13`, `-18.5`, `210`."""
    return text.rounded(value, decimals)


def interval(mean: float, low: float, high: float, decimals: int | None = None) -> str:
    """Returns `0.972 [0.952, 0.986]`, without the interval where it is a point."""
    if decimals is None:
        whole = all(float(value).is_integer() for value in (mean, low, high))
        decimals = 0 if whole else text.decimals(mean)
    middle = number(mean, decimals)
    if low == high:
        return middle
    return f"{middle} [{number(low, decimals)}, {number(high, decimals)}]"


def greedy(found: Result | None, decimals: int | None = None) -> str:
    """Returns the mean return of greedy actions and its interval; see `of_actions`."""
    return of_actions(found, "greedy", decimals)


def drawn(found: Result | None, decimals: int | None = None) -> str:
    """Returns the mean return of drawn actions and its interval; see `of_actions`."""
    return of_actions(found, "drawn", decimals)


def of_actions(found: Result | None, actions: str, decimals: int | None = None) -> str:
    """Returns the mean return of drawn or greedy actions and its interval, if it was measured.

    That of one training was stored with it, over seeds and episodes. That of several trainings is a
    bootstrap over the means of their seeds: not all stored episodes.
    """
    if found is None:
        return MISSING
    if len(found.runs) == 1:
        (run,) = found.runs
        if run["judged"] == actions:
            return interval(run["mean"], *run["interval"], decimals)
        names = [f"{actions}_return", "sampled_return"][: 2 if actions == "drawn" else 1]
        for name in (name for name in names if name in run["extra"]):
            low, high = run["extra"][name.replace("sampled_return", "sampled") + "_interval"]
            return interval(run["extra"][name], low, high, decimals)
        return MISSING
    if {row["judged"] for row in found.rows} == {actions}:
        return spread(row["final"] for row in found.rows)
    measured = [row["measured"].get(f"{actions}_return") for row in found.rows]
    return MISSING if None in measured else spread(measured)


def mean(found: Result) -> float:
    """Returns the mean over seeds of their final greedy return."""
    return float(np.mean([row["final"] for row in found.rows]))


def standard_errors(one: Result, other: Result) -> float:
    """Returns the difference of two means, `one` less `other`, in its standard error over seeds."""
    errors = [
        np.std([row["final"] for row in found.rows], ddof=1) / len(found.rows) ** 0.5
        for found in (one, other)
    ]
    return float((mean(one) - mean(other)) / np.hypot(*errors))


def total_calls(found: Result) -> float:
    """Returns the mean number of centralised calls per seed: all steps if it counts none."""
    return float(np.mean([(row["calls"] or row["steps"])[-1] for row in found.rows]))


def spread(values: Iterable[float]) -> str:
    """Returns the mean of one number per seed, with its bootstrap interval."""
    numbers = np.array(list(values), float)
    return interval(float(numbers.mean()), *statistics.bootstrap_interval(numbers))


def drawn_mean(found: Result) -> float:
    """Returns the mean return of drawn actions, over seeds and episodes."""
    (run,) = found.runs
    return float(run["extra"]["sampled_return"])


def exploring(found: Result | None) -> str:
    """Returns the mean return of training's own episodes over the last tenth of the training."""
    if found is None:
        return MISSING
    curves = np.array([row["train_curve"] for row in found.rows], float)
    last = max(1, curves.shape[1] // 10)
    return number(float(curves[:, -last:].mean()), 2)


def whole_training(found: Result) -> str:
    """Returns the mean of the greedy curve, over evaluations and seeds, with its interval."""
    return spread(float(np.mean(row["curve"])) for row in found.rows)


def at(found: Result, steps: int) -> str:
    """Returns the mean greedy return of the evaluation nearest to a number of steps."""
    curve = np.mean([row["curve"] for row in found.rows], axis=0)
    nearest = int(np.abs(np.array(found.rows[0]["steps"]) - steps).argmin())
    return number(float(curve[nearest]))


def calls(found: Result | None) -> str:
    """Returns the mean number of centralised calls per seed: all steps if it counts none."""
    if found is None:
        return MISSING
    return f"{round(total_calls(found)):,}"


def seeds(found: Result, decimals: int = 3) -> str:
    """Returns the mean greedy return of every seed."""
    return ", ".join(number(row["final"], decimals) for row in found.rows)


def random_return(found: Result) -> str:
    """Returns the mean return of uniformly random actions."""
    return number(found.runs[0]["random_return"])


def optimum(found: Result) -> str:
    """Returns the best possible return."""
    value = found.records[0]["optimum"]
    return MISSING if value is None else f"{value:g}"


def measured(comparison: str, arm: str, name: str) -> Any:
    """Returns a measurement of the study `speed`, None if it was not made.

    Raises:
      ValueError: there is no such row.
    """
    return need("speed", comparison, arm).rows[-1]["measured"].get(name)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table, or words that say that there are no rows."""
    rows = list(rows)
    if not rows:
        return "No results are stored yet."
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
