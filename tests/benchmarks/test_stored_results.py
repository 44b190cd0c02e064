"""Stored results: every file of `benchmarks/results/` is valid, and controls match their runs."""

import importlib.resources
import json
import math
from pathlib import Path

import numpy as np
import pytest

from marlx.analysis import make_rows, reproduction, result_rows

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
RESULTS = BENCHMARKS / "results"
STUDIES = sorted(p.name.removesuffix(".jsonl") for p in RESULTS.glob("*.jsonl"))
STUDIES = [name for name in STUDIES if not name.endswith(".settings")]
CONTROLLED = ("clam", "mansa")


@pytest.fixture
def controls(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "studies")
    import _controls

    return _controls


def configurations(study):
    """First row of each configuration."""
    return {row["config_hash"]: row for row in reversed(study.rows)}


def test_there_are_studies_and_nothing_else():
    assert {"learning", "mansa", "gmah", "clam", "speed"} <= set(STUDIES)
    expected = {f"{name}{end}.jsonl" for name in STUDIES for end in ("", ".settings")}
    assert {p.name for p in RESULTS.iterdir() if p.is_file()} == {*expected, "__init__.py"}


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_is_valid_has_its_settings_and_is_there_once(name):
    study = result_rows.read_study(RESULTS, name)
    result_rows.check_study(study)
    assert {row["study"] for row in study.rows} == {name}
    for row in study.rows:
        record = study.settings[row["config_hash"]]
        assert (row["env"], row["algorithm"]) == (record["env"], record["algorithm"])
        (run,) = (run for run in record["runs"] if row["seed"] in run["seeds"])
        assert row["date"] == run["date"] and row["commit"] == run["commit"]
        assert row["device"] == result_rows.device_text(run["device"])


@pytest.mark.parametrize("name", STUDIES)
def test_files_are_plain_json_one_record_a_line(name):
    for path in (RESULTS / f"{name}.jsonl", RESULTS / f"{name}.settings.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            record = json.loads(line, parse_constant=pytest.fail)
            assert json.dumps(record, separators=(",", ":")) == line


@pytest.mark.parametrize("name", STUDIES)
def test_curves_and_summaries_agree_with_each_other(name):
    study = result_rows.read_study(RESULTS, name)
    for digest, record in study.settings.items():
        rows = {row["seed"]: row for row in study.rows_of(digest)}
        for run in record["runs"]:
            own = [rows[seed] for seed in run["seeds"]]
            assert len({tuple(row["steps"] or ()) for row in own}) == 1, "one training, same steps"
            if run["mean"] is not None:
                mean = np.mean([row["final"] for row in own])
                assert run["mean"] == pytest.approx(mean, abs=1e-3, rel=1e-3)
                low, high = run["interval"]
                assert low <= run["mean"] <= high
        for row in rows.values():
            if row["returns"] is not None:
                assert row["final"] == pytest.approx(np.mean(row["returns"]), abs=1e-3)
            if row["calls"] is not None:
                known = [calls for calls in row["calls"] if calls is not None]
                assert known == sorted(known) and known[-1] <= row["steps"][-1]


@pytest.mark.parametrize("name", CONTROLLED)
def test_a_control_matches_its_run_or_says_what_differs(name, controls):
    study = result_rows.read_study(RESULTS, name)
    seen = 0
    for digest, row in configurations(study).items():
        run = row["control_of"] or row["nearest_run"]
        if run is not None:
            columns = {key: row[key] for key in ("control_of", "nearest_run", "differs")}
            assert controls.relation(study, digest, run) == columns, row["arm"]
            assert run in study.settings
            seen += 1
    assert seen


def test_every_control_of_mansa_names_a_run_of_mansa():
    study = result_rows.read_study(RESULTS, "mansa")
    for digest, row in configurations(study).items():
        learner = study.settings[digest]["settings"]["learner"]
        is_control = learner.get("switching") in ("random", "first")
        run = row["control_of"] or row["nearest_run"]
        assert is_control == (run is not None)
        if run is not None:
            switching = study.settings[run]["settings"]["learner"]["switching"]
            assert switching in ("learned", "disagreement")


def test_matched_controls_have_the_rate_cost_temperature_and_steps_of_their_run():
    """The same as `relation`, by hand and with the setting of each control."""
    study = result_rows.read_study(RESULTS, "mansa")
    for digest, row in configurations(study).items():
        if row["control_of"] is None:
            continue
        mine, theirs = (
            study.settings[h]["settings"]["learner"] for h in (digest, row["control_of"])
        )
        assert mine["call_cost"] == theirs["call_cost"]
        temperatures = [own["switch"].get("temperature") for own in (mine, theirs)]
        assert temperatures[0] == temperatures[1]
        runs = {r["seed"]: r for r in study.rows_of(row["control_of"])}
        pairs = [(r, runs[r["seed"]]) for r in study.rows_of(digest) if r["seed"] in runs]
        assert math.isclose(row["steps"][-1], pairs[0][1]["steps"][-1], rel_tol=0.01)
        calls = [
            np.mean([row["calls"][-1] / row["steps"][-1] for row in p])
            for p in zip(*pairs, strict=True)
        ]
        assert calls[0] == pytest.approx(calls[1], rel=0.05), row["arm"]


def tiny(seeds, *, digest_of=0, run_id=None, calls=None):
    """Rows and record of a configuration that is told apart by a number."""
    about = {
        "date": "2026-01-01",
        "commit": None,
        "versions": {"jax": "0"},
        "device": {"platform": "cpu", "kind": "cpu", "count": 1},
    }
    rows, record = make_rows.measured_rows(
        {"number": digest_of, "learner": {"call_cost": digest_of}},
        [{"value": seed} for seed in seeds],
        study="tiny",
        comparison="all",
        arm=f"arm {digest_of}",
        about=about,
        seeds=seeds,
    )
    return [row | {"calls": calls, "steps": [100]} for row in rows], record | {"id": run_id}


def test_rows_of_the_same_hash_and_seed_are_replaced(tmp_path):
    result_rows.add_rows(tmp_path, "tiny", *tiny([0, 1]))
    result_rows.add_rows(tmp_path, "tiny", *tiny([0], digest_of=1))
    rows, record = tiny([1, 2])
    rows = [row | {"measured": {"value": -1}} for row in rows]
    result_rows.add_rows(tmp_path, "tiny", rows, record)
    study = result_rows.read_study(tmp_path, "tiny")
    result_rows.check_study(study)
    digest = record["config_hash"]
    assert {r["seed"]: r["measured"]["value"] for r in study.rows_of(digest)} == {
        0: 0,
        1: -1,
        2: -1,
    }
    assert len(study.rows) == 4 and len(study.settings) == 2


def test_invalid_rows_are_not_written(tmp_path):
    rows, record = tiny([0])
    for broken, message in (
        ({"final": "1"}, "final is '1'"),
        ({"config_hash": "0" * 12}, "no settings record"),
        ({"curve": [1.0, 2.0]}, "2 returns at 1 steps"),
        ({"unknown": 1}, "unknown unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            result_rows.add_rows(tmp_path, "tiny", [rows[0] | broken], record)
    with pytest.raises(ValueError, match="twice"):
        result_rows.write_study(
            tmp_path, "tiny", result_rows.Study(rows * 2, {record["config_hash"]: record})
        )
    with pytest.raises(ValueError, match="hashes to"):
        result_rows.add_rows(tmp_path, "tiny", rows, record | {"settings": {"number": 7}})
    assert not list(tmp_path.iterdir())


def test_the_hash_ignores_seeds_and_order():
    one = result_rows.config_hash({"a": 1, "b": {"c": 2}, "seeds": 5, "seed": 0})
    assert one == result_rows.config_hash({"b": {"c": 2}, "seeds": 9, "a": 1})
    assert one != result_rows.config_hash({"a": 1, "b": {"c": 3}})


def test_a_control_with_another_cost_or_rate_is_no_control(controls):
    study = result_rows.Study([], {})
    for number, calls in ((0, [20]), (1, [20]), (2, [10])):
        rows, record = tiny([0, 1], digest_of=number, calls=calls)
        if number == 2:
            record["settings"] = study.settings["0" * 12]["settings"]
        digest = str(number) * 12
        study.rows.extend(row | {"config_hash": digest} for row in rows)
        study.settings[digest] = record
    run, dear, rare = (str(number) * 12 for number in range(3))
    assert controls.relation(study, run, run)["control_of"] == run
    found = controls.relation(study, dear, run)
    assert found["control_of"] is None and found["nearest_run"] == run
    assert found["differs"]["learner.call_cost"] == [1, 0]
    assert controls.relation(study, rare, run)["differs"] == {"calls_per_step": [0.1, 0.2]}


def test_what_is_shipped_is_the_learning_study_alone():
    shipped = importlib.resources.files("marlx.reference")
    study = result_rows.read_study(shipped, "learning")
    ids = [one["id"] for one in study.settings.values() if one["id"] is not None]
    assert len(set(ids)) == len(ids)
    assert reproduction.reference_ids() == sorted(ids)  # without those beside the references


def test_pictures_are_of_rows_that_exist(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "studies")
    import pictures

    images = BENCHMARKS.parent / "docs" / "images"
    for picture in pictures.PICTURES:
        study = result_rows.read_study(RESULTS, picture.study)
        rows = [row for row in study.rows if row["comparison"] == picture.comparison]
        assert rows, picture.comparison
        assert (images / f"{picture.name}.png").is_file(), "run benchmarks/studies/pictures.py"
        if picture.study != "speed":
            assert pictures.DRAW[picture.study](rows[:1], study).axes


def test_an_arm_with_different_steps_has_no_mean(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS / "studies")
    import _plots

    rows, _ = tiny([0, 1])
    assert list(_plots.arms(rows)) == ["arm 0"]
    with pytest.raises(ValueError, match="different steps"):
        _plots.arms([rows[0], rows[1] | {"steps": [50]}])
