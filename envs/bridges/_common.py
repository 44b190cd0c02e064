"""Helpers of the bridges: late imports, checks of settings, flattening, types of arrays."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import EnvState
from marlx.envs.checks import LONGEST_EPISODE, one_of
from marlx.files import parse_json
from marlx.text import shortened
from marlx.types import Array, EnvSpec, Observation, Planes, Tree
from marlx.xla.memory import is_key

UNLIMITED = 1000
"""Steps per episode of environments that have no time limit of their own."""
LARGEST_SIZE = 10_000
"""Largest number in arguments of another library's environment: of agents, cells, rewards, ...
Memory is checked later, against the plan of the whole run."""
NEVER = 2**30
"""A time limit that no episode reaches."""
Aggregation = Literal["auto", "sum", "mean"]
"""How agents' rewards make the team's; the environments say what `auto` is."""


@flax.struct.dataclass
class BridgeState(EnvState):
    """State of another library's environment, and the observation returned with it.

    The observation is stored because it may be random or depend on the action.
    """

    inner: Tree  # the library's own state
    obs: Observation


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses what a library prints, and its warnings."""
    sink, console = io.StringIO(), sys.__stdout__
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sys.stderr),
    ):
        warnings.simplefilter("ignore")
        # JaxMARL 0.2.0 sets `sys.stdout` to this on import, which would undo a redirection.
        sys.__stdout__ = sink  # type: ignore[misc, assignment]
        try:
            yield
        finally:
            sys.__stdout__ = console  # type: ignore[misc]


def library(name: str) -> Any:
    """Imports and returns the module `name`.

    Raises:
      ValueError: it, or a package that it needs, is not installed; the message says how to
        install it.
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
    """Returns the keyword arguments in a setting that holds JSON text.

    Raises:
      ValueError: it is not a JSON object, or a number in it is not finite or too large.
    """
    try:
        found = parse_json(text, setting) if text else {}
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(
            f"{setting} is {shortened(repr(text))}; it must be a JSON object of arguments, e.g. "
            '{"max_steps": 50}'
        )
    _check_sizes(found, setting)
    return found


def _check_sizes(content: Any, name: str) -> None:
    """Checks the numbers in arguments, before a library makes arrays or loops of such sizes.

    Raises:
      ValueError: one is not finite, or larger than `LARGEST_SIZE`; of steps, times and seeds, than
        `LONGEST_EPISODE`.
    """
    if isinstance(content, dict):
        for key, value in content.items():
            _check_sizes(value, f"{name}.{key}")
    elif isinstance(content, list):
        for i, value in enumerate(content):
            _check_sizes(value, f"{name}[{i}]")
    elif isinstance(content, int | float):
        last = name.rpartition(".")[2].lower()
        counts = any(word in last for word in ("step", "time", "limit", "horizon", "seed"))
        most = LONGEST_EPISODE if counts else LARGEST_SIZE
        if not abs(content) <= most:  # NaN is not
            shown = shortened(repr(content))
            raise ValueError(f"{shortened(name)} is {shown}; it must be at most {most}")


def call(what: str, function: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls another library's function and returns its result.

    Raises:
      ValueError: the function raised an error; the message is one line.
    """
    try:
        with _quiet():
            return function(*args, **kwargs)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{what} cannot be made: {type(error).__name__}: {reason}") from error


def shallow_copy(original: Any) -> Any:
    """Returns a shallow copy; `copy.copy` fails where `__getattr__` reads an attribute."""
    copied = object.__new__(type(original))
    vars(copied).update(vars(original))
    return copied


def check_horizon(horizon: int | None) -> None:
    """Raises ValueError for a time limit below 1 or above `LONGEST_EPISODE`."""
    if horizon is not None and horizon < 1:
        raise ValueError(f"horizon is {horizon}; an episode has at least 1 step")
    if horizon is not None and horizon > LONGEST_EPISODE:
        raise ValueError(f"horizon is {horizon}; it must be at most {LONGEST_EPISODE}")


def check_settings(env: Any) -> None:
    """Checks the settings `horizon`, `reward_aggregation` and `kwargs`.

    Raises:
      ValueError: one of them is wrong.
    """
    check_horizon(env.horizon)
    one_of(env, reward_aggregation=get_args(Aggregation))
    read_arguments(env.kwargs, "kwargs")


def flat(tree: Tree) -> Array:
    """Returns f32 [total size], the concatenated leaves of a pytree."""
    leaves = [jnp.ravel(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(tree)]
    return jnp.concatenate(leaves) if leaves else jnp.zeros(0, jnp.float32)


def pad(vectors: Sequence[Array], width: int) -> Array:
    """Returns [N, width], vectors of at most that width padded with zeros."""
    return jnp.stack([jnp.pad(vector, (0, width - vector.shape[0])) for vector in vectors])


def strong_types(tree: Tree) -> Tree:
    """Returns every leaf as an array without a weak type."""

    def strong(leaf: Any) -> Array:
        leaf = jnp.asarray(leaf)
        return leaf if is_key(leaf) else jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(strong, tree)


def keep_types(new: Tree, old: Tree) -> Tree:
    """Returns `new` with the dtypes of `old`; some libraries change them from step to step."""

    def keep(new: Any, old: Array) -> Array:
        new = jnp.asarray(new)
        return new if is_key(new) else jax.lax.convert_element_type(new, old.dtype)

    return jax.tree.map(keep, new, old)


def image(obs: Tree) -> Planes | None:
    """Returns how a flattened observation begins with an image; None where it does not.

    Args:
      obs: shapes of the observation, whose first leaf is an image where it has three axes.
    """
    leaves = jax.tree.leaves(obs)
    return Planes(*leaves[0].shape) if leaves and len(leaves[0].shape) == 3 else None


class Bounds(NamedTuple):
    """Limits of a continuous action, in the shape of its space."""

    low: np.ndarray
    high: np.ndarray

    def scale(self, action: Array) -> Array:
        """Returns f32 [A] in [0, 1] scaled to the range and shape of the space."""
        low, high = jnp.asarray(self.low), jnp.asarray(self.high)
        return low + action[: self.low.size].reshape(low.shape) * (high - low)


def bounds(space: Any, owner: str) -> Bounds:
    """Returns the limits of a Box.

    Raises:
      ValueError: a limit is not finite.
    """
    low, high = (
        np.broadcast_to(np.asarray(limit, np.float32), space.shape)
        for limit in (space.low, space.high)
    )
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError(f"{owner} has continuous actions without limits, which cannot be scaled")
    return Bounds(low, high)


def masks(sizes: Sequence[int]) -> np.ndarray:
    """Returns bool [N, max size], True where an agent has the action."""
    return np.arange(max(sizes)) < np.asarray(sizes)[:, None]


def group_by_name(
    names: Sequence[str], widths: Sequence[tuple[int, ...]]
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Returns groups of agents with equal widths whose names differ by a number only (`ally_0`)."""
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
    """Returns a name for each agent, from its group: `agents` gives agent_0, agent_1, ..."""
    names = [""] * spec.num_agents
    for group, agents in spec.groups:
        role = re.sub(r"ies$", "y", group)
        role = role.removesuffix("s") if len(role) > 1 else role
        for place, i in enumerate(agents):
            names[i] = f"{role}_{place}"
    if len(set(names)) < len(names):  # groups whose names differ by a final s only
        return [f"agent_{i}" for i in range(spec.num_agents)]
    return names


def info_arrays(info: Any) -> dict[str, Any]:
    """Returns a library's `info` as a dictionary of arrays."""
    return dict(strong_types(dict(info))) if isinstance(info, Mapping) else {}
