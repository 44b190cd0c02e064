"""The views of a rollout that the three learners of MANSA train on."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marlx.algos.switching.config import CallConfig
from marlx.algos.switching.switch import call_price, switch_observation
from marlx.types import Array, Credit, EnvSpec, Transition, Tree


class MansaMemory(NamedTuple):
    """Acting memory of the three learners, and the calls of the episode."""

    independent: Tree
    centralised: Tree
    switch: Tree
    calls: Array  # int32 [B], centralised calls in this episode so far
    last_choice: Array  # int32 [B], the switch's last decision in it, 0 at first
    left: Array  # int32 [B], steps that the present activation still lasts; 0: a decision is due


class MansaExtras(NamedTuple):
    """Extras that `act` adds to a transition."""

    independent: Tree
    centralised: Tree
    switch: Tree
    called: Array  # bool [B], g: the centralised learner acted
    calls_allowed: Array  # bool [B], whether the budget of the run allowed it
    decided: Array  # bool [B], g was decided at this step; False: an activation went on


def independent_view(config: CallConfig, t: Transition) -> Transition:
    """Returns the rollout as the independent learner trains on it.

    Args:
      config: with `il_trains_on` `g0`, the weight is 0 where the centralised learner acted.
      t: [T, B, ...], with `MansaExtras` as extras.
    """
    weight = (~t.extras.called).astype(jnp.float32)
    return t._replace(
        memory=t.memory.independent,
        extras=t.extras.independent,
        weight=None if config.il_trains_on == "all" else weight,
    )


def centralised_view(config: CallConfig, t: Transition) -> Transition:
    """Returns the rollout as the centralised learner trains on it.

    Args:
      config: with `cl_trains_on` `g1`, the weight is 1 where it acted and 0 elsewhere; with
        `paced`, every step has the rollout's share of calls as its weight, so that all are learned
        from with as many updates as `g1` makes.
      t: [T, B, ...], with `MansaExtras` as extras.
    """
    weight = t.extras.called.astype(jnp.float32)
    if config.cl_trains_on == "paced":
        weight = jnp.broadcast_to(weight.mean(), weight.shape)
    return t._replace(
        memory=t.memory.centralised,
        extras=t.extras.centralised,
        weight=None if config.cl_trains_on == "all" else weight,
    )


def switch_view(spec: EnvSpec, config: CallConfig, t: Transition) -> Transition:
    """Returns the rollout as the switch trains on it: its decisions, paid `call_price` less.

    The price is subtracted here, before any scaling of the reward, so that it is in units of return
    all along.

    Args:
      spec: the environment's.
      config: for the price, `budget` and `lasts`.
      t: [T, B, ...], with `MansaExtras` as extras.
    """
    choice, allowed = t.extras.called.astype(jnp.int32), t.extras.calls_allowed
    calls, last = t.memory.calls, t.memory.last_choice
    reward = spec.team_reward(t.reward, t.obs.active) - call_price(config, choice, last)
    view = t._replace(
        obs=switch_observation(spec, config.budget, t.obs, calls, last, allowed),
        action=choice[..., None],
        reward=reward[..., None],
        next_obs=switch_observation(
            spec, config.budget, t.next_obs, calls + choice, choice, allowed
        ),
        memory=t.memory.switch,
        extras=t.extras.switch,
    )
    return view if config.lasts == 1 else lasting(config, t, view)


def lasting(config: CallConfig, t: Transition, view: Transition) -> Transition:
    """Returns `view` with decisions that last: returns run through while an activation goes on.

    A call that lasts tau steps has the target `sum_{k < tau} gamma^k (r_k - price) + gamma^tau V`.
    Steps at which nothing was decided are not learned from.

    Args:
      config: for `lasts`.
      t: [T, B, ...], with `MansaExtras` as extras.
      view: the switch's, of the same rollout.

    Source: Sutton, Precup & Singh 1999 (Q-learning of an SMDP); the switch is then one of impulse
    control (Mguni et al. 2023, LICRA).
    """
    called, decided = t.extras.called, t.extras.decided
    left = left_after(config, t.memory.left, called, decided)
    goes_on = (left > 0) & view.next_obs.action_mask[..., 0, 1]
    weight = decided.astype(jnp.float32)
    credit = Credit(
        weight=weight[..., None],
        terminated=t.terminated[..., None],
        ended=t.done[..., None],
        held=(goes_on & ~t.done)[..., None],
    )
    return view._replace(weight=weight, credit=credit)


def left_after(config: CallConfig, left: Array, called: Array, decided: Array) -> Array:
    """Returns int32 [...], the steps that an activation lasts after this one.

    Args:
      config: for `lasts`.
      left: int32 [...], before the step.
      called: bool [...], the centralised learner acts.
      decided: bool [...], that was decided at this step.
    """
    return jnp.where(called, jnp.where(decided, config.lasts - 1, left - 1), 0)


def call_metrics(config: CallConfig, t: Transition) -> dict[str, Array]:
    """Returns the metrics of the calls in a rollout [T, B, ...], f32 [] each.

    `call_rate` is calls per step. `calls_per_episode` and `budget_left`, calls that an episode did
    not use, are means over the episodes that ended, nan where none did.
    """
    called, done = t.extras.called, t.done
    calls = ((t.memory.calls + called) * done).sum() / done.sum()
    metrics = {"call_rate": called.mean(), "calls_per_episode": calls}
    if config.budget is not None:
        metrics["budget_left"] = config.budget - calls
    return {name: jnp.float32(value) for name, value in metrics.items()}
