"""`marlx train ALGO,ALGO ENV,ENV`: every algorithm in every environment, one after another.

All go into one folder, with a run folder for each pair, and one report and one picture of curves.
"""

from __future__ import annotations

import datetime
import functools
import gc
import itertools
import json
import os
import signal
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from marlx.cli import report, train
from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import parse_train, positionals, value_of
from marlx.cli.records import Output
from marlx.cli.shared import complain, quoted
from marlx.cli.tracking import check_loggers
from marlx.cli.words import is_option
from marlx.files import LARGEST_YAML, read_bytes
from marlx.runs.files import read_json, replace_file
from marlx.text import counted

FILE = "grid.json"
"""In the folder: algorithms, environments and options, from which it is resumed."""
SETTINGS = "settings.yaml"
"""In the folder: the file of `--config`, which may change before the last pair begins."""
SIGNALLED = {128 + signal.SIGINT, 128 + signal.SIGTERM}


class Grid(NamedTuple):
    """Pairs to train, and where they go."""

    folder: Path
    algorithms: list[str]
    environments: list[str]
    words: list[str]  # options of all pairs
    more: list[str]  # options that `--resume` was given beside

    def pairs(self) -> dict[Path, tuple[str, str]]:
        """Returns algorithm and environment by run folder; those of an environment together."""
        found: dict[Path, tuple[str, str]] = {}
        for env_id, algorithm in itertools.product(self.environments, self.algorithms):
            name = f"{algorithm}-{env_id}".replace("/", "-")
            path = self.folder / name
            count = itertools.count(2)
            while path in found:
                path = self.folder / f"{name}-{next(count)}"
            found[path] = algorithm, env_id
        return found


def train_command(argv: Sequence[str]) -> int | Callable[[], int]:
    """`marlx train`: returns the training of a pair or of a grid, to be called, or a code.

    Raises:
      ValueError: wrong input, before anything is trained.
    """
    names, rest = positionals(argv)
    resumed = value_of(rest, "resume")
    if resumed is not None and (Path(resumed) / FILE).is_file():
        grid, output = _read(Path(resumed), names, _without(rest, "resume"))
        return _loud(functools.partial(_plan if output.dry_run else _run, grid), output)
    if not any("," in name for name in names):
        return train.train_command(argv)
    if len(names) != 2:
        raise ValueError(
            "marlx train takes ALGO,ALGO and ENV,ENV before its options, got "
            f"{' '.join(names)}; for example: marlx train qmix,vdn matrix/climbing,matrix/penalty"
        )
    algorithms, environments = (_parts(name) for name in names)
    output = _check(algorithms, environments, rest)
    if output.dry_run:
        for env_id, algorithm in itertools.product(environments, algorithms):
            train.train_command([algorithm, env_id, *_without(rest, "out")])
        return 0
    folder = _new_folder(value_of(rest, "out"))
    words = _without(rest, "out")
    if output.wandb != "off" and output.wandb_group is None:
        words += ["--wandb-group", folder.resolve().name]
    config = value_of(words, "config")
    try:
        if config is not None:
            replace_file(folder / SETTINGS, read_bytes(config, LARGEST_YAML))
            words = [*_without(words, "config"), "--config", SETTINGS]
        content = {"algorithms": algorithms, "environments": environments, "options": words}
        replace_file(folder / FILE, json.dumps(content, indent=2) + "\n")
    except OSError as error:
        raise ValueError(f"cannot write to {folder}: {error.strerror}") from None
    return _loud(functools.partial(_run, Grid(folder, algorithms, environments, words, [])), output)


def _loud(run: Callable[[], int], output: Output) -> Callable[[], int]:
    """Returns `run`, which prints nothing but errors if `--quiet` says so."""
    return functools.partial(train.quietly, run) if output.quiet else run


def _parts(name: str) -> list[str]:
    parts = [part.strip() for part in name.split(",")]
    if not all(parts):
        raise ValueError(f"{name!r} has an empty name between its commas")
    twice = sorted({part for part in parts if parts.count(part) > 1})
    if twice:
        raise ValueError(f"{twice[0]} appears twice in {name}")
    return parts


def _check(algorithms: Sequence[str], environments: Sequence[str], words: Sequence[str]) -> Output:
    """Check that every pair knows every option and accepts its value.

    Returns:
      The output options.

    Raises:
      ValueError: one does not; it is named.
    """
    use_compilation_cache()
    for algorithm, env_id in itertools.product(algorithms, environments):
        try:
            _, output = parse_train([algorithm, env_id], words)
        except ValueError as error:
            raise ValueError(f"{algorithm} on {env_id}: {error}") from None
        if output.distributed:
            raise ValueError("--distributed trains one ALGO in one ENV at a time")
    check_loggers(output)
    return output


def _read(folder: Path, names: Sequence[str], more: list[str]) -> tuple[Grid, Output]:
    """Returns the grid of a folder, to be resumed, and the output options.

    Raises:
      ValueError: the file is damaged, or other pairs are asked for.
    """
    content = read_json(folder / FILE)
    kept = [content.get(key) for key in ("algorithms", "environments", "options")]
    if not all(isinstance(one, list) and all(isinstance(w, str) for w in one) for one in kept):
        raise ValueError(f"{folder / FILE} is damaged; it names no algorithms and environments")
    algorithms, environments, words = (list(map(str, one)) for one in kept if one is not None)
    for given, own in zip(names, (algorithms, environments), strict=False):
        if _parts(given) != own:
            raise ValueError(f"{folder} is of {','.join(own)}, not of {given}")
    for option in ("out", "config"):
        if value_of(more, option) is not None:
            raise ValueError(f"--{option} cannot be given with --resume: the runs have their own")
    grid = Grid(folder, algorithms, environments, words, more)
    return grid, _check(algorithms, environments, [*_located(grid), *more])


def _located(grid: Grid) -> list[str]:
    """Returns the options of all pairs, with the path of their settings file."""
    return [str(grid.folder / SETTINGS) if word == SETTINGS else word for word in grid.words]


def _new_folder(given: str | None) -> Path:
    """Makes the folder of a grid; of several that begin in the same second each gets its own.

    Raises:
      ValueError: it cannot be made, or is not empty.
    """
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    for count in itertools.count(1):
        path = Path(given or f"runs/grid-{now}{f'-{count}' if count > 1 else ''}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(exist_ok=given is not None)
            if any(path.iterdir()):
                raise ValueError(
                    f"{path} is not empty; give a new folder, or go on with: "
                    f"marlx train --resume {quoted(path)}"
                )
        except FileExistsError:
            if given is None and path.is_dir():
                continue
            raise ValueError(f"cannot write to {path}: it is a file") from None
        except OSError as error:
            raise ValueError(f"cannot write to {path}: {error.strerror}") from None
        return path
    raise AssertionError("there is always a next number")


def _plan(grid: Grid) -> int:
    """Prints what a resumed grid would go on with, and writes nothing; the exit code."""
    for path, (algorithm, env_id) in grid.pairs().items():
        _start(grid, path, algorithm, env_id)
    return 0


def _run(grid: Grid) -> int:
    """Trains the pairs that are not finished, and writes report and curves; the exit code."""
    pairs = grid.pairs()
    counts = (len(grid.algorithms), "algorithm"), (len(grid.environments), "environment")
    print(" x ".join(counted(count, noun) for count, noun in counts))
    print(f"  folder: {grid.folder}", flush=True)
    codes: dict[Path, int] = {}
    for number, (path, (algorithm, env_id)) in enumerate(pairs.items(), 1):
        print(f"\n[{number}/{len(pairs)}] ", end="")
        if not grid.more and read_json(path / "result.json").get("return"):
            print(f"{algorithm} on {env_id}: finished before", flush=True)
            codes[path] = 0
            continue
        try:
            codes[path] = _train_pair(grid, path, algorithm, env_id)
        except KeyboardInterrupt:  # before or after the training itself
            codes[path] = 128 + signal.SIGINT
        if codes[path] in SIGNALLED:
            complain(f"stopped; go on with: marlx train --resume {quoted(grid.folder)}")
            return codes[path]
    _print_table(pairs, codes)
    reported = _report(grid.folder)
    if any(codes.values()):
        complain(
            f"{sum(map(bool, codes.values()))} of {len(pairs)} failed; to try them again: "
            f"marlx train --resume {quoted(grid.folder)}"
        )
    return 1 if any(codes.values()) or not reported else 0


def _start(grid: Grid, path: Path, algorithm: str, env_id: str) -> int | Callable[[], int]:
    """Returns the training of a pair, new or resumed, as `marlx train` does."""
    if (path / "config.yaml").is_file():
        return train.train_command(["--resume", str(path), *grid.more])
    words = [*_located(grid), *grid.more, "--out", str(path)]
    return train.train_command([algorithm, env_id, *words])


def _train_pair(grid: Grid, path: Path, algorithm: str, env_id: str) -> int:
    """Trains or resumes one run; an error of it is one line, and code 1."""
    start = functools.partial(_start, grid, path, algorithm, env_id)
    return train_one(path, f"{algorithm} on {env_id}", start)


def train_one(path: Path, name: str, start: Callable[[], int | Callable[[], int]]) -> int:
    """Trains one run of several, whose failure must not end the others; returns its exit code.

    Args:
      path: of the run folder; the traceback of an error is written beside it.
      name: of the run, in messages.
      start: prepares the training and returns it, or a code.
    """
    import jax

    trace = path.with_name(f"{path.name}.error.txt")
    try:
        done = start()
        code = done if isinstance(done, int) else done()
        trace.unlink(missing_ok=True)
        return code
    except Exception as error:  # of the settings, the compiler, the environment or the learner
        if os.environ.get("MARLX_DEBUG"):
            raise
        reason = " ".join(str(error).split())
        where = ""
        if not isinstance(error, ValueError):
            reason = f"{type(error).__name__}: {reason}"
            where = f" (see {trace})"
            _write(trace, traceback.format_exc())
        reason = reason if len(reason) <= 300 else f"{reason[:300]}..."
        complain(f"{name} failed: {reason}{where}")
        return 1
    finally:
        gc.collect()
        jax.clear_caches()  # the programs of a pair are of no use to the next


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text)
    except OSError as error:
        complain(f"cannot write {path}: {error.strerror}")


def _print_table(pairs: dict[Path, tuple[str, str]], codes: dict[Path, int]) -> None:
    """Prints the final return of every pair."""
    rows: list[tuple[str, ...]] = [
        ("environment", "algorithm", "return", "95% interval", "actions", "random", "optimum")
    ]
    for path, (algorithm, env_id) in pairs.items():
        result = read_json(path / "result.json")
        returns = result.get("return")
        if not returns:
            rows.append((env_id, algorithm, "failed" if codes[path] else "unknown", "", "", "", ""))
            continue
        low, high = returns["interval_95"]
        interval = f"{_text(low)} to {_text(high)}"
        numbers = (_text(result.get(key)) for key in ("random_return", "optimum"))
        judged = str(result.get("judged", "greedy"))
        rows.append((env_id, algorithm, _text(returns["mean"]), interval, judged, *numbers))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"  {'  '.join(cells)}".rstrip())
    print(flush=True)


def _text(number: Any) -> str:
    return f"{number:.3f}" if isinstance(number, int | float) else "unknown"


def _report(folder: Path) -> bool:
    """Writes `report.html` and `curves.png`; False if one could not be made."""
    written = True
    for command, name in (
        (report.report_command, "report.html"),
        (report.plot_command, "curves.png"),
    ):
        try:
            command([str(folder), "--out", str(folder / name)])
        except ValueError as error:  # for instance: no run has an evaluation
            complain(f"no {name}: {error}")
            written = False
    return written


def _without(words: Sequence[str], option: str) -> list[str]:
    """Returns words of a command line without `--option` and its value."""
    kept: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word.startswith(f"--{option}="):
            continue
        if word == f"--{option}":
            if left and not is_option(left[0]):
                left.pop(0)
            continue
        kept.append(word)
    return kept
