"""Checks of shapes and dtypes of all that a learner returns; nothing is compiled."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from marlx.testing._learner_case import NUM_ENVS, LearnerCase
from marlx.types import Tree


def check_shapes(case: LearnerCase) -> None:
    """Memory, actions, extras, state and metrics have the shapes and dtypes of the contract."""
    learner, spec = case.learner, case.spec

    def act(explore: bool) -> Tree:
        memory = learner.memory(NUM_ENVS)
        policy = learner.policy(case.initial(case.key))
        obs = jax.tree.map(lambda x: jnp.ones(x.shape[1:], x.dtype), case.example.obs)
        return memory, learner.act(policy, memory, obs, case.key, explore)

    shape = (NUM_ENVS, spec.num_agents)
    wanted = jax.ShapeDtypeStruct(shape, jnp.int32)
    if spec.continuous:
        wanted = jax.ShapeDtypeStruct((*shape, spec.num_actions), jnp.float32)
    for explore in (True, False):
        memory, (action, after, extras) = jax.eval_shape(functools.partial(act, explore))
        case.expect_shapes(action, wanted, "the action of act")
        case.expect_shapes(after, memory, "the memory that act returns")
        if explore:
            declared = jax.eval_shape(lambda: learner.extras(NUM_ENVS))
            case.expect_shapes(extras, declared, "what act adds, held against Learner.extras,")
    _check_inspect(case)
    for x in jax.tree.leaves((memory, extras)):
        case.expect(x.shape[:1] == (NUM_ENVS,), "memory and extras must begin with the axis [B]")

    def learn() -> Tree:
        state = case.initial(case.key)
        observed = learner.observe(state, jax.tree.map(jnp.zeros_like, _zeros(case.example)))
        updated, metrics = learner.update(observed, case.key)
        totals = {} if learner.totals is None else learner.totals(updated)
        return state, observed, updated, metrics, totals

    state, observed, updated, metrics, totals = jax.eval_shape(learn)
    case.expect_shapes(observed, state, "the state that observe returns")
    case.expect_shapes(updated, state, "the state that update returns")
    for name, x in {**metrics, **totals}.items():
        case.expect(isinstance(name, str) and x.shape == (), f"metric {name} must be one number")


def _check_inspect(case: LearnerCase) -> None:
    """Checks that arrays of `inspect` begin with the axis [B]; known names have known shapes."""
    learner, spec = case.learner, case.spec
    if learner.inspect is None:
        return
    inspect = learner.inspect

    def shown(explore: bool) -> Tree:
        memory, policy = learner.memory(NUM_ENVS), learner.policy(case.initial(case.key))
        obs = jax.tree.map(lambda x: jnp.ones(x.shape[1:], x.dtype), case.example.obs)
        _, _, extras = learner.act(policy, memory, obs, case.key, explore)
        return inspect(policy, memory, obs, extras)

    agents = (NUM_ENVS, spec.num_agents)
    values = (*agents, spec.num_actions)
    known = {"q": values, "probability": values, "subgoal": agents, "called": agents[:1]}
    for explore in (True, False):
        for name, x in jax.eval_shape(functools.partial(shown, explore)).items():
            wanted = known.get(name, x.shape)
            fits = x.shape == wanted and x.shape[:1] == (NUM_ENVS,)
            case.expect(fits, f"inspect shows {name} {list(x.shape)}; it must be {list(wanted)}")


def _zeros(shapes: Tree) -> Tree:
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
