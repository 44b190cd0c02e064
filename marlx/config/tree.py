"""Trees of settings: records, nested mappings and dotted names."""

from __future__ import annotations

import dataclasses
from typing import Any

from marlx.registry import settings_of


def plain(record: Any) -> dict[str, Any]:
    """Settings of a dataclass as YAML holds them."""
    if not dataclasses.is_dataclass(record):
        return {}
    return {name: _as_yaml(getattr(record, name)) for name in settings_of(record)}


def _as_yaml(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return plain(value)
    return [_as_yaml(item) for item in value] if isinstance(value, tuple | list) else value
