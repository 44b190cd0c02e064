"""Checks of the acting of a learner: recomputed, legal, and on each agent's own observations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from marlx.learner import Learner
from marlx.testing._compiling import jit
from marlx.testing._learner_case import LENGTH, NUM_ENVS, LearnerCase, numbers
from marlx.types import Array, Observation, Transition, Tree

Act: TypeAlias = Callable[[Tree, Observation, Array], Array]
"""`(policy, observations [T, B, ...], key) -> actions [T, B, N]`."""


def check_recomputed(case: LearnerCase, eager: bool) -> None:
    """Acting again from stored memories, in another batch, gives what was stored."""
    learner = case.learner
    policy = learner.policy(case.initial(case.key))
    t = jit(functools.partial(case.collect, explore=False))(policy, case.key)

    @jit
    def again(policy: Tree, t: Transition, key: Array) -> tuple[Array, Tree]:
        rows = _rows(t)
        return learner.act(policy, rows.memory, rows.obs, key, explore=False)[:2]

    action, after = numbers(again(policy, t, case.key))
    keys = jax.random.split(case.key, 4)
    if any((np.asarray(again(policy, t, key)[0]) != action).any() for key in keys):
        return  # a greedy choice that is drawn depends on the batch
    case.expect(
        action == np.asarray(t.action).reshape(action.shape),
        "acting again from stored memory takes other actions",
    )
    if eager:
        rows = _rows(t)
        plain = case.plain.act(policy, rows.memory, rows.obs, case.key, False)
        case.expect_same(plain[1], after, "act without jit gives other memories", rtol=1e-3)
    done, fresh = np.asarray(t.done), numbers(learner.memory(NUM_ENVS))

    def carried(x: Array, first: Array) -> Any:
        ended = done[:-1].reshape(LENGTH - 1, NUM_ENVS, *[1] * (first.ndim - 1))
        return np.where(ended, first, x.reshape(LENGTH, NUM_ENVS, *x.shape[1:])[:-1])

    following = jax.tree.map(lambda x: x[1:], numbers(t.memory))
    wanted = jax.tree.map(carried, after, fresh)
    case.expect_same(following, wanted, "memory recomputed from the stored one", rtol=1e-4)


def check_legal(case: LearnerCase, greedy: Act) -> None:
    """No action is taken where the mask forbids it, exploring or not."""
    if case.spec.continuous:
        return
    learner, (policy, observations) = case.learner, _play(case)
    mask = np.asarray(observations.action_mask)
    for how, act in (("exploring", sequence(learner, True)), ("greedily", greedy)):
        actions = np.asarray(act(policy, observations, case.key))
        legal = np.take_along_axis(mask, actions[..., None], -1)
        case.expect(legal, f"an illegal action is taken {how}")


def check_decentralised(case: LearnerCase, act: Act) -> None:
    """An agent's actions stay when all that the others see, and the global state, change."""
    policy, first = _play(case)
    second = _observations(case, jax.random.fold_in(case.key, 7))
    wanted = act(policy, first, case.key)
    for agent in range(case.spec.num_agents):
        own = jnp.arange(case.spec.num_agents) == agent
        mixed = Observation(
            jnp.where(own[:, None], first.local, second.local),
            jnp.where(own[:, None], first.action_mask, second.action_mask),
            second.global_state,
        )
        found = act(policy, mixed, case.key)
        case.expect(
            found[..., agent, :] == wanted[..., agent, :]
            if case.spec.continuous
            else found[..., agent] == wanted[..., agent],
            f"agent {agent} acts on more than its own observations",
        )


def _rows(t: Transition) -> Transition:
    """Steps and environments as one batch: [T * B, ...]."""
    rows: Transition = jax.tree.map(lambda x: x.reshape(LENGTH * NUM_ENVS, *x.shape[2:]), t)
    return rows


def _play(case: LearnerCase) -> tuple[Tree, Observation]:
    """A policy and a sequence of observations [T, B, ...] of all sizes and masks."""
    return case.learner.policy(case.initial(case.key)), _observations(case, case.key)


def _observations(case: LearnerCase, key: Array) -> Observation:
    """Random observations [T, B, ...], with masks that keep to the agents' own actions."""
    keys = jax.random.split(key, 4)
    spec, axes = case.spec, (LENGTH, NUM_ENVS)
    seen = np.arange(spec.obs_size) < np.array(spec.obs_sizes)[:, None]
    has = np.arange(spec.num_actions) < np.array(spec.action_sizes)[:, None]
    local = jax.random.randint(keys[0], (*axes, *seen.shape), 0, 2) * seen * spec.scale
    drawn = jax.random.bernoulli(keys[1], 0.5, (*axes, *has.shape)) & has
    always = jax.random.randint(keys[2], (*axes, spec.num_agents), 0, 2**30)
    always = always % np.array(spec.action_sizes)
    mask = drawn | (jnp.arange(spec.num_actions) == always[..., None])
    mask = jnp.broadcast_to(has, mask.shape) if spec.continuous else mask
    state = jax.random.randint(keys[3], (*axes, spec.state_size), 0, 2) * spec.scale
    return Observation(local.astype(jnp.float32), mask, state.astype(jnp.float32))


def sequence(learner: Learner, explore: bool) -> Act:
    """`(policy, observations [T, B, ...], key) -> actions [T, B, N]`, carrying memory along."""

    def run(policy: Tree, observations: Observation, key: Array) -> Array:
        def step(memory: Tree, at: tuple[Observation, Array]) -> tuple[Tree, Array]:
            action, memory, _ = learner.act(policy, memory, *at, explore=explore)
            return memory, action

        keys = jax.random.split(key, LENGTH)
        return jax.lax.scan(step, learner.memory(NUM_ENVS), (observations, keys))[1]

    return jit(run)
