"""Loggers: what reaches them, what they leave behind, and that none of them can stop a training."""

import json
import socket
import struct
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wandb_server import wandb_server

import marlx
from marlx import cli
from marlx.loggers import Background, Loggers, TensorBoard, Wandb, by_seed
from marlx.loggers.base import together
from marlx.loop.progress import Progress

RUN = ["train", "tiny", "matrix/climbing", "--total-steps", "64", "--num-envs", "2", "--evals"]
RUN += ["2", "--rollout-length", "4", "--eval-episodes", "50", "--env.horizon", "3"]
RUN += ["--seeds", "2", "--seed", "5", "--out", "run"]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    yield
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it reads its settings once, and the next test has others


def progress(steps, seeds=2, **metrics):
    values = {"return": [0.1 * i + steps for i in range(seeds)], **metrics}
    arrays = {name: np.array(value, float) for name, value in values.items()}
    return Progress(steps, 100, 1.5, arrays, {}, dict)


class Memory:
    """A logger that remembers, and fails if told to."""

    def __init__(self, fails=False, slow=0.0):
        self.seen, self.result, self.fails, self.slow = [], "open", fails, slow

    def log(self, progress):
        time.sleep(self.slow)
        if self.fails:
            raise RuntimeError("the disk\nis full")
        self.seen.append(progress.steps)

    def close(self, result):
        self.result = result


# Several as one, and from Python


def test_a_failing_logger_costs_a_line_and_nobody_else_anything(capsys):
    good, bad = Memory(), Memory(fails=True)
    loggers = Loggers([bad, good])
    for steps in (1, 2, 3):
        loggers.log(progress(steps))
    loggers.close({"x": 1})
    assert good.seen == [1, 2, 3] and good.result == bad.result == {"x": 1}
    assert capsys.readouterr().err == "Memory: could not log: RuntimeError: the disk is full\n"


def test_ones_own_loggers_are_told_of_a_training(tiny_algorithm, capsys):
    env, params = marlx.make("matrix/climbing", horizon=3)
    learner = tiny_algorithm(env.spec(params))
    settings = {"total_steps": 64, "num_envs": 2, "rollout_length": 4, "evals": 2, "seeds": 2}
    one, other = Memory(), Memory(fails=True)
    result = marlx.train(env, learner, params, report=[one, other], eval_episodes=50, **settings)
    assert one.seen == [p.steps for p in result.history] == [8, 40, 72]
    assert one.result["return"]["per_seed"] == result.returns.mean(1).tolist()
    assert one.result["random_return"] == result.random_returns.mean()
    assert (one.result["steps"], one.result["seeds"]) == (72, [0, 1])
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(ValueError, match="must be a function of a Progress, a logger"):
        marlx.train(env, learner, params, report=3, **settings)


def test_a_function_may_be_given_too_and_its_errors_are_the_callers(capsys):
    seen = []
    together(lambda progress: seen.append(progress.steps)).log(progress(7))
    together(None).log(progress(8))
    assert seen == [7]

    def stop(progress):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        together(stop).log(progress(9))


def test_means_leave_out_what_does_not_exist():
    mean, first, second = by_seed(progress(2, loss=[np.nan, 4.0], gone=[np.nan, np.inf]))
    assert mean == (None, {"return": 2.05, "loss": 4.0})
    assert first == (0, {"return": 2.0}) and second == (1, {"return": 2.1, "loss": 4.0})


# On a thread


def test_nobody_waits_for_a_slow_logger(capsys):
    slow = Memory(slow=0.2)
    background = Background("slow", lambda: slow, limit=2, patience=5.0)
    began = time.perf_counter()
    for steps in range(10):
        background.log(progress(steps))
    assert time.perf_counter() - began < 0.15
    background.close({"x": 1})
    # the newest are kept; what the thread had in hand before is as its luck would have it
    assert slow.seen[-2:] == [8, 9] and len(slow.seen) <= 3 and slow.result == {"x": 1}
    assert capsys.readouterr().err.count("too slow") == 1


def test_patience_at_the_end_is_bounded(capsys):
    never = threading.Event()
    background = Background("stuck", lambda: never.wait() and Memory(), patience=0.3)
    background.log(progress(1))
    began = time.perf_counter()
    background.close({})
    assert 0.25 < time.perf_counter() - began < 1.0
    assert "stuck: gave up waiting" in capsys.readouterr().err
    never.set()


# Weights & Biases


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
    *outer, last = item.nested_key or [item.key]
    for key in outer:
        into = into.setdefault(key, {})
    into[last] = json.loads(item.value_json)


def read(folder):
    """Name, group, config, rows by step, summary and files of a run that was kept offline."""
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


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def offline_runs(folder="run"):
    sys.modules["wandb"].teardown()  # its process writes the last records as it leaves
    return sorted(Path(folder, "wandb").glob("offline-run-*"))


def test_an_offline_run_holds_metrics_config_and_media(tiny_algorithm, tmp_path, capsys):
    options = ["--wandb", "offline", "--wandb-project", "mine", "--wandb-group", "g"]
    assert cli.run([*RUN, *options, "--wandb-tags", "a", "b"]) == 0
    assert capsys.readouterr().err == ""
    (folder,) = offline_runs()
    run, config, rows, summary, files = read(folder)
    assert (run.project, run.display_name, run.run_group) == ("mine", "run", "g")
    assert list(run.tags) == ["a", "b"]
    from marlx.runs.folder import load_experiment

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


def test_a_run_per_seed_makes_a_group(tiny_algorithm, tmp_path):
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


def test_a_continued_run_keeps_its_id_and_says_nothing_twice(tmp_path):
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


def test_a_killed_run_claims_no_step_that_may_be_lost(tmp_path, monkeypatch):
    """wandb writes a step when the next one has come, and keeps it in memory for a second."""
    from marlx.loggers import wandb

    clock = iter((0.0, 100.0, 100.5, 103.0))  # when steps 10, 20, 30 and 40 are told
    monkeypatch.setattr(wandb, "monotonic", lambda: next(clock))
    about = wandb._About("offline", tmp_path, {}, "p", None, None, (), (), False, 5.0)
    runs = wandb._Runs(about)
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
    assert capsys.readouterr().err == f"wandb: {server.url}/me/marlx/runs/{run_id}\n"


def test_a_server_that_goes_away_costs_no_more_than_patience(tmp_path, logged_in, capsys):
    with wandb_server() as server:
        logged_in(server.url)
        logger = Wandb("online", tmp_path, {}, patience=4.0)
        deadline = time.perf_counter() + 60
        while not server.runs and time.perf_counter() < deadline:
            time.sleep(0.05)
    logger.log(progress(10))
    began = time.perf_counter()
    logger.close(None)
    assert time.perf_counter() - began < 6
    said = capsys.readouterr().err.splitlines()
    assert all(line.startswith("wandb: ") for line in said) and len(said) <= 4


@pytest.mark.parametrize("what", ["closed", "error", "silent"])
def test_a_server_that_is_down_costs_a_line_and_no_time(
    what, tmp_path, monkeypatch, capsys, logged_in
):
    """The port is closed; or the server answers with errors; or it accepts and says nothing."""
    from marlx.loggers import wandb

    monkeypatch.setattr(wandb._unreachable, "__defaults__", (0.5,))
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
        assert time.perf_counter() - began < 8, "wandb itself would try for 15 seconds"
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "cannot be reached (" in err and "kept offline" in err
    (folder,) = offline_runs(tmp_path)
    assert sorted(read(folder)[2]) == [10], "and it is all there, for later"


def test_without_a_login_the_run_is_offline_and_nobody_is_asked(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_MODE")
    Wandb("online", tmp_path, {}).close(None)
    assert capsys.readouterr().err == "wandb: not logged in, so this run is kept offline\n"
    assert len(offline_runs(tmp_path)) == 1


# TensorBoard


def test_tensorboard_shows_every_metric_of_every_seed(tiny_algorithm, tmp_path, capsys):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert cli.run([*RUN, "--tensorboard"]) == 0
    assert capsys.readouterr().err == ""
    lines = metrics(tmp_path / "run")
    names = {"seed_5": 0, "seed_6": 1}
    for name in ("mean", *names):
        events = EventAccumulator(str(tmp_path / "run" / "tensorboard" / name)).Reload()
        tags = events.Tags()
        assert set(tags["scalars"]) == lines[-1].keys() - {"steps", "seconds", "phases"}
        for tag in tags["scalars"]:
            points = {point.step: point.value for point in events.Scalars(tag)}
            for line in lines:
                each = np.array(line.get(tag, [None]), float)
                value = np.mean(each) if name == "mean" else each[names[name]] if tag in line else 0
                assert tag not in line or points[line["steps"]] == pytest.approx(value)
        if name == "mean":
            assert set(tags["images"]) == {"curve", "episode"}
            gif = events.Images("episode")[0].encoded_image_string
            assert gif == (tmp_path / "run" / "episode.gif").read_bytes()
            text = events.Tensors("config")[0].tensor_proto.string_val[0].decode()
            assert "    environment: matrix/climbing\n" in text


def test_a_continued_run_replaces_what_it_logged_before(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in ((10, 20, 30), (20, 40)):  # killed at 30, continued from a checkpoint before 20
        logger = TensorBoard(tmp_path, seeds=(3,))
        for at in steps:
            logger.log(progress(at, 1, session=[len(steps)]))
        logger.close(None)
        time.sleep(1.1)  # files are told apart by the second
    events = EventAccumulator(str(tmp_path / "tensorboard" / "seed_3")).Reload()
    points = [(point.step, point.value) for point in events.Scalars("session")]
    assert points == [(10, 3), (20, 2), (40, 2)]


def test_tensorboard_missing_is_one_line_before_anything_happens(
    tiny_algorithm, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert cli.run([*RUN, "--tensorboard"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "pip install 'marlx[tensorboard]'" in err
    assert not list(tmp_path.iterdir())
