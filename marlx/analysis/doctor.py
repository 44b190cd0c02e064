"""`marlx doctor`: checks for common problems of a run, from its folder alone.

Each check is a function of a `RunData` that returns a `Finding` or None. Checks use the names of
metrics and settings, never the algorithm's name, and return None where data are missing. So they
also work on unfinished runs and on learners of other packages. A new check is added to `CHECKS`.

Thresholds are wide on purpose: a finding should be a mistake, not a chance for improvement.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.run_data import RunData
from marlx.runs.files import read_json
from marlx.statistics import Array


class Finding(NamedTuple):
    """A likely problem of a run.

    Attributes:
      title: the problem in a few words.
      seen: the numbers that show it.
      look_at: settings that may cause it, each with the change to try.
    """

    title: str
    seen: str
    look_at: tuple[str, ...]


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

Check = Callable[[RunData], Finding | None]


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


# Numbers that are not finite or too large


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
        f"{_of(np.asarray(wrong.any(0)))}: the return of whole episodes is NaN or infinite, first "
        f"at {at:,.0f} steps",
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
        f"{_of(seeds)}: |q| grew from {sizes[0, i]:.3g} to {sizes[-1, i]:.3g} and the TD error "
        f"from {errors[0, i]:.3g} to {errors[-1, i]:.3g} over the second half",
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


# Networks that do not learn


def dead_mixer(run: RunData) -> Finding | None:
    """The gradient of the team's value with respect to the agents' utilities is almost 0.

    It is 1 for a plain sum (VDN). At 0.001 agents learn a thousand times more slowly.
    """
    slope = run.late("mixer_slope")
    if slope is None:
        return None
    dead = slope[-1] < 1e-3
    return _if(
        dead.any(),
        "the mixer is dead",
        f"{_of(dead)}: the team's value changes by {np.nanmin(slope[-1]):.2g} per unit of an "
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
    return _if(
        many.any(),
        "most units are dormant",
        f"{_of(many)}: {np.nanmax(share[-1]):.0%} of the units in the last hidden layer are "
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
    return _if(
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


# Policy gradient


def entropy_collapses(run: RunData) -> Finding | None:
    """Entropy falls below 2% of its first value within the first third of the run."""
    entropy = run.metrics.get("entropy")
    if entropy is None:
        return None
    entropy, steps = entropy[~np.isnan(entropy).all(1)], run.steps[~np.isnan(entropy).all(1)]
    if len(entropy) < 4 or _solved(run):
        return None
    first, total = entropy[0], run.total_steps
    # the entropy of a continuous policy may start below 0
    low = (entropy < 0.02 * first) & (first > 0) & (steps < total / 3)[:, None]
    if not low.any():
        return None
    at, seed = (int(i) for i in np.argwhere(low)[0])
    return Finding(
        "entropy collapses early",
        f"{_of(low.any(0))}: {entropy[at, seed]:.2g} after {steps[at]:,.0f} of {total:,.0f} "
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
    return _if(
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
    return _if(
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


# Settings that conflict


def exploration_over(run: RunData) -> Finding | None:
    """Epsilon reaches its end before learning starts, or within 2% of the run."""
    schedule = _epsilon(run)
    if schedule is None:
        return None
    start, end, over = schedule
    warm, total = run.number("learner.warmup") or 0.0, run.total_steps
    if end > 0.5 * start or over > max(warm, 0.02 * total):
        return None
    when = f"learning starts at {warm:,.0f}" if over <= warm else f"the run has {total:,.0f}"
    return Finding(
        "exploration ends before learning starts",
        f"epsilon falls from {start:g} to {end:g} within {over:,.0f} steps; {when}",
        ("learner.epsilon_steps (a tenth to a half of total_steps)", "learner.warmup"),
    )


def exploration_unfinished(run: RunData) -> Finding | None:
    """Epsilon is still above 0.5 at the end of the run, far from its end value."""
    schedule = _epsilon(run)
    if schedule is None:
        return None
    start, end, over = schedule
    total = run.total_steps
    left = start + (end - start) * min(1.0, total / over) if over else end
    return _if(
        end < 0.3 and left > 0.5,
        "the run ends before exploration does",
        f"epsilon is still {left:.2f} at the end, after {total:,.0f} steps; it reaches {end:g} at "
        f"{over:,.0f}",
        ("learner.epsilon_steps (smaller)", "total_steps (larger)"),
    )


def warm_up_long(run: RunData) -> Finding | None:
    """More than half of the run passes before the first update."""
    warm, total = run.number("learner.warmup"), run.total_steps
    return _if(
        warm is not None and warm > 0.5 * total,
        "most of the run is warm-up",
        f"the first update comes after {warm or 0:,.0f} of {total:,.0f} steps",
        ("learner.warmup (smaller)", "total_steps (larger)"),
    )


def replay_ratio(run: RunData) -> Finding | None:
    """The replay ratio, or how often each step is sampled on average, is outside 1 to 128.

    The presets of Q-learners have 8 to 32. Below 1, some steps are never sampled. Above 128,
    learners tend to overfit to early data (primacy bias, Nikishin et al. 2022).
    """
    names = ("learner.updates_per_step", "learner.batch", "learner.window")
    updates, batch, window = map(run.number, names)
    if updates is None or batch is None or window is None:
        return None
    ratio = updates * (batch * (window - (run.number("learner.burn_in") or 0.0)))
    if 1 <= ratio <= 128:
        return None
    return Finding(
        "replay ratio is unusual",
        f"each step is sampled {ratio:.3g} times on average ({updates:g} updates per step x "
        f"{batch:g} windows x {window:g} steps); usual is 1 to 128",
        (f"learner.updates_per_step ({'larger' if ratio < 1 else 'smaller'})",),
    )


def replay_small(run: RunData) -> Finding | None:
    """The buffer is smaller than the warm-up, or than one episode per environment."""
    capacity, warm = run.number("learner.capacity"), run.number("learner.warmup")
    if capacity is None:
        return None
    horizon = run.spec.horizon if run.spec is not None else 0
    episodes = horizon * (run.number("num_envs") or 1)
    if warm is not None and capacity < warm:
        why = f"fewer than the warm-up of {warm:,.0f}"
    elif capacity < episodes:
        why = f"fewer than one episode of {horizon:,} steps per environment"
    else:
        return None
    return Finding(
        "the replay buffer is too small",
        f"it has {capacity:,.0f} steps, {why}",
        ("learner.capacity (larger)", "learner.warmup", "num_envs (smaller)"),
    )


def reward_scale(run: RunData) -> Finding | None:
    """Returns are above 1000 or below 0.01 in size, and neither rewards nor values are scaled."""
    scaled = run.settings.get("learner.reward_scaling", run.settings.get("learner.normalise_value"))
    size = run.largest_return
    if scaled not in ("none", False) or not size or 1e-2 <= size <= 1e3:
        return None
    name = "reward_scaling" if scaled == "none" else "normalise_value"
    return Finding(
        "rewards are badly scaled",
        f"the largest return is {size:.3g} in size, but learner.{name} is {_yaml(scaled)}",
        (f"learner.{name} ({'scale' if scaled == 'none' else 'true'})",),
    )


def evaluation_slow(run: RunData) -> Finding | None:
    """Evaluations took more than a third of the time, compiling left aside, and over ten seconds.

    Long episodes make them so: each evaluation plays whole episodes, whatever a block is.
    """
    seconds: dict[str, float] = run.result.get("seconds") or {}
    total = sum(x for name, x in seconds.items() if name != "compile")
    spent = seconds.get("evaluation", 0.0)
    return _if(
        spent > max(10.0, total / 3),
        "evaluations take much of the time",
        f"{spent:.0f} of {total:.0f} s without compiling",
        ("evals (fewer)", "eval_episodes (fewer)"),
    )


# Outcome


def no_better_than_random(run: RunData) -> Finding | None:
    """The 95% interval of the final return is not above random play, and not at the optimum."""
    returns, random = run.result.get("return"), run.result.get("random_return")
    if not returns or random is None or _solved(run) or run.non_finite_arrays:
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
        f"{_of(fell)}: from {best[i]:.3g} at {at:,.0f} steps to {last[i]:.3g} at the end",
        (
            "learner.lr (smaller, or learner.lr_steps)",
            "learner.capacity (larger)",
            "learner.target_period (larger)",
        ),
    )


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


def _if(wrong: Any, title: str, seen: str, look_at: tuple[str, ...]) -> Finding | None:
    return Finding(title, seen, look_at) if bool(wrong) else None


def _has(run: RunData, look_at: str) -> bool:
    """Whether the run has the setting that `look_at` begins with; True for other advice."""
    name = look_at.split()[0]
    return not name.startswith("learner.") or name in run.settings


def _of(seeds: Array) -> str:
    """`2 of 4 seeds`."""
    return f"{int(seeds.sum())} of {len(seeds)} seeds" if len(seeds) > 1 else "1 seed"


def _solved(run: RunData) -> bool:
    """Whether the mean return is within 5% of the optimum."""
    optimum = run.spec.optimum if run.spec is not None else run.result.get("optimum")
    returns = run.metrics.get("return")
    if optimum is None or returns is None or np.isnan(returns[-1]).all():
        return False
    return bool(np.nanmean(returns[-1]) >= optimum - 0.05 * abs(optimum))


def _epsilon(run: RunData) -> tuple[float, float, float] | None:
    """Start, end and number of steps of the epsilon schedule; None without one."""
    names = ("learner.epsilon_start", "learner.epsilon_end", "learner.epsilon_steps")
    start, end, steps = map(run.number, names)
    return None if start is None or end is None or steps is None else (start, end, steps)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
