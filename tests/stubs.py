"""`algos/__init__.pyi`, what type checkers and editors see of `marlx.algos`; made from settings.

`python tests/stubs.py` writes it; `tests/test_stubs.py` fails where it is not up to date.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import textwrap
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from marlx.algos.functions import documentation, signature
from marlx.registry import BUILT_IN_ALGORITHMS, Algorithm

STUB = Path(__file__).parents[1] / "algos" / "__init__.pyi"
HEAD = '''\
"""Algorithms by name; made by `python tests/stubs.py`.

Those of other packages are not here; `marlx.algorithm(NAME)` returns them.
"""

from collections.abc import Mapping
from typing import Any, Literal

'''


def built_in() -> list[Algorithm]:
    """The algorithms of marlx, without those of installed packages."""
    found: list[Algorithm] = []
    for reference in BUILT_IN_ALGORITHMS:
        module, attribute = reference.split(":")
        found += getattr(importlib.import_module(module), attribute)
    return found


def stub_text() -> str:
    """The stub, formatted as ruff does it."""
    records, configs = built_in(), set[type[Any]]()
    functions = [_function(record, configs) for record in records]
    imports = [f"from {one.__module__} import {one.__name__}" for one in configs]
    imports += ["from marlx.environment import Environment", "from marlx.learner import Learner"]
    imports += ["from marlx.types import EnvSpec"]
    return HEAD + "\n".join(_joined(imports)) + "\n\n" + "\n\n".join(functions) + "\n"


def _joined(imports: list[str]) -> list[str]:
    """Imports sorted, with those of one module in one line."""
    names: dict[str, list[str]] = {}
    for line in imports:
        module, name = line.removeprefix("from ").split(" import ")
        names.setdefault(module, []).append(name)
    return [f"from {module} import {', '.join(sorted(names[module]))}" for module in sorted(names)]


def _function(record: Algorithm, configs: set[type[Any]]) -> str:
    spec, *settings = signature(record).parameters.values()
    lines = [f"def {record.name}(", f"    spec: {spec.annotation},", "    *,"]
    for one in settings:
        lines += _parameter(one, configs)
    lines.append(") -> Learner:")
    text = documentation(record).replace("\\", "\\\\")
    first, *rest = _wrapped(text)
    lines += [f'    """{first}', *(f"    {line}".rstrip() for line in rest), '    """']
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        deeper = indent + "  " * bool(indent)
        lines += textwrap.wrap(line, 92, subsequent_indent=deeper, break_on_hyphens=False) or [""]
    return lines


def _parameter(parameter: inspect.Parameter, configs: set[type[Any]]) -> list[str]:
    hint, default = parameter.annotation, parameter.default
    shown = "..." if dataclasses.is_dataclass(default) else _literal(default)
    line = f"    {parameter.name}: {_type(hint, configs)} = {shown},"
    return [line]


def _literal(value: Any) -> str:
    text = repr(value).replace("'", '"')
    return text if len(text) < 30 else "..."


def _type(hint: Any, configs: set[type[Any]]) -> str:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return "Literal[" + ", ".join(f'"{arg}"' for arg in args) + "]"
    if origin in (typing.Union, types.UnionType):
        return " | ".join(_type(arg, configs) for arg in args)
    if origin is tuple:
        return "tuple[" + ", ".join(_type(arg, configs) for arg in args) + "]"
    if origin is Mapping:
        return "Mapping[str, Any]"
    if hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    if dataclasses.is_dataclass(hint) or getattr(hint, "_is_protocol", False):
        configs.add(typing.cast(type[Any], hint))
    return str(hint.__name__)


if __name__ == "__main__":
    STUB.write_text(stub_text(), "utf-8")
