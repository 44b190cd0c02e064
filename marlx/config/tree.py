"""Trees of settings: nested mappings, dotted names and plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from marlx.registry import settings_of
from marlx.text import shortened


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of a nested mapping by dotted name, e.g. `learner.lr`.

    Args:
      tree: settings in the layout of a YAML file, or their types.
      prefix: put before every name.
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def as_stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns settings of a stored run, with those that its files may not have as they were then.

    Every run was evaluated greedily, and began with parameters of its own, before there were
    settings for it.
    """
    return {
        "eval": "greedy",
        "warm_start": None,
        "warm_start_seed": None,
        "warm_start_parts": [],
        "warm_start_rate": 1.0,
        **settings,
    }


def unflatten(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the nested mapping whose leaves have the dotted names of `flat`.

    Raises:
      ValueError: a name is a value and a block at once, as in `{"a": 1, "a.b": 2}`.
    """
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *blocks, last = name.split(".")
        inside = tree
        for block in blocks:
            inside = inside.setdefault(block, {})
            if not isinstance(inside, dict):
                raise ValueError(f"{shortened(name)} is set, and so is {shortened(block)} itself")
        if isinstance(inside.get(last), dict):
            raise ValueError(f"{shortened(name)} is set, and so are settings in it")
        inside[last] = value
    return tree


def plain(
    value: Any,
    *,
    leaf: Callable[[Any], Any] = lambda value: value,
    names: Callable[[Any], Iterable[str]] = settings_of,
) -> Any:
    """Returns dataclasses and named tuples as mappings, sequences as lists, as YAML and JSON do.

    Args:
      value: a dataclass, or a field of one.
      leaf: makes a plain value of anything else.
      names: `(dataclass) -> names` of the fields to keep; its settings if not given.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        tree: Mapping[Any, Any] = {name: getattr(value, name) for name in names(value)}
    elif hasattr(value, "_asdict"):
        tree = value._asdict()
    elif isinstance(value, Mapping):
        tree = value
    elif isinstance(value, tuple | list):
        return [plain(item, leaf=leaf, names=names) for item in value]
    else:
        return leaf(value)
    return {str(name): plain(item, leaf=leaf, names=names) for name, item in tree.items()}
