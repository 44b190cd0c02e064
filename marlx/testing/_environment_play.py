"""Checks of the play of an environment: its values, steps, ends of episodes and resets."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from marlx.testing._environment_case import BATCH, EnvironmentCase, call, leaves, row
from marlx.types import Array, Observation, Tree

_STEPS = 64  # steps of random play


def check_reset(case: EnvironmentCase, key: Array) -> None:
    """Checks initial states and their observations."""
    keys = jax.random.split(key, BATCH)
    obs, states = case.reset(keys)
    check_values(case, obs, "reset's observation")
    if obs.active is not None:
        case.expect(np.asarray(obs.active).any(-1), "an episode begins without any active agent")
    case.expect(states.time == 0, "reset's state has a time other than 0")
    case.expect_same(obs, case.observe(states), "reset's observation is not its state's")
    for i in range(2):
        alone = call(case.name, "reset_env", case.env.reset_env, keys[i], case.params)
        case.expect_same(row(states, i), alone, "reset_env differs without jit and vmap")


def check_one_by_one(case: EnvironmentCase, key: Array) -> None:
    """Checks compiled, batched steps against single steps without compilation."""
    env, params = case.env, case.params
    keys, states, actions = case.begin(key)
    ended = case.step_env(keys, states, actions, params)
    shown = case.observe(ended[0])
    for i in range(3):
        one_key, state, action = row((keys, states, actions), i)
        after = call(case.name, "step_env", env.step_env, one_key, state, action, params)
        case.expect_same(after, row(ended, i), "step_env differs without jit and vmap")
        seen = call(case.name, "observe", env.observe, after[0], params)
        case.expect_same(seen, row(shown, i), "observe differs without jit and vmap")


def check_clock(case: EnvironmentCase, key: Array) -> None:
    """Checks that `time` counts steps, and that the time limit only truncates."""
    keys, late, actions = case.begin(key, late=True)
    longer = dataclasses.replace(case.params, max_steps_in_episode=case.spec.horizon + 1000)
    ended, _, terminated, _ = case.step_env(keys, late, actions, case.params)
    case.expect(ended.time == late.time + 1, "step_env does not advance time by 1")
    case.expect(
        terminated == case.step_env(keys, late, actions, longer)[2],
        "terminated depends on max_steps_in_episode, but a time limit is a truncation",
    )
    limit = f"max_steps_in_episode = {case.spec.horizon}"
    case.expect(case.step(keys, late, actions, case.params)[4], f"not truncated at {limit}")
    case.expect(~case.step(keys, late, actions, longer)[4], f"truncated before {limit} is reached")


def check_step(case: EnvironmentCase, key: Array) -> None:
    """Checks `step` against `step_env`, `observe` and `reset`, with and without an episode end."""
    for late in (True, False):
        keys, states, actions = case.begin(key, late)
        keys_step, keys_reset = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        first = case.reset(keys_reset)
        *after, reward, terminated, truncated, info = case.step(keys, states, actions, case.params)
        ended, *wanted, _ = case.step_env(keys_step, states, actions, case.params)
        final = case.observe(ended)
        case.expect_same([reward, terminated], wanted, "step differs from step_env")
        case.expect_same(
            info["final_observation"], final, "final_observation is not the one before the reset"
        )
        flags = [info.get("terminated"), info.get("truncated")]
        case.expect_same(
            flags, [terminated, truncated], "info differs from the flags that step returns"
        )
        done = np.asarray(terminated | truncated)
        case.expect_same(
            row(after, ~done),
            row([final, ended], ~done),
            "step changes an episode that has not ended",
        )
        if done.all():
            _check_independent(case, after[1], first[1], "step")
        case.expect_same(
            row(after, done), row([*first], done), "step does not reset an ended episode"
        )


def check_vector_step(case: EnvironmentCase, key: Array) -> None:
    """Checks `vector_step` when every second episode reaches its limit, and when all do."""
    key_states, key_step = jax.random.split(key)
    fresh, late = (case.begin(key_states, late)[1] for late in (False, True))
    odd = np.arange(BATCH) % 2 == 1
    mixed = fresh.replace(time=jnp.where(odd, late.time, fresh.time))
    for states in (mixed, late):
        shown, after, _, terminated, truncated, info = case.advance(
            key_step, case.observe(states), states
        )
        done = np.asarray(terminated | truncated)
        case.expect(
            after.time == np.where(done, 0, states.time + 1),
            "vector_step does not reset exactly the episodes that ended",
        )
        case.expect_same(shown, case.observe(after), "vector_step's observation is not its state's")
        case.expect_same(
            row(shown, ~done),
            row(info["final_observation"], ~done),
            "vector_step changes an episode that has not ended",
        )
    _check_independent(case, after, fresh, "vector_step")


def check_random_play(case: EnvironmentCase, key: Array) -> None:
    """Checks all observations, rewards and returns of `_STEPS` random steps."""
    key_reset, key_play = jax.random.split(key)
    obs, states = case.reset(jax.random.split(key_reset, BATCH))
    total = np.zeros(BATCH)
    best = -np.inf
    for key_step in jax.random.split(key_play, _STEPS):
        active = obs.active
        obs, states, reward, terminated, truncated, info = case.advance(key_step, obs, states)
        check_values(case, obs, "step's observation")
        check_values(case, info["final_observation"], "final_observation")
        case.expect(np.isfinite(reward), "reward is not finite")
        total += np.asarray(case.spec.team_reward(reward, active))
        done = np.asarray(terminated | truncated)
        best = max(best, *total[done]) if done.any() else best
        total[done] = 0
    optimum = case.spec.optimum
    if optimum is not None:
        case.expect(
            best <= optimum + 1e-4 * max(1.0, abs(optimum)),
            f"a random episode returned {best:g}; spec.optimum is {optimum:g}",
        )


def check_values(case: EnvironmentCase, obs: Observation, where: str) -> None:
    """Checks masks, padding, finiteness and storage of observations."""
    empty = ~np.asarray(obs.action_mask).any(-1)
    agents = sorted({int(i) for i in np.argwhere(empty)[:, -1]})
    case.expect(not agents, f"{where}.action_mask leaves no legal action to agents {agents}")
    for i, (seen, acts) in enumerate(zip(case.spec.obs_sizes, case.spec.action_sizes, strict=True)):
        padding = np.asarray(obs.local)[..., i, seen:]
        case.expect(padding == 0, f"{where}.local of agent {i} is not 0 beyond its obs_sizes")
        legal = np.asarray(obs.action_mask)[..., i, acts:]
        case.expect(~legal, f"{where}.action_mask of agent {i} is True beyond its action_sizes")
    for field in ("local", "global_state"):
        values = np.asarray(getattr(obs, field))
        case.expect(np.isfinite(values), f"{where}.{field} is not finite")
        storage = np.dtype(case.spec.storage)
        if storage.kind == "i":
            bounds = np.iinfo(storage)
            exact = (values == np.round(values)) & (values >= bounds.min) & (values <= bounds.max)
            case.expect(exact, f"{where}.{field} does not fit spec.storage {case.spec.storage}")


def _check_independent(case: EnvironmentCase, fresh: Tree, independent: Tree, where: str) -> None:
    """Checks that new initial states repeat no more often than independent ones."""
    expected, found = _repeats(independent), _repeats(fresh)
    case.expect(
        found <= 1.5 * expected + 0.05,
        f"{where}: {found:.0%} of pairs of new episodes have equal states, {expected:.0%} are "
        "expected by chance; keys are reused",
    )


def _repeats(states: Tree) -> float:
    """Fraction of pairs of a batch of states that are equal."""
    rows = np.concatenate(
        [np.asarray(leaf, np.float64).reshape(BATCH, -1) for leaf in leaves(states).values()], 1
    )
    counts = np.unique(rows, axis=0, return_counts=True)[1]
    return float((counts * (counts - 1)).sum() / (BATCH * (BATCH - 1)))
