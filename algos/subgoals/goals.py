"""The choice of subgoals: by the high level, by a script, or at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from marlx.algos.subgoals.config import HierarchicalConfig
from marlx.algos.subgoals.regions import MIN_USAGE, Regions
from marlx.algos.subgoals.sources import Layout
from marlx.learning.returns import masked_argmax, uniform_legal
from marlx.types import Array, Observation


def choose_goal(
    config: HierarchicalConfig,
    layout: Layout,
    proposed: Array,
    goal_mask: Array,
    obs: Observation,
    steps: Array,
    key: Array,
    explore: bool,
) -> Array:
    """Returns the subgoal that each agent follows now, int32 [B, N].

    | `chooser`  | when                                               | subgoal           |
    | ---------- | -------------------------------------------------- | ----------------- |
    | `scripted` | always                                             | `scripted_goal`   |
    | `uniform`  | always                                             | `uniform_goal`    |
    | `learned`  | exploring, in the first `low_steps` steps          | `uniform_goal`    |
    | `learned`  | exploring, in the share `curiosity` of the         | `rare_goal`       |
    |            | environments, if subgoals are learned              |                   |
    | `learned`  | otherwise                                          | the high level's  |

    Args:
      config: for `chooser`, `low_steps`, `curiosity` and `together`.
      layout: of the subgoals.
      proposed: int32 [B, N], the high level's choice.
      goal_mask: bool [B, N, G], subgoals that each agent may follow, see `Termination.goal_mask`.
      obs: [B, ...].
      steps: int32 [], environment steps observed in training.
      key: consumed.
      explore: static.
    """
    if config.chooser == "scripted":
        return scripted_goal(layout, obs, goal_mask)
    if config.chooser == "uniform":
        return uniform_goal(layout, key, obs, goal_mask, config.together)
    if not explore:
        return proposed
    goal = proposed
    if isinstance(layout, Regions):
        curious = jnp.arange(len(goal)) < round(config.curiosity * len(goal))
        goal = jnp.where(curious[:, None], rare_goal(layout.usage, key, goal_mask), goal)
    uniform = uniform_goal(layout, key, obs, goal_mask, config.together)
    return jnp.where(steps < config.low_steps, uniform, goal)


def scripted_goal(layout: Layout, obs: Observation, goal_mask: Array) -> Array:
    """Returns the deepest available subgoal of the task tree not achieved yet, int32 [..., N].

    The first of several as deep; where there is none, the first of `goal_mask`. Availability is
    read from the state, which agents do not observe: a bound on what choosing well can reach.
    """
    good = goal_mask & layout.available(obs) & ~layout.achieved(obs)
    rank = jnp.where(good, 1 + jnp.asarray(layout.depth), 0)
    return masked_argmax(rank.astype(jnp.float32), goal_mask)


def uniform_goal(
    layout: Layout, key: Array, obs: Observation, goal_mask: Array, together: float = 0.0
) -> Array:
    """Returns a uniform sample of the available subgoals, or of all if none is, int32 [B, N].

    Args:
      layout: of the subgoals.
      key: consumed.
      obs: [B, ...].
      goal_mask: bool [B, N, G].
      together: share of the environments, the first ones, in which all agents get the same subgoal,
        where there is one that is available to all of them.
    """
    available = goal_mask & layout.available(obs)
    own = jnp.where(available.any(-1, keepdims=True), available, goal_mask)
    if not together:
        return uniform_legal(key, own)
    key, key_team = jax.random.split(key)
    common = available.all(-2)
    shared = common.any(-1) & (jnp.arange(len(common)) < round(together * len(common)))
    return jnp.where(
        shared[:, None], uniform_legal(key_team, common)[:, None], uniform_legal(key, own)
    )


def rare_goal(usage: Array, key: Array, goal_mask: Array) -> Array:
    """Returns a sample of the regions, in inverse proportion to their usage, int32 [..., N].

    Args:
      usage: f32 [G], the share of observations in each region.
      key: consumed.
      goal_mask: bool [..., N, G].
    """
    known = goal_mask & (usage > MIN_USAGE)
    goal_mask = jnp.where(known.any(-1, keepdims=True), known, goal_mask)
    logits = -jnp.log(usage + 1e-3 / len(usage))
    return jax.random.categorical(key, jnp.where(goal_mask, logits, -jnp.inf)).astype(jnp.int32)
