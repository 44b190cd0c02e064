"""Evaluation on fresh episodes, greedy or with drawn actions, and the uniform policy as a baseline.

A learner says which actions its return is measured with (`Learner.judged`). The setting `eval` of a
run can ask for others, or for both: then half of the episodes are played with drawn actions and
half greedily, in one program. Everything that plays a trained policy asks here which actions it
takes, so that a number means the same in a run, in `marlx eval` and in a report.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from marlx.environment import Environment, EnvParams, require_environment
from marlx.learner import Judged, Learner, acting, stateless
from marlx.learning.returns import uniform_action
from marlx.loop.rollout import Actors, rollout, start
from marlx.loop.settings import Eval
from marlx.types import Array, EnvSpec, Observation, Tree


def modes_of(judged: Judged, how: Eval) -> tuple[Judged, ...]:
    """Returns how a run is evaluated: the mode that `return` is measured in, then one beside it.

    Args:
      judged: of the learner.
      how: the setting `eval`. `auto` is both modes for a learner that is judged by drawn actions,
        and the greedy one alone for others, whose exploring return is `train_return`.
    """
    if how in ("greedy", "drawn"):
        return (how,)
    if how == "auto" and judged == "greedy":
        return ("greedy",)
    return ("drawn", "greedy") if judged == "drawn" else ("greedy", "drawn")


def episodes_of_each(episodes: int, modes: Sequence[Judged]) -> int:
    """Returns the episodes of an evaluation in each mode: of two, half of them, rounded up."""
    return -(-episodes // len(modes))


def evaluate_modes(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
    modes: Sequence[Judged],
) -> dict[str, Array]:
    """Returns f32 [episodes of each mode], team returns by the metric's name.

    That of the first mode is `return`, of another `greedy_return` or `drawn_return`. Two modes cost
    what one costs: the halves are stepped as one batch, and each mode acts on its own. (Both modes
    on the whole batch, one picked per row, is slower: of a recurrent network XLA does not merge the
    two calls.)

    Args:
      env: the environment.
      params: its parameters.
      learner: its actions are taken.
      policy: from `learner.policy`.
      key: consumed.
      episodes: number of episodes of all modes together, see `episodes_of_each`.
      modes: one or two, see `modes_of`.
    """
    if len(modes) == 1:
        explore = modes[0] == "drawn"
        returns = evaluate(env, params, learner, policy, key, episodes, explore=explore)
        return {"return": returns}
    each = episodes_of_each(episodes, modes)
    rows = slice(0, each), slice(each, 2 * each)
    halves = list(zip((acting(learner, mode) for mode in modes), rows, strict=True))

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        chosen = []
        for act_as, half in halves:
            seen, known = jax.tree.map(operator.itemgetter(half), (obs, memory))
            chosen.append(act_as(policy, known, seen, key, explore)[:2])
        action, memory = jax.tree.map(lambda *x: jnp.concatenate(x), *chosen)
        return action, memory, ()

    mixed = learner._replace(act=act, act_drawn=None)
    returns = evaluate(env, params, mixed, policy, key, 2 * each, explore=False)
    return {"return": returns[:each], f"{modes[1]}_return": returns[each:]}


def evaluate(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
    *,
    explore: bool | None = None,
) -> Array:
    """f32 [episodes], the team return of `episodes` fresh, whole episodes.

    Each environment plays exactly one episode, so that short episodes are not counted more often
    than long ones.

    Args:
      env: the environment.
      params: its parameters.
      learner: its `act` chooses the actions.
      policy: from `learner.policy`.
      key: consumed.
      episodes: number of episodes, all at once.
      explore: True draws the actions, False acts greedily; None is what the learner is judged by.
    """
    require_environment(env)
    spec = env.spec(params)
    explore = learner.judged == "drawn" if explore is None else explore
    if explore and learner.act_drawn is not None:
        learner = learner._replace(act=learner.act_drawn)

    class Carry(NamedTuple):
        actors: Actors
        key: Array
        alive: Array  # bool [episodes]
        returns: Array  # f32 [episodes]
        time: Array  # int32 []

    def unfinished(carry: Carry) -> Array:
        return carry.alive.any() & (carry.time < spec.horizon)

    def step(carry: Carry) -> Carry:
        key, key_step = jax.random.split(carry.key)
        actors, transition, _ = rollout(
            env, params, learner, policy, carry.actors, key_step, 1, explore=explore
        )
        step_of = (transition.reward, transition.obs.active)
        reward = spec.team_reward(*jax.tree.map(lambda x: x[0], step_of))
        returns = carry.returns + jnp.where(carry.alive, reward, 0.0)
        return Carry(actors, key, carry.alive & ~transition.done[0], returns, carry.time + 1)

    key_start, key = jax.random.split(key)
    actors = start(env, params, learner, key_start, episodes)
    alive, returns = jnp.ones(episodes, bool), jnp.zeros(episodes)
    first = Carry(actors, key, alive, returns, jnp.int32(0))
    return jax.lax.while_loop(unfinished, step, first).returns


def random_learner(spec: EnvSpec) -> Learner:
    """Returns the uniform policy over legal actions, as a learner that never learns."""

    def act(
        policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool
    ) -> tuple[Array, Tree, Tree]:
        del policy, explore
        return uniform_action(key, spec, obs.action_mask), memory, ()

    return stateless(act)


def random_evaluation(
    env: Environment[Any, Any], params: EnvParams, episodes: int
) -> Callable[[Array], Array]:
    """Returns a compiled `(key) -> f32 [episodes]`, returns of the uniform policy."""
    learner = random_learner(env.spec(params))
    return jax.jit(lambda key: evaluate(env, params, learner, (), key, episodes))
