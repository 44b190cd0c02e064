"""`marlx plot` and `marlx report`: comparisons of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.options import runs_and_options
from marlx.cli.records import PlotOptions, ReportOptions
from marlx.text import printable

if TYPE_CHECKING:
    from marlx.analysis.comparison import Comparison

PICTURES = (".png", ".svg", ".pdf")


def plot_command(argv: Sequence[str]) -> int:
    """`marlx plot RUN... [options]`."""
    paths, options = runs_and_options(argv, "plot", PlotOptions)
    out = _writable(options.out)
    again = _again(out)
    if out.suffix not in PICTURES:
        raise ValueError(f"--out is {out}; it must end in {', '.join(PICTURES)}")
    from marlx.analysis.comparison import compare, return_label, task_bounds
    from marlx.analysis.plots import panels, write_figure
    from marlx.analysis.reading import read_all
    from marlx.analysis.scores import curve_panels

    comparison = compare(*read_all(paths))
    figure = panels(
        curve_panels(
            comparison, options.metric, options.x, options.statistic, task_bounds(comparison)
        ),
        comparison.methods,
        x_label="environment steps per seed" if options.x == "steps" else _words(options.x),
        y_label=return_label(comparison.runs)
        if options.metric == "return"
        else _words(options.metric),
        x_in_steps=options.x != "seconds",
    )
    try:
        write_figure(out, figure)
    except OSError as error:
        raise ValueError(f"cannot write {out}: {error.strerror or error}") from None
    name = {"iqm": "interquartile mean"}.get(options.statistic, options.statistic)
    print(f"{printable(out)}: {_summary(comparison)}, {name} and 95% band over seeds{again}")
    _print_notes(comparison)
    return 0


def report_command(argv: Sequence[str]) -> int:
    """`marlx report RUN... [options]`."""
    paths, options = runs_and_options(argv, "report", ReportOptions)
    out = _writable(options.out)
    exported = None if options.marl_eval is None else _writable(options.marl_eval)
    again, exported_again = _again(out), _again(exported)
    from marlx.analysis.comparison import compare
    from marlx.analysis.marl_eval import to_marl_eval
    from marlx.analysis.reading import read_all
    from marlx.analysis.report import report

    comparison = compare(*read_all(paths))
    _write(out, report(comparison, _bounds(options.bounds)))
    print(f"{printable(out)}: {_summary(comparison)}{again}")
    if exported is not None:
        _write(exported, json.dumps(to_marl_eval(comparison), indent=1) + "\n")
        print(f"{printable(exported)}: the same runs for marl-eval{exported_again}")
    _print_notes(comparison)
    return 0


def _bounds(path: str | None) -> dict[str, tuple[float, float]]:
    """Returns low and high by task, from a YAML file."""
    if path is None:
        return {}
    from marlx.config.coerce import coerce
    from marlx.config.layers import file_layer

    bounds = {}
    for task, pair in file_layer(path)[2].values.items():
        try:
            bounds[task] = coerce(pair, tuple[float, float])
        except ValueError as error:
            raise ValueError(f"{task} in {path}: {error}; write [LOW, HIGH]") from None
    return bounds


def _summary(comparison: Comparison) -> str:
    unfinished = sum(not run.finished for run in comparison.runs)
    text = ", ".join(
        f"{len(items)} {noun}{'s' * (len(items) != 1)}"
        for noun, items in (
            ("run", comparison.runs),
            ("method", comparison.methods),
            ("task", comparison.tasks),
        )
    )
    return text + (f" ({unfinished} unfinished)" if unfinished else "")


def _print_notes(comparison: Comparison) -> None:
    for note in comparison.notes:
        print(f"  {printable(note)}")


def _words(name: str) -> str:
    return name.replace("_", " ")


def _again(path: Path | None) -> str:
    """Returns what the line about a file adds where there was one before."""
    return "; replaces the file that was there" if path is not None and path.exists() else ""


def _writable(path: str) -> Path:
    if not Path(path).parent.is_dir():
        raise ValueError(f"cannot write {path}: there is no folder {Path(path).parent}")
    if Path(path).is_dir():
        raise ValueError(f"cannot write {path}: it is a folder")
    return Path(path)


def _write(path: Path, text: str) -> Any:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror or error}") from None
