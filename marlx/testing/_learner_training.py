"""Checks of the training of a learner: repeated, under `vmap`, finite, and of absent agents."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from marlx.testing._compiling import jit
from marlx.testing._learner_case import ROLLOUTS, LearnerCase, numbers
from marlx.types import Array, Observation, Transition, Tree
from marlx.xla.memory import is_key

Train: TypeAlias = Callable[[Tree, Array], tuple[Tree, dict[str, Array]]]


def check_training(case: LearnerCase, train: Train) -> Tree:
    """Training from a state that is given for good gives the same numbers again; its state."""
    found = []
    key_init, key = jax.random.split(jax.random.split(case.key)[0])
    for _ in range(2):
        given = case.initial(key_init)  # outside a program, where two leaves may be one array
        try:
            found.append(jax.block_until_ready(train(given, key)))
        except Exception as error:
            reason = str(error).strip().split("\n")[0]
            if "donat" not in reason:
                raise
            raise AssertionError(f"{case.name}: the state cannot be donated: {reason}") from error
    case.expect_same(found[1], found[0], "the same key gives other numbers")
    state: Tree = found[0][0]
    _expect_finite(case, state)
    return state


def check_together(case: LearnerCase, train: Train, tolerance: float) -> None:
    """Seeds under `vmap` are as one by one."""

    @jit
    @jax.vmap
    def trained(keys: Array) -> tuple[Tree, dict[str, Array]]:
        return case.trained(case.initial(keys[0]), keys[1])

    seeds, initial = jax.vmap(jax.random.split)(jax.random.split(case.key)), jit(case.initial)
    together = numbers(trained(seeds))
    for i, keys in enumerate(seeds):
        found, alone = jax.tree.map(lambda x, i=i: x[i], together), train(initial(keys[0]), keys[1])
        case.expect_same(found, alone, "seeds under vmap are not seeds one by one", tolerance)


def check_update(case: LearnerCase, state: Tree) -> None:
    """`update` without `jit` changes nothing that it is given, and gives the same numbers."""
    before = jax.tree.map(lambda x: x.copy(), state)
    found = case.plain.update(state, case.key)
    case.expect_same(state, before, "update changes the state that it is given")
    wanted = jit(case.learner.update)(before, case.key)
    case.expect_same(found, wanted, "update without jit gives other numbers", rtol=1e-3)


def check_finite(case: LearnerCase) -> None:
    """A few updates leave finite numbers."""

    @jit
    def trained(key: Array) -> Tree:
        return case.trained(case.initial(key), key)[0]

    _expect_finite(case, trained(case.key))


def check_absent(case: LearnerCase) -> None:
    """Observations, actions and rewards of inactive agents change no parameter in an update."""
    learner = case.learner

    @jit
    def collected(key: Array) -> Transition:
        return case.collect(learner.policy(case.initial(key)), key)

    @jit
    def learned(t: Transition) -> Tree:
        def one(state: Tree, key: Array) -> tuple[Tree, None]:
            return learner.update(learner.observe(state, t), key)[0], None

        keys = jax.random.split(case.key, 2)  # what the first leaves behind shows in the second
        return learner.policy(jax.lax.scan(one, case.initial(case.key), keys)[0])

    t = collected(case.key)
    fault = "what inactive agents see, do or are paid is learned from (absent=None: not checked)"
    case.expect_same(learned(_other_absent(t)), learned(t), fault)


def _other_absent(t: Transition) -> Transition:
    """Returns a rollout with other observations, actions and rewards of inactive agents."""
    there = t.obs.active
    assert there is not None

    def seen(obs: Observation) -> Observation:
        assert obs.active is not None
        return obs._replace(local=jnp.where(obs.active[..., None], obs.local, 3.0 - obs.local))

    return t._replace(
        obs=seen(t.obs),
        next_obs=seen(t.next_obs),
        action=jnp.where(there, t.action, (t.action + 1) % 3),
        reward=jnp.where(there, t.reward, -7.0),
    )


def _expect_finite(case: LearnerCase, state: Tree) -> None:
    for path, x in jax.tree_util.tree_leaves_with_path(case.learner.policy(state)):
        if not is_key(x) and jnp.issubdtype(x.dtype, jnp.floating):
            name = jax.tree_util.keystr(path)
            case.expect(
                np.isfinite(np.asarray(x)), f"policy{name} is not finite after {ROLLOUTS} rollouts"
            )
