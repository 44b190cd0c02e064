"""Files of a run folder: numbers as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    pass


def finite(content: Any) -> Any:
    """`content` with null for every number that JSON does not have."""
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if isinstance(content, np.ndarray | np.generic):
        return finite(content.tolist())
    return None if isinstance(content, float) and not math.isfinite(content) else content
