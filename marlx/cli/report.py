"""`marlx plot` and `marlx report`: comparisons of runs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.options import runs_and_options
from marlx.cli.records import PlotOptions, ReportOptions
from marlx.text import counted, printable, short

if TYPE_CHECKING:
    from marlx.analysis.comparison import Comparison
    from marlx.analysis.plots import Look

PICTURES = (".png", ".svg", ".pdf")


def plot_command(argv: Sequence[str]) -> int:
    """`marlx plot RUN... [options]`."""
    paths, options = runs_and_options(argv, "plot", PlotOptions)
    out = _picture(options)
    numbers = _writable(str(out.with_suffix(".csv"))) if options.csv else None
    again, numbers_again = _again(out), _again(numbers)
    from marlx.analysis.comparison import compare, return_label, task_bounds
    from marlx.analysis.plots import lines_csv, panels, write_figure
    from marlx.analysis.reading import read_all
    from marlx.analysis.scores import curve_panels

    comparison = compare(*read_all(paths))
    contents = curve_panels(
        comparison, options.metric, options.x, options.statistic, task_bounds(comparison)
    )
    with _styled(options.style):
        figure = panels(
            contents,
            comparison.methods,
            x_label="environment steps per seed" if options.x == "steps" else _words(options.x),
            y_label=return_label(comparison.runs)
            if options.metric == "return"
            else _words(options.metric),
            x_in_steps=options.x != "seconds",
            look=_look(options),
        )
        try:
            write_figure(out, figure)
        except OSError as error:
            raise ValueError(f"cannot write {out}: {error.strerror or error}") from None
    name = {"iqm": "interquartile mean"}.get(options.statistic, options.statistic)
    print(f"{printable(out)}: {_summary(comparison)}, {name} and 95% band over seeds{again}")
    if numbers is not None:
        _write(numbers, lines_csv(contents, (options.x, options.statistic, "low", "high")))
        print(f"{printable(numbers)}: the numbers of the figure{numbers_again}")
    if options.width != "screen":
        print(f"caption: {printable(_caption(comparison, options, name))}")
    _print_notes(comparison)
    return 0


def _picture(options: PlotOptions) -> Path:
    """Returns the file of the figure.

    Raises:
      ValueError: it cannot be written, or has another ending than `--format`.
    """
    out = Path(options.out)
    if options.format is not None:
        if options.out == PlotOptions().out:
            out = out.with_suffix(f".{options.format}")
        if out.suffix != f".{options.format}":
            raise ValueError(f"--out is {out} and --format {options.format}; give one of them")
    out = _writable(str(out))
    if out.suffix not in PICTURES:
        raise ValueError(f"--out is {out}; it must end in {', '.join(PICTURES)}")
    return out


def _look(options: PlotOptions) -> Look:
    from marlx.analysis.plots import COLUMN, TEXT, Look

    width = {"column": COLUMN, "text": TEXT}.get(options.width)
    size = None if options.style is not None else 9.0 if width is None else 7.5
    return Look(width, size, safe=options.palette == "safe")


@contextlib.contextmanager
def _styled(path: str | None) -> Iterator[None]:
    """Use a style file of matplotlib.

    Raises:
      ValueError: it cannot be read, or has a setting that matplotlib does not know.
    """
    if path is None:
        yield
        return
    import logging

    import matplotlib.style

    from marlx.files import read_text

    read_text(path)
    said, settings = list[str](), dict[Any, Any]()
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("matplotlib")
    logger.addHandler(handler)
    try:
        settings.update(matplotlib.rc_params_from_file(path, use_default_template=False))
    except Exception as error:  # a value of the wrong kind may raise anything
        said.append(str(error))
    finally:
        logger.removeHandler(handler)
    if said:
        raise ValueError(f"--style {path}: {' '.join(said[0].split())}")
    with matplotlib.style.context(settings):
        yield


def _caption(comparison: Comparison, options: PlotOptions, name: str) -> str:
    """Returns a caption for a paper: what is drawn, of how many seeds, over how many steps."""
    from marlx.analysis.comparison import judged_by

    what, judged = _words(options.metric), judged_by(comparison.runs)
    if options.metric == "return":
        what = f"{judged} team return" if judged in ("drawn", "greedy") else "team return"
        what += " of drawn and greedy actions, as each method is judged" * (" and " in judged)
    counts = sorted({len(sample.final) for sample in comparison.samples.values()})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    steps = max(float(run.steps[-1]) for run in comparison.runs)
    over = f"{short(steps)} environment steps per seed" if options.x == "steps" else options.x
    return (
        f"{name.capitalize()} over {seeds} seeds of the {what}, over {_words(over)}; bands are 95% "
        "stratified bootstrap intervals."
    )


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
        counted(len(items), noun)
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
