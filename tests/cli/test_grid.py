"""`marlx train ALGO,ALGO ENV,ENV`: pairs in one folder, failures, resuming, report."""

import json
import signal
from pathlib import Path

import pytest

from marlx import cli, loggers, registry
from marlx.cli import grid
from marlx.loop import programs

ENVS = "matrix/climbing,matrix/penalty-0"
SMALL = ["--total-steps", "16", "--num-envs", "2", "--evals", "1", "--rollout-length", "4"]
SMALL += ["--eval-episodes", "4", "--no-checkpoints"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch, tiny_algorithm):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def picky(monkeypatch):
    """An algorithm that cannot be built for now."""
    tiny = registry.algorithms()["tiny"]
    broken = {"now": True}

    def build(spec, config):
        if broken["now"]:
            raise RuntimeError("no\nway")
        return tiny.build(spec, config)

    record = registry.Algorithm("picky", "breaks", tiny.config, build)
    everything = {**registry.algorithms(), "picky": record}
    monkeypatch.setattr(registry, "algorithms", lambda: everything)
    return broken


def times(folder):
    return {path: path.stat().st_mtime_ns for path in Path(folder).rglob("metrics.jsonl")}


def test_every_pair_has_a_run_and_all_have_one_report(picky, capfd):
    """A pair that breaks costs itself, and is what `--resume` runs."""
    assert cli.run(["train", "tiny,picky", "matrix/climbing", *SMALL, "--out", "all of it"]) == 1
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert len(lines) == 2, err
    assert lines[0].startswith(
        "marlx: picky on matrix/climbing failed: RuntimeError: no way (see all of it/picky-matrix"
    )
    assert lines[1] == ("marlx: 1 of 2 failed; to try them again: marlx train --resume 'all of it'")
    assert "Traceback" in Path("all of it/picky-matrix-climbing.error.txt").read_text()
    table = [line.split() for line in out.splitlines() if line.startswith("  matrix/")]
    assert [row[:2] for row in table] == [["matrix/climbing", "tiny"], ["matrix/climbing", "picky"]]
    result = json.loads(Path("all of it/tiny-matrix-climbing/result.json").read_text())
    assert table[0][2] == f"{result['return']['mean']:.3f}" and table[1][2:] == ["failed"]
    assert "1 run, 1 method, 1 task" in out
    before = times("all of it")

    picky["now"] = False
    assert cli.run(["train", "--resume", "all of it"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and "tiny on matrix/climbing: finished before" in out
    assert before.items() < times("all of it").items(), "what was finished is left as it is"
    names = {path.name for path in Path("all of it").iterdir()}
    assert names == {
        *("grid.json", "report.html", "curves.png"),
        *("tiny-matrix-climbing", "picky-matrix-climbing"),
    }
    assert "2 runs, 2 methods, 1 task" in out


def test_a_stopped_grid_goes_on_with_its_settings(capfd, monkeypatch):
    Path("mine.yaml").write_text("seed: 7\nlearner: {lr: 0.25}\n")
    log, signals = loggers.JsonLines.log, [signal.SIGINT]

    def stop(self, progress):
        log(self, progress)
        if signals:
            signal.raise_signal(signals.pop())

    with monkeypatch.context() as patch:
        patch.setattr(loggers.JsonLines, "log", stop)
        assert cli.run(["train", "tiny,", ENVS, *SMALL]) == 2
        assert cli.run(["train", "tiny", ENVS, *SMALL, "--config", "mine.yaml"]) == 130
    (folder,) = Path("runs").iterdir()
    err = capfd.readouterr().err
    assert f"marlx: stopped; go on with: marlx train --resume {folder}\n" in err
    Path("mine.yaml").unlink()
    before = sorted(folder.rglob("*"))
    assert cli.run(["train", "--resume", str(folder), "--dry-run"]) == 0
    assert sorted(folder.rglob("*")) == before, "a dry run writes nothing"
    assert capfd.readouterr().out.count("dry run: nothing was trained") == 2
    monkeypatch.setattr(grid, "_report", lambda folder: True)  # the test above has one
    assert cli.run(["train", "--resume", str(folder), "--quiet"]) == 0
    assert capfd.readouterr().out == ""
    results = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    assert [result["seeds"] for result in results] == [[7], [7]]
    assert "lr: 0.25" in (folder / "tiny-matrix-penalty-0" / "config.yaml").read_text()
    assert cli.run(["train", "pair", "--resume", str(folder)]) == 2
    assert f"{folder} is of tiny, not of pair" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["tiny,pair", ENVS, "--learner.lr", "1"], "pair on matrix/climbing: unknown option '--le"),
        (["tiny,tinny", ENVS], "tinny on matrix/climbing: unknown algorithm 'tinny'; did you mean"),
        (["tiny", "matrix/climbing,matrix/clmbing"], "tiny on matrix/clmbing: "),
        (["tiny,tiny", ENVS], "tiny appears twice in tiny,tiny"),
        (["tiny,", ENVS], "'tiny,' has an empty name"),
        (["tiny,pair"], "takes ALGO,ALGO and ENV,ENV before its options"),
        (["tiny,pair", ENVS, "--distributed"], "--distributed trains one ALGO in one ENV"),
        (["tiny,pair", ENVS, "--out", "full"], "full is not empty"),
        (["tiny,pair", ENVS, "--out", "full/file"], "it is a file"),
        (["--resume", "damaged"], "grid.json is damaged"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_wrong_input_is_one_line_before_anything_is_trained(words, answer, monkeypatch, capfd):
    monkeypatch.setattr(programs, "compile_programs", lambda *_, **__: pytest.fail("compiled"))
    for folder in ("full", "damaged"):
        Path(folder).mkdir()
    Path("full/file").touch()
    Path("damaged/grid.json").write_text("{}")
    assert cli.run(["train", *words]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and answer in err, err
    assert sorted(path.name for path in Path().iterdir()) == ["damaged", "full"]
