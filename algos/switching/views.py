"""The views of a rollout that the three learners of MANSA train on."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp

from marlx.algos.switching.config import CallConfig
from marlx.algos.switching.switch import switch_observation
from marlx.types import Array, EnvSpec, Transition, Tree


class MansaMemory(NamedTuple):
    """Acting memory of the three learners, and the calls of the episode."""

    independent: Tree
    centralised: Tree
    switch: Tree
    calls: Array  # int32 [B], centralised calls in this episode so far
    last_choice: Array  # int32 [B], the switch's last decision in it, 0 at first


class MansaExtras(NamedTuple):
    """Extras that `act` adds to a transition."""

    independent: Tree
    centralised: Tree
    switch: Tree
    called: Array  # bool [B], g: the centralised learner acted
    calls_allowed: Array  # bool [B], whether the budget of the run allowed it


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
    """Returns the rollout as the switch trains on it: its decisions, paid the team's reward.

    The price of calls is subtracted later, after the reward is scaled.

    Args:
      spec: the environment's.
      config: for `budget`.
      t: [T, B, ...], with `MansaExtras` as extras.
    """
    choice, allowed = t.extras.called.astype(jnp.int32), t.extras.calls_allowed
    calls, last = t.memory.calls, t.memory.last_choice
    return t._replace(
        obs=switch_observation(spec, config.budget, t.obs, calls, last, allowed),
        action=choice[..., None],
        reward=spec.team_reward(t.reward, t.obs.active)[..., None],
        next_obs=switch_observation(
            spec, config.budget, t.next_obs, calls + choice, choice, allowed
        ),
        memory=t.memory.switch,
        extras=t.extras.switch,
    )


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
