"""Report of one or more runs as a self-contained HTML page: no network, no scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from marlx.analysis import attack_results, plots, report_runs, scores
from marlx.analysis.comparison import (
    Bounds,
    Comparison,
    Sample,
    judged_by,
    only_finished,
    return_label,
    task_bounds,
)
from marlx.analysis.html import Cell, document, figure, paragraph, section, table
from marlx.analysis.plots import Panel
from marlx.analysis.report_runs import NOTHING
from marlx.analysis.scores import Estimate
from marlx.statistics import aggregate_iqm, aggregate_mean, optimality_gap
from marlx.text import counted, printable, short

BAND = "Bands and intervals: 95%, stratified bootstrap over seeds."


def report(comparison: Comparison, given: Mapping[str, tuple[float, float]] | None = None) -> str:
    """Returns the report as HTML.

    Args:
      comparison: the runs, from `compare`.
      given: by task, the returns that score 0 and 1; see `task_bounds`.

    Raises:
      ValueError: a bound is wrong, or there is nothing to draw.
    """
    bounds = task_bounds(comparison, given)
    parts = [
        _summary(comparison, bounds),
        _curves(comparison, bounds),
        *_over_tasks(comparison, bounds),
        _efficiency(comparison, bounds),
        *_attacks(comparison),
        *report_runs.films(comparison),
        *report_runs.differences(comparison),
        report_runs.runs(comparison),
        *report_runs.facts(comparison),
        _definitions(bounds),
    ]
    return document(*_titles(comparison), parts)


def _titles(comparison: Comparison) -> tuple[str, str]:
    """Title and subtitle."""
    methods, tasks = comparison.methods, comparison.tasks
    compared = ", ".join(methods) if len(methods) <= 4 else f"{len(methods)} methods"
    where = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    seeds = sum(len(sample.final) for sample in comparison.samples.values())
    unfinished = sum(not run.finished for run in comparison.runs)
    subtitle = f"{counted(len(comparison.runs), 'run')}, {counted(seeds, 'seed')}"
    return f"{compared} on {where}", subtitle + (f", {unfinished} unfinished" if unfinished else "")


def _summary(comparison: Comparison, bounds: Mapping[str, Bounds]) -> str:
    """Table of final returns by task and method."""
    rows: list[list[Cell | str]] = []
    for task in comparison.tasks:
        known = [f"{name} {_digits(value)}" for name, value in scores.levels(bounds[task]).items()]
        rows.append([f"{task} ({', '.join(known)})" if known else task])
        for method in comparison.methods:
            sample = comparison.samples.get((task, method))
            if sample is None:
                continue
            values = scores.scores_of(comparison, bounds, method, [task])
            gap = scores.estimate(optimality_gap, values)
            steps = max(run.steps[-1] for run in sample.runs)
            rows.append(
                [
                    method,
                    Cell(str(len(sample.final)), number=True),
                    Cell(short(steps), number=True),
                    _estimate_cell(_return_of(sample)),
                    judged_by(sample.runs) or NOTHING,
                    Cell(_digits(float(aggregate_iqm([sample.final]))), number=True),
                    Cell(_digits(float(np.median(sample.final))), number=True),
                    _estimate_cell(gap),
                ]
            )
    header = ["", "seeds", "steps", "return", "actions", "IQM", "median", "optimality gap"]
    return section(
        "Results", table(header, rows), *(paragraph(note, "quiet") for note in comparison.notes)
    )


def _curves(comparison: Comparison, bounds: Mapping[str, Bounds]) -> str:
    """Learning curves, a panel per task."""
    label = return_label(comparison.runs)
    drawn = plots.panels(
        scores.curve_panels(comparison, bounds=bounds),
        comparison.methods,
        x_label="environment steps per seed",
        y_label=label,
        x_in_steps=True,
    )
    return section(
        "Learning curves",
        figure(
            plots.inline_svg(drawn, "Return against environment steps", "curves"),
            f"Interquartile mean over seeds of the {label}. {BAND}",
        ),
    )


def _over_tasks(comparison: Comparison, bounds: Mapping[str, Bounds]) -> Iterator[str]:
    """Scores over all tasks: nothing for a single method on a single task."""
    labels, comparison = comparison.methods, only_finished(comparison)
    methods, tasks = comparison.methods, scores.shared_tasks(comparison)
    if len(methods) < 2 and len(comparison.tasks) < 2:
        return
    if not tasks:
        text = "No aggregates: there is no task that every method was run on."
        yield section("Over all tasks", paragraph(text))
        return
    over = f"over {counted(len(tasks), 'task')}"
    if len(tasks) < len(comparison.tasks):
        over += f" of {len(comparison.tasks)} (those that every method was run on)"
    dots = plots.intervals(scores.aggregates(comparison, bounds, tasks), labels)
    caption = f"Final scores {over}. Higher is better, except for the optimality gap. {BAND}"
    picture = plots.inline_svg(dots, "Aggregates with intervals", "aggregates")
    yield section("Over all tasks", figure(picture, caption))
    caption = f"Final scores {over}. Higher curves are better. {BAND}"
    panel = scores.profiles(comparison, bounds, tasks)
    names = "score s", "share of runs that score above s"
    yield _lines("Performance profiles", panel, labels, names, caption)
    if len(methods) > 1:
        yield section("Probability of improvement", *_pairs(comparison, bounds))
    if len(tasks) > 1:
        caption = f"Interquartile mean of the scores {over}. {BAND}"
        panel = scores.efficiency_panel(comparison, bounds, tasks)
        names = "% of the task's training steps", "IQM of scores"
        yield _lines("Sample efficiency over all tasks", panel, labels, names, caption)


def _pairs(comparison: Comparison, bounds: Mapping[str, Bounds]) -> Iterator[str]:
    """Table of the probability of improvement for each pair of methods."""
    found = scores.improvements(comparison, bounds)
    rows: list[list[Cell | str]] = []
    for method in comparison.methods:
        row: list[Cell | str] = [method]
        for other in comparison.methods:
            if (method, other) not in found:
                row.append("" if method == other else "no common task")
                continue
            value, _ = found[method, other]
            strength = abs(value.value - 0.5) * 1.1
            color = "--win" if value.value >= 0.5 else "--lose"
            fill = f"rgba(var({color}), {strength:.2f})"
            row.append(
                Cell(f"{value.value:.2f}", f"{value.low:.2f} to {value.high:.2f}", fill=fill)
            )
        rows.append(row)
    yield table(["", *comparison.methods], rows, "pairs")
    yield paragraph(
        "Probability that a run of the row's method scores above a run of the column's method on "
        "the same task, averaged over their common tasks; ties count half. If the interval "
        "contains 0.5, the difference is not significant.",
        "quiet",
    )


def _efficiency(comparison: Comparison, bounds: Mapping[str, Bounds]) -> str:
    """Table of the steps to a score of 0.5 and 0.9."""
    rows: list[list[Cell | str]] = []
    for task in comparison.tasks:
        rows.append([task])
        for method in comparison.methods:
            sample = comparison.samples.get((task, method))
            found = scores.efficiency(sample, bounds[task]) if sample else None
            if found is None:
                continue
            reached = [
                Cell("never" if steps is None else short(steps), number=True)
                for steps in (found.half, found.most)
            ]
            rows.append([method, *reached, _estimate_cell(found.area)])
    return section(
        "Sample efficiency",
        table(["", "steps to score 0.5", "to score 0.9", "mean score during training"], rows),
        paragraph("Steps are those at which the IQM over seeds first has the score.", "quiet"),
    )


def _attacks(comparison: Comparison) -> Iterator[str]:
    """Tables and pictures of `attack.json` in run folders."""
    for number, run in enumerate(comparison.runs):
        path = None if run.path is None else run.path / attack_results.FILE
        if path is None or not path.is_file():
            continue
        try:
            content = attack_results.read_attack(path)
        except ValueError as error:
            yield section(f"Robustness of {run.name}", paragraph(printable(str(error)), "quiet"))
            continue
        rows: list[list[Cell | str]] = [
            [one["label"], _estimate_cell(Estimate(one["mean"], one["low"], one["high"]))]
            for one in content["attacks"]
        ]
        parts = [table(["the attacked", "return of the others"], rows)] if rows else []
        if rows or content["perturbations"]:
            title = f"Robustness of {run.name}"
            drawn = plots.inline_svg(
                attack_results.attack_picture(content), title, f"attack{number}"
            )
            caption = f"{attack_results.summary(content).capitalize()}. 95% intervals."
            yield section(title, *parts, figure(drawn, caption))


def _definitions(bounds: Mapping[str, Bounds]) -> str:
    """Definitions of the statistics, and the table of bounds."""
    rows: list[list[Cell | str]] = [
        [task, Cell(f"{b.low:.4g}", number=True), Cell(f"{b.high:.4g}", number=True), b.source]
        for task, b in bounds.items()
    ]
    text = (
        "Return: team return of fresh episodes, of actions drawn from the policy or of the best "
        "ones (greedy), as the column says. Score: return normalised by the bounds below. "
        "IQM: mean of the middle half of all runs. Median: over seeds for one task, over task "
        "means for several. Optimality gap: mean distance below a score of 1. Seeds of runs with "
        "the same settings are pooled. The interval of a single seed is over its episodes, or "
        "missing. Definitions: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the "
        "Statistical Precipice."
    )
    return section(
        "Definitions",
        paragraph(text),
        table(["task", "scores 0", "scores 1", "bounds"], rows),
    )


# Parts of sections


def _lines(
    title: str, panel: Panel, labels: Sequence[str], names: tuple[str, str], caption: str
) -> str:
    """A section with a single panel; empty if the panel has no line."""
    if not panel.lines:
        return ""
    drawn = plots.panels([panel], labels, x_label=names[0], y_label=names[1])
    salt = "".join(filter(str.isalpha, title))
    return section(title, figure(plots.inline_svg(drawn, title, salt), caption))


def _return_of(sample: Sample) -> Estimate:
    """The mean return with its interval, which is over episodes if there is a single seed."""
    if len(sample.final) == 1:
        ends = (sample.runs[0].result.get("return") or {}).get("interval_95")
        if ends and None not in ends:
            return Estimate(float(sample.final[0]), *ends)
    return scores.estimate(aggregate_mean, [sample.final])


def _estimate_cell(value: Estimate) -> Cell:
    """A cell with an estimate and its interval."""
    text, low, high = map(_digits, value)
    return Cell(text, f"{low} to {high}" if low != high else "", number=True)


def _digits(value: float) -> str:
    """A number with three decimals, or one if it is 100 or more."""
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
