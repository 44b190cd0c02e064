"""MANSA: centralised learning only where it pays, a combinator over any two learners.

A third learner, the switch, sees the global state and decides at every step, in each environment,
which of the two acts: the independent one, or, at a price, the centralised one. Each learns from
the steps it is responsible for. docs/mansa.md says what is the paper's and what is our reading.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos import ppo, q_learning
from marlx.algos.switching.config import CallConfig, MansaConfig, MansaPPOConfig
from marlx.algos.switching.switch import Memory, look, switch_learner
from marlx.learner import Learner, where_done
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree

_SWITCH = 1_000_003  # folded into keys for the switch; parts are given the keys themselves


class Acted(NamedTuple):
    """What `act` adds to a transition."""

    independent: Tree
    centralised: Tree
    switch: Tree
    called: Array  # bool [B], g: the centralised learner acted
    open: Array  # bool [B], the run's budget allowed it


class MansaPolicy(NamedTuple):
    """What acting needs."""

    independent: Tree
    centralised: Tree
    switch: Tree
    open: Array  # bool [], the run's budget allows calls in the next rollout


class MansaState(NamedTuple):
    """Everything carried from one update to the next."""

    independent: Tree
    centralised: Tree
    switch: Tree
    calls: Array  # int32 [], centralised calls so far, in training
    samples: Array  # int32 [], steps that gradients of the centralised learner were taken of
    rollout: Array  # int32 [], steps in a rollout
    recent: dict[str, Array]  # metrics of the last rollout


def mansa(
    spec: EnvSpec,
    independent: Learner,
    centralised: Learner,
    switch: Learner,
    config: CallConfig,
    *,
    warmup: int | None = None,
) -> Learner:
    """The learner that switches between two.

    At every step and in each environment `switch` chooses g. Both learners advance their memories;
    where g is 0 the action of `independent` is taken, where it is 1 that of `centralised`. Each is
    given the whole rollout, with a weight of 0 at the steps that it does not learn from, and
    bootstraps on itself. Both are handed the very keys that they would be handed alone, and the
    switch keys of its own: with g fixed, this is the one learner or the other to the last bit.

    Args:
      spec: the environment's.
      independent: acts where g is 0.
      centralised: acts where g is 1. It must heed `Transition.weight`, as must `independent` where
        `il_trains_on` is `g0`.
      switch: a learner for `switch_spec(spec)`.
      config: when calls may be made, and what is learned from which steps.
      warmup: environment steps before the first update; the most that one of the three asks for by
        default.

    Source: Mguni et al. 2023 (MANSA), in the reading of docs/mansa.md.
    """
    c = config
    parts = {"independent": independent, "centralised": centralised, "switch": switch}

    def memory(num_envs: int) -> Memory:
        none = jnp.zeros(num_envs, jnp.int32)
        inner = [part.memory(num_envs) for part in parts.values()]
        return Memory(inner[0], inner[1], inner[2], none, none)

    def policy(state: MansaState) -> MansaPolicy:
        limit = 2**31 - 1 if c.run_budget is None else c.run_budget
        open_ = state.calls <= limit - state.rollout
        inner = [part.policy(getattr(state, name)) for name, part in parts.items()]
        return MansaPolicy(inner[0], inner[1], inner[2], open_)

    def act(
        policy: MansaPolicy, memory: Memory, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Memory, Acted]:
        if not explore and c.execution != "switched":
            return act_alone(policy, memory, obs, key)
        # the run's budget is one of training
        open_ = jnp.broadcast_to(policy.open if explore else True, memory.calls.shape)
        choice, after, said = switch.act(
            policy.switch,
            memory.switch,
            look(spec, c.budget, obs, memory, open_),
            jax.random.fold_in(key, _SWITCH),
            explore,
        )
        called = choice[:, 0] == 1
        alone, after_alone, said_alone = independent.act(
            policy.independent, memory.independent, obs, key, explore
        )
        joint, after_joint, said_joint = centralised.act(
            policy.centralised, memory.centralised, obs, key, explore
        )
        action = where_done(called, joint, alone)
        count = memory.calls + called
        memory = Memory(after_alone, after_joint, after, count, called.astype(jnp.int32))
        return action, memory, Acted(said_alone, said_joint, said, called, open_)

    def act_alone(
        policy: MansaPolicy, memory: Memory, obs: Observation, key: Array
    ) -> tuple[Array, Memory, Acted]:
        """Greedily, by one of the two, the other being left out of the computation."""
        name = c.execution
        action, inner, said = parts[name].act(
            getattr(policy, name), getattr(memory, name), obs, key, False
        )
        called = jnp.full(memory.calls.shape, name == "centralised")
        memory = memory._replace(**{name: inner}, calls=memory.calls + called)
        return action, memory, Acted((), (), (), called, called)._replace(**{name: said})

    def view(t: Transition, name: str) -> Transition:
        """The rollout as one of the two learners is to see it."""
        mine = t.extras.called if name == "centralised" else ~t.extras.called
        steps = c.cl_trains_on if name == "centralised" else c.il_trains_on
        weight = mine.astype(jnp.float32)
        if steps == "paced":  # its calls' worth of updates, laid over all steps of the rollout
            weight = jnp.broadcast_to(weight.mean(), weight.shape)
        return t._replace(
            memory=getattr(t.memory, name),
            extras=getattr(t.extras, name),
            weight=None if steps == "all" else weight,
        )

    def switch_view(t: Transition) -> Transition:
        """The rollout as a game of the switch: it earns what the team does."""
        called = t.extras.called
        later = t.memory._replace(calls=t.memory.calls + called, last=called.astype(jnp.int32))
        return t._replace(
            obs=look(spec, c.budget, t.obs, t.memory, t.extras.open),
            action=called.astype(jnp.int32)[..., None],
            reward=spec.team_reward(t.reward)[..., None],
            next_obs=look(spec, c.budget, t.next_obs, later, t.extras.open),
            memory=t.memory.switch,
            extras=t.extras.switch,
        )

    def extras(num_envs: int) -> Acted:
        inner = [part.extras(num_envs) for part in parts.values()]
        none = jnp.zeros(num_envs, bool)
        return Acted(inner[0], inner[1], inner[2], none, none)

    def views(t: Transition) -> tuple[Transition, Transition, Transition]:
        return view(t, "independent"), view(t, "centralised"), switch_view(t)

    def init(key: Array, example: Transition) -> MansaState:
        alone, joint, above = jax.eval_shape(views, example)
        return MansaState(
            independent.init(key, alone),
            centralised.init(key, joint),
            switch.init(jax.random.fold_in(key, _SWITCH), above),
            jnp.int32(0),
            jnp.int32(0),
            jnp.int32(example.terminated.size),
            _recent(c, None),
        )

    def observe(state: MansaState, t: Transition) -> MansaState:
        inner = {
            name: part.observe(getattr(state, name), seen)
            for (name, part), seen in zip(parts.items(), views(t), strict=True)
        }
        calls = state.calls + t.extras.called.sum(dtype=jnp.int32)
        return state._replace(**inner, calls=calls, recent=_recent(c, t))

    def update(state: MansaState, key: Array) -> tuple[MansaState, dict[str, Array]]:
        keys = key, key, jax.random.fold_in(key, _SWITCH)
        metrics, inner = dict(state.recent), {}
        for (name, part), own in zip(parts.items(), keys, strict=True):
            inner[name], told = part.update(getattr(state, name), own)
            metrics |= {f"{name}_{what}": value for what, value in told.items()}
        samples = metrics.get("centralised_samples", jnp.float32(0)).astype(jnp.int32)
        return state._replace(**inner, samples=state.samples + samples), metrics

    def describe(memory: Memory, extras: Acted) -> str:
        limit = "" if c.budget is None else f" of {c.budget}"
        mode = "CENTRALISED" if extras.called else "independent"
        lines = [f"{mode}   calls {int(memory.calls)}{limit}"]
        for name in ("independent", "centralised"):
            tell = parts[name].describe
            if tell is not None:
                lines.append(tell(getattr(memory, name), getattr(extras, name)))
        return "\n".join(lines)

    return Learner(
        init=init,
        memory=memory,
        policy=policy,
        act=act,
        observe=observe,
        update=update,
        warmup=max(part.warmup for part in parts.values()) if warmup is None else warmup,
        config=config,
        describe=describe,
        totals=lambda state: {
            "centralised_calls": state.calls,
            "centralised_samples_total": state.samples,
        },
        extras=extras,
    )


def _recent(c: CallConfig, t: Transition | None) -> dict[str, Array]:
    """Metrics of a rollout; all nan where there was none yet.

    `call_rate` is calls per step, `calls_per_episode` and `budget_left` (calls that an episode did
    not use) are means over the episodes that ended, nan where none did.
    """
    names = ("call_rate", "calls_per_episode", *(["budget_left"] if c.budget is not None else []))
    if t is None:
        return {name: jnp.float32(jnp.nan) for name in names}
    called, done = t.extras.called, t.done
    calls = ((t.memory.calls + called) * done).sum() / done.sum()
    values = (called.mean(), calls, (c.budget or 0) - calls)
    return {name: jnp.float32(value) for name, value in zip(names, values, strict=False)}


def _combined(
    spec: EnvSpec,
    config: MansaConfig | MansaPPOConfig,
    independent: Learner,
    centralised: Learner,
) -> Learner:
    """With g fixed the learner that does not act does not delay the other's first update."""
    warmup = {"never": independent.warmup, "always": centralised.warmup}.get(config.switching)
    switch = switch_learner(spec, config, config.switch)
    return mansa(spec, independent, centralised, switch, config, warmup=warmup)


def mansa_q(spec: EnvSpec, config: MansaConfig | None = None, **settings: Any) -> Learner:
    """MANSA over independent Q-learning and a centralised Q-learner."""
    c = dataclasses.replace(config or MansaConfig(), **settings)
    build = getattr(q_learning, c.mixer)
    return _combined(spec, c, q_learning.iql(spec, c.independent), build(spec, c.centralised))


def mansa_ppo(spec: EnvSpec, config: MansaPPOConfig | None = None, **settings: Any) -> Learner:
    """MANSA over IPPO and MAPPO, each with an actor of its own."""
    c = dataclasses.replace(config or MansaPPOConfig(), **settings)
    return _combined(spec, c, ppo.ippo(spec, c.independent), ppo.mappo(spec, c.centralised))


ALGORITHMS = (
    Algorithm(
        "mansa",
        "IQL, and a centralised Q-learner where a switch calls it",
        MansaConfig,
        mansa_q,
        parts=(("independent", "iql"), ("centralised", "qmix")),
    ),
    Algorithm(
        "mansa_ppo",
        "IPPO, and MAPPO where a switch calls it",
        MansaPPOConfig,
        mansa_ppo,
        parts=(("independent", "ippo"), ("centralised", "mappo")),
    ),
)
