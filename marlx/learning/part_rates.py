"""Rates of parts: a factor on the step size of every parameter, 0 for those that are frozen.

Optimisers of learners are wrapped by `with_part_rates`. They are what they were, to the bit, until
`with_factors` gives the learner's state a factor for each parameter. The training loop does that
for a run whose `warm_start_rate` is not 1, and sets the factors of what was loaded
(`marlx.loop.warm_start`). They are a part of the state, and so of checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from marlx.types import Array, Tree
from marlx.xla.names import named, path_name


class PartRates(NamedTuple):
    """Factors of one optimiser, the last entry of its state.

    Attributes:
      of: one entry: the name of the field that holds the parameters, in the record that holds the
        optimiser or in one around it, and f32 [] for each of them. The entry is `()` before
        `with_factors`: all are 1.
    """

    of: dict[str, Tree]

    def map(self, function: Callable[[Tree], Tree]) -> PartRates:
        """Returns the rates with `function` of the factors in their place, if there are any."""
        return PartRates({k: v if _none(v) else function(v) for k, v in self.of.items()})


def with_part_rates(
    optimiser: optax.GradientTransformation, of: str = "params"
) -> optax.GradientTransformation:
    """Returns `optimiser` with a factor on the step of every parameter.

    The gradient of a frozen parameter is 0 for the optimiser too, so that it is no part of a norm
    by which gradients are clipped.

    Args:
      optimiser: its state is a tuple, as that of `optax.chain`; `PartRates` is added at its end.
      of: see `PartRates`.
    """

    def init(params: Tree) -> Tree:
        return (*optimiser.init(params), PartRates({of: ()}))

    def update(gradient: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        *inner, rates = state
        factors = rates.of[of]
        if _none(factors):
            change, after = optimiser.update(gradient, tuple(inner), params)
            return change, (*after, rates)
        gradient = jax.tree.map(lambda f, g: jnp.where(f == 0, 0, g), factors, gradient)
        change, after = optimiser.update(gradient, tuple(inner), params)
        change = jax.tree.map(lambda f, c: jnp.where(f == 0, 0, f * c), factors, change)
        return change, (*after, rates)

    return optax.GradientTransformation(init, update)


def with_factors(state: Tree) -> Tree:
    """Returns a learner's state in which all optimisers have a factor of 1 for each parameter."""
    ones = {
        path: jax.tree.map(lambda _: jnp.ones(()), params) for path, _, params in _places(state)
    }

    def filled(path: tuple[Any, ...], node: Tree) -> Tree:
        return node._replace(of=dict.fromkeys(node.of, ones[path])) if path in ones else node

    filled_state: Tree = jax.tree_util.tree_map_with_path(filled, state, is_leaf=_is_rates)
    return filled_state


def factor_places(state: Tree) -> dict[str, str]:
    """Returns the name of every factor in a learner's state, and that of the parameter it is of."""
    found = {}
    for path, where, params in _places(state):
        (field,) = _node(state, path).of
        for name in named(params):
            found[f"{path_name(path)}/of/{field}/{name}"] = f"{where}/{name}"
    return {name: parameter for name, parameter in found.items() if name in named(state)}


def _places(state: Tree) -> Iterator[tuple[tuple[Any, ...], str, Tree]]:
    """Yields the path of each `PartRates`, and the name of its parameters and these themselves."""
    for path, node in jax.tree_util.tree_leaves_with_path(state, is_leaf=_is_rates):
        if not _is_rates(node):
            continue
        (field,) = node.of
        for depth in reversed(range(len(path))):
            record = _node(state, path[:depth])
            if hasattr(record, field):
                where = "/".join(filter(None, (path_name(path[:depth]), field)))
                yield path, where, getattr(record, field)
                break
        else:
            raise ValueError(f"no record around the optimiser {path_name(path)} has {field!r}")


def _node(tree: Tree, path: tuple[Any, ...]) -> Tree:
    """Returns the part of a tree at a path of `jax.tree_util`."""
    for key in path:
        if isinstance(key, jax.tree_util.GetAttrKey):
            tree = getattr(tree, key.name)
        else:
            tree = tree[getattr(key, "key", getattr(key, "idx", None))]
    return tree


def _is_rates(node: Tree) -> bool:
    return isinstance(node, PartRates)


def _none(factors: Tree | tuple[()] | Array) -> bool:
    return isinstance(factors, tuple) and not factors
