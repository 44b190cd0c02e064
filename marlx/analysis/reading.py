"""Reading all runs that a command line names: folders, folders of them, marl-eval files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from marlx.analysis.run_data import EmptyRun, RunData, read_run


def read_all(paths: Iterable[str | Path]) -> tuple[list[RunData], list[str]]:
    """The runs that `paths` hold, and a line for each that was begun and holds no number yet.

    Paths are run folders, folders of run folders, and files for marl-eval.

    Raises:
      ValueError: a path holds no run, or one that cannot be read, in one line.
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
                f"{path} holds no run; give run folders, a folder of them, or marl-eval JSON"
            )
        for folder in folders:
            if folder.resolve() in seen:  # given twice, it counts once
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
