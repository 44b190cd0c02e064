"""`marlx doctor`: checks for common problems of a run, from its folder alone.

Each check is a function of a `RunData` that returns a `Finding` or None. Checks use the names of
metrics and settings, never the algorithm's name, and return None where data are missing. So they
also work on unfinished runs and on learners of other packages. A new check is added to `CHECKS`.
The checks are in the modules beside this one, by kind.

Thresholds are wide on purpose: a finding should be a mistake, not a chance for improvement.
"""

from __future__ import annotations

import warnings

from marlx.analysis.doctor_findings import Check, Finding
from marlx.analysis.doctor_learning import (
    dead_mixer,
    dormant_units,
    entropy_collapses,
    gradients_clipped,
    large_policy_updates,
    weak_critic,
)
from marlx.analysis.doctor_numbers import (
    not_finite,
    rewards_not_finite,
    stopped_by_nan,
    values_explode,
    values_too_large,
)
from marlx.analysis.doctor_outcome import no_better_than_random, return_fell
from marlx.analysis.doctor_settings import (
    evaluation_slow,
    exploration_over,
    exploration_unfinished,
    replay_ratio,
    replay_small,
    reward_scale,
    warm_up_long,
)
from marlx.analysis.run_data import RunData

__all__ = ["CHECKS", "Finding", "examine"]

CHECKS: tuple[Check, ...] = (
    stopped_by_nan,
    rewards_not_finite,
    not_finite,
    values_explode,
    values_too_large,
    dead_mixer,
    dormant_units,
    gradients_clipped,
    entropy_collapses,
    large_policy_updates,
    weak_critic,
    exploration_over,
    exploration_unfinished,
    warm_up_long,
    replay_ratio,
    replay_small,
    reward_scale,
    evaluation_slow,
    no_better_than_random,
    return_fell,
)


def examine(run: RunData) -> list[Finding]:
    """Returns the findings of all checks, in the order of `CHECKS`.

    Settings that the run's learner does not have are left out of `look_at`.
    """
    with warnings.catch_warnings():
        # statistics of numbers that are all missing are NaN, which no check takes for a problem
        warnings.simplefilter("ignore", RuntimeWarning)
        found = [finding for check in CHECKS if (finding := check(run)) is not None]
    return [
        finding._replace(look_at=tuple(x for x in finding.look_at if _has(run, x)))
        for finding in found
    ]


def _has(run: RunData, look_at: str) -> bool:
    """Whether the run has the setting that `look_at` begins with; True for other advice."""
    name = look_at.split()[0]
    return not name.startswith("learner.") or name in run.settings
