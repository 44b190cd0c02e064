"""Trials of a sweep as they are shown to people: sorted rows, and flat records of them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from marlx.sweeps.parameters import Sweep
from marlx.sweeps.search import from_optuna, optuna_module

if TYPE_CHECKING:
    import optuna

STATES = {
    "COMPLETE": "finished",
    "PRUNED": "stopped early",
    "FAIL": "failed",
    "RUNNING": "running",
    "WAITING": "waiting",
}
"""Our words for Optuna's states, in the order of the rows."""
NOTED = ("folder", "reason", "seconds", "together")
"""What is noted with a trial and shown."""


class Row(NamedTuple):
    """A trial as it is shown to people."""

    trial: int
    state: str  # one of STATES' values
    value: float | None
    values: dict[str, Any]  # of the searched parameters
    about: dict[str, Any]  # folder, reason, evaluations, seconds


def rows(sweep: Sweep, trials: Iterable[optuna.trial.FrozenTrial]) -> list[Row]:
    """Returns a row per trial, finished ones first, then in the order of STATES, best first."""
    found = [_row(sweep, trial) for trial in trials]
    sign = -1 if sweep.metric.goal == "maximize" else 1
    order = list(STATES.values())
    return sorted(
        found, key=lambda row: (order.index(row.state), sign * (row.value or 0.0), row.trial)
    )


def values(sweep: Sweep, given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the values of the searched parameters by dotted name; `given` has Optuna's."""
    return {
        one.name: from_optuna(one, given[one.name]) for one in sweep.searched if one.name in given
    }


def importances(study: Any, found: Sequence[Row]) -> dict[str, float]:
    """Returns the importance of each searched parameter, summing to 1; empty if unknown.

    It is unknown with fewer than four finished trials, or if all values are equal.

    Args:
      study: Optuna's.
      found: its rows.

    Source: Watanabe et al. 2023 (PED-ANOVA), as implemented by Optuna.
    """
    done = [row for row in found if row.state == "finished"]
    if len(done) < 4 or len({row.value for row in done}) < 2:
        return {}
    importance = optuna_module().importance
    evaluator = importance.PedAnovaImportanceEvaluator()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shares = importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(value) for name, value in shares.items() if np.isfinite(value)}


def table(found: Iterable[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the rows as flat records, with a column per parameter."""
    return [
        {
            "trial": row.trial,
            "state": row.state,
            "value": row.value,
            **{name: row.values.get(name) for name in names},
            **_about(row.about),
        }
        for row in found
    ]


def _row(sweep: Sweep, trial: optuna.trial.FrozenTrial) -> Row:
    about = {key: value for key, value in trial.user_attrs.items() if key in NOTED}
    about["evaluations"] = len(trial.intermediate_values)
    queued = trial.system_attrs.get("fixed_params", {})  # all that one in the queue has
    value = trial.value if trial.state.name in ("COMPLETE", "PRUNED") else None
    searched = values(sweep, trial.params) or values(sweep, queued)
    return Row(trial.number, STATES[trial.state.name], value, searched, about)


def _about(about: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("evaluations", "seconds", "together", "folder", "reason")
    return {key: about.get(key) for key in keys}
