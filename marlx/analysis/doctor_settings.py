"""Checks of `marlx doctor` for settings that conflict with each other or with the task."""

from __future__ import annotations

from typing import Any

from marlx.analysis.doctor_findings import Finding, finding_if
from marlx.analysis.run_data import RunData


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
    return finding_if(
        end < 0.3 and left > 0.5,
        "the run ends before exploration does",
        f"epsilon is still {left:.2f} at the end, after {total:,.0f} steps; it reaches {end:g} at "
        f"{over:,.0f}",
        ("learner.epsilon_steps (smaller)", "total_steps (larger)"),
    )


def warm_up_long(run: RunData) -> Finding | None:
    """More than half of the run passes before the first update."""
    warm, total = run.number("learner.warmup"), run.total_steps
    return finding_if(
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
    return finding_if(
        spent > max(10.0, total / 3),
        "evaluations take much of the time",
        f"{spent:.0f} of {total:.0f} s without compiling",
        ("evals (fewer)", "eval_episodes (fewer)"),
    )


def _epsilon(run: RunData) -> tuple[float, float, float] | None:
    """Start, end and number of steps of the epsilon schedule; None without one."""
    names = ("learner.epsilon_start", "learner.epsilon_end", "learner.epsilon_steps")
    start, end, steps = map(run.number, names)
    return None if start is None or end is None or steps is None else (start, end, steps)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
