"""Names of the arrays in a tree."""

from __future__ import annotations

from typing import Any

import jax

from marlx.types import Tree


def named(tree: Tree) -> dict[str, Any]:
    """Returns the leaves of a tree by path, e.g. `params/agents/encoder/kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: tuple[Any, ...]) -> str:
    """Returns the name of a path as `jax.tree_util` gives it: its keys with slashes between."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
