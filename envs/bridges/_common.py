"""What the bridges share: importing a library when it is needed, flattening, keeping types."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import EnvState
from marlx.types import Array, EnvSpec, Observation, Tree

UNLIMITED = 1000
"""Steps per episode where a library's environment has no time limit of its own."""


@flax.struct.dataclass
class BridgeState(EnvState):
    """State of an environment of another library, and what that library showed of it.

    The observation is kept because other libraries may draw it at random or from the action.
    """

    inner: Tree  # the library's own state
    obs: Observation


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Swallow what a library prints or warns of parts of it that nobody asked for."""
    sink, console = io.StringIO(), sys.__stdout__
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sys.stderr),
    ):
        warnings.simplefilter("ignore")
        # JaxMARL 0.2.0 sets `sys.stdout` to this on import, and what was there would be lost.
        sys.__stdout__ = sink  # type: ignore[misc, assignment]
        try:
            yield
        finally:
            sys.__stdout__ = console  # type: ignore[misc]


def library(name: str) -> Any:
    """The module `name`, imported now.

    Raises:
      ValueError: it, or a package that it needs, is not installed; the message says what to do.
    """
    package = name.split(".")[0]
    try:
        with _quiet():
            return importlib.import_module(name)
    except ImportError as error:
        missing = (error.name or package).split(".")[0]
        needed = package if missing == package else f"{missing} (for {package})"
        source = package if package == "gymnax" else "'marlx[peers]'"
        raise ValueError(
            f"this environment needs {needed}, which is not installed: pip install {source}"
        ) from None


def read_arguments(text: str, setting: str) -> dict[str, Any]:
    """The keyword arguments that a setting holds as JSON text.

    Raises:
      ValueError: it holds something else.
    """
    try:
        found = json.loads(text) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{setting} is {text!r}; it must be a JSON object of arguments, e.g. "
            '{"max_steps": 50}'
        )
    return found


def call(what: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call another library's factory; what it raises becomes one line.

    Raises:
      ValueError: whatever was raised.
    """
    try:
        with _quiet():
            return function(*args, **kwargs)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{what} cannot be made: {type(error).__name__}: {reason}") from error


def duplicate(thing: Any) -> Any:
    """A shallow copy; `copy.copy` fails on objects that look attributes up in a part of theirs."""
    twin = object.__new__(type(thing))
    vars(twin).update(vars(thing))
    return twin


def check_horizon(horizon: int | None) -> None:
    """Refuse a time limit that is none."""
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon is {horizon}; an episode has at least 1 step")


def flat(tree: Tree) -> Array:
    """F32 [total size], every leaf of a pytree, in its order."""
    leaves = [jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate(leaves) if leaves else jnp.zeros(0, jnp.float32)


def pad(vectors: Sequence[Array], width: int) -> Array:
    """[N, width], vectors [<= width] with zeros behind them."""
    return jnp.stack([jnp.pad(vector, (0, width - vector.shape[0])) for vector in vectors])


def plain(tree: Tree) -> Tree:
    """Every leaf as an array with a type of its own: no Python numbers, no weak types."""

    def strong(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        return leaf if _is_key(leaf) else jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(strong, tree)


def keep_types(new: Tree, old: Tree) -> Tree:
    """`new` with the types of `old`: some libraries change them from step to step."""

    def keep(new: Any, old: Array) -> Array:
        new = jnp.asarray(new)
        return new if _is_key(new) else jax.lax.convert_element_type(new, old.dtype)

    return jax.tree.map(keep, new, old)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


class Bounds(NamedTuple):
    """Limits of a continuous action, of its own shape."""

    low: np.ndarray
    high: np.ndarray

    def scale(self, action: Array) -> Array:
        """From f32 [A] in [0, 1] to the action's own range and shape."""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        return low + action[: self.low.size].reshape(low.shape) * (high - low)


def bounds(space: Any, owner: str) -> Bounds:
    """The limits of a Box.

    Raises:
      ValueError: it has none.
    """
    low, high = (
        np.broadcast_to(np.asarray(limit, np.float32), space.shape)
        for limit in (space.low, space.high)
    )
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"{owner} has continuous actions without limits; they cannot be scaled")
    return Bounds(low, high)


def masks(sizes: Sequence[int]) -> np.ndarray:
    """Bool [N, max size], True where an agent has the action."""
    return np.arange(max(sizes)) < np.asarray(sizes)[:, None]


def group_by_name(
    names: Sequence[str], widths: Sequence[tuple[int, ...]]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Groups of agents called alike up to a number (`ally_0`, `ally_1`) and of equal widths."""
    members: dict[tuple[str, tuple[int, ...]], list[int]] = {}
    for i, (name, width) in enumerate(zip(names, widths, strict=True)):
        role = re.sub(r"_?\d+$", "", str(name)) or "agent"
        members.setdefault((role, width), []).append(i)
    roles = [role for role, _ in members]
    return tuple(
        (role if roles.count(role) == 1 else f"{role}_{place}", tuple(agents))
        for place, ((role, _), agents) in enumerate(members.items())
    )


def agent_names(spec: EnvSpec) -> list[str]:
    """A name for each agent from its group: `agents` gives agent_0, agent_1, ..."""
    names = [""] * spec.num_agents
    for group, agents in spec.groups:
        role = re.sub(r"ies$", "y", group)
        role = role.removesuffix("s") if len(role) > 1 else role
        for place, i in enumerate(agents):
            names[i] = f"{role}_{place}"
    if len(set(names)) < len(names):  # groups whose names differ by no more than an s
        return [f"agent_{i}" for i in range(spec.num_agents)]
    return names


def info_of(info: Any) -> dict[str, Any]:
    """A library's `info` as a dictionary of arrays."""
    return dict(plain(dict(info))) if isinstance(info, Mapping) else {}
