"""Reading all runs of a command line."""

import pytest
from run_folders import write_run

from marlx.analysis.reading import read_all


def test_folders_of_runs_are_searched_and_empty_runs_reported(tmp_path):
    for name in ("all/a", "all/b/inner", "all/empty"):
        write_run(tmp_path / name)
    (tmp_path / "all" / "empty" / "metrics.jsonl").unlink()
    runs, notes = read_all([tmp_path / "all", tmp_path / "all" / "a"])
    assert [run.name for run in runs] == ["a", "inner"], "a run given twice counts once"
    assert len(notes) == 1 and "empty has no evaluation yet" in notes[0]
    with pytest.raises(ValueError, match="has no evaluation yet"):
        read_all([tmp_path / "all" / "empty"])
    with pytest.raises(ValueError, match="has no run"):
        read_all([tmp_path / "nowhere"])
