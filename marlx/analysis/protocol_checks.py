"""Checks of results against a protocol card: in what a run breaks it, and what it has less of."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from marlx.analysis.protocol_cards import FREE, Card, version_fits
from marlx.analysis.result_rows import Row
from marlx.config.layers import Layer, experiment, merge
from marlx.config.tree import flatten, plain
from marlx.registry import make_env, settings_of


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
    if settings.get("warm_start") is not None:
        texts.append(_differ("warm_start", settings["warm_start"], "training from the start"))
    if protocol.algorithm == "preset":
        changed = chosen(protocol, row["changes_from_preset"] or {})
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


def chosen(protocol: Card, changed: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those changes from the preset that the user chose, and not the card."""
    fixed = flatten(protocol.settings)
    return {k: v for k, v in changed.items() if k.partition(".")[0] in FREE and k not in fixed}


def _evaluation_breaks(protocol: Card, row: Row, settings: Mapping[str, Any]) -> list[str]:
    """Returns a text for what is wrong with a row's evaluations: when, how many episodes, how."""
    texts, judged = [], row["judged"]
    wanted = (
        _learner_judged(row["algorithm"], row["env"]) if protocol.judged == "drawn" else "greedy"
    )
    if wanted is not None and judged != wanted:
        texts.append(_differ("actions in evaluations", judged, wanted))
    own = settings.get("eval", "greedy")
    both = own == "both" or (own == "auto" and judged == "drawn")
    episodes = -(-settings["eval_episodes"] // (2 if both else 1))
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
    try:
        return experiment(algorithm, env_id).build()[2].judged
    except ValueError:  # a package, or the algorithm's plug-in, is not installed
        return None


def _env_settings(protocol: Card, env_id: str) -> dict[str, Any]:
    """All settings of a card's environment, by dotted name; only the card's if it is missing."""
    try:
        known = settings_of(make_env(env_id))
        given = merge(known, [Layer(f"card {protocol.name}", protocol.env)])
        return flatten(plain(make_env(env_id, **given)))
    except ValueError:
        return dict(protocol.env)


def _differ(name: str, own: Any, wanted: Any) -> str:
    return (
        f"{name} is {json.dumps(own) if not isinstance(own, str) else own}; the card says {wanted}"
    )
