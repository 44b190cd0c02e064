"""The view of a rollout that each level trains on.

Both are rollouts of ordinary shape: in `high_view` actions are subgoals, in `low_view` an option is
an episode. What differs from an ordinary rollout is in `Transition.credit`.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from marlx.algos.subgoals.options import SubgoalExtras, Termination, intrinsic_reward
from marlx.algos.subgoals.sources import Layout
from marlx.types import Array, Credit, EnvSpec, Observation, Transition, Tree


def high_view(rule: Termination, t: Transition) -> Transition:
    """Returns the rollout as the high level trains on it: actions are subgoals.

    The high level learns from the steps at which an agent chose; between two choices, returns run
    through. A choice that lasts tau steps has the target
    `sum_{k < tau} gamma^k r_k + gamma^tau max Q`, where agents whose option goes on keep their
    subgoal in the maximum.

    Args:
      rule: when options terminate.
      t: [T, B, ...], with `SubgoalExtras` as extras.

    Source: Sutton, Precup & Singh 1999 (Q-learning of an SMDP).
    """
    extras: SubgoalExtras = t.extras
    after = extras.option.after_step()
    terminates = rule.outcome(after, t.next_obs).terminates
    goal_mask = rule.goal_mask(extras.option, extras.started, t.obs)
    next_goal_mask = rule.goal_mask(after, terminates, t.next_obs)

    def each_agent(x: Array) -> Array:
        return jnp.broadcast_to(x[..., None], terminates.shape)

    return t._replace(
        obs=rule.layout.plain(t.obs)._replace(action_mask=goal_mask),
        next_obs=rule.layout.plain(t.next_obs)._replace(action_mask=next_goal_mask),
        action=extras.option.goal,
        memory=t.memory.high,
        extras=extras.high,
        credit=Credit(
            weight=extras.started.astype(jnp.float32),
            terminated=each_agent(t.terminated),
            ended=each_agent(t.done),
            held=~terminates,
        ),
    )


def low_view(rule: Termination, one: float, external: Array, t: Transition) -> Transition:
    """Returns the rollout as the low level trains on it: each option of an agent is an episode.

    It ends truly, with `intrinsic_reward`, when its subgoal is achieved; when the option or the
    environment's episode ends otherwise, it is truncated. Steps of an option whose subgoal was
    achieved earlier have weight 0.

    Args:
      rule: when options terminate.
      one: see `with_goals`.
      external: f32 [T, B], reward that every agent gets besides.
      t: [T, B, ...], with `SubgoalExtras` as extras.
    """
    extras: SubgoalExtras = t.extras
    option, after = extras.option, extras.option.after_step()
    outcome = rule.outcome(after, t.next_obs)
    arrived = outcome.achieved & ~option.reached
    terminated = arrived | t.terminated[..., None]
    return t._replace(
        obs=with_goals(rule, one, t.obs, option.goal),
        next_obs=with_goals(rule, one, t.next_obs, option.goal),
        reward=arrived * intrinsic_reward(after.clock, rule.period) + external[..., None],
        memory=t.memory.low,
        extras=extras.low,
        credit=Credit(
            weight=(~option.reached).astype(jnp.float32),
            terminated=terminated,
            ended=terminated | outcome.terminates | t.done[..., None],
            held=jnp.zeros_like(arrived),
        ),
    )


def with_goals(rule: Termination, one: float, obs: Observation, goal: Array) -> Observation:
    """Returns the low level's observation: each agent's subgoal is added to it as a one-hot vector.

    The subgoals of all agents are added to the global state.

    Args:
      rule: for the number of subgoals.
      one: the 1 of the one-hot vector, see `one_hot_value`.
      obs: [...], of an environment wrapped by `with_subgoals`.
      goal: int32 [..., N].
    """
    plain, hot = rule.layout.plain(obs), one * jax.nn.one_hot(goal, rule.num_goals)
    flat = hot.reshape(*hot.shape[:-2], -1)
    return plain._replace(
        local=jnp.concatenate([plain.local, hot], -1),
        global_state=jnp.concatenate([plain.global_state, flat], -1),
    )


def one_hot_value(spec: EnvSpec) -> float:
    """Returns the number for a 1 in observations: replays round, networks divide by the scale."""
    return spec.scale if spec.storage == "float32" else max(1.0, float(int(spec.scale)))


def high_spec(spec: EnvSpec, layout: Layout) -> EnvSpec:
    """Returns the spec of the high level's environment: its actions are subgoals."""
    return dataclasses.replace(
        spec,
        subgoals=None,
        num_actions=len(layout.names),
        action_sizes=(),
        continuous=False,
        obs_size=layout.obs_size,
        obs_sizes=(),
        state_size=layout.state_size,
    )


def low_spec(spec: EnvSpec, layout: Layout) -> EnvSpec:
    """Returns the spec of the low level's environment, with observations of `with_goals`."""
    num_goals = len(layout.names)
    return dataclasses.replace(
        spec,
        subgoals=None,
        obs_size=layout.obs_size + num_goals,
        obs_sizes=(),
        state_size=layout.state_size + spec.num_agents * num_goals,
    )


def with_hindsight(rule: Termination, share: float, t: Transition) -> Transition:
    """Returns the rollout with failed options relabelled by the subgoals that they achieved.

    Steps that lead to another subgoal than the option's own, within an option that fails, get that
    other subgoal. Only for off-policy learners: the actions were not chosen for it.

    Args:
      rule: when options terminate.
      share: of the environments, the first ones, that are relabelled.
      t: [T, B, ...], with `SubgoalExtras` as extras.

    Source: Andrychowicz et al. 2017. Differs from it: relabelled steps replace the original ones
    instead of being added to them.
    """
    extras: SubgoalExtras = t.extras
    goal = extras.option.goal
    outcome = rule.outcome(extras.option.after_step(), t.next_obs)
    last = outcome.terminates | t.done[..., None]
    newly = rule.layout.achieved(t.next_obs) & ~rule.layout.achieved(t.obs)

    def backwards(later: tuple[Array, Array], step: tuple[Array, ...]) -> Tree:
        (other, succeeds), (goal, last, achieved, newly) = later, step
        succeeds = jnp.where(last, achieved, succeeds)
        other = jnp.where(newly.any(-1), newly.argmax(-1), jnp.where(last, -1, other))
        return (other, succeeds), jnp.where(succeeds | (other < 0), goal, other)

    start = jnp.full(goal.shape[1:], -1), jnp.zeros(goal.shape[1:], bool)
    steps = goal, last, outcome.achieved, newly
    _, relabelled = jax.lax.scan(backwards, start, steps, reverse=True)
    chosen = jnp.arange(goal.shape[1]) < round(share * goal.shape[1])
    goal = jnp.where(chosen[:, None], relabelled, goal).astype(goal.dtype)
    return t._replace(extras=extras._replace(option=extras.option._replace(goal=goal)))
