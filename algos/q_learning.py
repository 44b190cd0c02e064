"""Recurrent Q-learning for teams: IQL, VDN, QMIX, QPLEX and a joint-action Q.

One learner; what tells the five apart is the mixer (`marlx.nets.mixers`), nothing else.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.algos.q_config import QConfig
from marlx.data import replay
from marlx.learner import Learner
from marlx.learning.returns import batched_lambda_returns, epsilon_greedy
from marlx.learning.running_moments import Moments, extend, moments
from marlx.nets import mixers
from marlx.nets.agents import AgentNetwork, dormant, team_network
from marlx.nets.mixers import Mixer, Utilities, mixer_slope
from marlx.registry import Algorithm
from marlx.types import Array, Credit, EnvSpec, Observation, Transition, Tree
from marlx.xla.sharding import whole_of


class QParams(NamedTuple):
    """What is trained."""

    agents: Tree  # [G, ...], stacked by parameter set
    mixer: Tree


class QPolicy(NamedTuple):
    """What acting needs."""

    params: QParams
    steps: Array  # int32 [], environment steps seen, for the exploration schedule


class QState(NamedTuple):
    """Everything the learner carries from one update to the next."""

    params: QParams
    target: QParams
    optimiser: optax.OptState
    replay: replay.ReplayState
    rewards: Moments
    steps: Array  # int32 [], environment steps observed
    updates: Array  # int32 [], gradient updates made
    owed: Array  # f32 [], updates due for the steps observed, not made yet


class Item(NamedTuple):
    """One environment step as the replay holds it."""

    obs: Observation
    action: Array  # int [N]
    reward: Array  # f32 [], the team's, or [N], each agent's own
    discount: Array  # f32 [], what multiplies the next value: gamma, 0 at a true end
    done: Array  # bool [], the episode ended, for either reason
    next_obs: Observation  # before any reset
    weight: Array | None  # f32 [], how much is learned from the step; None: all alike
    credit: Credit | None  # where the step counts otherwise than the environment says


class QNetwork(NamedTuple):
    """The agents' network as functions of stacked parameters.

    Attributes:
      init: `(key) -> params [G, ...]`.
      once: `(params, memory [..., N, M], obs [..., N, ...]) -> Utilities, memory`, one step.
      along: `(params, memory [b, N, M], obs [T, b, N, ...], done [T, b]) -> Utilities, memories`, a
        window that may hold several episodes; memories `[T, b, N, M]` are those *after* each step.
      memory: `(B) -> f32 [B, N, M]`, an episode's first.
    """

    init: Callable[[Array], Tree]
    memory: Callable[[int], Array]
    once: Callable[[Tree, Array, Observation], tuple[Utilities, Array]]
    along: Callable[[Tree, Array, Observation, Array], tuple[Utilities, Array]]


def q_network(spec: EnvSpec, config: QConfig) -> QNetwork:
    """Networks that give each agent its utilities, shared as `config.sharing` says."""
    if spec.continuous:
        raise ValueError(
            f"{spec.id} has continuous actions; Q-learning chooses among discrete ones"
        )
    net = AgentNetwork(spec.num_actions, config.hidden, config.recurrent, config.layer_norm)
    team = team_network(net, spec, config.sharing, config.agent_id)

    def utilities(q: Array, features: Array, obs: Observation) -> Utilities:
        state = obs.global_state.astype(jnp.float32) / spec.scale
        return Utilities(q, features, obs.action_mask, state)

    def once(params: Tree, memory: Array, obs: Observation) -> tuple[Utilities, Array]:
        q, features, memory = team.once(params, memory, obs)
        return utilities(q, features, obs), memory

    def along(
        params: Tree, memory: Array, obs: Observation, done: Array
    ) -> tuple[Utilities, Array]:
        q, features, memories = team.along(params, memory, obs, done)
        return utilities(q, features, obs), memories

    return QNetwork(team.init, team.memory, once, along)


def q_learner(
    spec: EnvSpec, config: QConfig, mixer: Mixer, price: Callable[[Item], Array] | None = None
) -> Learner:
    """The Q-learner that `iql`, `vdn`, `qmix`, `qplex` and `joint_q` are instances of.

    Every value of a next state is computed from that step's own `next_obs` and the memory after the
    step, never from whatever follows in the window: so a time limit is bootstrapped through, and an
    auto-reset cannot leak into a target.

    Where transitions have a weight, the number of updates is in proportion to it, and only windows
    with some of it are drawn: steps without cost no gradient.

    Args:
      spec: the environment's.
      config: settings.
      mixer: how utilities become the value that is learned.
      price: `(items [T, b]) -> f32 [T, b]`, what actions cost, taken off the team reward after that
        has been scaled.

    Source: Hausknecht & Stone 2015 (recurrent replay), van Hasselt et al. 2016 (double Q),
    Kapturowski et al. 2019 (stored memory and burn-in); Papoudakis et al. 2021 for the settings.
    """
    c = config
    net = q_network(spec, c)
    adam = optax.chain(optax.clip_by_global_norm(c.max_grad_norm), optax.adam(c.lr, eps=1e-5))
    source = _source(c)

    # mixers are written for one state
    values = jax.vmap(jax.vmap(mixer.value, (None, 0, 0)), (None, 0, 0))
    greedy = jax.vmap(mixer.greedy, (None, 0))
    slopes = jax.vmap(functools.partial(mixer_slope, mixer), (None, 0, 0))
    _check_mixer(spec, c, mixer)

    def value_of(params: Tree, utilities: Utilities, action: Array, steps: Array) -> Array:
        value = values(params, utilities, action)
        if not c.mixing_delay:
            return value
        alone = jax.vmap(jax.vmap(mixers.chosen))(utilities.q, action)
        return jnp.where(steps <= c.mixing_delay, alone, value[..., None])

    def init(key: Array, example: Transition) -> QState:
        length = example.terminated.shape[0]
        if length % c.window and c.window % length:
            raise ValueError(
                f"window is {c.window}; it must divide the rollout length ({length}) or be a "
                f"multiple of it"
            )
        key_agents, key_mixer = jax.random.split(key)
        params = QParams(net.init(key_agents), mixer.init(key_mixer))
        return QState(
            params,
            jax.tree.map(jnp.copy, params),  # its own buffers, so that the state can be donated
            adam.init(params),
            source.init(jax.eval_shape(store, example)),
            moments(),
            jnp.int32(0),
            jnp.int32(0),
            jnp.float32(0),
        )

    def act(
        policy: QPolicy, memory: Array, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Array, Tree]:
        utilities, memory = net.once(policy.params.agents, memory, obs)
        action = greedy(policy.params.mixer, utilities)
        if explore:
            action = epsilon_greedy(key, action, obs.action_mask, exploration(c, policy.steps))
        return action, memory, ()

    def store(t: Transition) -> replay.Rollout:
        """A rollout as the replay takes it: small integers stay small, unread states stay out."""

        def pack(obs: Observation) -> Observation:
            state = obs.global_state if mixer.uses_state else obs.global_state[..., :0]
            return Observation(
                obs.local.astype(spec.storage), obs.action_mask, state.astype(spec.storage)
            )

        action = t.action.astype(jnp.int8 if spec.num_actions <= 127 else jnp.int32)
        discount = jnp.where(t.terminated, 0.0, c.gamma)
        reward = spec.team_reward(t.reward) if c.reward == "team" else t.reward
        next_obs = pack(t.next_obs)
        item = Item(pack(t.obs), action, reward, discount, t.done, next_obs, t.weight, t.credit)
        return replay.Rollout(item, t.memory, None if t.weight is None else t.weight > 0)

    def observe(state: QState, t: Transition) -> QState:
        num_steps = t.done.size
        learned = jnp.float32(num_steps) if t.weight is None else t.weight.sum()
        rollout = store(t)
        return state._replace(
            replay=source.add(state.replay, rollout),
            rewards=extend(state.rewards, rollout.items.reward),
            steps=state.steps + num_steps,
            owed=state.owed + jnp.where(state.steps >= c.warmup, learned * c.updates_per_step, 0),
        )

    def loss(
        params: QParams, target: QParams, rewards: Moments, steps: Array, draw: replay.Draw
    ) -> tuple[Array, dict[str, Array]]:
        items: Item = draw.items  # [T, b, ...]
        items = items._replace(action=items.action.astype(jnp.int32))
        online, after = net.along(params.agents, draw.start, items.obs, items.done)
        value = value_of(params.mixer, online, items.action, steps)  # [T, b] or [T, b, N]
        _, target_after = net.along(target.agents, draw.start, items.obs, items.done)
        target_next, _ = net.once(target.agents, target_after, items.next_obs)
        online_next, _ = net.once(params.agents, after, items.next_obs)
        chooser = (params.mixer, online_next) if c.double else (target.mixer, target_next)
        best = jax.vmap(greedy, (None, 0))(*chooser)
        next_value = value_of(target.mixer, target_next, best, steps)
        reward = _scaled(c.reward_scaling, rewards, items.reward)
        reward = reward if price is None else reward - price(items)
        counted = (jnp.arange(c.window) >= c.burn_in).astype(jnp.float32)
        counted = counted.reshape(-1, *[1] * (value.ndim - 1)) * jnp.ones_like(value)
        if items.credit is None:
            goal = batched_lambda_returns(reward, items.discount, next_value, items.done, c.lambda_)
        else:
            alone = steps <= c.mixing_delay if c.mixing_delay else None
            credit = _of_value(items.credit, value, alone)
            discount = jnp.where(credit.terminated, 0.0, c.gamma)
            keep = jnp.where(credit.held, 1.0, c.lambda_)
            goal = batched_lambda_returns(reward, discount, next_value, credit.ended, keep)
            counted = counted * credit.weight * _complete(credit)
        error = value - goal
        if items.weight is not None:
            heeded = (items.weight > 0).reshape(*error.shape[:2], *[1] * (error.ndim - 2))
            counted = counted * heeded  # the weight itself has gone into the number of updates
        weight = draw.weight.reshape(1, -1, *[1] * (error.ndim - 2))
        number = jnp.maximum(counted.sum(), 1.0)
        squared = (counted * weight * error**2).sum() / number
        size = jnp.abs(error) * counted
        steps = jnp.mean(size, axis=tuple(range(2, error.ndim)))  # [T, b]
        # R2D2's mixture of a window's largest and mean error
        priority = 0.9 * steps.max(0) + 0.1 * steps.sum(0) / (c.window - c.burn_in)

        def first_four(x: Array) -> Array:
            return whole_of(x[-1])[:4]

        # a few states of each batch are enough to tell over many updates
        few = jax.tree.map(first_four, (online, items.action))
        metrics = {
            "loss": squared,
            "td_error": size.sum() / number,
            "q": value.mean(),
            "mixer_slope": slopes(params.mixer, *few).mean(),
            "dormant": dormant(online.features[-1]),
            "samples": counted.sum() / (error.size // items.done.size),
        }
        return squared, {**metrics, "priority": priority}

    def update(state: QState, key: Array) -> tuple[QState, dict[str, Array]]:
        due = jnp.floor(state.owed).astype(jnp.int32)

        def one(
            i: Array, carry: tuple[QState, dict[str, Array]]
        ) -> tuple[QState, dict[str, Array]]:
            state, sums = carry
            draw = source.draw(state.replay, jax.random.fold_in(key, i))
            gradient, metrics = jax.grad(loss, has_aux=True)(
                state.params, state.target, state.rewards, state.steps, draw
            )
            step, optimiser = adam.update(gradient, state.optimiser, state.params)
            params = optax.apply_updates(state.params, step)
            updates = state.updates + 1
            hard = optax.periodic_update(params, state.target, updates, c.target_period)
            soft = optax.incremental_update(params, state.target, c.target_rate)
            target = jax.tree.map(functools.partial(jnp.where, c.target_rate > 0), soft, hard)
            priority = metrics.pop("priority")
            metrics["grad_norm"] = optax.tree.norm(gradient)
            state = state._replace(
                params=params,
                target=target,
                optimiser=optimiser,
                replay=source.update_priorities(state.replay, draw.index, priority),
                updates=updates,
            )
            return state, jax.tree.map(jnp.add, sums, metrics)

        names = ("loss", "td_error", "q", "mixer_slope", "dormant", "grad_norm", "samples")
        sums = {name: jnp.float32(0) for name in names}
        state, sums = jax.lax.fori_loop(0, due, one, (state, sums))
        metrics = {name: total / due for name, total in sums.items()}  # nan when none was due
        metrics["samples"] = sums["samples"]  # steps that gradients were taken of
        metrics["epsilon"] = jnp.asarray(exploration(c, state.steps), jnp.float32)
        if c.reward_scaling != "none":
            metrics["reward_scale"] = state.rewards.deviation
        return state._replace(owed=state.owed - due), metrics

    return Learner(
        init=init,
        memory=net.memory,
        policy=lambda state: QPolicy(state.params, state.steps),
        act=act,
        observe=observe,
        update=update,
        warmup=c.warmup,
        config=config,
    )


def _source(c: QConfig) -> replay.Replay:
    if c.prioritised:
        return replay.prioritised(
            c.capacity,
            c.batch,
            c.window,
            exponent=c.priority_exponent,
            importance=c.importance_exponent,
        )
    return replay.uniform(c.capacity, c.batch, c.window)


def _check_mixer(spec: EnvSpec, c: QConfig, mixer: Mixer) -> None:
    """Raise where settings need values of single agents, or of a team, and `mixer` has the other.

    Raises:
      ValueError: see above.
    """
    n, a = spec.num_agents, spec.num_actions

    def value(key: Array) -> Array:
        mask, state = jnp.ones((n, a), bool), jnp.zeros(spec.state_size)
        utilities = Utilities(jnp.zeros((n, a)), jnp.zeros((n, c.hidden)), mask, state)
        return mixer.value(mixer.init(key), utilities, jnp.zeros(n, jnp.int32))

    single = bool(jax.eval_shape(value, jax.random.key(0)).shape)
    if c.reward == "own" and not single:
        raise ValueError("reward is 'own'; only independent learners can learn from their own")
    if c.mixing_delay and single:
        raise ValueError(f"mixing_delay is {c.mixing_delay}; independent learners mix nothing")


def exploration(config: QConfig, steps: Array) -> Array:
    """f32 [], epsilon: the probability of a random action after so many environment steps."""
    c = config
    over = jnp.maximum(1, c.epsilon_steps)
    left = 1 - jnp.minimum(jnp.maximum(0, steps - c.epsilon_delay), over) / over
    return (c.epsilon_start - c.epsilon_end) * left + c.epsilon_end


def _of_value(credit: Credit, value: Array, alone: Array | None) -> Credit:
    """What `credit` [T, b, N] says of `value`: [T, b] of a team, or [T, b, N] of single agents.

    `alone` bool [] tells whether the latter are single agents' as yet, or the team's N times over;
    None where they always are single agents'.
    """
    team = Credit(
        credit.weight.max(-1),
        credit.terminated.any(-1),
        credit.ended.any(-1),
        credit.held.all(-1),
    )
    if value.ndim == 2:
        return team
    if alone is None:
        return credit
    own: Credit = jax.tree.map(lambda x, all_: jnp.where(alone, x, all_[..., None]), credit, team)
    return own


def _complete(credit: Credit) -> Array:
    """f32, 0 for the choices at a window's end of which the window does not see the end."""
    over = (credit.ended | ~credit.held).astype(jnp.int32)
    return jax.lax.cummax(over, axis=0, reverse=True).astype(jnp.float32)


def _scaled(mode: str, stats: Moments, reward: Array) -> Array:
    if mode == "none":
        return reward
    centred = reward - stats.mean if mode == "standardise" else reward
    return centred / stats.deviation


def _configured(config: QConfig | None, settings: dict[str, Any]) -> QConfig:
    return dataclasses.replace(config or QConfig(), **settings)


def iql(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """Independent Q-learning on the team reward (Tan 1993)."""
    return q_learner(spec, _configured(config, settings), mixers.independent())


def vdn(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """Value decomposition: the team value is the sum of the agents' (Sunehag et al. 2018)."""
    return q_learner(spec, _configured(config, settings), mixers.additive())


def qmix(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """QMIX: the team value is monotonic in each agent's (Rashid et al. 2018)."""
    c = _configured(config, settings)
    mixer = mixers.monotonic(
        spec, embed=c.mixer_embed, hypernet=c.mixer_hidden, normalise=c.mixer_norm
    )
    return q_learner(spec, c, mixer)


def qplex(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """QPLEX: duplex duelling, every value function that satisfies IGM (Wang et al. 2021)."""
    c = _configured(config, settings)
    mixer = mixers.duplex(
        spec, hidden=c.mixer_hidden, normalise=c.mixer_norm, exponent=c.mixer_exponent
    )
    return q_learner(spec, c, mixer)


def joint_q(spec: EnvSpec, config: QConfig | None = None, **settings: Any) -> Learner:
    """One Q over joint actions, centralised in training and acting: the upper bound."""
    c = _configured(config, settings)
    if c.mixing_delay:
        raise ValueError(f"mixing_delay is {c.mixing_delay}; a joint action has no single values")
    return q_learner(spec, c, mixers.joint(spec, features=c.hidden, hidden=c.mixer_hidden))


ALGORITHMS = tuple(
    Algorithm(name, summary, QConfig, build, preset="q_learning")
    for name, summary, build in (
        ("iql", "independent Q-learning", iql),
        ("vdn", "value decomposition: sum of utilities", vdn),
        ("qmix", "monotonic mixing of utilities", qmix),
        ("qplex", "duplex duelling mixer, all of IGM", qplex),
        ("joint_q", "one Q over joint actions (centralised bound)", joint_q),
    )
)
