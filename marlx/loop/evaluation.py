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
from marlx.loop.rollout import Actors, rollout_with_outcomes, start
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
    """Returns metrics of fresh episodes by name, each f32 [episodes of a mode].

    Those of the first mode have plain names: `return`, `agent_0_return` and so on where agents'
    rewards may differ, and `EnvSpec.outcomes`; those of another begin with `greedy_` or `drawn_`.

    Two modes cost what one costs: the halves are stepped as one batch, and each mode acts on its
    own. (Both modes on the whole batch, one picked per row, is slower: of a recurrent network XLA
    does not merge the two calls.)

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
        played = play(env, params, learner, policy, key, episodes, modes[0])
        return metrics_of(played)
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
    played = play(env, params, mixed, policy, key, 2 * each, "greedy")
    first, second = (metrics_of(jax.tree.map(lambda x, r=r: x[r], played)) for r in rows)
    return {**first, **{f"{modes[1]}_{name}": values for name, values in second.items()}}


class Played(NamedTuple):
    """Returns and outcomes of E whole episodes."""

    returns: Array  # f32 [E], of the team
    agent_returns: Tree  # f32 [E, N], of each agent; () where `EnvSpec.rewards_differ` is False
    outcomes: dict[str, Array]  # f32 [E] by name, see `EnvSpec.outcomes`


def metrics_of(played: Played) -> dict[str, Array]:
    """Returns `played` as metrics by name, each f32 [E]."""
    agents = played.agent_returns
    each = () if isinstance(agents, tuple) else jnp.unstack(agents, axis=1)
    by_agent = {f"agent_{i}_return": values for i, values in enumerate(each)}
    return {"return": played.returns, **by_agent, **played.outcomes}


def evaluate(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
    *,
    explore: bool | None = None,
    members: Sequence[int] | None = None,
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
      members: agents whose rewards are the team's; None: all.
    """
    require_environment(env)
    judged: Judged = learner.judged if explore is None else "drawn" if explore else "greedy"
    return play(env, params, learner, policy, key, episodes, judged, members).returns


def play(
    env: Environment[Any, Any],
    params: EnvParams,
    learner: Learner,
    policy: Tree,
    key: Array,
    episodes: int,
    judged: Judged,
    members: Sequence[int] | None = None,
) -> Played:
    """Returns what `episodes` fresh episodes of drawn or greedy actions came to; see `evaluate`."""
    require_environment(env)
    spec = env.spec(params)
    learner = learner._replace(act=acting(learner, judged))

    class Carry(NamedTuple):
        actors: Actors
        key: Array
        alive: Array  # bool [episodes]
        played: Played
        time: Array  # int32 []

    def unfinished(carry: Carry) -> Array:
        return carry.alive.any() & (carry.time < spec.horizon)

    def step(carry: Carry) -> Carry:
        key, key_step = jax.random.split(carry.key)
        actors, transition, _, outcomes = rollout_with_outcomes(
            env, params, learner, policy, carry.actors, key_step, 1
        )
        now = jax.tree.map(lambda x: x[0], (transition.reward, transition.obs.active))
        ended = jax.tree.map(lambda x: x[0], outcomes)
        alive = carry.alive
        played = Played(
            carry.played.returns + jnp.where(alive, _reward_of(spec, members, *now), 0.0),
            _added(carry.played.agent_returns, alive, *now),
            {
                name: jnp.where(alive, ended[name].astype(jnp.float32), value)
                for name, value in carry.played.outcomes.items()
            },
        )
        return Carry(actors, key, alive & ~transition.done[0], played, carry.time + 1)

    key_start, key = jax.random.split(key)
    actors = start(env, params, learner, key_start, episodes)
    alive, zeros = jnp.ones(episodes, bool), jnp.zeros(episodes)
    played = Played(zeros, actors.agent_return, dict.fromkeys(spec.outcomes, zeros))
    actors = actors._replace(agent_return=())  # summed here
    first = Carry(actors, key, alive, played, jnp.int32(0))
    return jax.lax.while_loop(unfinished, step, first).played


def _reward_of(
    spec: EnvSpec, members: Sequence[int] | None, reward: Array, active: Array | None
) -> Array:
    """Returns the team reward f32 [E] of some agents, or of all."""
    if members is not None:
        reward = reward[:, jnp.array(members)]
        active = None if active is None else active[:, jnp.array(members)]
    return spec.team_reward(reward, active)


def _added(total: Tree, alive: Array, reward: Array, active: Array | None) -> Tree:
    """Returns the agents' returns [E, N] with the rewards of a step; () stays ()."""
    if isinstance(total, tuple):
        return ()
    counted = alive[:, None] if active is None else alive[:, None] & active
    return total + jnp.where(counted, reward, 0.0)


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
    """Returns a jitted `(key) -> f32 [episodes]`, returns of the uniform policy."""
    learner = random_learner(env.spec(params))
    return jax.jit(lambda key: evaluate(env, params, learner, (), key, episodes))
