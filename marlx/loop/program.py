"""The training loop of one seed as pure functions: collect, store, update, evaluate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.learner import Learner, example_rollout
from marlx.learning.part_rates import with_factors
from marlx.loop.evaluation import evaluate_modes, modes_of
from marlx.loop.rollout import Actors, Finished, rollout, start
from marlx.loop.settings import TrainConfig, schedule
from marlx.types import Array, Transition, Tree
from marlx.xla.memory import nbytes


class RunState(NamedTuple):
    """State of the training of one seed."""

    learner: Tree
    actors: Actors
    key: Array


NOT_FINITE = ("reward", "observation", "global state")
"""Arrays of the environment in which NaN and infinity are counted, over every step of a block."""


class Loop(NamedTuple):
    """The functions of the training loop, each for one seed, and how often they are called."""

    init: Callable[[Array], RunState]
    warm_up: Callable[[RunState], RunState]
    block: Callable[[RunState], tuple[RunState, dict[str, Array]]]
    evaluate: Callable[[RunState, Array], dict[str, Array]]
    policies: Callable[[RunState], Tree]
    warm_up_rollouts: int
    block_rollouts: int
    blocks: int


def loop(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    config: TrainConfig,
    *,
    check_finite: bool = False,
) -> Loop:
    """Returns the training loop of one seed.

    Args:
      env: the environment.
      params: its parameters.
      learner: built for `env.spec(params)`.
      config: settings of the loop.
      check_finite: blocks count NaN and infinity in the environment's arrays, at every step, and
        return the counts among their metrics (`NOT_FINITE`).

    Raises:
      ValueError: there are no steps left after the warm-up.
    """
    c = config
    length = schedule(learner, config)

    def collect(run: RunState, key: Array) -> tuple[RunState, Finished, dict[str, Array]]:
        policy = learner.policy(run.learner)
        actors, transitions, ended = rollout(
            env, params, learner, policy, run.actors, key, c.rollout_length
        )
        state = learner.observe(run.learner, transitions)
        counts = _count_not_finite(transitions) if check_finite else {}
        return run._replace(learner=state, actors=actors), ended, counts

    def init(key: Array) -> RunState:
        key, key_learner, key_actors = jax.random.split(key, 3)
        actors = start(env, params, learner, key_actors, c.num_envs)
        example = example_rollout(env.spec(params), learner, c.rollout_length, c.num_envs)
        state = learner.init(key_learner, example)
        state = state if c.warm_start_rate == 1 else with_factors(state)
        return RunState(state, actors, key)

    def warm_up(run: RunState) -> RunState:
        key, key_collect = jax.random.split(run.key)
        keys = jax.random.split(key_collect, length.warm_up_rollouts)
        run, _ = jax.lax.scan(
            lambda run, key: (collect(run, key)[0], None), run._replace(key=key), keys
        )
        return run

    def iteration(run: RunState, key: Array) -> tuple[RunState, tuple[Any, ...]]:
        key_collect, key_update = jax.random.split(key)
        run, ended, counts = collect(run, key_collect)
        state, metrics = learner.update(run.learner, key_update)
        return run._replace(learner=state), (ended, metrics, counts)

    def block(run: RunState) -> tuple[RunState, dict[str, Array]]:
        key, key_block = jax.random.split(run.key)
        keys = jax.random.split(key_block, length.block_rollouts)
        run, (ended, metrics, counts) = jax.lax.scan(iteration, run._replace(key=key), keys)
        totals = {} if learner.totals is None else learner.totals(run.learner)
        return run, _block_metrics(metrics, totals, ended) | jax.tree.map(jnp.sum, counts)

    modes = modes_of(learner.judged, c.eval)

    def evaluate_run(run: RunState, key: Array) -> dict[str, Array]:
        policy = learner.policy(run.learner)
        return evaluate_modes(env, params, learner, policy, key, c.eval_episodes, modes)

    def policies(run: RunState) -> Tree:
        return learner.policy(run.learner)

    return Loop(init, warm_up, block, evaluate_run, policies, *length)


def _count_not_finite(transitions: Transition) -> dict[str, Array]:
    """Counts NaN and infinity in a rollout: f32 [] for each of `NOT_FINITE`, by that name.

    It sums over arrays that are in memory already, outside the loop over steps. The compiler fuses
    other operations into that loop then, and the last bits of a training are others.
    """
    obs = transitions.obs
    arrays = (transitions.reward, obs.local, obs.global_state)

    def count(x: Array) -> Array:
        if not jnp.issubdtype(x.dtype, jnp.inexact):
            return jnp.zeros(())
        wrong: Array = jnp.sum(~jnp.isfinite(x), dtype=jnp.float32)
        return wrong

    return {name: count(x) for name, x in zip(NOT_FINITE, arrays, strict=True)}


def _block_metrics(
    metrics: dict[str, Array], totals: dict[str, Array], ended: Finished
) -> dict[str, Array]:
    """Returns the metrics of a block from those of its rollouts, leading axis [rollouts]."""
    ended = jax.tree.map(lambda x: x.sum(0), ended)
    each = () if isinstance(ended.agent_return, tuple) else jnp.unstack(ended.agent_return)
    sums = {f"train_agent_{i}_return": total for i, total in enumerate(each)}
    sums |= {f"train_{name}": total for name, total in ended.outcomes.items()}
    return {
        **jax.tree.map(jnp.nanmean, metrics),
        **totals,
        "train_return": ended.total_return / ended.episodes,
        "episode_length": ended.total_length / ended.episodes,
        **{name: total / ended.episodes for name, total in sums.items()},
    }


def state_shape(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    config: TrainConfig,
    num_envs: int,
) -> RunState:
    """Returns the shapes and dtypes of a seed's state with `num_envs` environments.

    Raises:
      ValueError: the learner refuses them, for instance because its replay is too small.
    """
    if num_envs != config.num_envs:
        # enough steps for any warm-up: only the shapes matter
        config = dataclasses.replace(config, num_envs=num_envs, total_steps=2**31 - 1)
    init = loop(env, params, learner, config).init
    shape: RunState = jax.eval_shape(init, jax.random.key(0))
    return shape


def state_sizes(shape: RunState) -> dict[str, int]:
    """Returns bytes of a state by the learner's fields and `environments`, largest first."""
    learner = shape.learner
    fields = learner._asdict() if hasattr(learner, "_asdict") else {"learner": learner}
    fields["environments"] = shape.actors
    sizes = {name: nbytes(tree) for name, tree in fields.items()}
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))
