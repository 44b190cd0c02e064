"""Weights & Biases: offline runs, a local server, and servers that fail."""

import json
import socket
import struct
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from logged import RUN, metrics, progress
from PIL import Image
from wandb_server import wandb_server

from marlx import cli
from marlx.loggers import Wandb, wandb
from marlx.runs.folder import load_experiment


def records(path):
    """Records of a `.wandb` file: a LevelDB log of `wandb_internal.Record` after seven bytes."""
    from wandb.proto import wandb_internal_pb2

    data, block = path.read_bytes(), 32 * 1024
    assert data[:4] == b":W&B"
    at, whole = 7, b""
    while at + 7 <= len(data):
        if block - at % block < 7:  # too short for a header: padding
            at += block - at % block
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # all of a record, or its last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record
            whole = b""


def put(into, item):
    """Put an item of a record into nested dictionaries."""
    *outer, last = item.nested_key or [item.key]
    for key in outer:
        into = into.setdefault(key, {})
    into[last] = json.loads(item.value_json)


def read(folder):
    """Run record, config, rows by step, summary and files of an offline run."""
    (path,) = folder.glob("*.wandb")
    config, rows, summary, files, run = {}, {}, {}, [], None
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "history":
            row = rows.setdefault(record.history.step.num, {})
            for item in record.history.item:
                put(row, item)
        elif kind == "summary":
            for item in record.summary.update:
                put(summary, item)
        elif kind == "files":
            files += [item.path for item in record.files.files]
    return run, config, rows, summary, files


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A busy machine may need longer than the default to end a run."""
    monkeypatch.setitem(Wandb.__init__.__kwdefaults__, "patience", 120.0)


def errors(capsys):
    """Text on stderr, without the line that a busy machine may cause."""
    lines = capsys.readouterr().err.splitlines(keepends=True)
    return "".join(line for line in lines if "still busy" not in line)


def offline_runs(folder="run"):
    """Folders of runs that were kept offline."""
    sys.modules["wandb"].teardown()  # its process writes the last records when it ends
    return sorted(Path(folder, "wandb").glob("offline-run-*"))


def test_an_offline_run_holds_metrics_config_and_media(tiny_algorithm, tmp_path, capsys):
    options = ["--wandb", "offline", "--wandb-project", "mine", "--wandb-group", "g"]
    assert cli.run([*RUN, *options, "--wandb-tags", "a", "b"]) == 0
    assert errors(capsys) == ""
    (folder,) = offline_runs()
    run, config, rows, summary, files = read(folder)
    assert (run.project, run.display_name, run.run_group) == ("mine", "run", "g")
    assert list(run.tags) == ["a", "b"]
    settings = load_experiment("run").settings()
    assert {name: config[name] for name in settings} == json.loads(json.dumps(settings))
    facts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert config["facts"] | {"output": facts["output"]} == facts

    lines = metrics(tmp_path / "run")
    assert sorted(rows) == [line["steps"] for line in lines] == [8, 40, 72]
    for line in lines:
        row = rows[line["steps"]]
        for name in line.keys() - {"steps", "seconds", "phases"}:
            each = [value for value in line[name] if value is not None]
            for i, value in enumerate(line[name]):
                assert value is None or row[f"seed_{i}/{name}"] == value
            assert row[name] == pytest.approx(np.mean(each))
    last = rows[72]
    kinds = {name: last[name]["_type"] for name in ("curve", "episode", "returns")}
    assert kinds == {"curve": "image-file", "episode": "video-file", "returns": "table-file"}
    for name, original in (("curve", "curve.png"), ("episode", "episode.gif")):
        kept = folder / "files" / last[name]["path"]
        assert kept.read_bytes() == (tmp_path / "run" / original).read_bytes()
        assert last[name]["path"] in files
    table = json.loads((folder / "files" / last["returns"]["path"]).read_text())
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert table["columns"] == ["seed", "steps", "return"]
    assert table["data"] == [[5 + i, 72, x] for i, x in enumerate(result["return"]["per_seed"])]
    assert summary["final/return"] == result["return"]["mean"]
    assert summary["final/random_return"] == result["random_return"]


def test_a_run_after_a_change_of_directory_is_kept_in_its_own_folder(tmp_path, monkeypatch):
    """wandb's process keeps the directory that it was started in."""
    for name in ("first", "second"):
        (tmp_path / name / "run").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        Wandb("offline", Path("run"), {}).close(None)
    for name in ("first", "second"):
        (folder,) = (tmp_path / name / "run" / "wandb").glob("offline-run-*")
        assert len(list(folder.glob("*.wandb"))) == 1


def test_runs_per_seed_form_a_group(tiny_algorithm, tmp_path):
    assert cli.run([*RUN, "--wandb", "offline", "--wandb-runs", "seeds"]) == 0
    lines = metrics(tmp_path / "run")
    found = {}
    for folder in offline_runs():
        run, config, rows, _, _ = read(folder)
        assert run.run_group == "run" and config["seeds"] == 1
        index = config["seed"] - 5
        assert run.display_name == f"run-seed{config['seed']}"
        assert [rows[line["steps"]]["return"] for line in lines] == [
            line["return"][index] for line in lines
        ]
        found[config["seed"]] = "episode" in rows[72]
    assert sorted(found) == [5, 6] and sum(found.values()) == 1, "one of them is the best seed"


def test_a_resumed_run_keeps_its_id_and_logs_no_step_twice(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for steps in ((10, 20), (10, 20, 30)):
        logger = Wandb("offline", folder, {"lr": 1.0}, seeds=(0, 1))
        for at in steps:
            logger.log(progress(at))
        logger.close(None)
        assert json.loads((folder / "wandb.json").read_text())["steps"] == steps[-1]
    first, second = map(read, offline_runs())
    assert first[0].run_id == second[0].run_id
    assert sorted(first[2]) == [10, 20] and sorted(second[2]) == [30]


def test_a_killed_run_counts_no_step_that_may_be_lost(tmp_path, monkeypatch):
    """wandb writes a step after the next one has come, and buffers it for a second."""
    clock = iter((0.0, 100.0, 100.5, 103.0))  # when steps 10, 20, 30 and 40 are logged
    monkeypatch.setattr(wandb, "monotonic", lambda: next(clock))
    options = wandb.WandbOptions("offline", tmp_path, {}, "p", None, None, (), (), False, 5.0)
    runs = wandb.WandbRuns(options)
    known = []
    for steps in (10, 20, 30, 40):
        runs.log(progress(steps))
        known.append(json.loads((tmp_path / "wandb.json").read_text())["steps"])
    monkeypatch.undo()
    runs.close(None)
    assert known == [-1, -1, -1, 20]


@pytest.fixture
def logged_in(monkeypatch):
    """Point wandb at a server, with a key that looks like one."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("WANDB_MODE")
    return lambda url: monkeypatch.setenv("WANDB_BASE_URL", url)


def test_an_online_run_reaches_its_server(tmp_path, logged_in, capsys):
    for name in ("curve.png", "episode.gif"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    with wandb_server() as server:
        logged_in(server.url)
        logger = Wandb("online", tmp_path, {"lr": 0.25}, seeds=(3, 4), entity="me", tags=("a",))
        for steps in (10, 20):
            logger.log(progress(steps))
        logger.close(None)
    ((run_id, run),) = server.runs.items()
    assert (run["displayName"], run["tags"]) == (tmp_path.name, ["a"])
    assert json.loads((tmp_path / "wandb.json").read_text())["ids"] == {"all": run_id}
    rows = [row for row in server.history[run_id] if "return" in row]
    assert [(row["_step"], row["seed_1/return"]) for row in rows] == [(10, 10.1), (20, 20.1)]
    for kind in ("images/curve", "videos/episode"):
        assert any(f"media/{kind}" in file for file in server.files), server.files
    assert errors(capsys) == f"wandb: {server.url}/me/marlx/runs/{run_id}\n"


def test_a_server_that_stops_delays_no_longer_than_patience(tmp_path, logged_in, capsys):
    with wandb_server() as server:
        logged_in(server.url)
        logger = Wandb("online", tmp_path, {}, patience=4.0)
        deadline = time.perf_counter() + 60
        while not server.runs and time.perf_counter() < deadline:
            time.sleep(0.05)
    logger.log(progress(10))
    began = time.perf_counter()
    logger.close(None)
    assert time.perf_counter() - began < 12, "wandb itself would try for minutes"
    said = errors(capsys).splitlines()
    assert all(line.startswith("wandb: ") for line in said) and len(said) <= 4


@pytest.mark.parametrize("what", ["closed", "error", "silent"])
def test_a_server_that_is_down_is_reported_without_delay(
    what, tmp_path, monkeypatch, capsys, logged_in
):
    """The port is closed, the server answers with errors, or it never answers."""
    monkeypatch.setattr(wandb, "TIMEOUT", 0.5)
    with socket.socket() as listener, wandb_server(broken=True) as broken:
        listener.bind(("127.0.0.1", 0))
        if what == "silent":
            listener.listen()
        silent = f"http://127.0.0.1:{listener.getsockname()[1]}"
        logged_in(broken.url if what == "error" else silent)
        began = time.perf_counter()
        logger = Wandb("online", tmp_path, {"lr": 1.0})
        logger.log(progress(10))
        logger.close(None)
        assert time.perf_counter() - began < 14, "wandb itself would try for 15 seconds"
    err = errors(capsys)
    assert err.count("\n") == 1 and "cannot be reached (" in err and "kept offline" in err
    (folder,) = offline_runs(tmp_path)
    assert sorted(read(folder)[2]) == [10], "everything is kept for a later upload"


def test_without_a_login_the_run_is_offline_without_a_prompt(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_MODE")
    Wandb("online", tmp_path, {}).close(None)
    assert errors(capsys) == "wandb: not logged in, so the run is kept offline\n"
    assert len(offline_runs(tmp_path)) == 1


def test_a_key_that_cannot_be_one_keeps_the_run_offline(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("WANDB_API_KEY", "xxx")
    monkeypatch.delenv("WANDB_MODE")
    logger = Wandb("online", tmp_path, {})
    logger.log(progress(10))
    logger.close(None)
    err = errors(capsys)
    assert (
        err.startswith("wandb: cannot log in, so the run is kept offline") and "\n" not in err[:-1]
    )
    (folder,) = offline_runs(tmp_path)
    assert sorted(read(folder)[2]) == [10]
