"""The training loop of one seed as pure functions: collect, store, update, evaluate."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams
from marlx.learner import Judged, Learner, example_rollout
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


class Block(Protocol):
    """`block(run, rollouts) -> run, metrics`, the training between two evaluations."""

    def __call__(
        self, run: RunState, rollouts: int | Array = ..., /
    ) -> tuple[RunState, dict[str, Array]]:
        """Trains for so many rollouts, by default `Loop.block_rollouts`."""


class Loop(NamedTuple):
    """The functions of the training loop, each for one seed, and how often they are called."""

    init: Callable[[Array], RunState]
    warm_up: Callable[[RunState], RunState]
    block: Block
    evaluate: Callable[[RunState, Array], dict[str, Array]]
    policies: Callable[[RunState], Tree]
    warm_up_rollouts: int
    block_rollouts: int
    blocks: int


class _Parts(NamedTuple):
    """The environment, the learner and the settings of the functions of a loop."""

    env: Environment[Any, Any]
    params: EnvParams
    learner: Learner
    config: TrainConfig
    warm_up_rollouts: int
    modes: tuple[Judged, ...]  # of evaluations
    check_finite: bool


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
    length = schedule(learner, config)
    modes = modes_of(learner.judged, config.eval)
    parts = _Parts(env, params, learner, config, length.warm_up_rollouts, modes, check_finite)

    def block(
        run: RunState, rollouts: int | Array = length.block_rollouts, /
    ) -> tuple[RunState, dict[str, Array]]:
        return _block(parts, run, rollouts)

    def policies(run: RunState) -> Tree:
        return learner.policy(run.learner)

    return Loop(
        functools.partial(_init, parts),
        functools.partial(_warm_up, parts),
        block,
        functools.partial(_evaluate, parts),
        policies,
        *length,
    )


def _init(parts: _Parts, key: Array) -> RunState:
    """Returns the state of a seed before its first step."""
    env, params, learner, c = parts.env, parts.params, parts.learner, parts.config
    key, key_learner, key_actors = jax.random.split(key, 3)
    actors = start(env, params, learner, key_actors, c.num_envs)
    example = example_rollout(env.spec(params), learner, c.rollout_length, c.num_envs)
    state = learner.init(key_learner, example)
    state = state if c.warm_start_rate == 1 else with_factors(state)
    return RunState(state, actors, key)


def _collect(
    parts: _Parts, run: RunState, key: Array
) -> tuple[RunState, Finished, dict[str, Array]]:
    """Returns the run with a rollout stored, the episodes that ended in it, and counts of NaN."""
    learner = parts.learner
    policy = learner.policy(run.learner)
    actors, transitions, ended = rollout(
        parts.env, parts.params, learner, policy, run.actors, key, parts.config.rollout_length
    )
    state = learner.observe(run.learner, transitions)
    counts = _count_not_finite(transitions) if parts.check_finite else {}
    return run._replace(learner=state, actors=actors), ended, counts


def _warm_up(parts: _Parts, run: RunState) -> RunState:
    """Returns the run after the rollouts before the first update."""
    key, key_collect = jax.random.split(run.key)
    keys = jax.random.split(key_collect, parts.warm_up_rollouts)
    run, _ = jax.lax.scan(
        lambda run, key: (_collect(parts, run, key)[0], None), run._replace(key=key), keys
    )
    return run


def _iteration(parts: _Parts, run: RunState, key: Array) -> tuple[RunState, _Sums]:
    """Returns the run after one rollout and the updates after it, and the summands of both."""
    key_collect, key_update = jax.random.split(key)
    run, ended, counts = _collect(parts, run, key_collect)
    state, metrics = parts.learner.update(run.learner, key_update)
    return run._replace(learner=state), _sums(metrics, ended, counts)


def _block(
    parts: _Parts, run: RunState, rollouts: int | Array
) -> tuple[RunState, dict[str, Array]]:
    """Returns the run after so many rollouts, and the metrics of the block."""
    learner = parts.learner
    key, key_block = jax.random.split(run.key)
    iteration = functools.partial(_iteration, parts)
    run, sums = _repeated(iteration, run._replace(key=key), key_block, rollouts)
    totals = {} if learner.totals is None else learner.totals(run.learner)
    return run, _block_metrics(sums, totals) | sums.counts


def _evaluate(parts: _Parts, run: RunState, key: Array) -> dict[str, Array]:
    """Returns the metrics of fresh episodes; see `evaluate_modes`."""
    env, params, learner = parts.env, parts.params, parts.learner
    policy = learner.policy(run.learner)
    episodes = parts.config.eval_episodes
    return evaluate_modes(env, params, learner, policy, key, episodes, parts.modes)


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


class _Sums(NamedTuple):
    """Sums over the rollouts of a block."""

    metrics: dict[str, Array]  # f32 [] each, of the learner's metrics that are not nan
    numbers: dict[str, Array]  # int32 [], how many those are
    ended: Finished
    counts: dict[str, Array]  # of `_count_not_finite`


def _sums(metrics: dict[str, Array], ended: Finished, counts: dict[str, Array]) -> _Sums:
    """Returns the summands of one rollout."""
    known = {name: ~jnp.isnan(x) for name, x in metrics.items()}
    finite = {name: jnp.where(known[name], x, 0).sum() for name, x in metrics.items()}
    numbers = {name: there.sum(dtype=jnp.int32) for name, there in known.items()}
    return _Sums(finite, numbers, ended, counts)


def _repeated(
    iteration: Callable[[RunState, Array], tuple[RunState, _Sums]],
    run: RunState,
    key: Array,
    rollouts: int | Array,
) -> tuple[RunState, _Sums]:
    """Returns the run after so many iterations, and the sums of what they give.

    Args:
      iteration: `(run, key) -> run, summands`.
      run: before the first one.
      key: consumed; the i-th iteration gets `fold_in(key, i)`.
      rollouts: iterations. Where the number is an argument of the program, the program is the same
        for any.
    """
    step = jax.jit(iteration, inline=True)  # traced once: for the shapes, and in the loop

    def body(i: Array, carry: tuple[RunState, _Sums]) -> tuple[RunState, _Sums]:
        run, sums = carry
        run, new = step(run, jax.random.fold_in(key, i))
        return run, jax.tree.map(jnp.add, sums, new)

    shapes = jax.eval_shape(step, run, key)[1]
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    end: tuple[RunState, _Sums] = jax.lax.fori_loop(0, rollouts, body, (run, zeros))
    return end


def _block_metrics(sums: _Sums, totals: dict[str, Array]) -> dict[str, Array]:
    """Returns the metrics of a block; those of the learner are means of what is not nan."""
    ended = sums.ended
    each = () if isinstance(ended.agent_return, tuple) else jnp.unstack(ended.agent_return)
    returns = {f"train_agent_{i}_return": total for i, total in enumerate(each)}
    returns |= {f"train_{name}": total for name, total in ended.outcomes.items()}
    return {
        **jax.tree.map(jnp.divide, sums.metrics, sums.numbers),
        **totals,
        "train_return": ended.total_return / ended.episodes,
        "episode_length": ended.total_length / ended.episodes,
        **{name: total / ended.episodes for name, total in returns.items()},
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
