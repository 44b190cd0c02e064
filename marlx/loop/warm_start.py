"""Warm start: a run whose learner begins with the parameters of another run.

They are those of the run's policy file, what acting needs. Arrays go by their names in the policy,
so that they fit a learner of another name or another environment, where names and shapes are the
same. What `Learner.init` made equal to a loaded array, as a target network, stays equal to it. All
else begins as in any run: optimisers, replay, exploration, critics of policy gradients.

With `warm_start_rate` the step size of what was loaded is scaled (`marlx.learning.part_rates`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.learner import Learner
from marlx.learning.part_rates import factor_places
from marlx.loop import multihost
from marlx.loop.settings import TrainConfig
from marlx.policy_files import read_policy_files, seed_index
from marlx.text import printable
from marlx.types import Array, Tree
from marlx.xla.names import named

Arrays = dict[str, np.ndarray[Any, Any]]


class WarmStart(NamedTuple):
    """Parameters of another run that a run begins with.

    Attributes:
      arrays: by name in the learner's state, of one seed.
      parameters: names in the state of all parameters of the policy, loaded or not.
      facts: where they come from, for the run's record.
    """

    arrays: Arrays
    parameters: tuple[str, ...]
    facts: dict[str, Any]


def read_warm_start(learner: Learner, state: Tree, config: TrainConfig) -> WarmStart | None:
    """Returns what `config.warm_start` names; None where it names nothing.

    Args:
      learner: of the run that begins.
      state: shapes of its state.
      config: settings of the run.

    Raises:
      ValueError: the run has no sound policy, or its arrays are not those of this learner; the
        message names the first array that does not fit, with both shapes.
    """
    if config.warm_start is None:
        return None
    run = os.fspath(config.warm_start)
    files = read_policy_files(run)
    index = seed_index(files, run, config.warm_start_seed)
    given = {name: x[index] for name, x in files.arrays.items() if _is_float(x)}
    places = policy_places(learner, state)
    chosen = _chosen(given, places, learner, state, config)
    if config.warm_start_rate != 1 and not factor_places(state):
        raise ValueError(
            f"warm_start_rate is {config.warm_start_rate}; it must be 1.0 for "
            f"{_own_name(learner)}, whose optimiser is not one of marlx.learning.part_rates"
        )
    settings = files.content["settings"]
    facts = {
        "run": run,
        "algorithm": settings.get("algorithm"),
        "environment": settings.get("environment"),
        "seed": files.seeds[index],
        "steps": files.steps,
        "return": files.returns[index],
        "sha256": files.sha256,
        "arrays": chosen,
    }
    arrays = {places[name]: given[name] for name in chosen}
    return WarmStart(arrays, tuple(sorted(places.values())), facts)


def _chosen(
    given: Arrays, places: Mapping[str, str], learner: Learner, state: Tree, config: TrainConfig
) -> list[str]:
    """Returns the names of the arrays to load, those of `config.warm_start_parts`.

    Args:
      given: arrays of the source.
      places: from `policy_places`.
      learner: of the run that begins.
      state: shapes of its state.
      config: settings of the run.

    Raises:
      ValueError: a part that is none, or the first array that differs on both sides.
    """
    own, parts, shapes = _own_name(learner), config.warm_start_parts, named(state)
    _check_parts(parts, places, own)
    computed = named(jax.eval_shape(learner.policy, state)).keys() - places.keys()
    here = {name for name, place in places.items() if _in_parts(parts, name, place)}
    there = {name for name in given if _in_parts(parts, name, places.get(name, ""))} - computed
    for name in sorted(here | there):
        has = _shape(given[name]) if name in there else "missing"
        needs = _shape(shapes[places[name]]) if name in here else "missing"
        if has != needs:
            raise ValueError(
                f"warm_start {config.warm_start} does not fit {own}: {printable(name)} is {has} "
                f"there and {needs} here"
                + ("" if parts else "; warm_start_parts names the parts to load")
            )
    if not here:
        raise ValueError(
            f"warm_start is {config.warm_start}; {own} has no parameters in its policy to load"
        )
    return sorted(here)


def policy_places(learner: Learner, state: Tree) -> dict[str, str]:
    """Returns the name in the learner's state of every parameter of its policy, by policy name.

    Parameters are floating-point arrays that the policy takes from the state as they are. Counters,
    and what is computed for the policy, are none.

    Args:
      learner: the learner.
      state: of it, or shapes.
    """
    found: dict[str, str] = {}

    def look(state: Tree) -> Tree:
        held = {id(x): name for name, x in named(state).items()}
        for name, x in named(learner.policy(state)).items():
            if id(x) in held and _is_float(x):
                found[name] = held[id(x)]
        return ()

    jax.eval_shape(look, state)
    return found


def begun(start: WarmStart, state: Tree, rate: float) -> Tree:
    """Returns a learner's first state with the parameters of `start`.

    An array of the state is a copy of a parameter where the two trees that hold them, with equal
    names from there on, had equal values in all their arrays, and not only constants.

    Args:
      start: from `read_warm_start`.
      state: from `Learner.init`, leading axis [replicas]; where it has factors of
        `marlx.learning.part_rates`, those of what is loaded become `rate`.
      rate: f32 [].
    """
    held = named(state)
    new: Arrays = dict(start.arrays)
    for copy, original in copies(held, start.parameters).items():
        if original in start.arrays:
            new[copy] = start.arrays[original]
    for factor, parameter in factor_places(state).items():
        if parameter in new:
            new[factor] = np.asarray(rate, np.float32)
    leaves = [
        multihost.device_put(np.broadcast_to(new[name], x.shape), x.sharding) if name in new else x
        for name, x in held.items()
    ]
    changed: Tree = jax.tree.unflatten(jax.tree.structure(state), leaves)
    return changed


def copies(held: Mapping[str, Array], originals: tuple[str, ...]) -> dict[str, str]:
    """Returns arrays that are copies of others, see `begun`, by name, with the other's name.

    Args:
      held: arrays [replicas, ...] of a state, by name.
      originals: names of those that others may be copies of.
    """
    ends: dict[str, list[str]] = {}
    for name in held:
        ends.setdefault(name.rpartition("/")[2], []).append(name)
    groups: dict[tuple[str, str], dict[str, str]] = {}
    for original in originals:
        for other in ends[original.rpartition("/")[2]]:
            if other not in originals and _alike(held[other], held[original]):
                groups.setdefault(_prefixes(original, other), {})[other] = original
    found: dict[str, str] = {}
    for (prefix, _), group in groups.items():
        whole = {name for name in originals if f"{name}/".startswith(prefix)}
        values = [(_first(held[other]), _first(held[name])) for other, name in group.items()]
        same = all(np.array_equal(a, b) for a, b in values)
        varied = any(a.size and np.ptp(a) > 0 for a, _ in values)
        if same and varied and set(group.values()) == whole:
            found |= group
    return found


def _prefixes(name: str, other: str) -> tuple[str, str]:
    """Returns what is left of two names without the longest end that they have in common."""
    one, two = name.split("/"), other.split("/")
    while one and two and one[-1] == two[-1]:
        one, two = one[:-1], two[:-1]
    return "/".join([*one, ""]), "/".join([*two, ""])


def _alike(one: Array, two: Array) -> bool:
    return one.shape == two.shape and one.dtype == two.dtype


def _first(x: Array) -> np.ndarray[Any, Any]:
    """Returns an array's first replica on this process."""
    first: np.ndarray[Any, Any] = np.asarray(x.addressable_shards[0].data)[0]
    return first


def _in_parts(parts: tuple[str, ...], *names: str) -> bool:
    """Whether a name has one of `parts` among its words; all have where there are no parts."""
    return not parts or any(f"/{part}/" in f"/{name}/" for part in parts for name in names)


def _check_parts(parts: tuple[str, ...], places: Mapping[str, str], own: str) -> None:
    """Raises ValueError for a part that no parameter belongs to."""
    for part in parts:
        if not any(_in_parts((part,), *names) for names in places.items()):
            words = [word for place in places.values() for word in place.split("/")[:-1]]
            known = ", ".join(word for word in dict.fromkeys(words) if word != "params")
            raise ValueError(
                f"warm_start_parts has {printable(part)}; it must be a part of {own}: {known}"
            )


def _own_name(learner: Learner) -> str:
    if learner.recipe is None:
        return "the learner"
    return f"{learner.recipe.algorithm} on {learner.recipe.spec.id}"


def _is_float(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def _shape(x: Any) -> str:
    return f"{x.dtype}[{','.join(map(str, x.shape))}]"
