"""`marlx sweep` as a user runs it: folders, tables, going on, several processes, early ends."""

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tiny import tiny

from marlx import cli, load_policy, registry
from marlx.sweeps.file import read_sweep
from marlx.sweeps.storage import sqlite
from marlx.sweeps.study import Study

SMALL = {
    "total_steps": 40, "num_envs": 2, "rollout_length": 4, "evals": 4, "eval_episodes": 5,
}  # fmt: skip
LEARNS = """\
import os, signal, sys
sys.path.insert(0, {tests!r})
import conftest
from marlx import cli, loggers, registry
record = registry.Algorithm("tiny", "likes action 0", conftest.TinyConfig, conftest.tiny)
everything = {{**registry.algorithms(), "tiny": record}}
registry.algorithms = lambda: everything
"""


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def write(parameters, **changes):
    """A sweep file `s.yaml` for the tiny learner on the climbing game."""
    content = {
        "command": ["${env}", "marlx", "train", "tiny", "matrix/climbing", "${args}"],
        "method": "grid",
        "metric": {"name": "return", "goal": "maximize"},
        "parameters": {**{k: {"value": v} for k, v in SMALL.items()}, **parameters},
        **changes,
    }
    Path("s.yaml").write_text(yaml.safe_dump(content))


def table(folder):
    with open(Path(folder) / "table.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_a_learner_judged_by_drawn_actions_is_tuned_by_their_return(tiny_algorithm, monkeypatch):
    def drawn(spec, config):
        return tiny(spec, config)._replace(judged="drawn")

    known = registry.algorithms()
    known = {**known, "tiny": known["tiny"]._replace(build=drawn)}
    monkeypatch.setattr(registry, "algorithms", lambda: known)
    write({"learner.lr": {"values": [0.1]}})
    assert cli.run(["sweep", "s.yaml"]) == 0
    (row,) = table("runs/sweep-s")
    result = json.loads((Path(row["folder"]) / "result.json").read_text())
    assert (
        result["judged"] == "drawn" and result["return"]["mean"] != result["greedy_return"]["mean"]
    )
    assert float(row["value"]) == pytest.approx(result["return"]["mean"])
    assert load_policy(row["folder"]).judged == "drawn"


@pytest.mark.slow
def test_a_vmapped_grid_leaves_run_folders_a_table_and_pictures(tiny_algorithm, capfd):
    write({"learner.lr": {"values": [0.0, 0.5, 1.0, 2.0]}, "seeds": {"value": 2}})
    assert cli.run(["sweep", "s.yaml", "--vmap", "8"]) == 0
    out, err = capfd.readouterr()
    assert err == "" and "4 trials: 4 finished" in out
    assert "4 trials at once, one program with lr as arguments" in out
    folder = Path("runs/sweep-s")
    rows = table(folder)
    assert [row["state"] for row in rows] == ["finished"] * 4
    values = [float(row["value"]) for row in rows]
    assert values == sorted(values, reverse=True) and values[0] > values[-1]
    assert {float(row["learner.lr"]) for row in rows} == {0.0, 0.5, 1.0, 2.0}
    for row in rows:
        run = Path(row["folder"])
        assert run.parent == folder and float(row["value"]) == pytest.approx(
            json.loads((run / "result.json").read_text())["return"]["mean"]
        )
        lines = (run / "metrics.jsonl").read_text().splitlines()
        assert len(lines) == 5 and len(json.loads(lines[0])["return"]) == 2
        settings = yaml.safe_load((run / "config.yaml").read_text())
        assert settings["learner"]["lr"] == float(row["learner.lr"]) and settings["seeds"] == 2
        assert load_policy(run).learner.config.lr == float(row["learner.lr"])
    assert cli.run(["eval", rows[0]["folder"], "--episodes", "3"]) == 0
    for name in ("parallel.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    shown = json.loads((folder / "table.json").read_text())
    assert shown["importances"] == {"learner.lr": pytest.approx(1.0)}
    assert shown["metric"]["goal"] == "maximize" and len(shown["trials"]) == 4


@pytest.mark.slow
def test_vmapped_or_not_the_numbers_are_the_same(tiny_algorithm, capfd):
    write({"learner.lr": {"values": [0.25, 0.5]}})
    assert cli.run(["sweep", "s.yaml", "--vmap", "4", "--out", "together"]) == 0
    assert cli.run(["sweep", "s.yaml", "--out", "apart"]) == 0
    for number in range(2):
        both = [
            (Path(folder) / f"trial-{number:04}" / "metrics.jsonl").read_text().splitlines()
            for folder in ("together", "apart")
        ]
        for mine, other in zip(*both, strict=True):
            mine, other = json.loads(mine), json.loads(other)
            for name in mine.keys() - {"seconds", "phases"}:
                assert mine[name] == pytest.approx(other[name]), name
    assert {row["together"] for row in table("together")} == {"2"}


def test_called_again_it_does_nothing_more_and_the_folder_shows_it(tiny_algorithm, capfd):
    write({"learner.lr": {"min": 0.1, "max": 1.0}}, method="random", run_cap=1)
    assert cli.run(["sweep", "s.yaml"]) == 0
    before = {p: p.stat().st_mtime_ns for p in Path("runs").glob("*/trial-*/**/*")}
    assert cli.run(["sweep", "s.yaml"]) == 0
    assert before == {p: p.stat().st_mtime_ns for p in Path("runs").glob("*/trial-*/**/*")}
    assert cli.run(["sweep", "s.yaml", "--trials", "2"]) == 0  # one more
    first = table("runs/sweep-s")
    assert len(first) == 2
    Path("runs/sweep-s/table.csv").unlink()
    capfd.readouterr()
    assert cli.run(["sweep", "runs/sweep-s"]) == 0
    assert "2 trials: 2 finished" in capfd.readouterr().out
    assert table("runs/sweep-s") == first
    Path("s.yaml").write_text(Path("s.yaml").read_text() + "# another\n")
    assert cli.run(["sweep", "s.yaml"]) == 2
    assert "holds a sweep of another file" in capfd.readouterr().err


def test_a_trial_with_nan_fails_by_name_and_the_others_go_on(tiny_algorithm, capfd):
    write({"learner.lr": {"values": [0.5, 3e38]}})
    assert cli.run(["sweep", "s.yaml", "--vmap", "2"]) in (0, 1)
    err = capfd.readouterr().err
    assert "failed: the learner has NaN or infinity in logits, found at" in err
    assert sorted(row["state"] for row in table("runs/sweep-s")) == ["failed", "finished"]
    (failed,) = (row for row in table("runs/sweep-s") if row["state"] == "failed")
    assert float(failed["learner.lr"]) == 3e38


def test_worse_trials_are_stopped_early(tiny_algorithm, capfd):
    write(
        {"learner.lr": {"values": [2.0, -1.0, -1.1]}},
        early_terminate={"type": "hyperband", "min_iter": 2, "eta": 3},
    )
    assert cli.run(["sweep", "s.yaml", "--vmap", "3"]) == 0
    rows = table("runs/sweep-s")
    ends = [(float(r["learner.lr"]), r["state"], r["evaluations"]) for r in rows]
    assert ends[0] == (2.0, "finished", "4")
    assert ends[1:] == [(-1.0, "stopped early", "2"), (-1.1, "stopped early", "2")]
    assert not (Path(rows[1]["folder"]) / "result.json").exists()


def test_a_trial_that_cannot_run_costs_itself_only(tiny_algorithm, capfd, tmp_path):
    write({"learner.capacity": {"values": [2, 8]}, "learner.batch": {"values": [1, 4]}})
    elsewhere = ["--storage", f"sqlite:///{tmp_path / 'shared.db'}", "--study", "mine"]
    assert cli.run(["sweep", "s.yaml", "--vmap", "4", *elsewhere]) == 1
    assert not Path("runs/sweep-s/study.db").exists()
    assert cli.run(["sweep", "runs/sweep-s", *elsewhere]) == 0
    assert cli.run(["sweep", "runs/sweep-s"]) == 2
    rows = table("runs/sweep-s")
    assert [row["state"] for row in rows] == ["finished"] * 3 + ["failed"]
    assert "capacity is 2; a batch needs 4" in rows[-1]["reason"]
    assert "trial" in capfd.readouterr().err


def test_the_target_ends_a_sweep_and_another_metric_counts(tiny_algorithm):
    metric = {"name": "loss", "goal": "minimize", "target": 0}
    write({"learner.lr": {"values": [0.1, 0.2, 0.3]}}, metric=metric)
    assert cli.run(["sweep", "s.yaml"]) == 0
    rows = table("runs/sweep-s")
    assert [row["state"] for row in rows] == ["finished", "waiting", "waiting"]
    lines = (Path(rows[0]["folder"]) / "metrics.jsonl").read_text().splitlines()
    assert float(rows[0]["value"]) == json.loads(lines[-1])["loss"][0] == 0


def start(*argv, more=""):
    """`marlx sweep` with the tiny learner, as a process of its own."""
    code = LEARNS.format(tests=str(Path(__file__).parents[1])) + more
    code += f"sys.exit(cli.run({['sweep', 's.yaml', *argv]!r}))"
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_two_processes_share_the_rest():
    write({"learner.lr": {"value": 0.5}, "seed": {"values": [0, 1, 2]}})
    killed = start(
        more="log, count = loggers.JsonLines.log, []\n"
        "def counted(self, progress):\n"
        "    log(self, progress); count.append(1)\n"
        "    if len(count) == 7: os.kill(os.getpid(), signal.SIGKILL)\n"
        "loggers.JsonLines.log = counted\n"
    )
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    study = Study(read_sweep("s.yaml"), "sweep-s", sqlite(Path("runs/sweep-s")))
    states = [row.state for row in study.rows()]
    assert (states.count("finished"), states.count("running")) == (1, 1)
    finished = study.rows()[0].trial
    two = [start(), start()]
    outputs = [process.communicate(timeout=120) for process in two]
    assert [process.returncode for process in two] == [0, 0], outputs
    assert sum("1 trials that were cut off are run again" in out for out, _ in outputs) == 1
    rows = table("runs/sweep-s")
    assert [row["state"] for row in rows] == ["finished"] * 3
    assert sorted(int(row["seed"]) for row in rows) == [0, 1, 2]
    assert finished in [int(row["trial"]) for row in rows], "what was finished is kept"


def test_without_optuna_one_line_says_what_to_install(monkeypatch, capfd):
    write({"learner.lr": {"values": [1]}})
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert cli.run(["sweep", "s.yaml"]) == 2
    assert capfd.readouterr().err == "marlx: sweeps need Optuna: pip install 'marlx[sweep]'\n"
