"""Partners that act by trained policies."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment
from marlx.envs.checks import check_probability
from marlx.envs.partners.partner import Partner
from marlx.files import WHOLE, Record, read_json
from marlx.learner import acting
from marlx.learning.returns import uniform_action
from marlx.types import Array, EnvSpec, Observation, Tree
from marlx.xla.memory import is_key

if TYPE_CHECKING:  # reading policies imports much that heuristics do not need
    from marlx.runs.policies import Policy


def from_runs(
    paths: Sequence[str | Path],
    env: Environment[Any, Any],
    *,
    every_seed: bool = False,
    explore: bool | None = False,
    epsilon: float = 0.0,
) -> tuple[Partner, ...]:
    """Returns partners that act by the trained policies of runs.

    Runs whose learners act by the same program, whatever their parameters, share `init` and `act`,
    so that they are evaluated as one.

    Args:
      paths: run folders.
      env: the environment in which they play; it must be the one in which they were trained.
      every_seed: a partner for each seed of a run, instead of one for the best.
      explore: act as in training instead of greedily; None: take the actions that the run is
        judged by, drawn or the best.
      epsilon: probability with which an agent takes a uniformly random legal action instead.

    Raises:
      ValueError: a folder holds no policy, or one of another environment.
    """
    from marlx.runs.policies import load_policy

    check_probability(epsilon=epsilon)
    programs: dict[tuple[Any, ...], Partner] = {}
    partners = []
    for path in paths:
        best = load_policy(path)
        _check_home(best.spec, env.spec(), str(path))
        name = Path(path).name
        loaded = {name: best}
        if every_seed:
            loaded = {f"{name}/{seed}": load_policy(path, seed) for seed in _seeds(path)}
        for name, policy in loaded.items():
            partner = from_policy(policy, name, explore=explore, epsilon=epsilon)
            first = programs.setdefault(_program(partner, env), partner)
            partners.append(partner._replace(init=first.init, act=first.act))
    return tuple(partners)


def from_policy(
    policy: Policy, name: str = "trained", *, explore: bool | None = False, epsilon: float = 0.0
) -> Partner:
    """Returns a partner that acts by a trained policy; see `from_runs` for the options."""
    learner, spec = policy.learner, policy.spec
    plays = acting(learner, policy.judged) if explore is None else learner.act

    def init() -> Tree:
        return jax.tree.map(lambda x: x[0], learner.memory(1))

    def act(arrays: Tree, memory: Tree, obs: Observation, key: Array) -> tuple[Array, Tree]:
        key_act, key_random, key_coin = jax.random.split(key, 3)
        memory, batch = jax.tree.map(lambda x: x[None], (memory, obs))
        action, memory, _ = plays(arrays, memory, batch, key_act, bool(explore))
        action, memory = jax.tree.map(lambda x: x[0], (action, memory))
        if epsilon > 0:
            random = uniform_action(key_random, spec, obs.action_mask)
            coin = jax.random.uniform(key_coin, (spec.num_agents,)) < epsilon
            action = jnp.where(coin.reshape(-1, *[1] * (action.ndim - 1)), random, action)
        return action, memory

    return Partner(name, init, act, policy.arrays)


def _seeds(path: str | Path) -> list[int]:
    """Returns the seeds of a run that has a policy."""
    folder = Path(path)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    content = read_json(folder / "policy.json", Record({"seeds": [WHOLE]}))
    return [int(seed) for seed in content["seeds"]]


def _check_home(found: EnvSpec, wanted: EnvSpec, path: str) -> None:
    """Raises ValueError unless a policy trained with spec `found` can act with spec `wanted`."""
    if found.id != wanted.id:
        raise ValueError(
            f"the policy in {path} was trained in {found.id}; it cannot play {wanted.id}"
        )
    for field in dataclasses.fields(EnvSpec):
        its, ours = getattr(found, field.name), getattr(wanted, field.name)
        # Horizon and optimum may differ, since the policy sees neither.
        if its != ours and field.name not in ("horizon", "optimum"):
            raise ValueError(
                f"the policy in {path} was trained in a {wanted.id} whose {field.name} is {its}; "
                f"here it is {ours}"
            )


def _program(partner: Partner, env: Environment[Any, Any]) -> tuple[Any, ...]:
    """Returns a value that is equal for partners that compute the same from their parameters."""
    obs, _ = jax.eval_shape(env.reset, jax.random.key(0))
    memory = partner.init()
    traced = jax.make_jaxpr(partner.act)(partner.policy, memory, obs, jax.random.key(0))
    text = re.sub(r"0x[0-9a-f]+", "", str(traced))  # without addresses of functions
    return text, *map(_content, (*traced.consts, *jax.tree.leaves(memory)))


def _content(array: Any) -> tuple[Any, ...]:
    """Returns shape, dtype and bytes of an array, to be compared."""
    if is_key(array):
        array = jax.random.key_data(array)
    array = np.asarray(array)
    return array.shape, str(array.dtype), array.tobytes()
