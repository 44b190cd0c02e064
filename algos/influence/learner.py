"""AMI: an adversary by PPO that is rewarded for what it makes the other agents do.

It controls a minority of a team whose other members are fixed, and is paid minus their return
(`partners/...` with `reward` against). A model predicts what they do next; an oracle proposes what
they should do; the adversary pays for the distance of the two. It acts by its own observation
alone; everything else is read in training.

Source: Li et al. 2023 (AMI), arXiv 2302.03322, and the authors' code. Differs from: it, in the
oracle's learning (`marlx.algos.influence.oracle`), in the exact expectation over own actions, and
in the scale of the penalty. Several adversaries, of which there is one there, have a penalty each,
with what the other adversaries do held fixed.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.algos.influence import model as next_actions_of
from marlx.algos.influence import oracle as proposing
from marlx.algos.influence.config import AMIConfig
from marlx.algos.influence.equations import adversary_reward, penalties
from marlx.algos.influence.joint import (
    joint_inputs,
    legal,
    next_actions,
    others_actions,
    require_partners,
    widest,
)
from marlx.algos.influence.model import Examples, ModelParts, ModelState
from marlx.algos.last_action import refuse_last_action
from marlx.algos.ppo import PPOState, ppo_learner
from marlx.learner import Learner
from marlx.learning.running_moments import Moments, extend, moments
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Transition, Tree

OWN_KEYS = 2**31 - 5
"""Keys of model and oracle are folded in with it: those of PPO are as in `mappo`."""


class AMIState(NamedTuple):
    """Learner state."""

    ppo: PPOState
    model: ModelState
    oracle: Tree  # PPOState; () where targets are random, or there are none
    rewards: Moments  # of the team reward of a step


class Parts(NamedTuple):
    """The functions and settings that the learner is made of."""

    spec: EnvSpec
    config: AMIConfig
    ppo: Learner
    model: ModelParts
    oracle: Learner | None


class Proposed(NamedTuple):
    """Targets of a rollout."""

    target: Array  # int32 [T, B, V], what the others should do next
    probability: Array  # f32 [T, B, V, C], of the oracle's proposals
    drawn: Array  # int32 [T, B, V], its proposals


def inputs_size(spec: EnvSpec) -> int:
    """Returns the width of `joint_inputs`."""
    return (
        spec.state_size
        + spec.num_agents * spec.num_actions
        + len(spec.partner_actions) * widest(spec)
    )


def init(parts: Parts, key: Array, example: Transition) -> AMIState:
    """Returns the first state; see `Learner.init`."""
    spec, (length, num_envs) = parts.spec, example.terminated.shape
    width = inputs_size(spec)
    key_model, key_oracle = jax.random.split(jax.random.fold_in(key, OWN_KEYS))
    oracle: Tree = ()
    if parts.oracle is not None:

        def seen(t: Transition) -> Transition:
            inputs = jnp.zeros((length, num_envs, width))
            actions = jnp.zeros((length, num_envs, len(spec.partner_actions)), jnp.int32)
            chances = jnp.zeros((*actions.shape, widest(spec)))
            args = inputs, actions, chances, t.reward[..., 0], t.done
            return proposing.oracle_rollout(spec, t, *args)

        oracle = parts.oracle.init(key_oracle, jax.eval_shape(seen, example))
    model = next_actions_of.init(parts.model, key_model, width, num_envs)
    return AMIState(parts.ppo.init(key, example), model, oracle, moments())


def propose(parts: Parts, state: AMIState, inputs: Array, key: Array) -> Proposed:
    """Returns the targets of a rollout, by the setting `targets`.

    Args:
      parts: of the learner.
      state: its state.
      inputs: f32 [T, B, F].
      key: consumed.
    """
    key_draw, key_order = jax.random.split(key)
    if parts.oracle is None:
        legal_now = legal(parts.spec)
        chances = jnp.asarray(legal_now / legal_now.sum(-1, keepdims=True), jnp.float32)
        chances = jnp.broadcast_to(chances, (*inputs.shape[:2], *chances.shape))
        drawn = proposing.draw(key_draw, chances)
        return Proposed(drawn, chances, drawn)
    chances = proposing.proposals(parts.spec, parts.oracle, state.oracle, inputs)
    drawn = proposing.draw(key_draw, chances)
    if parts.config.targets == "shuffled":
        return Proposed(jax.random.permutation(key_order, drawn), chances, drawn)
    return Proposed(drawn, chances, drawn)


def own_probability(parts: Parts, state: AMIState, t: Transition) -> Array:
    """Returns f32 [T, B, N, A], how probable the adversary's actions were; see `influence_of`."""
    if parts.config.influence_of == "taken":
        return jax.nn.one_hot(t.action, parts.spec.num_actions)
    assert parts.ppo.inspect is not None, "actions are discrete"
    batch = t.done.shape
    memory, obs = jax.tree.map(lambda x: x.reshape(t.done.size, *x.shape[2:]), (t.memory, t.obs))
    shown = parts.ppo.inspect(parts.ppo.policy(state.ppo), memory, obs, ())["probability"]
    return shown.reshape(*batch, *shown.shape[1:])


def update(parts: Parts, state: AMIState, key: Array) -> tuple[AMIState, dict[str, Array]]:
    """Returns the state after the updates of adversary, model and oracle, and their metrics.

    The penalty is that of the model and the oracle before they learn from the rollout.
    """
    spec, config, t = parts.spec, parts.config, state.ppo.rollout
    key_target, key_model, key_oracle = jax.random.split(jax.random.fold_in(key, OWN_KEYS), 3)
    action = others_actions(spec, t)
    later, known = next_actions(action, t.done)
    inputs = joint_inputs(spec, t, action)
    proposed = propose(parts, state, inputs, key_target)

    params, before = state.model.params, state.model.memory
    _, memories = next_actions_of.unroll(parts.model, params, before, inputs, t.done)
    logits = next_actions_of.after_each_action(parts.model, params, memories, inputs)
    own = own_probability(parts, state, t)
    penalty = penalties(config, own, logits, proposed.target, t.obs.action_mask)
    rewards = extend(state.rewards, spec.team_reward(t.reward, t.obs.active))
    reward = adversary_reward(t.reward, penalty, config.influence, rewards.deviation)

    examples = Examples(inputs, later, known, t.done)
    after = next_memory(parts, params, memories[-1], inputs[-1], t.done[-1])
    model, metrics = next_actions_of.fit(parts.model, state.model, examples, after, key_model)
    oracle, oracle_metrics = state.oracle, dict[str, Array]()
    if parts.oracle is not None:
        learned = proposed.drawn if config.targets == "drawn" else later
        team = spec.team_reward(reward, t.obs.active)
        seen = proposing.oracle_rollout(spec, t, inputs, learned, proposed.probability, team, known)
        oracle, found = parts.oracle.update(parts.oracle.observe(oracle, seen), key_oracle)
        oracle_metrics = {f"oracle_{name}": found[name] for name in ("entropy", "kl")}
    ppo, ppo_metrics = parts.ppo.update(state.ppo._replace(rollout=t._replace(reward=reward)), key)
    metrics = {**ppo_metrics, **metrics, **oracle_metrics, "influence_penalty": penalty.mean()}
    metrics["reward_deviation"] = rewards.deviation
    return AMIState(ppo, model, oracle, rewards), metrics


def next_memory(parts: Parts, params: Tree, before: Array, inputs: Array, done: Array) -> Array:
    """Returns the model's memory f32 [B, 1, M] before the next rollout, from its last step."""
    apply: Callable[..., Any] = parts.model.network.apply
    after = apply(params, before, inputs[:, None])[2]
    return jnp.where(done[:, None, None], 0.0, after)


def ami(spec: EnvSpec, config: AMIConfig | None = None, **settings: Any) -> Learner:
    """Returns the learner; with `influence` 0 it is `mappo` with the settings `ppo`.

    Raises:
      ValueError: the environment does not say what the others do, actions are continuous, or the
        policy is to read its last action.
    """
    config = dataclasses.replace(config or AMIConfig(), **settings)
    refuse_last_action(ppo=config.ppo.last_action)
    ppo = ppo_learner(spec, config.ppo, central=True)
    if config.influence == 0:
        return ppo._replace(config=config)
    require_partners(spec)
    oracle = None
    if config.targets not in ("random", "none"):
        oracle = proposing.oracle_learner(spec, config.ppo, inputs_size(spec))
    recurrent = ppo.memory(1).shape[-1] > 0
    model = next_actions_of.model_parts(spec, config.model, recurrent=recurrent)
    parts = Parts(spec, config, ppo, model, oracle)
    return ppo._replace(
        init=functools.partial(init, parts),
        policy=lambda state: ppo.policy(state.ppo),
        observe=lambda state, rollout: state._replace(ppo=ppo.observe(state.ppo, rollout)),
        update=functools.partial(update, parts),
        config=config,
    )


ALGORITHMS = (
    Algorithm(
        "ami",
        "PPO against a team, rewarded for its influence (AMI)",
        AMIConfig,
        ami,
        parts=(("ppo", "mappo"),),
        example="partners/matrix/climbing",
    ),
)
