"""`check_env`: conformance checks for environments."""

from __future__ import annotations

from typing import Any

import jax

from marlx.environment import Environment
from marlx.testing._environment_case import environment_case
from marlx.testing._environment_extras import check_scene, check_subgoals
from marlx.testing._environment_play import (
    check_clock,
    check_one_by_one,
    check_random_play,
    check_reset,
    check_step,
    check_vector_step,
)
from marlx.testing._environment_types import check_types, check_types_of_step


def check_env(env: Environment[Any, Any], params: Any = None, key: int = 0) -> None:
    """Asserts that an environment keeps the contract of `marlx.environment`.

    Plays random legal actions and checks:

    - shapes, dtypes and finiteness of observations and rewards against `spec`,
    - states whose types do not change from step to step,
    - equal results with and without `jit`, and under `vmap`,
    - action masks with at least one legal action for each agent, inactive ones too,
    - masks of active agents exactly where `spec.active_mask` is set, with someone active at first,
    - `time` and the time limit, which must be a truncation,
    - auto-reset and `final_observation` of `step` and `vector_step`, with independent new episodes,
    - observations that fit `spec.storage`, and padding that is 0,
    - no return above `spec.optimum`,
    - shapes of declared subgoals, and at least one choice for each agent,
    - a declared scene: its kind, facts that JSON can hold, arrays that keep their shapes.

    Args:
      env: the environment.
      params: its parameters; the defaults if None.
      key: seed of the random play.

    Raises:
      AssertionError: a check failed; the message is one line with the environment's name.
      ValueError: `env` is no environment.
    """
    case = environment_case(env, params)
    keys = jax.random.split(jax.random.key(key), 6)
    check_types(case)
    check_types_of_step(case)
    check_reset(case, keys[0])
    check_one_by_one(case, keys[1])
    check_clock(case, keys[2])
    check_step(case, keys[3])
    check_vector_step(case, keys[4])
    check_random_play(case, keys[5])
    check_subgoals(case, keys[1])
    check_scene(case, keys[1])


def require_types(env: Environment[Any, Any], params: Any = None) -> None:
    """Checks shapes, dtypes and the horizon of an environment; nothing is compiled.

    Training does so first: wrong ones would lead to errors inside of JAX, or to wrong returns. The
    sentences are those of `check_env`, which checks much more.

    Args:
      env: the environment.
      params: its parameters; the defaults if None.

    Raises:
      ValueError: what is wrong and what it must be, in one line with the environment's name.
    """
    try:
        check_types(environment_case(env, params))
    except AssertionError as error:
        if not str(error):  # of JAX, which found no device
            raise
        raise ValueError(str(error)) from error.__cause__
