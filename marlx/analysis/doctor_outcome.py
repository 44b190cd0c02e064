"""Checks of `marlx doctor` for the outcome: the return at the end of a run."""

from __future__ import annotations

import numpy as np

from marlx.analysis.doctor_findings import Finding, of_seeds, solved
from marlx.analysis.run_data import RunData


def no_better_than_random(run: RunData) -> Finding | None:
    """The 95% interval of the final return is not above random play, and not at the optimum."""
    returns, random = run.result.get("return"), run.result.get("random_return")
    if not returns or random is None or solved(run) or run.non_finite_arrays:
        return None
    low, high = returns["interval_95"]
    if None in (low, high, returns["mean"]) or low > random:
        return None
    return Finding(
        "no better than random play",
        f"the final return is {returns['mean']:.3g} (95% {low:.3g} to {high:.3g}), that of random "
        f"play {random:.3g}",
        (
            "total_steps (more)",
            "learner.epsilon_steps",
            "learner.entropy",
            "learner.lambda_ (larger if rewards are rare)",
            "learner.recurrent (if the state is hidden)",
        ),
    )


def return_fell(run: RunData) -> Finding | None:
    """A seed lost more than a third of its gain in return since its best evaluations.

    Compares means over three evaluations. The loss must also exceed five times the median change
    between evaluations, so that noise is not reported.
    """
    returns = run.metrics.get("return")
    if returns is None or len(returns) < 8 or np.isnan(returns).any():
        return None
    smooth = np.stack([returns[i : i + 3].mean(0) for i in range(len(returns) - 2)])
    best, last, first = smooth.max(0), smooth[-1], smooth.min(0)
    noise = np.median(np.abs(np.diff(returns, axis=0)), 0)
    fell = (best - last > (best - first) / 3) & (best - last > 5 * noise) & (best > returns[0])
    if not fell.any():
        return None
    i = int(np.argmax(np.where(fell, best - last, -np.inf)))
    at = run.steps[1 + int(smooth[:, i].argmax())]
    return Finding(
        "return fell from its best",
        f"{of_seeds(fell)}: from {best[i]:.3g} at {at:,.0f} steps to {last[i]:.3g} at the end",
        (
            "learner.lr (smaller, or learner.lr_steps)",
            "learner.capacity (larger)",
            "learner.target_period (larger)",
        ),
    )
