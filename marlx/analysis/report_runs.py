"""Sections of a report about the runs themselves: episodes, settings, times, versions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marlx.analysis.comparison import Comparison, setting_text
from marlx.analysis.html import Cell, details, figure, image, paragraph, section, table
from marlx.analysis.run_data import RunData
from marlx.config.tree import unflatten
from marlx.config.yaml_text import dump
from marlx.text import counted, duration, short

LARGEST_FILM = 4_000_000
"""Largest `episode.gif` to embed, in bytes."""
NOTHING = "\u2013"
"""Text of a cell without a value."""


def films(comparison: Comparison) -> Iterator[str]:
    """Yields a section with an animated episode for each method and task, if there are any."""
    shown = []
    for sample in comparison.samples.values():
        files = [run.path / "episode.gif" for run in sample.runs if run.path]
        path = next((file for file in files if file.is_file()), None)
        if path is None:
            continue
        text = f"{sample.method} on {sample.task}"
        if path.stat().st_size > LARGEST_FILM:
            shown.append(paragraph(f"{text}: episode.gif is too large to embed", "quiet"))
            continue
        shown.append(figure(image(path, f"An episode: {text}"), text))
    if shown:
        films = '<div class="films">' + "\n".join(shown) + "</div>"
        yield section("Episodes", films, paragraph("Episodes of the best seed of a run.", "quiet"))


def differences(comparison: Comparison) -> Iterator[str]:
    """Yields a section with the settings in which runs differ, a row per run, if there are two."""
    runs = [run for run in comparison.runs if run.settings]
    if len(runs) < 2:
        return
    if not comparison.differing:
        text = "All runs have the same settings, except algorithm, environment and seeds."
        yield section("Differing settings", paragraph(text))
        return
    rows = [
        [
            run.name,
            run.algorithm,
            run.environment,
            *(
                setting_text(run.settings[key]) if key in run.settings else NOTHING
                for key in comparison.differing
            ),
        ]
        for run in runs
    ]
    header = ["run", "algorithm", "environment", *comparison.differing]
    yield section("Differing settings", table(header, rows))


def runs(comparison: Comparison) -> str:
    """Returns a section with all runs: state, seeds, steps and times, and below it settings."""
    rows: list[list[Cell | str]] = []
    for run in comparison.runs:
        phases: dict[str, Any] = run.result.get("seconds") or {}
        total = sum(phases.values()) if phases else _seconds(run)
        parts = ", ".join(f"{name} {duration(value)}" for name, value in phases.items())
        speed = ""
        if run.finished and _seconds(run):
            speed = f"{run.steps[-1] * len(run.seeds) / _seconds(run):,.0f}"
        rows.append(
            [
                run.name,
                Cell("finished") if run.finished else Cell("unfinished", "stopped or running"),
                ", ".join(run.seeds) if len(run.seeds) <= 6 else _seed_range(run),
                Cell(short(run.steps[-1]), number=True),
                Cell(duration(total) if total else NOTHING, number=True),
                Cell(speed or NOTHING, number=True),
                Cell(parts or NOTHING, long=True),
            ]
        )
    header = ["run", "state", "seeds", "steps", "time", "steps/s over seeds", "by phase"]
    texts = [
        details(f"{run.name}: all settings", dump(unflatten(run.settings)))
        for run in comparison.runs
        if run.settings
    ]
    return section("Runs", table(header, rows), *texts)


def facts(comparison: Comparison) -> Iterator[str]:
    """Yields a section with versions and devices, if known; equal ones share a row."""
    groups: dict[str, list[RunData]] = {}
    for run in comparison.runs:
        if run.facts:
            groups.setdefault(_fact_line(run.facts), []).append(run)
    if groups:
        rows = [
            ["all runs" if len(runs) == len(comparison.runs) else _names(runs), facts]
            for facts, runs in groups.items()
        ]
        yield section("Versions and devices", table(["", "versions and devices"], rows))


# Parts of sections


def _seed_range(run: RunData) -> str:
    """`0 to 9 (10)`."""
    return f"{run.seeds[0]} to {run.seeds[-1]} ({len(run.seeds)})"


def _seconds(run: RunData) -> float:
    """Training time in seconds, without compilation; 0 if unknown."""
    seconds = run.metrics.get("seconds")
    return 0.0 if seconds is None else float(seconds[-1].max())


def _names(runs: list[RunData]) -> str:
    """Names of up to three runs, and the number of the others."""
    names = [run.name for run in runs]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fact_line(facts: Mapping[str, Any]) -> str:
    """Versions and devices in one line."""
    versions = facts.get("versions")
    parts = [f"Python {facts.get('python', '?')}", str(facts.get("system", ""))]
    if isinstance(versions, Mapping):
        parts += [f"{name} {version}" for name, version in versions.items()]
    devices = facts.get("devices")
    if isinstance(devices, list) and devices:
        parts.append(f"{len(devices)} x {devices[0]}")
    if facts.get("cpu_cores"):
        parts.append(counted(facts["cpu_cores"], "core"))
    return ", ".join(filter(None, parts))
