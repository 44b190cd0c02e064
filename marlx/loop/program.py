"""The training loop of one seed as pure functions: collect, store, learn, evaluate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner, example_rollout
from marlx.loop.evaluation import evaluate
from marlx.loop.rollout import Actors, Finished, rollout, start
from marlx.loop.settings import TrainConfig, schedule
from marlx.types import Array, Tree


class RunState(NamedTuple):
    """Everything one seed carries from block to block."""

    learner: Tree
    actors: Actors
    key: Array


class Loop(NamedTuple):
    """The functions of a run, each of one seed, and how often they are called."""

    init: Callable[[Array], RunState]
    warm_up: Callable[[RunState], RunState]
    block: Callable[[RunState], tuple[RunState, dict[str, Array]]]
    evaluate: Callable[[RunState, Array], Array]
    policies: Callable[[RunState], Tree]
    warm_up_rollouts: int
    block_rollouts: int
    blocks: int


def loop(
    env: Environment[Any, Any], params: EnvParams, learner: Learner, config: TrainConfig
) -> Loop:
    """The training loop of one seed, as pure functions."""
    c = config
    warm, per_block, blocks = schedule(learner, config)

    def collect(run: RunState, key: Array) -> tuple[RunState, Finished]:
        policy = learner.policy(run.learner)
        actors, taken, ended = rollout(
            env, params, learner, policy, run.actors, key, c.rollout_length
        )
        return run._replace(learner=learner.observe(run.learner, taken), actors=actors), ended

    def init(key: Array) -> RunState:
        key, key_learner, key_actors = jax.random.split(key, 3)
        actors = start(env, params, learner, key_actors, c.num_envs)
        example = example_rollout(env.spec(params), learner, c.rollout_length, c.num_envs)
        return RunState(learner.init(key_learner, example), actors, key)

    def warm_up(run: RunState) -> RunState:
        key, key_collect = jax.random.split(run.key)
        keys = jax.random.split(key_collect, warm)
        run, _ = jax.lax.scan(collect, run._replace(key=key), keys)
        return run

    def iteration(run: RunState, key: Array) -> tuple[RunState, tuple[Finished, dict[str, Array]]]:
        key_collect, key_update = jax.random.split(key)
        run, ended = collect(run, key_collect)
        state, metrics = learner.update(run.learner, key_update)
        return run._replace(learner=state), (ended, metrics)

    def block(run: RunState) -> tuple[RunState, dict[str, Array]]:
        key, key_block = jax.random.split(run.key)
        keys = jax.random.split(key_block, per_block)
        run, (ended, metrics) = jax.lax.scan(iteration, run._replace(key=key), keys)
        ended = jax.tree.map(jnp.sum, ended)
        return run, {
            **jax.tree.map(jnp.nanmean, metrics),
            **({} if learner.totals is None else learner.totals(run.learner)),
            "train_return": ended.total_return / ended.episodes,
            "episode_length": ended.total_length / ended.episodes,
        }

    def evaluate_run(run: RunState, key: Array) -> Array:
        return evaluate(env, params, learner, learner.policy(run.learner), key, c.eval_episodes)

    def policies(run: RunState) -> Tree:
        return learner.policy(run.learner)

    return Loop(init, warm_up, block, evaluate_run, policies, warm, per_block, blocks)
