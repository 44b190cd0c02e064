"""YAML text to settings and back, with YAML 1.2's numbers and booleans."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from marlx.files import DEEPEST
from marlx.text import shortened

MOST_VALUES = 20_000
"""Most values, keys and blocks of a file, those of aliases counted where they are used."""


def parse(text: str, source: str) -> dict[str, Any]:
    """Returns the mapping that a YAML text holds.

    Raises:
      ValueError: it is not YAML, or not a mapping, has a key twice, is nested too deep, or has too
        many values; the message names the line and the key.
    """
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        reason = shortened(reason, 300)
        raise ValueError(f"{source} is not YAML: {reason}") from None
    except RecursionError:
        raise ValueError(f"{source} is not YAML: it is nested too deep") from None
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ValueError(f"{source} must hold `name: value` lines")
    return values


def dump(settings: Mapping[str, Any]) -> str:
    """Returns the YAML text of settings, in their order."""
    return yaml.dump(dict(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """YAML with 1.2's numbers and booleans (`3e-4` is a number, `off` a word), and no key twice.

    Depth and number of values are bounded while the file is read. An alias counts as often as it is
    used, so that a few lines cannot stand for billions of values.
    """

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._depth, self._count = 0, 0
        self._sizes: dict[int, int] = {}  # id of a node -> its values, with those of aliases
        self._keys: dict[int, str] = {}  # id of a node -> the key that it is the value of

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.check_event(yaml.AliasEvent)
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        self._depth += 1
        self._count += 1
        if self._depth > DEEPEST:
            raise _refused(f"it is nested more than {DEEPEST} levels deep", mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None:
            return None
        if not alias:
            self._sizes[id(node)] = 1 + sum(self._sizes[id(part)] for part in _parts(node))
            if isinstance(index, yaml.ScalarNode):
                self._keys[id(node)] = index.value
        elif id(node) not in self._sizes:
            raise _refused("an alias stands for a block that it is in", mark)
        if max(self._count, self._sizes[id(node)]) > MOST_VALUES:
            raise _refused(f"it has more than {MOST_VALUES:,} values", mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, TypeError, KeyError, OverflowError, AttributeError):
            kind, key = node.tag.rpartition(":")[2], self._keys.get(id(node))
            shown = shortened(repr(node.value)) if isinstance(node, yaml.ScalarNode) else "a block"
            at = f"{shortened(key)} is " if key else ""
            raise _refused(f"{at}{shown}, which is no {kind}", node.start_mark) from None

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        if not isinstance(node, yaml.MappingNode):
            raise _refused("it must hold `name: value` lines", node.start_mark)
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _refused("a key is a list or a block", key_node.start_mark)
            if key_node.value in seen:
                shown = shortened(repr(key_node.value))
                raise _refused(f"the key {shown} appears twice", key_node.start_mark)
            seen.add(key_node.value)
        return dict(super().construct_mapping(node, deep))


def _parts(node: yaml.Node) -> list[yaml.Node]:
    """Returns the nodes inside a node, keys too."""
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _refused(reason: str, mark: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, reason, mark)


class _Dumper(yaml.SafeDumper):
    """YAML with lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, value: dumper.represent_sequence("tag:yaml.org,2002:seq", value, True)
)
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|nan)$"),
    list("-+0123456789."),
)
