"""Reading all runs given on a command line: run folders, folders of them, marl-eval files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from marlx.analysis.run_data import EmptyRun, RunData, read_run


def read_all(paths: Iterable[str | Path]) -> tuple[list[RunData], list[str]]:
    """Returns all runs in `paths`, and a note for each run without an evaluation.

    Args:
      paths: run folders, folders of run folders, and files in marl-eval's format. A run that is
        given twice counts once.

    Raises:
      ValueError: a path has no run, a run cannot be read, or no run has an evaluation.
    """
    from marlx.analysis.marl_eval import read_marl_eval

    runs: list[RunData] = []
    empty: list[str] = []
    seen: set[Path] = set()
    for path in map(Path, paths):
        if path.is_file():
            runs += read_marl_eval(path) if path.resolve() not in seen else []
            seen.add(path.resolve())
            continue
        folders = [path] if (path / "config.yaml").is_file() else _folders_in(path)
        if not folders:
            raise ValueError(
                f"{path} has no run; give run folders, a folder of them, or marl-eval JSON"
            )
        for folder in folders:
            if folder.resolve() in seen:
                continue
            seen.add(folder.resolve())
            try:
                runs.append(read_run(folder))
            except EmptyRun as error:
                empty.append(f"left out: {error}")
    if not runs:
        raise ValueError(empty[0].removeprefix("left out: "))
    return runs, empty


def _folders_in(path: Path) -> list[Path]:
    return sorted(
        {file.parent for depth in ("*", "*/*") for file in path.glob(f"{depth}/config.yaml")}
    )
