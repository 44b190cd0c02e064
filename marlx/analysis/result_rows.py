"""Stored results: one JSON-lines file per study, with one row per configuration and seed.

`STUDY.jsonl` has the rows. Their columns are `COLUMNS`; every row has all of them, and null stands
where a value does not apply or was not stored. `STUDY.settings.jsonl` has one record per
configuration: its settings in full, and the trainings that made its rows, with what is known of
their seeds only together (`SETTINGS`, `RUN`). A row refers to its configuration by hash.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

Row = dict[str, Any]

SEED_SETTINGS = ("seeds", "seed")
"""Settings that choose the seeds. They are not part of a configuration."""
DIGITS = 4
"""Decimals of stored returns."""
COLUMNS: dict[str, tuple[type, ...]] = {
    "study": (str,),
    "comparison": (str,),
    "arm": (str,),
    "env": (str, type(None)),
    "algorithm": (str, type(None)),
    "seed": (int, type(None)),
    "config_hash": (str,),
    "changes_from_preset": (dict, type(None)),
    "control_of": (str, type(None)),
    "nearest_run": (str, type(None)),
    "differs": (dict, type(None)),
    "steps": (list, type(None)),
    "curve": (list, type(None)),
    "train_curve": (list, type(None)),
    "judged": (str, type(None)),
    "final": (float, int, type(None)),
    "returns": (list, type(None)),
    "calls": (list, type(None)),
    "measured": (dict,),
    "commit": (str, type(None)),
    "date": (str,),
    "device": (str,),
}
"""The columns of a row and their types; `benchmarks/README.md` says what each means."""
SETTINGS: dict[str, tuple[type, ...]] = {
    "config_hash": (str,),
    "id": (str, type(None)),
    "algorithm": (str, type(None)),
    "env": (str, type(None)),
    "optimum": (float, int, type(None)),
    "settings": (dict,),
    "runs": (list,),
}
"""The fields of a settings record and their types."""
RUN: dict[str, tuple[type, ...]] = {
    "seeds": (list,),
    "command": (str, type(None)),
    "date": (str,),
    "commit": (str, type(None)),
    "versions": (dict,),
    "device": (dict,),
    "judged": (str, type(None)),
    "mean": (float, int, type(None)),
    "interval": (list, type(None)),
    "episodes_per_seed": (int, type(None)),
    "random_return": (float, int, type(None)),
    "seconds": (dict, type(None)),
    "extra": (dict,),
}
"""The fields of a training of several seeds, in `runs` of a settings record, and their types."""


class Study(NamedTuple):
    """The content of a study's two files.

    Attributes:
      rows: one per configuration and seed, in the order of the file.
      settings: settings records by configuration hash.
    """

    rows: list[Row]
    settings: dict[str, dict[str, Any]]

    def rows_of(self, config_hash: str) -> list[Row]:
        """The rows of a configuration, in the order of the file."""
        return [row for row in self.rows if row["config_hash"] == config_hash]


def configuration(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that choose the seeds."""
    return {key: value for key, value in settings.items() if key not in SEED_SETTINGS}


def config_hash(settings: Mapping[str, Any]) -> str:
    """Returns 12 hexadecimal digits of the SHA-256 of settings, seeds left out.

    Settings name the algorithm and the environment and hold all settings of both and of the
    training, so equal hashes mean that the same was run.
    """
    text = json.dumps(configuration(settings), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def device_text(device: Mapping[str, Any]) -> str:
    """A device in words, e.g. `2 x cpu`."""
    return f"{device['count']} x {device['kind']}"


def read_study(folder: Path | Traversable, name: str) -> Study:
    """Reads the two files of a study.

    Raises:
      FileNotFoundError: there is no such study.
    """
    records = _read(folder / f"{name}.settings.jsonl")
    rows = [_judged(row, row["final"]) for row in _read(folder / f"{name}.jsonl")]
    for record in records:
        record["runs"] = [_judged(run, run["mean"]) for run in record["runs"]]
    return Study(rows, {r["config_hash"]: r for r in records})


def write_study(folder: Path, name: str, study: Study) -> Path:
    """Writes the two files of a study, each in one step; returns the path of the rows.

    Raises:
      ValueError: a row or a record is not valid, see `check_study`.
    """
    check_study(study)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{name}.settings.jsonl", study.settings.values())
    return _write(folder / f"{name}.jsonl", study.rows)


def add_rows(folder: Path, name: str, rows: Sequence[Row], record: Mapping[str, Any]) -> Path:
    """Adds the rows of one configuration to a study, and replaces those of the same seeds.

    Args:
      folder: where the study's files are, or will be.
      name: of the study.
      rows: of one configuration.
      record: its settings record, with one training in `runs`. A stored training is kept as long
        as one of its seeds has a row that was not replaced. Another configuration with the same
        `id` is removed.

    Returns:
      The path of the rows.
    """
    try:
        stored = read_study(folder, name)
    except FileNotFoundError:
        stored = Study([], {})
    digest = record["config_hash"]
    new = {(digest, row["seed"]): row for row in rows}
    merged = [new.pop((row["config_hash"], row["seed"]), row) for row in stored.rows]
    (run,) = record["runs"]
    earlier = stored.settings.get(digest, {}).get("runs", [])
    kept = [old for old in earlier if not set(old["seeds"]) <= set(run["seeds"])]
    settings = stored.settings | {digest: {**record, "runs": [*kept, run]}}
    if record["id"] is not None:
        same_id = [h for h, old in settings.items() if old["id"] == record["id"] and h != digest]
        settings = {h: old for h, old in settings.items() if h not in same_id}
        merged = [row for row in merged if row["config_hash"] not in same_id]
    return write_study(folder, name, Study([*merged, *new.values()], settings))


def check_study(study: Study) -> None:
    """Checks columns, types, hashes, that every row has its settings, and that keys are unique.

    Raises:
      ValueError: something does not fit; the message says which row.
    """
    seen = set()
    for row in study.rows:
        place = f"row {row.get('arm')}, seed {row.get('seed')}"
        _check(row, COLUMNS, place)
        key = row["config_hash"], row["seed"]
        if key in seen:
            raise ValueError(f"{place}: hash {key[0]} and seed {key[1]} are there twice")
        seen.add(key)
        if row["config_hash"] not in study.settings:
            raise ValueError(f"{place}: no settings record has the hash {row['config_hash']}")
        if row["curve"] is not None and len(row["curve"]) != len(row["steps"]):
            raise ValueError(f"{place}: {len(row['curve'])} returns at {len(row['steps'])} steps")
    for digest, record in study.settings.items():
        place = f"settings {digest}"
        _check(record, SETTINGS, place)
        if not digest == record["config_hash"] == config_hash(record["settings"]):
            raise ValueError(f"{place}: hashes to {config_hash(record['settings'])}")
        for run in record["runs"]:
            _check(run, RUN, place)
        trained = {seed for run in record["runs"] for seed in run["seeds"]}
        if trained != {seed for own, seed in seen if own == digest}:
            raise ValueError(f"{place}: its rows are not those of the seeds in `runs`")


def finite(value: Any) -> Any:
    """Replaces NaN and infinity by None, at any depth: JSON has no such numbers."""
    if isinstance(value, Mapping):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _judged(record: Mapping[str, Any], measured: float | None) -> dict[str, Any]:
    """Returns a row or a run with `judged`: without it, returns were of greedy actions."""
    return {"judged": None if measured is None else "greedy", **record}


def _check(record: Mapping[str, Any], fields: Mapping[str, tuple[type, ...]], place: str) -> None:
    missing = [name for name in fields if name not in record]
    unknown = [name for name in record if name not in fields]
    if missing or unknown:
        what = f"no {', '.join(missing)}" if missing else f"unknown {', '.join(unknown)}"
        raise ValueError(f"{place}: {what}")
    for name, kinds in fields.items():
        if not isinstance(record[name], kinds):
            raise ValueError(f"{place}: {name} is {record[name]!r}")


def _read(path: Path | Traversable) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    lines = [json.dumps(r, allow_nan=False, separators=(",", ":")) for r in records]
    beside = path.with_name(f"{path.name}.new")
    beside.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return beside.replace(path)
