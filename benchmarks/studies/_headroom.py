"""Upper bound of the gain from calls of one policy by another, before any switch is learned.

Two policies play one task. From a state the pair of rollouts differs in who acts first (`g`), and
in nothing else: the same keys move the world. The mean difference of their returns is the true gap
of that state. A switch that calls where the gap is largest is the oracle; one that calls as often
at random has the same price. What the first has more is all that a learned switch could gain.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.learner import Learner, where_done
from marlx.loop.vector import vector_reset, vector_step


class Player(NamedTuple):
    """A policy and how it acts."""

    learner: Learner
    policy: Any
    drawn: bool  # actions are drawn as in training


class Game(NamedTuple):
    """A task and the two policies that play it."""

    env: Any
    params: Any
    alone: Player  # acts where g = 0
    called: Player  # acts where g = 1


class Lookahead(NamedTuple):
    """How a gap is measured."""

    steps: int  # of a rollout
    lasts: int  # of them with g = 1
    pairs: int  # of rollouts per state


class Position(NamedTuple):
    """A batch of running episodes."""

    env_state: Any
    obs: Any
    alone: Any  # acting memory
    called: Any
    alive: Any  # bool [B], the first episode still goes on


def begin(game: Game, key: Any, count: int) -> Position:
    """Returns fresh episodes."""
    obs, state = vector_reset(game.env, game.params, key, count)
    memories = (player.learner.memory(count) for player in (game.alone, game.called))
    return Position(state, obs, *memories, jnp.ones(count, bool))


def step(game: Game, at: Position, call: Any, key: Any) -> tuple[Position, Any]:
    """Returns the positions after a step, and the team's rewards f32 [B], 0 after an episode's end.

    Args:
      game: task and policies.
      at: positions.
      call: bool [B], g.
      key: consumed; acting and the world are the same for the same key, whatever is called.
    """
    key_act, key_step = jax.random.split(key)

    def act(player: Player, memory: Any) -> Any:
        return player.learner.act(player.policy, memory, at.obs, key_act, player.drawn)[:2]

    (own, alone), (other, called) = act(game.alone, at.alone), act(game.called, at.called)
    action = where_done(call, other, own)
    obs, state, reward, terminated, truncated, _ = vector_step(
        game.env, game.params, key_step, at.env_state, action
    )
    team = game.env.spec(game.params).team_reward(reward, at.obs.active)
    after = Position(state, obs, alone, called, at.alive & ~(terminated | truncated))
    return after, jnp.where(at.alive, team, 0.0)


def gaps(game: Game, look: Lookahead, at: Position, key: Any) -> Any:
    """Returns f32 [pairs, B]: return with calls at the first `lasts` steps, less that without any.

    Both rollouts of a pair get the same keys (common random numbers).
    """

    def total(keys: Any, calls: Any) -> Any:
        def one(at: Position, inputs: Any) -> Any:
            key, call = inputs
            return step(game, at, jnp.broadcast_to(call, at.alive.shape), key)

        return jax.lax.scan(one, at, (keys, calls))[1].sum(0)

    called = jnp.arange(look.steps) < look.lasts

    def pair(key: Any) -> Any:
        keys = jax.random.split(key, look.steps)
        return total(keys, called) - total(keys, jnp.zeros_like(called))

    return jax.vmap(pair)(jax.random.split(key, look.pairs))


def played(game: Game, choose: Any, key: Any, episodes: int) -> tuple[Any, Any, Any]:
    """Returns what whole episodes give under a switch: mean return, calls and steps, f32 [] each.

    Args:
      game: task and policies.
      choose: `(positions, key) -> bool [B]`, the switch.
      key: consumed.
      episodes: number of them.
    """
    key_start, key = jax.random.split(key)

    def one(at: Position, key: Any) -> Any:
        key_choice, key_step = jax.random.split(key)
        call = choose(at, key_choice) & at.alive
        after, reward = step(game, at, call, key_step)
        return after, (reward, call, at.alive)

    horizon = game.env.spec(game.params).horizon
    first = begin(game, key_start, episodes)
    _, (reward, call, alive) = jax.lax.scan(one, first, jax.random.split(key, horizon))
    return reward.sum(0).mean(), call.sum(0).mean(), alive.sum(0).mean()


def gap_map(game: Game, look: Lookahead, rate: float, key: Any, episodes: int) -> tuple[Any, Any]:
    """Returns the gaps f32 [T, pairs, B] of all states on the way, and bool [T, B], which count.

    Args:
      game: task and policies.
      look: how a gap is measured.
      rate: calls of the team that visits the states, at random.
      key: consumed.
      episodes: B.
    """
    key_start, key = jax.random.split(key)

    def one(at: Position, key: Any) -> Any:
        key_gap, key_call, key_step = jax.random.split(key, 3)
        found = gaps(game, look, at, key_gap)
        call = jax.random.uniform(key_call, at.alive.shape) < rate
        return step(game, at, call, key_step)[0], (found, at.alive)

    horizon = game.env.spec(game.params).horizon
    first = begin(game, key_start, episodes)
    return jax.lax.scan(one, first, jax.random.split(key, horizon))[1]


def thresholds(gap: np.ndarray, rates: Sequence[float]) -> np.ndarray:
    """Returns the gap above which a share of `rates` of the states lies, f64 [rates], at least 0.

    Where more states are without a gap than should be called in, fewer calls are made.
    """
    return np.maximum(np.quantile(gap, 1.0 - np.asarray(rates, float)), 1e-6)


def measure(
    game: Game,
    look: Lookahead,
    rates: Sequence[float],
    key: Any,
    *,
    episodes: int,
    visiting: float,
) -> dict[str, Any]:
    """Returns the headroom of a task: numbers and lists over `rates`.

    The oracle measures the gap of every state that it is in before it decides, and plays whole
    episodes; so does the random switch, at the rate that the oracle has come to.

    Args:
      game: task and policies.
      look: how a gap is measured.
      rates: call rates to aim at.
      key: consumed.
      episodes: of each switch.
      visiting: calls, at random, of the team whose states the gaps are taken of.
    """
    keys = jax.random.split(key, 3)
    found, counts = jax.jit(lambda key: gap_map(game, look, visiting, key, episodes))(keys[0])
    gap = np.asarray(found.mean(1))[np.asarray(counts)]

    def oracle(threshold: Any, key: Any) -> Any:
        return played(
            game, lambda at, k: gaps(game, look, at, k).mean(0) > threshold, key, episodes
        )

    def at_random(rate: Any, key: Any) -> Any:
        def choose(at: Position, key: Any) -> Any:
            return jax.random.uniform(key, at.alive.shape) < rate

        return played(game, choose, key, episodes)

    some, random = jax.jit(oracle), jax.jit(at_random)
    bounds = {
        name: float(random(rate, keys[1])[0]) for name, rate in (("alone", 0.0), ("always", 1.0))
    }
    limits = thresholds(gap, rates)
    best = [[float(x) for x in some(limit, keys[1])] for limit in limits]
    shares = [calls / steps for _, calls, steps in best]
    control = [float(random(share, keys[2])[0]) for share in shares]
    return {
        **bounds,
        "gap_mean": float(gap.mean()),
        "gap_positive": float((gap > 1e-6).mean()),
        "gap_quantiles": [round(float(x), 4) for x in np.quantile(gap, (0.5, 0.9, 0.95, 0.99))],
        "threshold": [float(x) for x in limits],
        "rate": [round(x, 4) for x in shares],
        "oracle": [round(total, 4) for total, _, _ in best],
        "random": [round(x, 4) for x in control],
        "headroom": [round(a[0] - b, 4) for a, b in zip(best, control, strict=True)],
    }
