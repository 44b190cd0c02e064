import copy
import dataclasses
import functools
import json
from pathlib import Path

import numpy as np
import pytest

from marlx import cli, config, training
from marlx.analysis import make_rows, reproduction, result_rows
from marlx.cli import bench
from marlx.cli.reproduce import _changed

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
ABOUT = {
    "date": "2026-01-01",
    "commit": "0123456",
    "versions": {"python": "3.11", "jax": "0.10"},
    "device": {"platform": "cpu", "kind": "cpu", "count": 2},
}
SETTINGS = {"total_steps": 96, "num_envs": 4, "rollout_length": 4, "seeds": 2, "evals": 2}
COMMAND = "marlx train tiny matrix/climbing " + " ".join(
    f"--{name.replace('_', '-')} {value}" for name, value in SETTINGS.items()
)


@functools.cache
def trained():
    """Rows and settings record of two seeds of a tiny learner."""
    made = config.experiment("tiny", "matrix/climbing", **SETTINGS)
    env, params, learner = made.build()
    result = training.train(env, learner, params, config=made.train)
    return make_rows.training_rows(
        made,
        result,
        study="learning",
        comparison="matrix/climbing",
        arm="tiny",
        about=ABOUT,
        command=COMMAND,
        result_id="tiny-matrix-climbing",
        measured=[{"also": 1}, {"also": 2}],
        extra={"all": 3},
    )


def store(folder, settings=None, **run):
    """Stores `trained()`, with other settings or other results; returns it as it is read."""
    rows, record = copy.deepcopy(trained())
    record["runs"][0] |= run
    if settings is not None:
        record |= {"settings": settings, "config_hash": result_rows.config_hash(settings)}
        rows = [row | {"config_hash": record["config_hash"]} for row in rows]
    result_rows.add_rows(folder, "learning", rows, record)
    return reproduction.reference("tiny-matrix-climbing")


@pytest.fixture
def stored(tiny_algorithm, tmp_path, monkeypatch):
    """The only reference there is."""
    monkeypatch.setattr(reproduction, "_folder", lambda: tmp_path)
    return store(tmp_path)


def reproduce(*options):
    return cli.run(["reproduce", "tiny-matrix-climbing", *options])


def test_a_reference_holds_what_was_trained(stored):
    assert stored.seeds == [0, 1] and stored.command == COMMAND
    assert stored.measured == [{"also": 1}, {"also": 2}] and stored.extra == {"all": 3}
    assert np.mean(stored.returns) == pytest.approx(stored.mean, abs=1e-4)
    assert np.shape(stored.curve) == (len(stored.steps), 2)
    assert np.shape(stored.train_curve) == (len(stored.steps) - 1, 2)
    assert stored.steps[-1] == stored.total_steps >= SETTINGS["total_steps"]


def test_a_result_replaces_the_one_with_its_id(stored, tmp_path):
    other = store(tmp_path, {**stored.settings, "evals": 3})
    assert other.config_hash != stored.config_hash
    assert list(reproduction.references()) == ["tiny-matrix-climbing"]
    assert len(result_rows.read_study(tmp_path, "learning").rows) == 2


def test_the_same_run_agrees_and_says_so(stored, capsys):
    assert reproduce() == 0
    out = capsys.readouterr().out
    assert "the intervals overlap\n" in out and "note:" not in out
    here, there = (line.split() for line in out.splitlines() if "steps, " in line)
    assert here[:-2][1:] == there[:-2][1:], "the same seeds give the same numbers"


def test_another_result_does_not_agree(stored, tmp_path, capsys):
    store(tmp_path, mean=stored.mean - 1000, interval=[end - 1000 for end in stored.interval])
    assert reproduce() == 1
    assert "the intervals do not overlap\n" in capsys.readouterr().out


def test_fewer_seeds_and_steps_are_held_against_the_curve(stored, tmp_path, capsys):
    # only the end is moved away: what lies on the way still agrees
    store(tmp_path, mean=-5e3, interval=[-5e3, -5e3])
    assert reproduce("--seeds", "1", "--total-steps", "50") == 0
    out = capsys.readouterr().out
    assert "a partial comparison" in out and "1 seed, 64 steps" in out and "2 seeds, 64 st" in out


def test_a_preset_that_changed_is_said_in_one_line(stored, tmp_path, capsys):
    older = {**stored.settings, "learner": {**stored.settings["learner"], "lr": 0.25}}
    changed = store(tmp_path, older)
    reproduce("--total-steps", "20")
    (note,) = (line for line in capsys.readouterr().out.splitlines() if "note" in line)
    assert "learner.lr 0.25 (now 0.5)" in note and changed.config_hash in note
    made = reproduction.stored_experiment(changed)
    assert made.learner.lr == 0.25, "the stored settings are what is run"


def test_a_setting_that_was_added_is_no_change(stored):
    learner = {name: value for name, value in stored.settings["learner"].items() if name != "batch"}
    older = {**stored.settings, "learner": learner}
    changed = dataclasses.replace(stored, settings=older, config_hash="0" * 12)
    assert "settings were added" in _changed(changed)
    assert _changed(stored) == ""
    assert "not accepted any more" in _changed(
        dataclasses.replace(stored, command=f"{COMMAND} --learner.lrr 1")
    )


def test_seeds_do_not_change_the_hash_and_settings_do(stored):
    settings = stored.settings
    assert result_rows.config_hash({**settings, "seeds": 9}) == stored.config_hash
    assert result_rows.config_hash({**settings, "evals": 9}) != stored.config_hash


@pytest.mark.parametrize(
    ("returns", "agree"),
    [([[0.8, 0.9], [0.9, 0.8]], True), ([[0.8, 0.9], [0.1, 0.2]], True), ([[0.1, 0.2]], False)],
)
def test_agreement_is_an_overlap_of_intervals(stored, returns, agree):
    known = dataclasses.replace(stored, mean=0.85, interval=(0.79, 0.9), seeds=[0])
    found = reproduction.compare(known, np.array(returns), known.total_steps)
    assert found.agree is agree and not found.partial


@pytest.mark.parametrize("name", reproduction.reference_ids())
def test_shipped_references_hold_together(name):
    stored = reproduction.reference(name)
    assert stored.id == name
    assert stored.config_hash == result_rows.config_hash(stored.settings)
    assert len(stored.per_seed) == len(stored.seeds) == len(stored.curve[-1])
    assert len(stored.curve) == len(stored.steps)
    assert np.mean(stored.per_seed) == pytest.approx(stored.mean, abs=1e-3)
    assert stored.interval[0] <= stored.mean <= stored.interval[1]
    if not stored.environment.startswith("gymnax"):  # five seconds of imports
        made = reproduction.stored_experiment(stored)
        assert (made.algorithm, made.train.seeds) == (stored.algorithm, len(stored.seeds))


def test_list_shows_every_result(capsys):
    assert cli.run(["reproduce", "--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == reproduction.reference_ids()
    assert cli.run(["reproduce", "--list", "QTRAN"]) == 0
    assert "qplex-matrix-qtran" in capsys.readouterr().out


def fake_scripts(monkeypatch, tmp_path: Path, **texts: str) -> None:
    folder = tmp_path / "benchmarks" / "speed"
    folder.mkdir(parents=True)
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    scripts = tuple(bench.Script(name, (1, 1), ("no_such_peer",)) for name in texts)
    monkeypatch.setattr(bench, "SUITES", {"training": scripts})
    monkeypatch.setattr(bench.marlx, "__file__", str(tmp_path / "marlx" / "__init__.py"))
    monkeypatch.chdir(tmp_path)


WRITES = """import json, os, pathlib, sys
out = pathlib.Path(os.environ["MARLX_BENCH_RESULTS"])
(out / "good.jsonl").write_text(json.dumps(sys.argv[1:]))
"""


def test_bench_runs_every_script_and_tells_which_failed(monkeypatch, tmp_path, capfd):
    fake_scripts(monkeypatch, tmp_path, bad="raise SystemExit(3)", good=WRITES)
    assert cli.run(["bench", "training", "--quick", "--out", "there"]) == 1
    out, err = capfd.readouterr()
    assert json.loads((tmp_path / "there" / "good.jsonl").read_text()) == ["--quick"]
    assert "good without no_such_peer, not installed" in out and "there: good.jsonl" in out
    assert err == "marlx: failed: bad\n"


def test_bench_without_the_repository_says_so(monkeypatch, tmp_path, capfd):
    fake_scripts(monkeypatch, tmp_path, good=WRITES)
    (tmp_path / "benchmarks" / "speed" / "good.py").unlink()
    assert cli.run(["bench", "all"]) == 2
    assert "not installed with the package" in capfd.readouterr().err
    assert not (tmp_path / "bench").exists()


def test_scripts_that_bench_runs_are_there():
    suites = bench.SUITES.values()
    names = [script.name for scripts in suites for script in scripts]
    assert [name for name in names if not (BENCHMARKS / "speed" / f"{name}.py").is_file()] == []
