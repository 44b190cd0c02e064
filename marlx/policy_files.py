"""Reading of the policy files of a run: parameters of every seed, with a digest that is checked.

    policy/policy.json           settings and seeds of the run
    policy/arrays.safetensors    all arrays with a leading seed axis; steps, returns, digest

`marlx.runs.policies` writes them, and makes policies of them that act.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marlx.files import LARGEST_ARRAYS, CannotRead, check_regular, is_number, parse_json, read_bytes
from marlx.text import shortened

FORMAT = 2


class PolicyFiles(NamedTuple):
    """Checked content of the two files.

    Attributes:
      content: of `policy.json`: `settings`, in the layout of a YAML file, and versions.
      arrays: by name, leading axis [seeds].
      seeds: of the run.
      returns: of each seed, with the actions that the run is judged by; None where it has none.
      steps: environment steps per seed.
      sha256: digest of both files.
    """

    content: dict[str, Any]
    arrays: dict[str, np.ndarray[Any, Any]]
    seeds: list[int]
    returns: list[float | None]
    steps: int
    sha256: str


def read_policy_files(path: str | Path) -> PolicyFiles:
    """Returns the content of the two files, checked.

    Args:
      path: the run folder, or the `policy` folder in it.

    Raises:
      ValueError: there is no policy, or a file is damaged.
    """
    from safetensors import safe_open

    folder = Path(path)
    folder = folder / "policy" if (folder / "policy").is_dir() else folder
    try:
        described = read_bytes(folder / "policy.json")
        content = parse_json(described.decode("utf-8"), "policy.json")
        check_regular(folder / "arrays.safetensors", LARGEST_ARRAYS)
        with safe_open(folder / "arrays.safetensors", framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}
            metadata = file.metadata() or {}
    except CannotRead as error:
        if not error.missing:
            raise ValueError(f"the policy in {path} is damaged: {error}") from None
        raise ValueError(f"{path} holds no policy; give the folder of a run") from None
    except Exception as error:  # JSON too deep, a dtype that NumPy lacks, a header that lies, ...
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the policy in {path} is damaged: {reason}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the policy in {path} is damaged: policy.json is not an object")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"the policy in {path} has format {shortened(repr(content.get('format')))}; this marlx "
            f"reads {FORMAT}"
        )
    if metadata.get("sha256") != digest(described, arrays, metadata):
        raise ValueError(
            f"the policy in {path} is damaged: the digest does not match policy.json and the arrays"
        )
    try:
        seeds, settings = content["seeds"], content["settings"]
        returns, steps = json.loads(metadata["returns"]), int(metadata["steps"])
        sound = isinstance(settings, dict) and len(seeds) == len(returns) > 0
        sound &= all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)
        sound &= all(x is None or is_number(x) for x in returns) and 0 <= steps < 2**63
    except (KeyError, TypeError, ValueError, RecursionError):
        sound = False
    if not sound:
        raise ValueError(f"the policy in {path} is damaged: seeds, settings, steps or returns")
    return PolicyFiles(content, arrays, seeds, returns, steps, metadata["sha256"])


def seed_index(files: PolicyFiles, path: str | Path, seed: int | None) -> int:
    """Returns the index of `seed` on the seed axis, or of the seed with the best return.

    Raises:
      ValueError: the run in `path` has no such seed.
    """
    if seed is None:
        returns = np.array(files.returns, float)
        return 0 if np.isnan(returns).all() else int(np.nanargmax(returns))
    if seed not in files.seeds:
        raise ValueError(f"{path} has no seed {seed}; it has {_some(files.seeds)}")
    return files.seeds.index(seed)


def _some(seeds: list[int]) -> str:
    """The seeds of a run as text, of many the first and the last."""
    if len(seeds) <= 12:
        return ", ".join(map(str, seeds))
    return f"{len(seeds)} seeds, {seeds[0]} to {seeds[-1]}"


def digest(
    described: bytes,
    arrays: Mapping[str, np.ndarray[Any, Any]],
    metadata: Mapping[str, str],
) -> str:
    """Returns the SHA-256 of policy.json, the arrays and all other metadata.

    It detects damage and mixed-up files. It is not a signature: anyone can compute it.

    Args:
      described: bytes of `policy.json`.
      arrays: by name.
      metadata: metadata of `arrays.safetensors`; an entry `sha256` is ignored.
    """
    sha = hashlib.sha256(described)
    for name, text in sorted(metadata.items()):
        if name != "sha256":
            sha.update(json.dumps([name, text]).encode())
    for name, array in sorted(arrays.items()):
        sha.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
