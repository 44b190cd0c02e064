"""Options: how a subgoal is started, terminated and rewarded.

An option is a subgoal that an agent follows for several steps. The high level of the learner
(`learner.py`) starts options, the low level acts towards their subgoals.

Source: Sutton, Precup & Singh 1999, Between MDPs and semi-MDPs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.subgoals.sources import Layout
from marlx.types import Array, Observation, Tree

Refresh = Literal["achieved", "fixed", "changed", "options"]


class Termination(NamedTuple):
    """The termination rule of options, by `refresh`.

    An option terminates when it is `period` steps old, and before that

    * `achieved`: when its subgoal is achieved;
    * `fixed`: never;
    * `changed`: when its subgoal is achieved, or the agent observes a change of the world;
    * `options`: when the set of subgoals that the agent can choose changes.
    """

    layout: Layout
    period: int
    refresh: Refresh
    changed: Callable[[Observation], Array] | None = None  # obs -> bool [..., N]; None is never

    def outcome(self, option: ActiveOption, obs: Observation) -> Outcome:
        """Returns what became of each agent's option.

        Args:
          option: [..., N], `ActiveOption.after_step` of the step that led to `obs`.
          obs: the observation after that step.
        """
        goal = jax.nn.one_hot(option.goal, self.num_goals, dtype=bool)
        achieved = (self.layout.achieved(obs) & goal).any(-1)
        terminates = option.clock >= self.period
        if self.refresh == "options":
            terminates |= (self.layout.choices(obs) != option.choices).any(-1)
        elif self.refresh != "fixed":
            terminates |= achieved
        if self.changed is not None:
            terminates |= self.changed(obs)
        return Outcome(terminates, achieved)

    def goal_mask(self, option: ActiveOption, terminates: Array, obs: Observation) -> Array:
        """Returns the subgoals that each agent may follow now, bool [..., N, G].

        All that it can choose if its option terminates, only its present one otherwise.
        """
        goal = jax.nn.one_hot(option.goal, self.num_goals, dtype=bool)
        return jnp.where(terminates[..., None], self.layout.choices(obs), goal)

    def next_option(
        self, option: ActiveOption, outcome: Outcome, goal: Array, obs: Observation
    ) -> ActiveOption:
        """Returns the option that each agent follows now: a new one if its old one terminates.

        Args:
          option: the one before.
          outcome: what became of it.
          goal: int32 [..., N], the subgoal chosen now, one of `goal_mask`.
          obs: the observation that it was chosen in.
        """
        choices: Tree = ()
        if self.refresh == "options":
            started = outcome.terminates[..., None]
            choices = jnp.where(started, self.layout.choices(obs), option.choices)
        return ActiveOption(
            goal,
            clock=jnp.where(outcome.terminates, 0, option.clock),
            reached=~outcome.terminates & (option.reached | outcome.achieved),
            choices=choices,
        )

    def no_option(self, num_envs: int, num_agents: int) -> ActiveOption:
        """Returns options [B, N] that terminate at once: an episode begins with a choice."""
        shape = num_envs, num_agents
        return ActiveOption(
            goal=jnp.zeros(shape, jnp.int32),
            clock=jnp.full(shape, self.period),
            reached=jnp.zeros(shape, bool),
            choices=jnp.zeros((*shape, self.num_goals), bool) if self.refresh == "options" else (),
        )

    @property
    def num_goals(self) -> int:
        """G."""
        return len(self.layout.names)


class ActiveOption(NamedTuple):
    """The option that each agent follows, [..., N]."""

    goal: Array  # int32, its subgoal
    clock: Array  # int32, its age in steps
    reached: Array  # bool, its subgoal has been achieved, but it has not terminated yet
    choices: Tree = ()  # with `options`: bool [..., N, G], subgoals that could be chosen at first

    def after_step(self) -> ActiveOption:
        """Returns the option one step later."""
        return self._replace(clock=self.clock + 1)


class Outcome(NamedTuple):
    """Whether each agent's option ended and was achieved in a step, bool [..., N]."""

    terminates: Array  # the agent chooses again now
    achieved: Array  # its subgoal is achieved now


class SubgoalExtras(NamedTuple):
    """Extras that `act` adds to a transition."""

    option: ActiveOption  # the one that the action was chosen for
    started: Array  # bool [N], the option started at this step
    high: Tree  # extras of the levels
    low: Tree


def intrinsic_reward(steps: Array, period: int) -> Array:
    """Returns the reward for achieving a subgoal, f32 [...]: `1 - 0.5 t / c`.

    Args:
      steps: int32 [...], t, steps that it took, 1 to c.
      period: c, the largest age of an option.

    Source: the code of GMAH. Differs from it: there t counts from the start of the episode and c
    is the episode's time limit.
    """
    return 1.0 - 0.5 * steps / period
