"""Controls: whether a run that differs in one respect is otherwise like the run it belongs to.

A control of MANSA calls the centralised part as often as MANSA does, but at random or in the first
steps. A control of CLAM has another encoder. All other settings, the number of steps and the calls
per step have to be the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from marlx.analysis.result_rows import Row, Study
from marlx.config.tree import flatten

FREE = {"learner.switching", "learner.rate", "learner.first", "learner.model"}
"""Settings in which a control may differ: how calls are chosen, and the model of partners."""
UNUSED = {"learner.switch.exploratory_calls"}
"""Settings that only a learned switch uses. A difference is stored and does not matter."""
REQUIRED = "learner.switch.temperature"
"""A setting that is younger than some runs, in which it is missing."""
CALLS_TOLERANCE = 0.05
"""Largest relative difference of calls per step, over the seeds that both have."""
STEPS_TOLERANCE = 0.01
"""Largest relative difference of the steps trained, of equally long trainings."""


def relation(study: Study, control: str, run: str) -> dict[str, Any]:
    """Returns the columns `control_of`, `nearest_run` and `differs` of a control.

    `control_of` is the run if the control matches it, otherwise `nearest_run` is. `differs` has
    all that is different, as `[control, run]`. Settings that one of the two does not have, because
    they did not exist yet, are not compared.

    Args:
      study: with rows and settings of both.
      control: configuration hash of the control.
      run: configuration hash of the run.
    """
    mine, theirs = (flatten(study.settings[digest]["settings"]) for digest in (control, run))
    differs: dict[str, list[Any]] = {
        name: [value, theirs[name]]
        for name, value in mine.items()
        if name in theirs and name not in FREE and theirs[name] != value
    }
    if (REQUIRED in mine) != (REQUIRED in theirs):
        differs[REQUIRED] = [mine.get(REQUIRED), theirs.get(REQUIRED)]
    matches = not set(differs) - UNUSED
    ours, others = study.rows_of(control), study.rows_of(run)
    steps = [rows[0]["steps"][-1] for rows in (ours, others)]
    if steps[0] != steps[1]:
        differs["steps"] = steps
        matches &= abs(steps[0] / steps[1] - 1) <= STEPS_TOLERANCE
    calls = calls_per_step(ours, others)
    if calls is not None and abs(calls[0] / calls[1] - 1) > CALLS_TOLERANCE:
        differs["calls_per_step"] = [round(value, 4) for value in calls]
        matches = False
    control_of, nearest = (run, None) if matches else (None, run)
    return {"control_of": control_of, "nearest_run": nearest, "differs": differs}


def calls_per_step(ours: list[Row], others: list[Row]) -> tuple[float, float] | None:
    """Returns the mean calls per step of both over the seeds that both have; None without calls.

    Raises:
      ValueError: there are calls, and no seed is in both.
    """
    if ours[0]["calls"] is None or others[0]["calls"] is None:
        return None
    mine, theirs = (
        {row["seed"]: row["calls"][-1] / row["steps"][-1] for row in rows}
        for rows in (ours, others)
    )
    both = sorted(mine.keys() & theirs.keys())
    if not both:
        raise ValueError(f"{ours[0]['arm']} and {others[0]['arm']} have no seed in common")
    return tuple(float(np.mean([rates[seed] for seed in both])) for rates in (mine, theirs))
