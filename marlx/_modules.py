"""Modules of a package as its attributes, imported when they are first used."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from types import ModuleType

from marlx.text import nearest


def lazy(package: str) -> tuple[Callable[[str], ModuleType], Callable[[], list[str]]]:
    """Returns `__getattr__` and `__dir__` of a package, by which `package.module` always works.

    Args:
      package: dotted name of the package, its `__name__`.
    """

    def get(name: str) -> ModuleType:
        if name in modules_of(package):
            return importlib.import_module(f"{package}.{name}")
        raise missing(package, name, modules_of(package))

    return get, lambda: modules_of(package)


def modules_of(package: str) -> list[str]:
    """Returns the names of the public modules of a package, sorted."""
    spec = importlib.util.find_spec(package)
    paths = None if spec is None else spec.submodule_search_locations
    names = (module.name for module in pkgutil.iter_modules(paths))
    return sorted(name for name in names if not name.startswith("_"))


def missing(package: str, name: str, known: list[str]) -> AttributeError:
    """Returns the error for an unknown attribute, with the nearest names of `known`."""
    near = [] if name.startswith("_") else nearest(name, known)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    return AttributeError(f"module {package!r} has no attribute {name!r}{hint}")
