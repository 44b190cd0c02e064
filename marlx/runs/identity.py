"""Run identity: the settings, versions and devices by which a checkpoint belongs to a run."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from marlx.config.tree import as_stored, plain
from marlx.loop.evaluation import modes_of
from marlx.runs.facts import environment_facts
from marlx.text import shortened
from marlx.xla.memory import is_key

if TYPE_CHECKING:
    from marlx.loop.run import Run
    from marlx.runs.array_store import Checkpoint


def settings_of_run(run: Run) -> dict[str, Any]:
    """Returns every setting of a run, in the form that JSON gives back."""
    settings = {
        **_plain(run.config),
        "learner": _plain(run.learner.config),
        "env": _plain(run.env),
        "params": _plain(run.params),
    }
    return json.loads(json.dumps(settings))  # type: ignore[no-any-return]


def first_change(old: Mapping[str, Any], new: Mapping[str, Any], *, prefix: str = "") -> str | None:
    """Returns a message about the first difference of two nested dicts; None if there is none."""
    for name in {**old, **new}:
        was, now = old.get(name), new.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            if (inner := first_change(was, now, prefix=f"{prefix}{name}.")) is not None:
                return inner
        elif was != now and not (was != was and now != now):
            return f"{prefix}{name} is {shortened(now)}; the run has {shortened(was)}"
    return None


def check_settings(run: Run, checkpoint: Checkpoint) -> None:
    """Checks that a run has the settings of a checkpoint.

    `total_steps` and `evals` may differ, as long as blocks keep their length: they then only decide
    when the run ends. So may `eval` where it comes to the same for this learner.

    Raises:
      ValueError: another setting differs, or the checkpoint is beyond the end of the run.
    """
    old, new = as_stored(checkpoint.state["settings"]), settings_of_run(run)
    if modes_of(run.learner.judged, old["eval"]) == run.modes:
        old["eval"] = new["eval"]
    schedule = checkpoint.state["schedule"]
    if schedule == schedule_of(run):
        for settings in (old, new):
            del settings["total_steps"], settings["evals"]
    if (change := first_change({**old, **schedule}, {**new, **schedule_of(run)})) is not None:
        raise ValueError(f"{change}; a run goes on with the settings it began with")
    if run.loop.blocks < checkpoint.state["counters"]["blocks"]:
        raise ValueError(
            f"total_steps is {run.config.total_steps}; the run is at {checkpoint.steps} already"
        )


def schedule_of(run: Run) -> dict[str, int]:
    """Returns the rollouts of the warm-up and of a block; random keys depend on them."""
    return {
        "warm_up_rollouts": run.loop.warm_up_rollouts,
        "block_rollouts": run.loop.block_rollouts,
    }


def _plain(value: Any) -> Any:
    """Returns any setting as JSON holds it; arrays by their checksum, functions by their name."""
    return plain(
        value, leaf=_leaf, names=lambda record: [f.name for f in dataclasses.fields(record)]
    )


def _leaf(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        array = np.ascontiguousarray(stored_form(value))
        return f"{array.dtype}{list(array.shape)} with checksum {zlib.crc32(array.tobytes()):08x}"
    kind = value if hasattr(value, "__qualname__") else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def facts_of(run: Run) -> dict[str, Any]:
    """Returns versions and devices, on which the last bits of a run depend besides its settings."""
    facts, layout = environment_facts(), run.layout
    return {
        **facts["versions"],
        "backend": facts["backend"],
        "devices": layout.groups if layout.group_size == 1 else str(layout),
        "device": facts["devices"][0],
        "cpu_cores": facts["cpu_cores"],
    }


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yields one line about the facts (`facts_of`) that have changed; nothing if none has."""
    changed = [
        f"{name.replace('_', ' ')} {shortened(old.get(name))} (now {new.get(name)})"
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    ]
    if changed:
        yield f"the checkpoint is from {', '.join(changed)}; the last bits may differ from here on"


def stored_form(x: Any) -> Any:
    """Returns an array in the form that is stored: random keys as their key data."""
    return jax.random.key_data(x) if is_key(x) else x
