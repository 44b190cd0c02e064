"""Checks of `marlx doctor` for networks that do not learn, and for policy gradients."""

from __future__ import annotations

import numpy as np

from marlx.analysis.doctor_findings import Finding, finding_if, of_seeds, solved
from marlx.analysis.run_data import RunData


def dead_mixer(run: RunData) -> Finding | None:
    """The gradient of the team's value with respect to the agents' utilities is almost 0.

    It is 1 for a plain sum (VDN). At 0.001 agents learn a thousand times more slowly.
    """
    slope = run.late("mixer_slope")
    if slope is None:
        return None
    dead = slope[-1] < 1e-3
    return finding_if(
        dead.any(),
        "the mixer is dead",
        f"{of_seeds(dead)}: the team's value changes by {np.nanmin(slope[-1]):.2g} per unit of an "
        "agent's utility (1 for a plain sum)",
        (
            "learner.lr (smaller)",
            "learner.mixer_embed (wider)",
            "learner.mixer_hidden (wider)",
            "or use vdn",
        ),
    )


def dormant_units(run: RunData) -> Finding | None:
    """More than half of the units in the last hidden layer are dormant (Sokar et al. 2023)."""
    share = run.late("dormant")
    if share is None:
        return None
    many = share[-1] > 0.5
    return finding_if(
        many.any(),
        "most units are dormant",
        f"{of_seeds(many)}: {np.nanmax(share[-1]):.0%} of the units in the last hidden layer are "
        f"almost silent ({np.nanmax(share[0]):.0%} halfway through the run)",
        ("learner.lr (smaller)", "learner.layer_norm (true)", "updates_per_step or epochs (fewer)"),
    )


def gradients_clipped(run: RunData) -> Finding | None:
    """The gradient norm is more than 30 times the clipping limit at 90% of the evaluations.

    Norms somewhat above the limit are usual for PPO; 30 times as large means a badly scaled loss.
    """
    norm, limit = run.late("grad_norm"), run.number("learner.max_grad_norm")
    if norm is None or not limit:
        return None
    share = float((norm > 30 * limit).mean())
    return finding_if(
        share > 0.9,
        "gradients are always clipped",
        f"the median norm is {np.nanmedian(norm):.3g}, the limit {limit:g}; more than 30 times "
        f"the limit at {share:.0%} of the evaluations in the second half",
        (
            "learner.reward_scaling (scale)",
            "learner.normalise_value (true)",
            "learner.max_grad_norm (larger)",
        ),
    )


def entropy_collapses(run: RunData) -> Finding | None:
    """Entropy falls below 2% of its first value within the first third of the run."""
    entropy = run.metrics.get("entropy")
    if entropy is None:
        return None
    entropy, steps = entropy[~np.isnan(entropy).all(1)], run.steps[~np.isnan(entropy).all(1)]
    if len(entropy) < 4 or solved(run):
        return None
    first, total = entropy[0], run.total_steps
    # the entropy of a continuous policy may start below 0
    low = (entropy < 0.02 * first) & (first > 0) & (steps < total / 3)[:, None]
    if not low.any():
        return None
    at, seed = (int(i) for i in np.argwhere(low)[0])
    return Finding(
        "entropy collapses early",
        f"{of_seeds(low.any(0))}: {entropy[at, seed]:.2g} after {steps[at]:,.0f} of {total:,.0f} "
        f"steps, from {first[seed]:.2g} at first",
        ("learner.entropy (larger)", "learner.lr (smaller)", "learner.epochs (fewer)"),
    )


def large_policy_updates(run: RunData) -> Finding | None:
    """The mean KL divergence per update is above 0.1, or more than 40% of the ratios are clipped.

    PPO's surrogate is only valid near the old policy; usual target values of KL are 0.01 to 0.03.
    """
    kl, clipped = run.late("kl"), run.late("clipped")
    if kl is None or clipped is None:
        return None
    far, often = float(np.nanmean(kl)), float(np.nanmean(clipped))
    return finding_if(
        far > 0.1 or often > 0.4,
        "policy updates are too large",
        f"KL {far:.2g} per rollout, {often:.0%} of the ratios clipped, in the second half",
        ("learner.lr (smaller)", "learner.epochs (fewer)", "learner.minibatches (fewer)"),
    )


def weak_critic(run: RunData) -> Finding | None:
    """Explained variance is 0 or less at 80% of the evaluations in the second half."""
    explained = run.late("explained_variance")
    if explained is None:
        return None
    share, middle = float((explained <= 0).mean()), float(np.nanmedian(explained))
    flat = middle < -1e3  # returns do not vary, so there is nothing to explain
    return finding_if(
        share > 0.8 and not flat,
        "the critic does not predict returns",
        f"the median explained variance is {middle:.2g}; 0 or less at {share:.0%} of the "
        "evaluations in the second half",
        (
            "learner.lr",
            "learner.value_weight",
            "learner.normalise_value (true)",
            "learner.recurrent (if the state is hidden)",
        ),
    )
