"""Checks of `marlx doctor` for numbers that are not finite or too large."""

from __future__ import annotations

import numpy as np

from marlx.analysis.doctor_findings import Finding, of_seeds
from marlx.analysis.run_data import RunData
from marlx.runs.files import read_json
from marlx.statistics import Array

OF_LEARNER = (
    "learner.lr (smaller)",
    "learner.max_grad_norm (smaller)",
    "learner.reward_scaling",
)
OF_ENVIRONMENT = (
    "the environment: marlx.testing.check_env plays it and names what is wrong",
    "env settings that are not finite",
)
"""Where NaN and infinity come from."""


def stopped_by_nan(run: RunData) -> Finding | None:
    """The run was ended by NaN or infinity; it says itself where they came from."""
    failure = {} if run.path is None else read_json(run.path / "failure.json")
    message = failure.get("message")
    if not isinstance(message, str):
        return None
    look_at = OF_ENVIRONMENT if failure.get("source") == "environment" else OF_LEARNER
    return Finding("numbers are not finite", message, look_at)


def rewards_not_finite(run: RunData) -> Finding | None:
    """An evaluation has no return: the environment's rewards are NaN or infinite."""
    returns = run.metrics.get("return")
    if returns is None or np.isfinite(returns).all() or stopped_by_nan(run):
        return None
    wrong: Array = ~np.isfinite(returns)
    at = run.steps[np.flatnonzero(wrong.any(1))[0]]
    return Finding(
        "the environment's rewards are not finite",
        f"{of_seeds(np.asarray(wrong.any(0)))}: the return of whole episodes is NaN or infinite, "
        f"first at {at:,.0f} steps",
        OF_ENVIRONMENT,
    )


def not_finite(run: RunData) -> Finding | None:
    """NaN or infinity in the policy, or in a metric that was finite before.

    Metrics are judged only if at least two updates took place between the last two evaluations.
    """
    if stopped_by_nan(run) or rewards_not_finite(run):
        return None  # they are the cause, and are told first
    lost = []
    updates = (run.number("learner.updates_per_step") or 1.0) * np.diff(run.steps[-2:]).sum()
    for name, series in run.metrics.items():
        if name in ("return", "episode_length") or name.startswith("train_"):
            continue  # these are NaN where no episode ended
        known = ~np.isnan(series)
        if len(series) >= 3 and updates >= 2 and (known.any(0) & ~known[-2:].any(0)).any():
            lost.append((int(run.steps[np.flatnonzero(known.any(1)).max()]), name))
    if not lost and not run.non_finite_arrays:
        return None
    parts = [f"{name} after {step:,} steps" for step, name in sorted(lost)[:3]]
    if run.non_finite_arrays:
        arrays = run.non_finite_arrays
        parts.append(f"{len(arrays)} of the policy's arrays, e.g. {arrays[0]}")
    return Finding(
        "numbers are no longer finite",
        "NaN or infinity in " + ", ".join(parts),
        OF_LEARNER,
    )


def values_explode(run: RunData) -> Finding | None:
    """Values and TD errors both grow tenfold over the second half of the run.

    Values alone may grow for long while the policy improves. If TD errors grow with them, the
    growth comes from bootstrapping.
    """
    q, error = run.late("q"), run.late("td_error")
    if q is None or error is None or run.non_finite_arrays:
        return None
    sizes, errors = np.abs(q), np.abs(error)
    seeds = (sizes[-1] > 10 * sizes[0]) & (errors[-1] > 10 * errors[0]) & (sizes[-1] > 1)
    if not seeds.any():
        return None
    i = int(np.argmax(np.where(seeds, sizes[-1], 0)))
    return Finding(
        "values explode",
        f"{of_seeds(seeds)}: |q| grew from {sizes[0, i]:.3g} to {sizes[-1, i]:.3g} and the TD "
        f"error from {errors[0, i]:.3g} to {errors[-1, i]:.3g} over the second half",
        ("learner.lr (smaller)", "learner.target_period (larger)", "learner.reward_scaling"),
    )


def values_too_large(run: RunData) -> Finding | None:
    """The mean value is far above any possible return.

    The bound is three times the optimum where it is known. Otherwise it is ten times the largest
    return seen, because the run may not have found the best policy yet. Not applied to standardised
    rewards, whose values are not sums of rewards.
    """
    q = run.late("q")
    scaling = run.settings.get("learner.reward_scaling", "none")
    if q is None or scaling == "standardise" or values_explode(run):
        return None
    scale = run.late("reward_scale") if scaling == "scale" else np.ones((1, 1))
    if scale is None:
        return None
    size = float(np.nanmax(np.abs(q[-1] * scale[-1])))
    seen = run.largest_return
    optimum = run.spec.optimum if run.spec is not None else None
    known = optimum is not None and optimum != 0
    bound = 3 * max(abs(optimum or 0), seen) if known else 10 * seen
    if not seen or size <= bound:
        return None
    largest = f"the largest return seen is {seen:.3g}"
    if known:
        largest += f", the best possible {optimum:.3g}"
    return Finding(
        "values are larger than any return",
        f"|q| is {size:.3g} at the end (in units of the reward), but {largest}",
        (
            "learner.lr (smaller)",
            "learner.target_period (larger)",
            "learner.double (true)",
            "learner.gamma (smaller)",
        ),
    )
