"""Rows of a protocol card, made of run folders."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from marlx.analysis.make_rows import changes_from_preset
from marlx.analysis.protocol_cards import Card
from marlx.analysis.protocol_checks import chosen
from marlx.analysis.result_rows import (
    COLUMNS,
    DIGITS,
    RUN,
    SETTINGS,
    Row,
    config_hash,
    configuration,
    device_text,
    finite,
)
from marlx.runs.folder import load_experiment
from marlx.text import short_text

if TYPE_CHECKING:
    from marlx.analysis.run_data import RunData
    from marlx.config.layers import Experiment
    from marlx.types import EnvSpec


NAMED = 4
"""Most changed settings that the name of a method has."""


def run_rows(protocol: Card, run: RunData) -> tuple[list[Row], dict[str, Any]]:
    """Returns the rows of a run, one per seed, and its settings record, for `add`.

    A run that did not finish has the returns of its last evaluation.

    Raises:
      ValueError: it is no run folder that this version of marlx can read.
    """
    if run.path is None:
        raise ValueError(f"{run.name} is not the folder of a run")
    made = load_experiment(run.path)
    env, params, _ = made.build()
    factor = unit_factor(protocol, env.spec(params))
    changed = changes_from_preset(made)
    about = _about(run)
    settings = finite(configuration(made.settings()))
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
        "judged": run.judged,
        "measured": {"card": protocol.hash},
    }
    curves = _curves(protocol, run)
    final = _final(protocol, run)
    rows = []
    for i, seed in enumerate(run.seeds):
        own = {name: None if x is None else _rounded(x[:, i], factor) for name, x in curves.items()}
        if own["train_curve"] is not None:
            own["train_curve"] = own["train_curve"][1:]
        last = {"final": round(final[i] * factor, DIGITS), "seed": int(seed)}
        rows.append(dict.fromkeys(COLUMNS) | shared | finite(own | last))
    entry = dict.fromkeys(RUN) | about | _summary(protocol, run, factor)
    entry |= {
        "judged": run.judged,
        "seeds": [row["seed"] for row in rows],
        "command": _command(protocol, made),
    }
    record = dict.fromkeys(SETTINGS) | {"settings": settings, "runs": [finite(entry)]}
    record |= {key: shared[key] for key in ("config_hash", "algorithm", "env")}
    optimum = env.spec(params).optimum if protocol.measure == "return" else 1.0
    return rows, record | {"optimum": None if optimum is None else optimum * factor}


def unit_factor(protocol: Card, spec: EnvSpec) -> float:
    """Returns what a team return of marlx is multiplied by to be in the card's unit."""
    if protocol.measure != "return" or protocol.unit in ("team", spec.reward_aggregation):
        return 1.0
    return float(spec.num_agents) if protocol.unit == "sum" else 1.0 / spec.num_agents


def _label(protocol: Card, algorithm: str, changed: Mapping[str, Any]) -> str:
    """The method in a table: the algorithm, and what was changed from its preset."""
    texts = [
        f"{name.removeprefix('learner.').rstrip('_')} {short_text(value)}"
        for name, value in chosen(protocol, changed).items()
    ]
    more = f"{len(texts) - NAMED} more" if len(texts) > NAMED else ""
    return ", ".join(filter(None, [algorithm, *texts[:NAMED], more]))


def _command(protocol: Card, made: Experiment) -> str:
    words = ["marlx protocol run", protocol.name, made.algorithm, "--env", made.environment]
    for name, value in chosen(protocol, changes_from_preset(made)).items():
        text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        words += [f"--{name.rstrip('_').replace('_', '-')}", text]
    return " ".join(words)


def _about(run: RunData) -> dict[str, Any]:
    """Returns the `date`, `commit`, `versions` and `device` of a run."""
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


def _curves(protocol: Card, run: RunData) -> dict[str, Any]:
    """Returns what the card measures, f64 [evaluations, seeds], in evaluations and in training.

    Raises:
      ValueError: the run did not measure it.
    """
    if protocol.measure not in run.metrics:
        raise ValueError(
            f"{run.path} has no {protocol.measure}, which card {protocol.name} compares"
        )
    train = run.metrics.get(f"train_{protocol.measure}")
    return {"curve": run.metrics[protocol.measure], "train_curve": train}


def _final(protocol: Card, run: RunData) -> list[float]:
    """Returns what the card measures after training, of each seed."""
    if protocol.measure == "return":
        return [float(value) for value in run.final]
    per_seed = run.result.get(protocol.measure, {}).get("per_seed")
    return [float(x) for x in (per_seed or run.metrics[protocol.measure][-1])]


def _summary(protocol: Card, run: RunData, factor: float) -> dict[str, Any]:
    """Returns the summary of a run over its seeds, as `result.json` has it."""
    measured = run.result.get(protocol.measure)
    if not measured:
        final = _final(protocol, run)
        return {"mean": sum(final) / len(final) * factor, "extra": {"unfinished": True}}
    result = run.result
    low, high = measured["interval_95"]
    random = result.get("random_return") if protocol.measure == "return" else None
    return {
        "mean": measured["mean"] * factor,
        "interval": [low * factor, high * factor],
        "episodes_per_seed": result.get("episodes_per_seed"),
        "random_return": None if random is None else random * factor,
        "seconds": result.get("seconds"),
        "extra": {},
    }


def _rounded(values: Any, factor: float) -> list[float]:
    return [round(float(value) * factor, DIGITS) for value in values]
