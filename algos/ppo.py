"""Proximal policy optimisation for teams: IPPO, MAPPO, and IA2C, MAA2C as settings of the same.

What tells IPPO from MAPPO is what the critic reads: each agent's own observation, or the global
state. With one epoch over one minibatch the ratios are 1 and nothing is clipped: that is A2C.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.ppo_config import A2CConfig, PPOConfig, RewardOf
from marlx.data.minibatches import chosen_of, orders_of, scan_wanted, windows
from marlx.learner import Learner
from marlx.learning.distributions import distribution
from marlx.learning.returns import batched_lambda_returns
from marlx.learning.running_moments import Moments, extend, moments
from marlx.nets.agents import AgentNetwork, TeamNetwork, central_network, team_network
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Observation, Transition, Tree


class PPOParams(NamedTuple):
    """What is trained."""

    actor: Tree  # [G, ...], stacked by parameter set
    critic: Tree  # () where the trunk is shared: values are then the actor's last output


class Acted(NamedTuple):
    """What `act` adds to a transition."""

    raw: Array  # what was drawn, see `marlx.learning.distributions`: int32 [N] or f32 [N, A]
    log_prob: Array  # f32 [N], of that draw


class PPOState(NamedTuple):
    """Everything the learner carries from one update to the next."""

    params: PPOParams
    optimiser: optax.OptState
    rollout: Transition  # the last one, [T, B, ...]
    memory: Array  # f32 [B, N or 1, M], the critic's before that rollout
    returns: Moments
    steps: Array  # int32 [], environment steps observed


class Critic(NamedTuple):
    """Values of every agent, f32 [..., N], whatever they are computed from."""

    init: Callable[[Array], Tree]
    memory: Callable[[int], Array]
    once: Callable[[Tree, Array, Observation], Array]
    along: Callable[[Tree, Array, Observation, Array], tuple[Array, Array]]


class Sequence(NamedTuple):
    """What is learned from; leading axes [T, b] within a minibatch."""

    obs: Observation
    mask: Array  # bool [N, A]
    done: Array  # bool []
    acted: Acted
    value: Array  # f32 [N], normalised, when it was collected
    target: Array  # f32 [N], the return, normalised
    advantage: Array  # f32 [N]
    weight: Array | None  # f32 [N], how much is learned from the step; None: all alike


def critic_network(spec: EnvSpec, config: PPOConfig, central: bool) -> Critic:
    """Reads each agent's observation, or, where `central`, the global state.

    A central critic is computed once per state, not once per agent: it has an output for every
    agent, or a single one where all agents are paid the team's reward.
    """
    outputs = (1 if config.reward == "team" else spec.num_agents) if central else 1
    net = AgentNetwork(outputs, config.hidden, config.recurrent, config.layer_norm)
    if central:
        team = central_network(net, spec)
    else:
        team = team_network(net, spec, config.sharing, config.agent_id)

    def each(outputs: Array) -> Array:
        values = outputs[..., 0, :] if central else outputs[..., 0]
        return jnp.broadcast_to(values, (*values.shape[:-1], spec.num_agents))

    def once(params: Tree, memory: Array, obs: Observation) -> Array:
        return each(team.once(params, memory, obs)[0])

    def along(params: Tree, memory: Array, obs: Observation, done: Array) -> tuple[Array, Array]:
        values, _, memories = team.along(params, memory, obs, done)
        return each(values), memories

    return Critic(team.init, team.memory, once, along)


def second_head(actor: TeamNetwork) -> Critic:
    """Values that are the last output of the actor's own network, from the actor's parameters."""

    def once(params: Tree, memory: Array, obs: Observation) -> Array:
        return actor.once(params, memory, obs)[0][..., -1]

    def along(params: Tree, memory: Array, obs: Observation, done: Array) -> tuple[Array, Array]:
        outputs, _, memories = actor.along(params, memory, obs, done)
        return outputs[..., -1], memories

    return Critic(actor.init, actor.memory, once, along)


def ppo_learner(spec: EnvSpec, config: PPOConfig, *, central: bool) -> Learner:
    """The learner that `ippo`, `mappo`, `ia2c` and `maa2c` are instances of.

    Advantages are computed from every step's own `next_obs`, so that a time limit is bootstrapped
    through and an auto-reset cannot leak into a value. What an agent does not have (padding of its
    observation, illegal actions, missing components) reaches no loss. Where transitions have a
    weight, no more minibatches are made than the sequences with some of it fill.

    Args:
      spec: the environment's.
      config: settings.
      central: whether the critic reads the global state.

    Source: Schulman et al. 2017 (PPO) and 2016 (GAE); Yu et al. 2022 (MAPPO: value normalisation,
    clipped values, recurrent chunks). Differs from: MAPPO's code, where a central critic is
    computed for every agent and values are normalised by a bias-corrected moving average (here:
    moments that forget one per cent with every rollout).
    """
    c = config
    kind = distribution(spec, c.bounded)
    shared = c.trunk == "shared"
    if shared and central:
        raise ValueError(
            "trunk is 'shared'; it must be 'separate' where the critic reads the global state"
        )
    outputs = kind.num_outputs(spec.num_actions) + shared
    net = AgentNetwork(outputs, c.hidden, c.recurrent, c.layer_norm, head_scale=0.01)
    actor = team_network(net, spec, c.sharing, c.agent_id)
    critic = second_head(actor) if shared else critic_network(spec, c, central)
    adam = optax.chain(optax.clip_by_global_norm(c.max_grad_norm), optax.scale_by_adam(eps=1e-5))

    def init(key: Array, example: Transition) -> PPOState:
        length, num_envs = example.terminated.shape
        window = c.window if c.recurrent else 1
        if length % window:
            raise ValueError(f"window is {window}; it must divide the rollout length ({length})")
        if length // window * num_envs % c.minibatches:
            raise ValueError(
                f"minibatches is {c.minibatches}; it must divide the {length // window * num_envs} "
                f"sequences of a rollout ({num_envs} environments x {length} steps in windows of "
                f"{window})"
            )
        key_actor, key_critic = jax.random.split(key)
        params = PPOParams(actor.init(key_actor), () if shared else critic.init(key_critic))
        return PPOState(
            params,
            adam.init(params),
            jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), example),
            critic.memory(num_envs),
            moments(),
            jnp.int32(0),
        )

    def act(
        policy: Tree, memory: Array, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Array, Acted]:
        outputs, _, memory = actor.once(policy, memory, obs)
        outputs = outputs[..., :-1] if shared else outputs
        mask = obs.action_mask
        raw = kind.sample(key, outputs, mask) if explore else kind.mode(outputs, mask)
        return kind.action(raw, mask), memory, Acted(raw, kind.log_prob(outputs, mask, raw))

    def extras(num_envs: int) -> Acted:
        outputs = jnp.zeros((num_envs, spec.num_agents, kind.num_outputs(spec.num_actions)))
        mask = jnp.ones((num_envs, spec.num_agents, spec.num_actions), bool)
        raw = kind.mode(outputs, mask)
        return Acted(raw, kind.log_prob(outputs, mask, raw))

    def observe(state: PPOState, rollout: Transition) -> PPOState:
        return state._replace(rollout=rollout, steps=state.steps + rollout.done.size)

    def prepare(state: PPOState) -> tuple[PPOState, Sequence, tuple[Array, Array]]:
        """Values and advantages of the rollout, and the memories [T, B, ...] before each step."""
        t, params = state.rollout, state.params.actor if shared else state.params.critic
        value, after = critic.along(params, state.memory, t.obs, t.done)
        next_value = critic.once(params, after, t.next_obs)
        centre, spread = _scale(c, state.returns)
        discount, ended, keep = _ends(c, t)
        goal = batched_lambda_returns(
            _rewards(spec, c.reward, t.reward),
            discount,
            next_value * spread + centre,
            ended,
            keep,
        )
        advantage = goal - (value * spread + centre)
        returns = extend(state.returns, goal, keep=0.99)
        new_centre, new_spread = _scale(c, returns)
        moved = (value * spread + centre - new_centre) / new_spread  # in the units learned in now
        target = (goal - new_centre) / new_spread
        carried = jnp.where(t.done[..., None, None], 0.0, after)  # what the next step starts from
        before = jnp.concatenate([state.memory[None], carried[:-1]])
        state = state._replace(memory=carried[-1], returns=returns)
        obs = t.obs
        mask, weight = obs.action_mask, _weight(t)
        data = Sequence(obs, mask, t.done, t.extras, moved, target, advantage, weight)
        return state, data, (t.memory, before)

    def loss(
        params: PPOParams, data: Sequence, memory: tuple[Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        outputs, _, _ = actor.along(params.actor, memory[0], data.obs, data.done)
        if shared:
            outputs, value = outputs[..., :-1], outputs[..., -1]
        else:
            value, _ = critic.along(params.critic, memory[1], data.obs, data.done)
        log_prob = kind.log_prob(outputs, data.mask, data.acted.raw)
        w = data.weight
        entropy = _mean(kind.entropy(outputs, data.mask, data.acted.raw), w)
        gap = log_prob - data.acted.log_prob
        advantage = _normalised(c, data.advantage, w)
        policy_loss = _mean(clipped_policy_loss(gap, advantage, c.clip), w)
        value_loss = _mean(clipped_value_loss(value, data.value, data.target, c.value_clip), w)
        total = policy_loss + c.value_weight * value_loss - c.entropy * entropy
        metrics = {
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy": entropy,
            "kl": _mean(jnp.expm1(gap) - gap, w),  # Schulman's estimate, never negative
            "clipped": _mean(jnp.abs(jnp.expm1(gap)) > c.clip, w),
        }
        return total, metrics

    def update(state: PPOState, key: Array) -> tuple[PPOState, dict[str, Array]]:
        state, data, memory = prepare(state)
        window = c.window if c.recurrent else 1
        sequences = jax.tree.map(lambda x: windows(x, window), data)  # [window, S, ...]
        count = sequences.done.shape[1]
        starts = jax.tree.map(lambda x: x[::window].reshape(count, *x.shape[2:]), memory)
        left = jnp.maximum(0.0, 1.0 - state.steps / jnp.maximum(c.lr_steps, 1))
        left = jnp.where(c.lr_steps > 0, left, 1.0)
        rate = c.lr * left

        def one(
            carry: tuple[PPOParams, optax.OptState], chosen: Array
        ) -> tuple[tuple[PPOParams, optax.OptState], dict[str, Array]]:
            params, optimiser = carry
            batch, start = chosen_of(sequences, chosen, 1), chosen_of(starts, chosen, 0)
            gradient, metrics = jax.grad(loss, has_aux=True)(params, batch, start)
            step, optimiser = adam.update(gradient, optimiser, params)
            params = jax.tree.map(lambda p, s: p - rate * s, params, step)
            metrics["grad_norm"] = optax.tree.norm(gradient)
            return (params, optimiser), metrics

        orders = orders_of(key, c.epochs, count).reshape(c.epochs * c.minibatches, -1)
        start = state.params, state.optimiser
        learned = state.rollout.weight
        if learned is None:
            (params, optimiser), metrics = jax.lax.scan(one, start, orders)
            metrics = jax.tree.map(jnp.mean, metrics)
        else:
            wanted = windows(learned > 0, window).any(0)
            (params, optimiser), metrics = scan_wanted(one, start, orders, wanted, c.epochs)
        spread = jnp.var(data.target)
        unexplained = jnp.var(data.target - data.value) / jnp.maximum(spread, 1e-8)
        metrics = {
            **metrics,
            "value": _unscaled(c, state.returns, data.value).mean(),
            "explained_variance": 1.0 - unexplained,
            "lr": jnp.asarray(rate, jnp.float32),
            "samples": jnp.float32(data.done.size) if learned is None else learned.sum(),
        }
        metrics["samples"] *= c.epochs  # steps that gradients were taken of
        if len(spec.groups) > 1:  # where groups compete, a return over all of them says little
            for name, members in spec.groups:
                metrics[f"reward_{name}"] = state.rollout.reward[..., list(members)].mean()
        return state._replace(params=params, optimiser=optimiser), metrics

    return Learner(
        init=init,
        memory=actor.memory,
        policy=lambda state: state.params.actor,
        act=act,
        observe=observe,
        update=update,
        config=config,
        extras=extras,
    )


def clipped_policy_loss(gap: Array, advantage: Array, clip: float) -> Array:
    """f32 [...], PPO's pessimistic surrogate, to be minimised (Schulman et al. 2017, eq. 7).

    Args:
      gap: f32 [...], log-probability of the action now, less that when it was taken.
      advantage: f32 [...].
      clip: epsilon.
    """
    ratio = jnp.exp(gap)
    bounded = jnp.clip(ratio, 1.0 - clip, 1.0 + clip)
    return -jnp.minimum(ratio * advantage, bounded * advantage)


def clipped_value_loss(value: Array, old: Array, target: Array, clip: float) -> Array:
    """f32 [...], half the squared error, the larger of clipped and not; `clip` 0 is no clipping.

    Args:
      value: f32 [...], predicted now.
      old: f32 [...], predicted when the rollout was collected.
      target: f32 [...].
      clip: how far a value may move from `old` before it gets no more gradient.
    """
    error = (value - target) ** 2
    clipped = (old + jnp.clip(value - old, -clip, clip) - target) ** 2
    return 0.5 * jnp.where(clip > 0, jnp.maximum(error, clipped), error)


def _rewards(spec: EnvSpec, reward: RewardOf, each: Array) -> Array:
    """f32 [..., N], what each agent is paid for, from the agents' rewards f32 [..., N]."""
    if reward == "own":
        return each
    if reward == "team":
        return jnp.broadcast_to(spec.team_reward(each)[..., None], each.shape)
    paid = [each] * 0
    for i in range(spec.num_agents):
        members = next(group for _, group in spec.groups if i in group)
        paid.append(spec.team_reward(each[..., list(members)]))
    return jnp.stack(paid, -1)


def _ends(c: PPOConfig, t: Transition) -> tuple[Array, Array, Array]:
    """Discount, ends of returns and lambda: [T, B], [T, B, N] or [], as agents differ in them."""
    if t.credit is None:
        return jnp.where(t.terminated, 0.0, c.gamma), t.done, jnp.float32(c.lambda_)
    keep = jnp.where(t.credit.held, 1.0, c.lambda_)
    return jnp.where(t.credit.terminated, 0.0, c.gamma), t.credit.ended, keep


def _weight(t: Transition) -> Array | None:
    """f32 [T, B, N], how much each agent learns from each step; None where all count alike."""
    share = None if t.credit is None else t.credit.weight
    if t.weight is None:
        return share
    return jnp.broadcast_to(t.weight[..., None], t.reward.shape) * (1.0 if share is None else share)


def _mean(x: Array, weight: Array | None, axes: tuple[int, ...] | None = None) -> Array:
    """The mean of `x` over `axes`, all if None; with `weight` of the same shape, the weighted."""
    if weight is None:
        return x.mean(axes, keepdims=axes is not None)
    total = jnp.maximum(weight.sum(axes, keepdims=axes is not None), 1e-6)
    return (x * weight).sum(axes, keepdims=axes is not None) / total


def _scale(config: PPOConfig, seen: Moments) -> tuple[Array, Array]:
    """What values are shifted by and multiplied with to be returns."""
    if not config.normalise_value:
        return jnp.float32(0), jnp.float32(1)
    return seen.mean, jnp.where(seen.number > 0, seen.deviation, 1.0)


def _unscaled(config: PPOConfig, seen: Moments, value: Array) -> Array:
    centre, spread = _scale(config, seen)
    return value * spread + centre


def _normalised(config: PPOConfig, advantage: Array, weight: Array | None) -> Array:
    """Over all agents where they are paid alike, over each agent's own where they are not."""
    if not config.normalise_advantage:
        return advantage
    axes = None if config.reward == "team" else (0, 1)
    centred = advantage - _mean(advantage, weight, axes)
    return centred / (jnp.sqrt(_mean(centred**2, weight, axes)) + 1e-8)


def _learner(
    kind: type[PPOConfig], spec: EnvSpec, config: PPOConfig | None, settings: Any, central: bool
) -> Learner:
    return ppo_learner(spec, dataclasses.replace(config or kind(), **settings), central=central)


def ippo(spec: EnvSpec, config: PPOConfig | None = None, **settings: Any) -> Learner:
    """Independent PPO: each agent's critic sees what the agent sees (de Witt et al. 2020)."""
    return _learner(PPOConfig, spec, config, settings, central=False)


def mappo(spec: EnvSpec, config: PPOConfig | None = None, **settings: Any) -> Learner:
    """Multi-agent PPO: the critic sees the global state (Yu et al. 2022)."""
    return _learner(PPOConfig, spec, config, settings, central=True)


def ia2c(spec: EnvSpec, config: A2CConfig | None = None, **settings: Any) -> Learner:
    """Independent advantage actor-critic (Mnih et al. 2016, as in Papoudakis et al. 2021)."""
    return _learner(A2CConfig, spec, config, settings, central=False)


def maa2c(spec: EnvSpec, config: A2CConfig | None = None, **settings: Any) -> Learner:
    """Multi-agent advantage actor-critic: the critic sees the global state."""
    return _learner(A2CConfig, spec, config, settings, central=True)


ALGORITHMS = tuple(
    Algorithm(name, summary, config, build, preset=preset)
    for name, summary, config, build, preset in (
        ("ippo", "independent PPO", PPOConfig, ippo, "ppo"),
        ("mappo", "PPO with a critic of the global state", PPOConfig, mappo, "ppo"),
        ("ia2c", "independent advantage actor-critic", A2CConfig, ia2c, "a2c"),
        ("maa2c", "actor-critic with a critic of the global state", A2CConfig, maa2c, "a2c"),
    )
)
