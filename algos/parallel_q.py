"""Parallelised Q-learning: Q-learning on fresh rollouts, without replay buffer or target network.

`pqn` is independent, `pqn_vdn` adds the agents' utilities and `pqn_qmix` mixes them. After each
rollout of many environments: TD(lambda) targets by the present network, then epochs over shuffled
windows, as in PPO. Layer normalisation keeps the values stable where a target network did.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.inspecting import inspect_q
from marlx.algos.last_action import with_last_action
from marlx.algos.parallel_q_config import PQNConfig
from marlx.algos.q_config import QConfig
from marlx.algos.q_items import Item, pack, unpack
from marlx.algos.q_metrics import METRICS, loss_metrics
from marlx.algos.q_network import QNetwork, q_network
from marlx.algos.q_parts import act
from marlx.algos.q_schedules import exploration
from marlx.algos.q_state import QParams, QPolicy
from marlx.algos.td_credit import adjusted_terms
from marlx.algos.td_equations import TDTerms, double_q_values, masked_td_loss, td_targets
from marlx.data.minibatches import check_windows, permutations, take, windows
from marlx.data.ring import Rollout
from marlx.learner import Learner
from marlx.learning.part_rates import with_part_rates
from marlx.learning.schedule import falling
from marlx.nets import mixers
from marlx.nets.contract import has_memory
from marlx.nets.mixers import Mixer, window_values
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Transition


class PQNState(NamedTuple):
    """State of the learner between two updates."""

    params: QParams
    optimiser: optax.OptState
    rollout: Rollout  # the last one, [T, B, ...]
    steps: Array  # int32 [], environment steps observed


class Parts(NamedTuple):
    """The functions that the learner is made of."""

    config: PQNConfig
    shared: QConfig  # the settings that network, storage and TD error read
    net: QNetwork
    mixer: Mixer
    optimiser: optax.GradientTransformation  # without the step size


class Batch(NamedTuple):
    """Windows to learn from; leading axes [T, b]."""

    items: Item
    target: Array  # f32 [] or [N]
    mask: Array  # f32, same shape; 0 leaves a step out


def targets(parts: Parts, params: QParams, rollout: Rollout) -> Batch:
    """Returns a rollout [T, B, ...] with its TD(lambda) targets by the present network.

    The value of a next state is that of the step's own `next_obs`, before any reset.

    Source: Gallici et al. 2024, algorithm 1 and eq. 9. Differs from: its code, which bootstraps
    from the state after a time limit's reset.
    """
    c, net, mixer, items = parts.config, parts.net, parts.mixer, unpack(rollout.items)
    online, memory = net.unroll(params.agents, rollout.start[0], items.obs, items.done)
    following, _ = net.step(params.agents, memory, items.next_obs)
    of_next = (params.mixer, following)
    next_value = double_q_values(mixer, of_next, of_next, double=False)
    shape = window_values(mixer, params.mixer, online, items.action)
    terms = TDTerms(items.reward, items.discount, items.done, c.lambda_, jnp.ones_like(shape))
    terms = adjusted_terms(parts.shared, None, items, terms, mixer.per_agent)
    target = td_targets(terms.reward, terms.discount, next_value, terms.ended, terms.trace)
    return Batch(items, jnp.broadcast_to(target, shape.shape), terms.mask)


def loss(
    params: QParams, parts: Parts, memory: Array, batch: Batch
) -> tuple[Array, dict[str, Array]]:
    """Returns the mean squared error f32 [] of windows [T, b, ...] to their targets, and metrics.

    Args:
      params: of the network and the mixer.
      parts: of the learner.
      memory: f32 [b, N, M], before the first step of each window.
      batch: the windows.
    """
    items, mixer = batch.items, parts.mixer
    online, _ = parts.net.unroll(params.agents, memory, items.obs, items.done)
    value = window_values(mixer, params.mixer, online, items.action)
    error = value - batch.target
    total = masked_td_loss(error, batch.mask, jnp.ones(items.done.shape[1]))
    metrics = loss_metrics(mixer, params.mixer, online, items.action, value, error, batch.mask)
    return total, {"loss": total, **metrics}


def update(parts: Parts, state: PQNState, key: Array) -> tuple[PQNState, dict[str, Array]]:
    """Returns the state after all epochs on the last rollout, and metrics."""
    c = parts.config
    window = c.window if has_memory(state.rollout.start) else 1
    batch = targets(parts, state.params, state.rollout)
    data = jax.tree.map(lambda x: windows(x, window), batch)
    count = state.rollout.items.done.size // window
    memory = jax.tree.map(lambda x: x[::window].reshape(count, *x.shape[2:]), state.rollout.start)
    rate = c.lr * falling(c.lr_steps, state.steps)

    def step(trained: tuple[QParams, Any], chosen: Array) -> tuple[Any, dict[str, Array]]:
        params, optimiser = trained
        of_batch = take(memory, chosen, 0), take(data, chosen, 1)
        gradient, metrics = jax.grad(loss, has_aux=True)(params, parts, *of_batch)
        change, optimiser = parts.optimiser.update(gradient, optimiser, params)
        params = jax.tree.map(lambda p, s: p - rate * s, params, change)
        return (params, optimiser), {**metrics, "grad_norm": optax.tree.norm(gradient)}

    orders = permutations(key, c.epochs, count).reshape(c.epochs * c.minibatches, -1)
    (params, optimiser), each = jax.lax.scan(step, (state.params, state.optimiser), orders)
    metrics = {name: each[name].mean() for name in METRICS} | {"samples": each["samples"].sum()}
    epsilon = jnp.asarray(exploration(parts.shared, state.steps), jnp.float32)
    metrics |= {"epsilon": epsilon, "lr": jnp.asarray(rate, jnp.float32)}
    return state._replace(params=params, optimiser=optimiser), metrics


def parallel_q_learner(spec: EnvSpec, config: PQNConfig, mixer: Mixer) -> Learner:
    """Returns the learner that `pqn`, `pqn_vdn` and `pqn_qmix` are instances of.

    Args:
      spec: of the environment.
      config: settings.
      mixer: combines the agents' utilities into the value that is learned.

    Raises:
      ValueError: the actions are continuous, or agents' own rewards are asked of a team's value.

    Source: Gallici et al. 2024, "Simplifying Deep Temporal Difference Learning" (PQN, PQN-VDN).
    Differs from: its networks, of which every layer is normalised; here it is the encoder.
    """
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(parallel_q_learner, config=plain, mixer=mixer)
        return with_last_action(spec, build)._replace(config=config)
    if config.reward == "own" and not mixer.per_agent:
        raise ValueError("reward is 'own'; only independent learners can learn from their own")
    shared = config.of_q_learner()
    clip = optax.clip_by_global_norm(config.max_grad_norm)
    optimiser = with_part_rates(optax.chain(clip, optax.scale_by_radam()))
    parts = Parts(config, shared, q_network(spec, shared), mixer, optimiser)
    store = functools.partial(pack, spec, shared, mixer.uses_state)

    def init(key: Array, example: Transition) -> PQNState:
        length, num_envs = example.terminated.shape
        window = config.window if has_memory(example.memory) else 1
        check_windows(length, num_envs, window, config.minibatches)
        key_agents, key_mixer = jax.random.split(key)
        params = QParams(parts.net.init(key_agents), mixer.init(key_mixer))
        shapes = jax.eval_shape(store, example)
        rollout = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return PQNState(params, optimiser.init(params), rollout, jnp.int32(0))

    return Learner(
        init=init,
        memory=parts.net.memory,
        policy=lambda state: QPolicy(state.params, state.steps),
        act=functools.partial(act, parts.net, mixer, functools.partial(exploration, shared)),
        observe=lambda state, t: state._replace(rollout=store(t), steps=state.steps + t.done.size),
        update=functools.partial(update, parts),
        inspect=inspect_q(parts.net),
        config=config,
    )


# --- algorithms ---


def _configured(config: PQNConfig | None, settings: dict[str, Any]) -> PQNConfig:
    return dataclasses.replace(config or PQNConfig(), **settings)


def pqn(spec: EnvSpec, config: PQNConfig | None = None, **settings: Any) -> Learner:
    """PQN with independent agents on the team reward (Gallici et al. 2024)."""
    return parallel_q_learner(spec, _configured(config, settings), mixers.independent())


def pqn_vdn(spec: EnvSpec, config: PQNConfig | None = None, **settings: Any) -> Learner:
    """PQN-VDN: the team value is the sum of the agents' (Gallici et al. 2024)."""
    return parallel_q_learner(spec, _configured(config, settings), mixers.additive())


def pqn_qmix(spec: EnvSpec, config: PQNConfig | None = None, **settings: Any) -> Learner:
    """PQN with QMIX's mixer: the team value is monotonic in each agent's."""
    c = _configured(config, settings)
    mixer = mixers.monotonic(
        spec, embed=c.mixer_embed, hypernet=c.mixer_hidden, normalise=c.mixer_norm
    )
    return parallel_q_learner(spec, c, mixer)


ALGORITHMS = tuple(
    Algorithm(name, summary, PQNConfig, build, preset="pqn")
    for name, summary, build in (
        ("pqn", "independent Q-learning on fresh rollouts, no replay", pqn),
        ("pqn_vdn", "PQN with the sum of utilities", pqn_vdn),
        ("pqn_qmix", "PQN with QMIX's mixer", pqn_qmix),
    )
)
