"""A learner in an environment, as `check_learner` trains it and lets it act."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from marlx.environment import Environment
from marlx.learner import Learner, example_rollout
from marlx.loop.rollout import rollout, start
from marlx.types import Array, EnvSpec, Observation, Transition, Tree
from marlx.xla.memory import is_key

NUM_ENVS, LENGTH, ROLLOUTS = 4, 8, 4
"""Environments, steps of a rollout, and rollouts that are learned from."""


class LearnerCase(NamedTuple):
    """A learner in an environment.

    The functions of `learner` are under `jit`, so that programs that call them share one trace;
    `plain` is as it was built.
    """

    env: Environment[Any, Any]
    spec: EnvSpec
    learner: Learner
    plain: Learner
    example: Transition
    key: Array

    @property
    def name(self) -> str:
        return f"in {self.spec.id}"

    def expect(self, condition: Any, fault: str) -> None:
        """Raise in one line unless `condition` holds everywhere."""
        if not np.all(condition):
            raise AssertionError(f"{self.name}: {fault}")

    def expect_shapes(self, found: Tree, wanted: Tree, what: str) -> None:
        """Raise in one line unless two pytrees have the same structure, shapes and dtypes."""
        found, wanted = jax.eval_shape(lambda: found), jax.eval_shape(lambda: wanted)
        if str(jax.tree.structure(found)) != str(jax.tree.structure(wanted)):
            raise AssertionError(f"{self.name}: {what} changes its structure")
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
        ):
            if (x.shape, x.dtype) != (y.shape, y.dtype):
                name = jax.tree_util.keystr(path)
                raise AssertionError(
                    f"{self.name}: {what}{name} is {x.dtype}{list(x.shape)}; it must be "
                    f"{y.dtype}{list(y.shape)}"
                )

    def expect_same(self, found: Tree, wanted: Tree, fault: str, rtol: float = 0.0) -> None:
        """Raise in one line unless two pytrees hold the same numbers; NaN equals NaN."""
        for (path, x), y in zip(
            jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
        ):
            x, y = (np.asarray(a, float) for a in numbers((x, y)))
            if not np.allclose(x, y, rtol=rtol, atol=rtol / 10, equal_nan=True):
                name = jax.tree_util.keystr(path)
                worst = float(np.nanmax(np.abs(x - y)))
                raise AssertionError(f"{self.name}: {fault}: {name} differs by {worst:.3g}")

    def initial(self, key: Array) -> Tree:
        """The learner's state at first."""
        return self.learner.init(key, self.example)

    def collect(self, policy: Tree, key: Array, explore: bool = True) -> Transition:
        """A rollout [T, B, ...] from fresh episodes."""
        key_start, key_roll = jax.random.split(key)
        params = self.env.default_params
        actors = start(self.env, params, self.learner, key_start, NUM_ENVS)
        return rollout(
            self.env, params, self.learner, policy, actors, key_roll, LENGTH, explore=explore
        )[1]

    def trained(self, state: Tree, key: Array) -> tuple[Tree, dict[str, Array]]:
        """State and metrics after a few rollouts and updates."""

        def one(state: Tree, key: Array) -> tuple[Tree, dict[str, Array]]:
            key_collect, key_update = jax.random.split(key)
            state = self.learner.observe(
                state, self.collect(self.learner.policy(state), key_collect)
            )
            return self.learner.update(state, key_update)

        state, metrics = jax.lax.scan(one, state, jax.random.split(key, ROLLOUTS))
        return state, metrics


def learner_case(
    build: Callable[[EnvSpec], Learner], env: Environment[Any, Any], key: int
) -> LearnerCase:
    """Returns the learner that `build` makes for `env`, with its functions under `jit`."""
    spec = env.spec(env.default_params)
    plain = build(spec)

    def act(policy: Tree, memory: Tree, obs: Observation, key: Array, explore: bool) -> Any:
        return plain.act(policy, memory, obs, key, explore)

    learner = plain._replace(
        act=jax.jit(act, static_argnames="explore"),
        observe=jax.jit(plain.observe),
        update=jax.jit(plain.update),
    )
    example = example_rollout(spec, plain, LENGTH, NUM_ENVS)
    return LearnerCase(env, spec, learner, plain, example, jax.random.key(key))


def numbers(tree: Tree) -> Tree:
    """NumPy arrays in place of JAX's, whose slices would be compiled; keys as their numbers."""
    return jax.tree.map(lambda x: np.asarray(jax.random.key_data(x) if is_key(x) else x), tree)
