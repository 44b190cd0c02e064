"""What looks wrong with a run, from its folder alone: `marlx doctor`.

Each check is a small function of a `Record` that returns a `Finding` or nothing. It goes by the
names of metrics and settings, never by the algorithm's, and has nothing to say where it cannot
know: so it serves unfinished runs, and learners that it has never heard of. A new one joins
`CHECKS`.

Thresholds are wide on purpose. They tell what is almost surely wrong, not what might be better.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from marlx.analysis.record import Record, Series


class Finding(NamedTuple):
    """Something that looks wrong.

    Attributes:
      title: what it is.
      seen: the numbers that say so.
      look_at: the settings that it may come from, each with what to try.
    """

    title: str
    seen: str
    look_at: tuple[str, ...]


Check = Callable[[Record], Finding | None]


def examine(record: Record) -> list[Finding]:
    """What looks wrong, the most telling first; of settings, those that the run has."""
    found = [finding for check in CHECKS if (finding := check(record)) is not None]
    return [
        finding._replace(look_at=tuple(x for x in finding.look_at if _has(record, x)))
        for finding in found
    ]


# Numbers that have left the range of numbers


def not_finite(run: Record) -> Finding | None:
    """NaN or infinity, in the policy or in a metric that was a number before and is none now."""
    gone = []
    due = (run.number("learner.updates_per_step") or 1.0) * np.diff(run.steps[-2:]).sum()
    for name, series in run.metrics.items():
        if name in ("return", "train_return", "episode_length"):
            continue  # these have no number where no episode ended
        known = ~np.isnan(series)
        if len(series) >= 3 and due >= 2 and (known.any(0) & ~known[-2:].any(0)).any():
            gone.append((int(run.steps[np.flatnonzero(known.any(1)).max()]), name))
    if not gone and not run.broken:
        return None
    parts = [f"{name} after {step:,} steps" for step, name in sorted(gone)[:3]]
    if run.broken:
        parts.append(f"{len(run.broken)} of the policy's arrays, as {run.broken[0]}")
    return Finding(
        "numbers are no longer finite",
        "no number: " + ", ".join(parts),
        ("learner.lr (smaller)", "learner.max_grad_norm (smaller)", "learner.reward_scaling"),
    )


def values_explode(run: Record) -> Finding | None:
    """The values' size grows tenfold over the second half while their errors grow along.

    Values may grow for long while rewards are being found; errors that grow tenfold with them say
    that it is the bootstrap which feeds itself.
    """
    q, error = run.late("q"), run.late("td_error")
    if q is None or error is None or run.broken:
        return None
    sizes, errors = np.abs(q), np.abs(error)
    seeds = (sizes[-1] > 10 * sizes[0]) & (errors[-1] > 10 * errors[0]) & (sizes[-1] > 1)
    if not seeds.any():
        return None
    i = int(np.argmax(np.where(seeds, sizes[-1], 0)))
    return Finding(
        "values explode",
        f"in {_of(seeds)}, |q| grew from {sizes[0, i]:.3g} to {sizes[-1, i]:.3g} and the TD error "
        f"from {errors[0, i]:.3g} to {errors[-1, i]:.3g} over the second half",
        ("learner.lr (smaller)", "learner.target_period (larger)", "learner.reward_scaling"),
    )


def values_too_large(run: Record) -> Finding | None:
    """The mean value is several times any return: values no policy can earn.

    The bound is the optimum where it is known and otherwise the largest return seen, tenfold, for a
    run may not have seen the best yet. Rewards that are centred have values of another meaning.
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
    most = f"the best possible return is {optimum:.3g}" if known else "no return was"
    told = f"{most}, and the largest seen {seen:.3g}" if known else f"{most} larger than {seen:.3g}"
    return Finding(
        "values are larger than any return",
        f"|q| is {size:.3g} at the end (in units of the reward), while {told}",
        (
            "learner.lr (smaller)",
            "learner.target_period (larger)",
            "learner.double (true)",
            "learner.gamma (smaller)",
        ),
    )


# Networks that pass nothing on


def dead_mixer(run: Record) -> Finding | None:
    """The team's value does not move with the agents' utilities: they get no gradient.

    It is 1 where utilities are summed; at a thousandth of that agents learn a thousandth as fast.
    """
    slope = run.late("mixer_slope")
    if slope is None:
        return None
    dead = slope[-1] < 1e-3
    return _if(
        dead.any(),
        "the mixer is dead",
        f"in {_of(dead)}, the team's value moves by {np.nanmin(slope[-1]):.2g} per unit of an "
        "agent's utility (1 is a plain sum), so agents learn next to nothing",
        (
            "learner.lr (smaller)",
            "learner.mixer_embed (wider)",
            "learner.mixer_hidden (wider)",
            "or vdn",
        ),
    )


def dormant_units(run: Record) -> Finding | None:
    """Half of the layer that the heads read is silent, which is more than sparse codes need."""
    share = run.late("dormant")
    if share is None:
        return None
    many = share[-1] > 0.5
    return _if(
        many.any(),
        "most units are dormant",
        f"in {_of(many)}, {np.nanmax(share[-1]):.0%} of the units that the heads read do next to "
        f"nothing ({np.nanmax(share[0]):.0%} at half time)",
        ("learner.lr (smaller)", "learner.layer_norm (true)", "updates_per_step or epochs (fewer)"),
    )


def gradients_clipped(run: Record) -> Finding | None:
    """Gradients are always far longer than the clip: its length is the step's, whatever the loss.

    Norms somewhat above the clip are usual for PPO; thirty times as long is a loss out of scale.
    """
    norm, limit = run.late("grad_norm"), run.number("learner.max_grad_norm")
    if norm is None or not limit:
        return None
    share = float((norm > 30 * limit).mean())
    return _if(
        share > 0.9,
        "gradients are always clipped",
        f"their norm is {np.nanmedian(norm):.3g}, where they are scaled down to {limit:g}, at "
        f"{share:.0%} of the evaluations in the second half",
        (
            "learner.reward_scaling (scale)",
            "learner.normalise_value (true)",
            "learner.max_grad_norm (larger)",
        ),
    )


# Policy gradient


def entropy_gone(run: Record) -> Finding | None:
    """The policy stops trying things out early: 2% of its entropy is left at a third of the run."""
    entropy = run.metrics.get("entropy")
    if entropy is None:
        return None
    entropy, steps = entropy[~np.isnan(entropy).all(1)], run.steps[~np.isnan(entropy).all(1)]
    if len(entropy) < 4 or _solved(run):
        return None
    first, total = entropy[0], run.total_steps
    low = (entropy < 0.02 * first) & (first > 0) & (steps < total / 3)[:, None]
    if not low.any():  # a density's entropy may be anything, also below 0
        return None
    at, seed = (int(i) for i in np.argwhere(low)[0])
    return Finding(
        "entropy is gone early",
        f"in {_of(low.any(0))}, {entropy[at, seed]:.2g} after {steps[at]:,.0f} of {total:,.0f} "
        f"steps, down from {first[seed]:.2g}: the policy hardly tries anything any more",
        ("learner.entropy (larger)", "learner.lr (smaller)", "learner.epochs (fewer)"),
    )


def policy_jumps(run: Record) -> Finding | None:
    """Each batch moves the policy far: KL above 0.1, or 40% of the ratios clipped.

    PPO's surrogate is an approximation near the old policy; usual targets of KL are 0.01 to 0.03.
    """
    kl, clipped = run.late("kl"), run.late("clipped")
    if kl is None or clipped is None:
        return None
    far, often = float(np.nanmean(kl)), float(np.nanmean(clipped))
    return _if(
        far > 0.1 or often > 0.4,
        "the policy jumps",
        f"KL {far:.2g} per rollout and {often:.0%} of the ratios clipped in the second half",
        ("learner.lr (smaller)", "learner.epochs (fewer)", "learner.minibatches (fewer)"),
    )


def critic_blind(run: Record) -> Finding | None:
    """Values explain nothing of the returns in the second half, where returns do vary."""
    explained = run.late("explained_variance")
    if explained is None:
        return None
    share, middle = float((explained <= 0).mean()), float(np.nanmedian(explained))
    flat = middle < -1e3  # returns do not vary at all: there is nothing to explain
    return _if(
        share > 0.8 and not flat,
        "the critic explains nothing",
        f"explained variance is {middle:.2g} in the middle, and 0 or less at {share:.0%} of the "
        "evaluations in the second half",
        (
            "learner.lr",
            "learner.value_weight",
            "learner.normalise_value (true)",
            "learner.recurrent (where the state is hidden)",
        ),
    )


# Settings that do not go together


def exploration_over(run: Record) -> Finding | None:
    """Random actions have run out when learning starts, or almost at once: within 2% of the run."""
    schedule = _epsilon(run)
    if schedule is None:
        return None
    start, end, over = schedule
    warm, total = run.number("learner.warmup") or 0.0, run.total_steps
    if end > 0.5 * start or over > max(warm, 0.02 * total):
        return None
    when = f"learning starts at {warm:,.0f}" if over <= warm else f"the run takes {total:,.0f}"
    return Finding(
        "exploration is over before learning started",
        f"epsilon falls from {start:g} to {end:g} within {over:,.0f} steps, and {when}",
        ("learner.epsilon_steps (a tenth to a half of total_steps)", "learner.warmup"),
    )


def exploration_unfinished(run: Record) -> Finding | None:
    """The run ends long before exploration does, which still is more than half random."""
    schedule = _epsilon(run)
    if schedule is None:
        return None
    start, end, over = schedule
    total = run.total_steps
    left = start + (end - start) * min(1.0, total / over) if over else end
    return _if(
        end < 0.3 and left > 0.5,
        "the run ends before exploration does",
        f"epsilon is still {left:.2f} when the run ends at {total:,.0f} steps; it would reach "
        f"{end:g} at {over:,.0f}",
        ("learner.epsilon_steps (smaller)", "total_steps (larger)"),
    )


def warm_up_long(run: Record) -> Finding | None:
    """Half of the run and more passes before the first update."""
    warm, total = run.number("learner.warmup"), run.total_steps
    return _if(
        warm is not None and warm > 0.5 * total,
        "most of the run is warm-up",
        f"the first update comes after {warm or 0:,.0f} of {total:,.0f} steps",
        ("learner.warmup (smaller)", "total_steps (larger)"),
    )


def replay_ratio(run: Record) -> Finding | None:
    """How often a step is learned from on average; 8 to 32 is usual for the Q-learners here.

    Below 1, steps are thrown away unseen. Above 128 learners tend to fit what came first and to
    lose the ability to learn (Nikishin et al. 2022).
    """
    names = ("learner.updates_per_step", "learner.batch", "learner.window")
    updates, batch, window = map(run.number, names)
    if updates is None or batch is None or window is None:
        return None
    ratio = updates * (batch * (window - (run.number("learner.burn_in") or 0.0)))
    if 1 <= ratio <= 128:
        return None
    return Finding(
        "replay ratio is odd",
        f"each step is learned from {ratio:.3g} times on average ({updates:g} updates per step x "
        f"{batch:g} windows x {window:g} steps); 1 to 128 is sane",
        (f"learner.updates_per_step ({'larger' if ratio < 1 else 'smaller'})",),
    )


def replay_small(run: Record) -> Finding | None:
    """The replay has dropped steps before the first update, or holds no whole episode."""
    capacity, warm = run.number("learner.capacity"), run.number("learner.warmup")
    if capacity is None:
        return None
    horizon = run.spec.horizon if run.spec is not None else 0
    episodes = horizon * (run.number("num_envs") or 1)
    if warm is not None and capacity < warm:
        why = f"fewer than the {warm:,.0f} of the warm-up"
    elif capacity < episodes:
        why = f"fewer than an episode of {horizon:,} steps in each of the environments"
    else:
        return None
    return Finding(
        "the replay is small",
        f"it holds {capacity:,.0f} steps, {why}",
        ("learner.capacity (larger)", "learner.warmup", "num_envs (smaller)"),
    )


def reward_scale(run: Record) -> Finding | None:
    """Returns far from order one, and nothing scales them: steps of 1e-4 do not get to 1e4."""
    scaled = run.settings.get("learner.reward_scaling", run.settings.get("learner.normalise_value"))
    size = run.largest_return
    if scaled not in ("none", False) or not size or 1e-2 <= size <= 1e3:
        return None
    name = "reward_scaling" if scaled == "none" else "normalise_value"
    return Finding(
        "rewards are out of scale",
        f"the largest return is {size:.3g} in size, and learner.{name} is {_yaml(scaled)}",
        (f"learner.{name} ({'scale' if scaled == 'none' else 'true'})",),
    )


# What came of it


def no_better_than_random(run: Record) -> Finding | None:
    """The final return's interval does not clear what random play gets, nor is that the optimum."""
    returns, random = run.result.get("return"), run.result.get("random_return")
    if not returns or random is None or _solved(run) or run.broken:
        return None
    low, high = returns["interval_95"]
    if low is None or high is None or low > random:
        return None
    return Finding(
        "no better than random play",
        f"the final return is {returns['mean']:.3g} (95% {low:.3g} to {high:.3g}), and random play "
        f"gets {random:.3g}",
        (
            "total_steps (more)",
            "learner.epsilon_steps",
            "learner.entropy",
            "learner.lambda_ (larger where rewards are rare)",
            "learner.recurrent (where the state is hidden)",
        ),
    )


def fell_back(run: Record) -> Finding | None:
    """A seed lost a third and more of what it had gained, over several evaluations.

    Means of three evaluations are compared, and the fall has to stand out of what they usually
    change by, so that noise is no finding.
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
        f"in {_of(fell)}, from {best[i]:.3g} at {at:,.0f} steps to {last[i]:.3g} at the end",
        (
            "learner.lr (smaller, or learner.lr_steps)",
            "learner.capacity (larger)",
            "learner.target_period (larger)",
        ),
    )


CHECKS: tuple[Check, ...] = (
    not_finite,
    values_explode,
    values_too_large,
    dead_mixer,
    dormant_units,
    gradients_clipped,
    entropy_gone,
    policy_jumps,
    critic_blind,
    exploration_over,
    exploration_unfinished,
    warm_up_long,
    replay_ratio,
    replay_small,
    reward_scale,
    no_better_than_random,
    fell_back,
)


def _if(wrong: Any, title: str, seen: str, look_at: tuple[str, ...]) -> Finding | None:
    return Finding(title, seen, look_at) if bool(wrong) else None


def _has(run: Record, look_at: str) -> bool:
    """Whether the setting that `look_at` begins with is one of the run's, if it is one at all."""
    name = look_at.split()[0]
    return not name.startswith("learner.") or name in run.settings


def _of(seeds: Series) -> str:
    """`2 of 4 seeds`."""
    return f"{int(seeds.sum())} of {len(seeds)} seeds" if len(seeds) > 1 else "the one seed"


def _solved(run: Record) -> bool:
    """Whether the best possible return is reached, but for a twentieth of its size."""
    optimum = run.spec.optimum if run.spec is not None else run.result.get("optimum")
    returns = run.metrics.get("return")
    if optimum is None or returns is None:
        return False
    return bool(np.nanmean(returns[-1]) >= optimum - 0.05 * abs(optimum))


def _epsilon(run: Record) -> tuple[float, float, float] | None:
    """Where epsilon starts and ends, and the steps between; None without such a schedule."""
    names = ("learner.epsilon_start", "learner.epsilon_end", "learner.epsilon_steps")
    start, end, steps = map(run.number, names)
    return None if start is None or end is None or steps is None else (start, end, steps)


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
