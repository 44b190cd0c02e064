"""Subgoals that are pursued over several steps: when they end, what they pay, what levels are told.

A learner of two levels (`marlx.algos.subgoals.learner`) records who pursued what. From that, and
from what was seen, each level gets its own account of the same rollout, in the shape of an ordinary
one: `high_view`, whose actions are subgoals, and `low_view`, whose episodes are pursuits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.subgoals.sources import FORGOTTEN, Layout
from marlx.learning.returns import masked_argmax, uniform_legal
from marlx.types import Array, Credit, Observation, Transition, Tree

Refresh = Literal["achieved", "fixed", "changed", "options"]


class Pursuit(NamedTuple):
    """What each agent pursues, [B, N]."""

    goal: Array  # int32, its subgoal
    clock: Array  # int32, steps that it has been pursued for
    reached: Array  # bool, it has been achieved, and is only held on to
    options: Tree = ()  # with `options`: bool [B, N, G], what could be chosen when it was


class Chosen(NamedTuple):
    """What `act` adds to a transition."""

    pursuit: Pursuit  # after the choice and before the step
    begin: Array  # bool [N], the subgoal was chosen at this step
    high: Tree  # extras of the levels
    low: Tree


class Rules(NamedTuple):
    """When subgoals end and what they pay: all that both views of a rollout are computed from."""

    layout: Layout
    period: int
    refresh: Refresh
    changed: Callable[[Observation], Array] | None = None  # bool [..., N], the world has; or never

    @property
    def number(self) -> int:
        """G."""
        return len(self.layout.names)

    def begin(self, pursuit: Pursuit, obs: Observation) -> tuple[Array, Array]:
        """Whether agents choose anew now, and have achieved what they pursue, bool [..., N] each.

        Args:
          pursuit: up to the step that led to `obs`.
          obs: what is seen now.
        """
        hot = jax.nn.one_hot(pursuit.goal, self.number, dtype=bool)
        achieved = (self.layout.achieved(obs) & hot).any(-1)
        over = pursuit.clock >= self.period
        if self.refresh == "options":
            over |= (self.layout.choices(obs) != pursuit.options).any(-1)
        elif self.refresh != "fixed":
            over |= achieved
        if self.changed is not None:
            over |= self.changed(obs)
        return over, achieved

    def options(self, pursuit: Pursuit, begin: Array, obs: Observation) -> Array:
        """Bool [..., N, G], what each agent may pursue now: who is busy, only what it does."""
        hot = jax.nn.one_hot(pursuit.goal, self.number, dtype=bool)
        return jnp.where(begin[..., None], self.layout.choices(obs), hot)

    def reward(self, pursuit: Pursuit) -> Array:
        """f32 [..., N], what achieving a subgoal pays at the end of a step that began like this.

        `1 - 0.5 t / c` after t of at most c steps. Differs from: GMAH, where both count from the
        beginning of the episode, and c is its time limit.
        """
        return 1.0 - 0.5 * (pursuit.clock + 1) / self.period


def high_view(rules: Rules, t: Transition) -> Transition:
    """The rollout as the high level is told of it: its actions are subgoals.

    Steps stay steps. One counts where an agent chose; where all hold on to theirs, returns run
    through. So a choice that lasts tau steps is learned from `sum_k gamma^k r_k + gamma^tau max Q`,
    in which agents that are busy then keep their subgoal.

    Args:
      rules: when subgoals end.
      t: [T, B, ...], with `Chosen` as extras.
    """
    chosen: Chosen = t.extras
    after = chosen.pursuit._replace(clock=chosen.pursuit.clock + 1)
    begin_next, _ = rules.begin(after, t.next_obs)
    now = rules.options(chosen.pursuit, chosen.begin, t.obs)
    then = rules.options(after, begin_next, t.next_obs)

    def everyone(x: Array) -> Array:
        return jnp.broadcast_to(x[..., None], begin_next.shape)

    return t._replace(
        obs=rules.layout.plain(t.obs)._replace(action_mask=now),
        next_obs=rules.layout.plain(t.next_obs)._replace(action_mask=then),
        action=chosen.pursuit.goal,
        memory=t.memory.high,
        extras=chosen.high,
        credit=Credit(
            weight=chosen.begin.astype(jnp.float32),
            terminated=everyone(t.terminated),
            ended=everyone(t.done),
            held=~begin_next,
        ),
    )


def with_goals(rules: Rules, mark: float, obs: Observation, goal: Array) -> Observation:
    """What the low level sees: each agent its subgoal too, as one-hot; all of them in the state.

    Args:
      rules: for the number of subgoals.
      mark: what stands for the 1; networks divide by the environment's scale.
      obs: [...], as the environment wrapped by `with_subgoals` shows it.
      goal: int32 [..., N].
    """
    plain, hot = rules.layout.plain(obs), mark * jax.nn.one_hot(goal, rules.number)
    flat = hot.reshape(*hot.shape[:-2], -1)
    return plain._replace(
        local=jnp.concatenate([plain.local, hot], -1),
        global_state=jnp.concatenate([plain.global_state, flat], -1),
    )


def low_view(rules: Rules, mark: float, external: Array, t: Transition) -> Transition:
    """The rollout as the low level is told of it: each agent has episodes of its own.

    One begins with a subgoal and ends in truth when that is achieved, which pays; where it is given
    up, or the environment's time is up, it is cut as by a time limit.

    Args:
      rules: when subgoals end and what they pay.
      mark: see `with_goals`.
      external: f32 [T, B], what every agent is paid besides.
      t: [T, B, ...], with `Chosen` as extras.
    """
    chosen: Chosen = t.extras
    pursuit = chosen.pursuit
    begin_next, achieved = rules.begin(pursuit._replace(clock=pursuit.clock + 1), t.next_obs)
    arrived = achieved & ~pursuit.reached
    terminated = arrived | t.terminated[..., None]
    return t._replace(
        obs=with_goals(rules, mark, t.obs, pursuit.goal),
        next_obs=with_goals(rules, mark, t.next_obs, pursuit.goal),
        reward=arrived * rules.reward(pursuit) + external[..., None],
        memory=t.memory.low,
        extras=chosen.low,
        credit=Credit(
            weight=(~pursuit.reached).astype(jnp.float32),
            terminated=terminated,
            ended=terminated | begin_next | t.done[..., None],
            held=jnp.zeros_like(arrived),
        ),
    )


def hindsight(rules: Rules, share: float, t: Transition) -> Transition:
    """The rollout as if some agents that failed had pursued what they achieved on the way.

    Steps that lead to another subgoal than the one pursued, within a pursuit that fails, get that
    other one. For learners from any behaviour only: the actions were not chosen for it.

    Args:
      rules: when subgoals end.
      share: of the environments, the first ones, that are told so.
      t: [T, B, ...], with `Chosen` as extras.

    Source: Andrychowicz et al. 2017. Differs from: them in what is told instead of, not besides,
    what was.
    """
    chosen: Chosen = t.extras
    goal = chosen.pursuit.goal
    after = chosen.pursuit._replace(clock=chosen.pursuit.clock + 1)
    begin_next, achieved = rules.begin(after, t.next_obs)
    last = begin_next | t.done[..., None]
    news = rules.layout.achieved(t.next_obs) & ~rules.layout.achieved(t.obs)

    def back(later: tuple[Array, Array], step: tuple[Array, ...]) -> Tree:
        (other, won), (goal, last, achieved, news) = later, step
        won = jnp.where(last, achieved, won)
        other = jnp.where(news.any(-1), news.argmax(-1), jnp.where(last, -1, other))
        return (other, won), jnp.where(won | (other < 0), goal, other)

    start = jnp.full(goal.shape[1:], -1), jnp.zeros(goal.shape[1:], bool)
    _, told = jax.lax.scan(back, start, (goal, last, achieved, news), reverse=True)
    some = jnp.arange(goal.shape[1]) < round(share * goal.shape[1])
    goal = jnp.where(some[:, None], told, goal).astype(goal.dtype)
    return t._replace(extras=chosen._replace(pursuit=chosen.pursuit._replace(goal=goal)))


class Tally(NamedTuple):
    """What became of subgoals in the last rollout: sums over steps and agents, f32 [G] each."""

    held: Array  # steps under it
    over: Array  # times that it ended, for whatever reason
    achieved: Array  # times that it ended and had been achieved
    duration: Array  # steps that those which ended had been pursued for
    intrinsic: Array  # reward paid for achieving it


def tally(rules: Rules, t: Transition) -> Tally:
    """What became of subgoals in a rollout [T, B, ...] with `Chosen` as extras."""
    pursuit: Pursuit = t.extras.pursuit
    after = pursuit._replace(clock=pursuit.clock + 1)
    begin_next, achieved = rules.begin(after, t.next_obs)
    arrived = achieved & ~pursuit.reached
    over = begin_next | t.done[..., None]
    hot = jax.nn.one_hot(pursuit.goal, rules.number)

    def total(x: Array) -> Array:
        return (x[..., None] * hot).sum((0, 1, 2))

    return Tally(
        total(jnp.ones_like(over, jnp.float32)),
        total(over),
        total(over & (achieved | pursuit.reached)),
        total(over * after.clock),
        total(arrived * rules.reward(pursuit)),
    )


def by_chance(
    layout: Layout, key: Array, obs: Observation, options: Array, together: float = 0.0
) -> Array:
    """int32 [B, N], a uniform one of the options that are available, or of all if none is.

    In the share `together` of the environments, the first ones, it is the same one for all agents,
    where there is one that all may have.
    """
    good = options & layout.available(obs)
    own = jnp.where(good.any(-1, keepdims=True), good, options)
    if not together:
        return uniform_legal(key, own)
    key, key_team = jax.random.split(key)
    common = good.all(-2)
    some = common.any(-1) & (jnp.arange(len(common)) < round(together * len(common)))
    return jnp.where(
        some[:, None], uniform_legal(key_team, common)[:, None], uniform_legal(key, own)
    )


def rarest(usage: Array, key: Array, options: Array) -> Array:
    """int32 [..., N], one of the options, the likelier the less its region was visited.

    Args:
      usage: f32 [G], the share of observations in each region.
      key: for the draw.
      options: bool [..., N, G].
    """
    known = options & (usage > FORGOTTEN)
    options = jnp.where(known.any(-1, keepdims=True), known, options)
    logits = -jnp.log(usage + 1e-3 / len(usage))
    return jax.random.categorical(key, jnp.where(options, logits, -jnp.inf)).astype(jnp.int32)


def scripted(layout: Layout, obs: Observation, options: Array) -> Array:
    """int32 [..., N], the deepest option in the task tree that is available and not achieved.

    Of several as deep, the first; where there is none, the first option. It knows what nobody sees
    while acting: a bound for what choosing well can reach, given how well subgoals are achieved.
    """
    good = options & layout.available(obs) & ~layout.achieved(obs)
    rank = jnp.where(good, 1 + jnp.asarray(layout.depth), 0)
    return masked_argmax(rank.astype(jnp.float32), options)
