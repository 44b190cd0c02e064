"""Metrics of options: how often they achieve their subgoals, and how long they take."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.subgoals.options import SubgoalExtras, Termination, intrinsic_reward
from marlx.types import Array, Transition


class OptionCounts(NamedTuple):
    """Sums over the steps and agents of a rollout, by subgoal, f32 [G] each."""

    steps: Array  # steps under it
    ended: Array  # options that ended, for whatever reason
    achieved: Array  # options that ended and had achieved it
    duration: Array  # age in steps of the options that ended
    reward: Array  # intrinsic reward


def count_options(rule: Termination, t: Transition) -> OptionCounts:
    """Returns the counts of a rollout [T, B, ...] with `SubgoalExtras` as extras."""
    extras: SubgoalExtras = t.extras
    option, after = extras.option, extras.option.after_step()
    outcome = rule.outcome(after, t.next_obs)
    arrived = outcome.achieved & ~option.reached
    ended = outcome.terminates | t.done[..., None]
    goal = jax.nn.one_hot(option.goal, rule.num_goals)

    def by_goal(x: Array) -> Array:
        return (x[..., None] * goal).sum((0, 1, 2))

    return OptionCounts(
        steps=by_goal(jnp.ones_like(ended, jnp.float32)),
        ended=by_goal(ended),
        achieved=by_goal(ended & (outcome.achieved | option.reached)),
        duration=by_goal(ended * after.clock),
        reward=by_goal(arrived * intrinsic_reward(after.clock, rule.period)),
    )


def option_metrics(names: tuple[str, ...], counts: OptionCounts) -> dict[str, Array]:
    """Returns the metrics of a rollout; those of subgoals that did not occur are nan.

    Args:
      names: of the G subgoals.
      counts: of the rollout.
    """
    metrics = {
        "low_return": counts.reward.sum() / counts.ended.sum(),
        "achieved": counts.achieved.sum() / counts.ended.sum(),
        "duration": counts.duration.sum() / counts.ended.sum(),
    }
    for g, name in enumerate(names):
        word = name.replace(" ", "_")
        metrics[f"goal_{word}"] = counts.steps[g] / counts.steps.sum()
        metrics[f"achieved_{word}"] = counts.achieved[g] / counts.ended[g]
        metrics[f"duration_{word}"] = counts.duration[g] / counts.ended[g]
    return metrics
