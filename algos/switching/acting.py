"""Acting in MANSA: the switch decides, one of two learners acts."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.switching.config import CallConfig
from marlx.algos.switching.switch import switch_observation
from marlx.algos.switching.views import MansaExtras, MansaMemory
from marlx.learner import Learner, draws, where_done
from marlx.types import Array, EnvSpec, Observation, Tree


class Parts(NamedTuple):
    """The three learners that MANSA is made of."""

    independent: Learner
    centralised: Learner
    switch: Learner


class MansaPolicy(NamedTuple):
    """Parameters that acting needs."""

    independent: Tree
    centralised: Tree
    switch: Tree
    calls_allowed: Array  # bool [], the budget of the run covers the next rollout


def act(
    spec: EnvSpec,
    config: CallConfig,
    parts: Parts,
    policy: MansaPolicy,
    memory: MansaMemory,
    obs: Observation,
    key: Array,
    explore: bool,
    drawn: bool = False,
) -> tuple[Array, MansaMemory, MansaExtras]:
    """Returns the actions of the learner that the switch chooses, in each environment.

    With `drawn` and without `explore`, the learners that are judged by drawn actions draw, and all
    else is as in a greedy evaluation: the switch, `execution`, and no budget of the run.

    Both learners act on every step, so that their memories follow the episode. They get the key
    that each would get alone; with g fixed, the result is one learner or the other to the last bit.
    """
    if not explore and config.execution != "switched":
        return act_alone(config, parts, policy, memory, obs, key, drawn)
    # the budget of the run is one of training
    calls_allowed = jnp.broadcast_to(policy.calls_allowed if explore else True, memory.calls.shape)
    seen = switch_observation(
        spec, config.budget, obs, memory.calls, memory.last_choice, calls_allowed
    )
    choice, switch_memory, switch_extras = parts.switch.act(
        policy.switch, memory.switch, seen, switch_key(key), explore
    )
    independent, independent_memory, independent_extras = parts.independent.act(
        policy.independent, memory.independent, obs, key, explore or draws(parts.independent, drawn)
    )
    centralised, centralised_memory, centralised_extras = parts.centralised.act(
        policy.centralised, memory.centralised, obs, key, explore or draws(parts.centralised, drawn)
    )
    called = choice[:, 0] == 1
    action = where_done(called, centralised, independent)
    memory = MansaMemory(
        independent_memory,
        centralised_memory,
        switch_memory,
        memory.calls + called,
        called.astype(jnp.int32),
    )
    extras = MansaExtras(
        independent_extras, centralised_extras, switch_extras, called, calls_allowed
    )
    return action, memory, extras


def act_alone(
    config: CallConfig,
    parts: Parts,
    policy: MansaPolicy,
    memory: MansaMemory,
    obs: Observation,
    key: Array,
    drawn: bool = False,
) -> tuple[Array, MansaMemory, MansaExtras]:
    """Returns the actions of the learner that `execution` names; the other is not run."""
    if config.execution == "independent":
        action, inner, extras = parts.independent.act(
            policy.independent, memory.independent, obs, key, draws(parts.independent, drawn)
        )
        called = jnp.zeros(memory.calls.shape, bool)
        memory = memory._replace(independent=inner)
        return action, memory, MansaExtras(extras, (), (), called, called)
    action, inner, extras = parts.centralised.act(
        policy.centralised, memory.centralised, obs, key, draws(parts.centralised, drawn)
    )
    called = jnp.ones(memory.calls.shape, bool)
    memory = memory._replace(centralised=inner, calls=memory.calls + called)
    return action, memory, MansaExtras((), extras, (), called, called)


def switch_key(key: Array) -> Array:
    """Returns the switch's key, made from the one that both learners get."""
    return jax.random.fold_in(key, 1_000_003)


def initial_memory(parts: Parts, num_envs: int) -> MansaMemory:
    """Returns the acting memory at the start of an episode."""
    zero = jnp.zeros(num_envs, jnp.int32)
    return MansaMemory(
        parts.independent.memory(num_envs),
        parts.centralised.memory(num_envs),
        parts.switch.memory(num_envs),
        calls=zero,
        last_choice=zero,
    )


def empty_extras(parts: Parts, num_envs: int) -> MansaExtras:
    """Returns zeros of what `act` adds to a transition."""
    none = jnp.zeros(num_envs, bool)
    return MansaExtras(
        parts.independent.extras(num_envs),
        parts.centralised.extras(num_envs),
        parts.switch.extras(num_envs),
        called=none,
        calls_allowed=none,
    )


def describe(config: CallConfig, parts: Parts, memory: MansaMemory, extras: MansaExtras) -> str:
    """Returns the caption of a step: who acts, the calls so far, and the learners' own captions."""
    limit = "" if config.budget is None else f" of {config.budget}"
    mode = "CENTRALISED" if extras.called else "independent"
    lines = [f"{mode}   calls {int(memory.calls)}{limit}"]
    if parts.independent.describe is not None:
        lines.append(parts.independent.describe(memory.independent, extras.independent))
    if parts.centralised.describe is not None:
        lines.append(parts.centralised.describe(memory.centralised, extras.centralised))
    return "\n".join(lines)
