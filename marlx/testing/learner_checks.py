"""`check_learner`: a conformance suite that any learner must pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from marlx.environment import Environment
from marlx.learner import Learner
from marlx.testing._compiling import jit
from marlx.testing._learner_acting import (
    check_decentralised,
    check_legal,
    check_recomputed,
    sequence,
)
from marlx.testing._learner_case import learner_case
from marlx.testing._learner_shapes import check_shapes
from marlx.testing._learner_training import (
    check_absent,
    check_finite,
    check_together,
    check_training,
    check_update,
)
from marlx.testing.probes import Constant, Leaving, Recall, Unequal
from marlx.types import EnvSpec

PROBES: tuple[Environment[Any, Any], ...] = (Constant(num_agents=1), Unequal())
"""Further environments: one agent; groups with observations and actions of their own."""

ABSENT: Environment[Any, Any] = Leaving()
"""Environment whose agents leave."""


def check_learner(
    build: Callable[[EnvSpec], Learner],
    env: Environment[Any, Any] | None = None,
    *,
    others: Sequence[Environment[Any, Any]] = PROBES,
    decentralised: bool = True,
    absent: Environment[Any, Any] | None = ABSENT,
    eager: bool = True,
    together: bool = True,
    tolerance: float = 1e-3,
    key: int = 0,
) -> None:
    """Assert that a learner keeps the contract of `marlx.learner`.

    Checked in `env`: shapes and dtypes of memory, actions, extras, state and metrics; the same
    results from the same key, with and without `jit`, with donated states, and for seeds under
    `vmap` as one by one; arguments that stay as they are; illegal actions that are never taken; an
    action that depends on nothing but the agent's own observations and memory; recomputed actions
    and memories that equal those of acting, whatever else is in the batch. In `env` and in
    `others`: numbers that stay finite while it learns. Where agents can be absent: what an inactive
    agent sees, does and is paid changes no parameter, to the last bit.

    Args:
      build: `(spec) -> Learner`; it is called for several environments. Small networks, a small
        batch and a warm-up of at most 32 steps make the check fast and meaningful.
      env: where most is checked; `Recall` by default, which is partially observable, has masks that
        change, true ends and time limits.
      others: environments where it is only trained: one agent, heterogeneous agents by default.
      decentralised: whether each agent acts on its own observations alone. False for learners that
        act centrally, such as a joint-action Q.
      absent: environment with absent agents and three actions, in which they must count for
        nothing. None for learners that were not made for that.
      eager: whether `act` and `update` are also called without `jit`, which takes the most time.
      together: whether seeds are also trained under `vmap`, which compiles training once more.
      tolerance: relative difference that is allowed between seeds under `vmap` and one by one;
        a tenth of it absolutely. Adam makes a whole step of a gradient that is 0 but for rounding,
        as that of a bias before a normalisation: allow for a few steps where a network has one.
      key: seed of everything random.

    Raises:
      AssertionError: one line that says what is wrong.
    """
    env = Recall(num_agents=3) if env is None else env
    case = learner_case(build, env, key)
    check_shapes(case)
    train = jit(case.trained, donate_argnums=0)
    state = check_training(case, train)
    if together:
        check_together(case, train, tolerance)
    if eager:
        check_update(case, state)
    check_recomputed(case, eager)
    greedy = sequence(case.learner, False)
    check_legal(case, greedy)
    if decentralised:
        check_decentralised(case, greedy)
    if absent is not None:
        check_absent(learner_case(build, absent, key))
    for other in others:
        check_finite(learner_case(build, other, key))
