"""The files of one checkpoint, written and read.

    manifest.json  name, size and CRC-32 of every other file
    arrays/        parameters, optimisers, replays, environments, keys; by orbax
    state.json     the rest:
        format      version of this format
        steps       environment steps per seed
        counters    blocks, evaluations and seconds so far, see `Run.snapshot`
        settings    of the run, which a run must share to continue from here
        schedule    rollouts of the warm-up and of a block, likewise
        facts       versions and devices; where they differ, the last bits may differ
        arrays      dtype and shape of every array, leading axis [replicas]
        history     every `Progress` so far

Before a checkpoint is read, its files are checked against the manifest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import jax
import numpy as np

from marlx.files import (
    ANY_NUMBER,
    ANYTHING,
    LARGEST_JSON,
    NUMBER,
    NUMBER_OR_NONE,
    TEXT,
    WHOLE,
    Each,
    Kind,
    Record,
    checked,
    parse_json,
    read_json,
    read_text,
)
from marlx.loop.progress import Progress
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.registry import settings_of
from marlx.runs.array_store import (
    Checkpoint,
    checksum,
    flush,
    is_array_type,
    read_arrays,
    restored_as,
    save_arrays,
)
from marlx.runs.identity import facts_of, schedule_of, settings_of_run, stored_form
from marlx.text import printable, shortened
from marlx.types import Tree
from marlx.xla.memory import nbytes
from marlx.xla.names import named

FORMAT = 1
_PROGRESS = {
    "steps": WHOLE,
    "total_steps": WHOLE,
    "seconds": NUMBER,
    "phases": Each(NUMBER),
    "metrics": Each([ANY_NUMBER]),
}
_COUNTERS = {
    "blocks": WHOLE,
    "evaluations": WHOLE,
    "rollout_seconds": NUMBER,
    "phases": Each(NUMBER),
}
_LATER = {
    "eval": TEXT,
    "warm_start": Kind("text or null", lambda value: value is None or isinstance(value, str)),
    "warm_start_seed": NUMBER_OR_NONE,
    "warm_start_parts": [TEXT],
    "warm_start_rate": NUMBER,
}
"""Settings that checkpoints may lack (`marlx.config.tree.as_stored`)."""
STATE = Record(
    {
        "format": WHOLE,
        "steps": WHOLE,
        "counters": Record(_COUNTERS),
        "settings": Record(
            {name: WHOLE for name in settings_of(TrainConfig) if name not in _LATER},
            _LATER,
        ),
        "schedule": Each(WHOLE),
        "facts": Each(ANYTHING),
        "arrays": Each(Kind("a dtype and a shape", is_array_type)),
        "history": [Record(_PROGRESS)],
    }
)
"""Schema of `state.json`."""
NEWER = ("actors/agent_return",)
"""Arrays that older checkpoints may not have; they go on from zero, which only metrics notice."""
WRITING = 0.6
"""Memory that writing a checkpoint takes, in parts of its bytes: orbax compresses several arrays at
once. Measured: 0.49 for a state of 3.3 GB, 0.68 for one of 1.8 GB."""


def checkpoint_bytes(run: Run) -> int:
    """Returns the bytes of a checkpoint of `run` before compression."""
    return nbytes(_stored_shapes(run.replicas_shape()))


def write_checkpoint(
    folder: Path, run: Run, history: Sequence[Progress], snapshot: tuple[Tree, dict[str, Any]]
) -> None:
    """Writes the files of a checkpoint into `folder`, and flushes them to the disk.

    Args:
      folder: empty.
      run: its settings and versions are stored.
      history: evaluations so far.
      snapshot: from `run.snapshot`.

    Raises:
      OSError: it cannot be written; orbax may raise other errors.
    """
    state, counters = snapshot
    arrays = {name: stored_form(x) for name, x in named(state).items()}
    save_arrays(folder / "arrays", arrays)
    content = {
        "format": FORMAT,
        "steps": history[-1].steps,
        "counters": counters,
        "settings": settings_of_run(run),
        "schedule": schedule_of(run),
        "facts": facts_of(run),
        "arrays": {name: [str(x.dtype), list(x.shape)] for name, x in arrays.items()},
        "history": [_progress_content(progress) for progress in history],
    }
    # NaN and Infinity are kept, which JSON does not have, so that reading gives the same numbers
    (folder / "state.json").write_text(json.dumps(content), encoding="utf-8")
    manifest = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        manifest[path.relative_to(folder).as_posix()] = checksum(path)
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    for path in folder.rglob("*"):
        flush(path)
    flush(folder)


def _stored_shapes(tree: Tree) -> dict[str, Any]:
    """Returns the shapes and dtypes that the leaves of `tree` are stored with, by name."""
    return named(jax.eval_shape(lambda tree: jax.tree.map(stored_form, tree), tree))


def _progress_content(progress: Progress) -> dict[str, Any]:
    """Returns a `Progress` as JSON holds it, without its policies."""
    content = progress._asdict()
    del content["policies"]
    content["metrics"] = {name: np.asarray(x).tolist() for name, x in progress.metrics.items()}
    return content


def open_checkpoint(folder: Path) -> Checkpoint:
    """Returns the checkpoint in `folder`, after checking every file against the manifest.

    Raises:
      ValueError: a file is damaged, or the format is another.
      OSError: a file cannot be read.
    """
    manifest = read_json(folder / "manifest.json", Each([WHOLE]))
    if "state.json" not in manifest:
        raise ValueError("manifest.json names no state.json")
    for name, expected in manifest.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"manifest.json names {printable(name)}, outside the checkpoint")
        if not (folder / name).is_file():
            raise ValueError(f"{printable(name)} is missing")
        same_size = [(folder / name).stat().st_size] == expected[:1]
        if not same_size or checksum(folder / name) != expected:
            raise ValueError(f"{printable(name)} is not as it was written")
    content = parse_json(read_text(folder / "state.json", LARGEST_JSON), "state.json")
    if isinstance(content, dict) and content.get("format") != FORMAT:
        found = shortened(repr(content.get("format")))
        raise ValueError(f"it has format {found}; this marlx reads {FORMAT}")
    return Checkpoint(folder, checked(content, STATE, "state.json"))


def read_state(run: Run, checkpoint: Checkpoint) -> Tree:
    """Returns the state in a checkpoint on the host, with as many replicas as were saved.

    Raises:
      ValueError: its arrays are not those of `run`'s state, or cannot be read.
    """
    shape = run.replicas_shape()
    needed = {n: (str(x.dtype), tuple(x.shape)) for n, x in _stored_shapes(shape).items()}
    older = [n for n in NEWER if n in needed and n not in checkpoint.state["arrays"]]
    needed = {n: type_ for n, type_ in needed.items() if n not in older}
    saved = {n: (dtype, tuple(dims)) for n, (dtype, dims) in checkpoint.state["arrays"].items()}
    for name in sorted(needed.keys() | saved.keys()):
        was, now = _type_of(saved.get(name)), _type_of(needed.get(name))
        if was != now:
            raise ValueError(
                f"{checkpoint.path} does not fit marlx {facts_of(run)['marlx']}, it was made with "
                f"{shortened(checkpoint.state['facts'].get('marlx'))}: {printable(name)} was {was} "
                f"and is {now}"
            )
    arrays = read_arrays(checkpoint)
    count = len(next(iter(arrays.values())))
    for name in older:
        x = named(shape)[name]
        arrays[name] = np.zeros((count, *x.shape[1:]), x.dtype)
    leaves = [restored_as(arrays[name], x) for name, x in named(shape).items()]
    return jax.tree.unflatten(jax.tree.structure(shape), leaves)


def progress_of(run: Run, content: Mapping[str, Any]) -> Progress:
    """Returns the `Progress` that `_progress_content` was made from."""
    metrics = {name: np.array(values, float) for name, values in content["metrics"].items()}
    known = {name: content[name] for name in Progress._fields if name in content}
    return Progress(**{**known, "metrics": metrics, "policies": run.policies})


def _type_of(array: tuple[str, tuple[int, ...]] | None) -> str:
    """Returns dtype and shape as text, without the axis of replicas, which devices decide."""
    return f"{array[0]}{list(array[1][1:])}" if array else "not there"
