"""Results under a protocol card: made of runs, checked against the card, stored as rows.

Rows of a card are a study as `marlx.analysis.result_rows` describes it, named as the card:
`comparison` is the environment and `arm` the method. Returns are in the card's unit. `measured` has
the card's hash and how actions were chosen; `differs` has what a run has less of than the card
asks for, as `[run, card]`: `seeds` or `steps`. Such a row is partial: it is shown and not ranked.
Published numbers are records of `published.jsonl` beside the cards, each with its source.
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.analysis.protocol_cards import FREE, Card, shipped, version_fits
from marlx.analysis.result_rows import (
    COLUMNS,
    DIGITS,
    RUN,
    SETTINGS,
    Row,
    Study,
    add_rows,
    check_study,
    config_hash,
    configuration,
    device_text,
    finite,
    read_study,
    write_study,
)
from marlx.config.tree import flatten, plain
from marlx.files import NUMBER, NUMBER_OR_NONE, TEXT, WHOLE, Record, checked, parse_json
from marlx.registry import make_env
from marlx.text import short_text

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from marlx.analysis.run_data import RunData
    from marlx.config.layers import Experiment
    from marlx.types import EnvSpec

PUBLISHED = Record(
    {
        "card": TEXT,
        "env": TEXT,
        "method": TEXT,
        "code": TEXT,
        "measure": TEXT,
        "judged": TEXT,
        "seeds": WHOLE,
        "total_steps": NUMBER,
        "steps": [NUMBER],
        "curve": [NUMBER],
        "final": NUMBER_OR_NONE,
        "deviation": NUMBER_OR_NONE,
        "source": TEXT,
    },
)
"""Schema of a published number: means over seeds; `deviation` is over seeds too."""


def published(protocol: Card) -> list[dict[str, Any]]:
    """Returns the published numbers that stand beside a card's results.

    Raises:
      ValueError: a record does not fit `PUBLISHED`.
    """
    file = shipped() / "published.jsonl"
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        source = f"published.jsonl, line {number}"
        record = checked(parse_json(line, source), PUBLISHED, source)
        if len(record["curve"]) != len(record["steps"]):
            raise ValueError(f"{source}: {len(record['curve'])} numbers at other steps")
        found.append(record)
    return [dict(record) for record in found if record["card"] == protocol.name]


def stored(protocol: Card, folder: Path | Traversable | None = None) -> Study:
    """Returns the rows that were submitted under a card, by default those that are shipped."""
    try:
        return read_study(shipped() if folder is None else folder, protocol.name)
    except FileNotFoundError:
        return Study([], {})


def run_rows(protocol: Card, run: RunData) -> tuple[list[Row], dict[str, Any]]:
    """Returns the rows of a run, one per seed, and its settings record, for `add`.

    A run that did not finish has the returns of its last evaluation.

    Raises:
      ValueError: it is no run folder that this version of marlx can read.
    """
    from marlx.analysis.make_rows import changes_from_preset
    from marlx.runs.folder import load_experiment

    if run.path is None:
        raise ValueError(f"{run.name} is not the folder of a run")
    made = load_experiment(run.path)
    env, params, learner = made.build()
    factor = _factor(protocol, env.spec(params))
    changed = changes_from_preset(made)
    about = _about(run)
    settings = finite(configuration(made.settings()))
    mode = run.result.get("judged") or _mode(made.settings(), getattr(learner, "judged", "greedy"))
    shared = {
        "study": protocol.name,
        "comparison": made.environment,
        "arm": _label(protocol, made.algorithm, changed),
        "env": made.environment,
        "algorithm": made.algorithm,
        "config_hash": config_hash(settings),
        "changes_from_preset": finite(changed),
        "date": about["date"],
        "device": device_text(about["device"]),
        "steps": [int(step) for step in run.steps],
        "measured": {"card": protocol.hash, "judged": mode},
    }
    curves = {"curve": run.metrics["return"], "train_curve": run.metrics.get("train_return")}
    rows = []
    for i, seed in enumerate(run.seeds):
        own = {name: None if x is None else _rounded(x[:, i], factor) for name, x in curves.items()}
        if own["train_curve"] is not None:
            own["train_curve"] = own["train_curve"][1:]
        final = round(float(run.final[i]) * factor, DIGITS)
        rows.append(
            dict.fromkeys(COLUMNS) | shared | finite(own | {"final": final}) | {"seed": int(seed)}
        )
    entry = dict.fromkeys(RUN) | about | _summary(run, factor)
    entry |= {"seeds": [row["seed"] for row in rows], "command": _command(protocol, made)}
    record = dict.fromkeys(SETTINGS) | {"settings": settings, "runs": [finite(entry)]}
    record |= {key: shared[key] for key in ("config_hash", "algorithm", "env")}
    optimum = env.spec(params).optimum
    return rows, record | {"optimum": None if optimum is None else optimum * factor}


def breaks(protocol: Card, row: Row, record: Mapping[str, Any]) -> list[str]:
    """Returns a text for everything in which a row breaks its card; see also `cuts`."""
    settings = record["settings"]
    if row["env"] not in protocol.environments:
        return [f"{row['env']} is no environment of card {protocol.name}"]
    texts = []
    if row["measured"].get("card") != protocol.hash:
        texts.append(f"made under card {row['measured'].get('card')}; it is {protocol.hash} now")
    own, wanted = flatten(settings.get("env", {})), _env_settings(protocol, row["env"])
    for name in {**wanted, **own}:
        if own.get(name, wanted.get(name)) != wanted.get(name) or (
            name in protocol.env and name not in own
        ):
            texts.append(_differ(f"env.{name}", own.get(name), wanted.get(name)))
    flat = flatten(settings)
    for name, value in flatten(protocol.settings).items():
        if flat.get(name) != value:
            texts.append(_differ(name, flat.get(name), value))
    if protocol.algorithm == "preset":
        changed = _free(protocol, row["changes_from_preset"] or {})
        texts += [_differ(name, value, "the preset's") for name, value in changed.items()]
    texts += _evaluation_breaks(protocol, row, settings)
    for package, version in protocol.versions.items():
        for run in record["runs"]:
            if not version_fits(run["versions"].get(package), version):
                texts.append(_differ(package, run["versions"].get(package), version))
    return texts


def cuts(protocol: Card, rows: Sequence[Row]) -> dict[str, list[int]]:
    """Returns what the seeds of a method have less of than the card asks for, as [run, card]."""
    found = {}
    if len(rows) < protocol.seeds:
        found["seeds"] = [len(rows), protocol.seeds]
    steps = min(row["steps"][-1] for row in rows)
    if steps < protocol.steps:
        found["steps"] = [steps, protocol.steps]
    return found


def add(protocol: Card, folder: Path, rows: Sequence[Row], record: Mapping[str, Any]) -> Path:
    """Adds the rows of a run to those of a card; returns the path of the rows.

    Raises:
      ValueError: a row breaks the card. Fewer seeds or steps are no break, and are marked.
    """
    for row in rows:
        if texts := breaks(protocol, row, record):
            raise ValueError(f"{row['arm']} on {row['env']}: {'; '.join(texts)}")
    add_rows(folder, protocol.name, rows, record)
    return write_study(folder, protocol.name, marked(protocol, read_study(folder, protocol.name)))


def with_runs(protocol: Card, study: Study, runs: Iterable[RunData]) -> tuple[Study, list[str]]:
    """Returns a study with the rows of runs in it, and a line for each run that breaks the card."""
    rows, settings = (
        {(row["config_hash"], row["seed"]): row for row in study.rows},
        dict(study.settings),
    )
    notes = []
    for run in runs:
        new, record = run_rows(protocol, run)
        texts = breaks(protocol, new[0], record)
        if texts:
            notes.append(f"left out: {run.path}: {'; '.join(texts)}")
            continue
        rows |= {(row["config_hash"], row["seed"]): row for row in new}
        before = settings.get(record["config_hash"], {"runs": []})["runs"]
        settings[record["config_hash"]] = {**record, "runs": [*before, *record["runs"]]}
    both = Study(list(rows.values()), settings)
    return marked(protocol, both), notes


def marked(protocol: Card, study: Study) -> Study:
    """Returns a study whose rows say in `differs` what their method has less of than asked for."""
    less = {digest: cuts(protocol, study.rows_of(digest)) or None for digest in study.settings}
    return study._replace(rows=[row | {"differs": less[row["config_hash"]]} for row in study.rows])


def check_rows(protocol: Card, study: Study) -> None:
    """Checks the stored rows of a card.

    Raises:
      ValueError: one is not valid, breaks the card, or hides that it is partial; it is named.
    """
    check_study(study)
    for row, right in zip(study.rows, marked(protocol, study).rows, strict=True):
        place = f"{row['arm']} on {row['env']}, seed {row['seed']}"
        if row["study"] != protocol.name:
            raise ValueError(f"{place}: a row of {row['study']}, not of card {protocol.name}")
        if texts := breaks(protocol, row, study.settings[row["config_hash"]]):
            raise ValueError(f"{place}: {'; '.join(texts)}")
        if row["differs"] != right["differs"]:
            raise ValueError(f"{place}: differs is {row['differs']}; it is {right['differs']}")


def _evaluation_breaks(protocol: Card, row: Row, settings: Mapping[str, Any]) -> list[str]:
    """Returns a text for what is wrong with a row's evaluations: when, how many episodes, how."""
    texts, judged = [], row["measured"].get("judged")
    wanted = (
        _learner_judged(row["algorithm"], row["env"]) if protocol.judged == "drawn" else "greedy"
    )
    if wanted is not None and judged != wanted:
        texts.append(_differ("actions in evaluations", judged, wanted))
    own = settings.get("eval", "greedy")
    both = own == "both" or (own == "auto" and judged == "drawn")
    episodes = settings["eval_episodes"] // (2 if both else 1)
    if episodes < protocol.eval_episodes:
        texts.append(_differ("eval_episodes", episodes, protocol.eval_episodes))
    rollout = settings["num_envs"] * settings["rollout_length"]
    rollouts = math.ceil(protocol.steps / rollout) - row["steps"][0] // rollout
    between = math.ceil(rollouts / protocol.evals) * rollout
    steps = row["steps"]
    if any(b - a != between for a, b in itertools.pairwise(steps)):
        texts.append(f"evaluations are not every {between:,} steps")
    if steps[-1] >= protocol.steps + between:
        texts.append(_differ("steps", f"{steps[-1]:,}", f"{protocol.steps:,}"))
    return texts


@functools.cache
def _learner_judged(algorithm: str, env_id: str) -> str | None:
    """How an algorithm is judged; None where its environment cannot be made here."""
    from marlx.config.layers import experiment

    try:
        return getattr(experiment(algorithm, env_id).build()[2], "judged", "greedy")
    except ValueError:  # a package, or the algorithm's plug-in, is not installed
        return None


def _env_settings(protocol: Card, env_id: str) -> dict[str, Any]:
    """All settings of a card's environment, by dotted name; only the card's if it is missing."""
    try:
        return flatten(plain(make_env(env_id, **protocol.env)))
    except ValueError:
        return dict(protocol.env)


def _mode(settings: Mapping[str, Any], judged: str) -> str:
    """How the actions behind `return` were chosen."""
    own = settings.get("eval")
    return own if own in ("drawn", "greedy") else judged


def _factor(protocol: Card, spec: EnvSpec) -> float:
    """What a team return of marlx is multiplied by to be in the card's unit."""
    if protocol.unit in ("team", spec.reward_aggregation):
        return 1.0
    return float(spec.num_agents) if protocol.unit == "sum" else 1.0 / spec.num_agents


def _free(protocol: Card, changed: Mapping[str, Any]) -> dict[str, Any]:
    """The changes from the preset that the user chose, and not the card."""
    fixed = flatten(protocol.settings)
    return {k: v for k, v in changed.items() if k.partition(".")[0] in FREE and k not in fixed}


def _label(protocol: Card, algorithm: str, changed: Mapping[str, Any]) -> str:
    """The method in a table: the algorithm, and what was changed from its preset."""
    texts = [
        f"{name.removeprefix('learner.').rstrip('_')} {short_text(value)}"
        for name, value in _free(protocol, changed).items()
    ]
    return f"{algorithm}, {', '.join(texts)}" if texts else algorithm


def _command(protocol: Card, made: Experiment) -> str:
    from marlx.analysis.make_rows import changes_from_preset

    words = ["marlx protocol run", protocol.name, made.algorithm, "--env", made.environment]
    for name, value in _free(protocol, changes_from_preset(made)).items():
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{name.rstrip('_').replace('_', '-')}", text]
    return " ".join(words)


def _about(run: RunData) -> dict[str, Any]:
    """Returns the `date`, `commit`, `versions` and `device` of a run."""
    import datetime

    assert run.path is not None
    facts = run.facts
    written = (run.path / "metrics.jsonl").stat().st_mtime
    devices = list(facts.get("devices", ["unknown"]))
    return {
        "date": datetime.datetime.fromtimestamp(written, datetime.UTC).date().isoformat(),
        "commit": None,
        "versions": {"python": facts.get("python", "unknown"), **facts.get("versions", {})},
        "device": {
            "platform": facts.get("backend", "unknown"),
            "kind": devices[0],
            "count": len(devices),
        },
    }


def _summary(run: RunData, factor: float) -> dict[str, Any]:
    """Returns the summary of a run over its seeds, as `result.json` has it."""
    result = run.result
    if not result:
        return {"mean": float(run.final.mean()) * factor, "extra": {"unfinished": True}}
    low, high = result["return"]["interval_95"]
    random = result.get("random_return")
    return {
        "mean": result["return"]["mean"] * factor,
        "interval": [low * factor, high * factor],
        "episodes_per_seed": result.get("episodes_per_seed"),
        "random_return": None if random is None else random * factor,
        "seconds": result.get("seconds"),
        "extra": {},
    }


def _rounded(values: Any, factor: float) -> list[float]:
    return [round(float(value) * factor, DIGITS) for value in values]


def _differ(name: str, own: Any, wanted: Any) -> str:
    return (
        f"{name} is {json.dumps(own) if not isinstance(own, str) else own}; the card says {wanted}"
    )
