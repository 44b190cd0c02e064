"""Writing small files: replaced in one step, JSON without NaN."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from marlx.files import LARGEST_JSON, parse_json, read_text

Content = str | bytes | Callable[[Path], None]
"""The text or bytes of a file, or a function that writes it to a given path."""


def replace_file(target: Path, content: Content, *, shared: bool = False) -> None:
    """Writes a file in one step: whatever interrupts it, `target` is the old file or the new one.

    Args:
      target: written under a temporary name in the same folder, and renamed.
      content: see `Content`.
      shared: several processes may write it; the temporary name then has the process id.

    Raises:
      OSError: it cannot be written; `target` is as it was.
    """
    process = f".{os.getpid()}" if shared else ""
    temporary = target.with_name(f".{target.stem}{process}.partial{target.suffix}")
    try:
        if callable(content):
            content(temporary)
        else:
            temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object in a JSON file; an empty one if there is none or it cannot be read.

    For files that only help, such as another program's. `marlx.files.read_json` raises instead.
    """
    try:
        content = parse_json(read_text(path, LARGEST_JSON), path)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def finite(content: Any) -> Any:
    """Returns `content` with None for every number that JSON does not have (NaN, infinity)."""
    if isinstance(content, Mapping):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    if hasattr(content, "tolist"):  # of NumPy, which takes a tenth of a second to import
        return finite(content.tolist())
    return None if isinstance(content, float) and not math.isfinite(content) else content
