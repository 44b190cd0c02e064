"""Parts of the pages that are made when the site is built: formulas and tables of settings.

In the sources they are blocks of LaTeX (```math, which GitHub typesets too) and comments that a
reader of the source does not see (`<!-- settings: marlx.algos.q_config.QConfig -->`).
"""

from __future__ import annotations

import dataclasses
import importlib
import re
import typing
from collections.abc import Iterator
from typing import Any, Literal

_MATH = re.compile(r"^```math\n(.*?)^```$", re.M | re.S)
_SETTINGS = re.compile(r"^<!-- settings: ([\w.]+) -->$", re.M)
_FOR_TOOLS = re.compile(r"^<!-- (?:test: .*?|table: [\w-]+ |end )-->\n?", re.M | re.S)


def made(markdown: str) -> str:
    """Returns a page with formulas and tables of settings, without comments that are for tools."""
    markdown = _FOR_TOOLS.sub("", markdown)
    markdown = _SETTINGS.sub(lambda match: settings_table(match[1]), markdown)
    return _MATH.sub(lambda match: typeset(match[1]), markdown)


def typeset(latex: str) -> str:
    """Returns a formula as MathML, which browsers show without a script or a font.

    Raises:
      ValueError: it has a command that cannot be converted.
    """
    from latex2mathml.converter import convert

    mathml = convert(" ".join(latex.split()), display="block")
    if unknown := re.search(r"\\\w+", mathml):
        raise ValueError(f"no MathML for {unknown[0]} in {latex.strip()!r}")
    return f'<div class="formula">{mathml}</div>\n'


def settings_table(name: str) -> str:
    """Returns the settings of a dataclass as a Markdown table; parts are left to their own tables.

    Args:
      name: dotted name of the dataclass.
    """
    module, _, cls = name.rpartition(".")
    record = getattr(importlib.import_module(module), cls)
    lines = ["| setting | default | values | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *_rows(record)]) + "\n"


def _rows(record: type[Any]) -> Iterator[str]:
    from marlx.cli.help import field_docs

    hints, docs = typing.get_type_hints(record), field_docs(record)
    for field in dataclasses.fields(record):
        if dataclasses.is_dataclass(hints[field.name]):
            continue
        meaning = docs[field.name].replace("\n", "<br>").replace("|", r"\|")
        values = _values(field, hints[field.name])
        yield f"| `{field.name}` | `{_default(field.default)}` | {values} | {meaning} |"


def _default(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _values(field: dataclasses.Field[Any], hint: Any) -> str:
    """The accepted values: choices, or the type with its bounds."""
    from marlx.settings import bounds_of

    if typing.get_origin(hint) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(hint))
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None)]
    names = {int: "whole", float: "number", bool: "true, false", str: "text"}
    words = [names.get(kind, getattr(kind, "__name__", str(kind))) for kind in kinds]
    signs = {"at_least": "≥", "above": ">", "at_most": "≤", "below": "<"}
    bounds = bounds_of(field)
    limits = [f"{sign} {bounds[name]:g}" for name, sign in signs.items() if name in bounds]
    none = ["or none"] if type(None) in typing.get_args(hint) else []
    return " ".join([", ".join(words), ", ".join(limits), *none]).strip()
