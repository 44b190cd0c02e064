"""Several processes work through one sweep, some are killed: every trial once, none left."""

import collections
import os
import subprocess
import sys
from pathlib import Path

import postgres
import pytest
import yaml

from marlx import cli
from marlx.sweeps import file as sweep_file
from marlx.sweeps import heartbeat, storage, study, worker
from marlx.sweeps.storage import Storage, sqlite
from marlx.sweeps.study import Study

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def grid(count, algorithm="iql", **parameters):
    content = {
        "command": ["${env}", "marlx", "train", algorithm, "matrix/climbing", "${args}"],
        "method": "grid",
        "metric": {"name": "return", "goal": "maximize"},
        "parameters": {"seed": {"values": [*range(count)]}, **parameters},
    }
    Path("s.yaml").write_text(yaml.safe_dump(content))
    return sweep_file.read_sweep("s.yaml")


def shared_by(workers, kills, url, count):
    """Work through a grid of `count` points; returns how often each began and ended."""
    sweep = grid(count)
    for name in ("ran.txt", *map(str, Path().glob("killed.*"))):
        Path(name).unlink(missing_ok=True)
    command = [sys.executable, str(HERE / "workers.py"), url, str(workers), str(kills)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=480, env={**os.environ}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split()[1:] for line in Path("ran.txt").read_text().splitlines()]
    seen = Study(sweep, "shared", url)
    rows = seen.rows()
    seen.disconnect()
    assert [row.state for row in rows] == ["finished"] * count, done.stdout
    assert sorted(row.values["seed"] for row in rows) == [*range(count)]
    assert all(row.value == row.values["seed"] for row in rows)
    return [
        collections.Counter(number for what, number in lines if what == kind)
        for kind in ("begins", "ends")
    ]


@pytest.fixture(scope="module")
def server():
    if reason := postgres.missing():
        pytest.skip(reason)
    with postgres.server() as url:
        yield url


@pytest.fixture
def database(server):
    """A fresh database of that server."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(Storage(server).url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE IF EXISTS fresh WITH (FORCE)")
        connection.exec_driver_sql("CREATE DATABASE fresh")
    engine.dispose()
    return server.replace("/postgres?", "/fresh?")


@pytest.mark.parametrize(("workers", "kills"), [(2, 0), (8, 3)])
def test_workers_share_a_fresh_postgresql_database(workers, kills, database):
    began, ended = shared_by(workers, kills, database, 16)
    assert set(ended.values()) == {1}
    assert 16 + kills >= sum(began.values()) >= 16, "only what was killed is run again"


def test_eight_workers_share_a_fresh_sqlite_database(tmp_path):
    began, ended = shared_by(8, 3, sqlite(tmp_path), 16)
    assert set(ended.values()) == {1} and sum(began.values()) <= 16 + 3


def test_the_sweep_command_on_postgresql(tiny_algorithm, database, capfd):
    small = {"total_steps": 40, "num_envs": 2, "rollout_length": 4, "evals": 1, "eval_episodes": 5}
    grid(2, "tiny", **{name: {"value": value} for name, value in small.items()})
    assert cli.run(["sweep", "s.yaml", "--storage", database]) == 0
    assert cli.run(["sweep", "runs/sweep-s", "--storage", database]) == 0
    assert capfd.readouterr().out.count("2 trials: 2 finished") == 2


def test_a_trial_that_was_given_away_is_reported_by_its_new_owner_alone(tmp_path, monkeypatch):
    """A process that was silent for too long, as when a machine sleeps, comes back."""
    sweep = grid(1)
    silent, heir = (Study(sweep, "x", sqlite(tmp_path)) for _ in range(2))
    silent.open()
    (trial,) = silent.take(1)
    assert heir.open() == 0 and heir.unfinished() == 1
    monkeypatch.setattr(heartbeat, "STALE_SECONDS", -1.0)
    assert heir.requeue() == 1
    (again,) = heir.take(1)
    assert silent.report(trial, 1.0, 1) == "lost" and heir.report(again, 2.0, 1) == "goes on"
    assert not silent.finish(trial, 1.0) and not silent.fail(trial, "x")
    assert heir.finish(again, 2.0, seconds=3.0)
    assert [(row.state, row.value, row.about["seconds"]) for row in heir.rows()] == [
        ("finished", 2.0, 3.0)
    ]
    assert silent.close() == heir.close() == 0


def test_a_process_waits_for_the_others_unless_it_is_told_not_to(tmp_path, monkeypatch, capsys):
    sweep = grid(2)
    other, mine = (Study(sweep, "x", sqlite(tmp_path)) for _ in range(2))
    other.open()
    mine.open()
    (theirs,) = other.take(1)
    work, trained = worker.Work(sweep, None, mine, tmp_path, 1), []

    def train(work, trials):
        trained.extend(mine.values(trial)["seed"] for trial in trials)
        assert all(mine.finish(trial, 1.0) for trial in trials)

    worker.work_through(work, train, wait=False)
    assert trained == [1] and mine.unfinished() == 1
    # on another machine: of a process there only its heartbeat is known
    monkeypatch.setattr(heartbeat, "machine", lambda: "elsewhere")
    ages = iter([0.0, 100.0, 200.0])
    began = storage.time.time()
    monkeypatch.setattr(mine._storage, "now", lambda: began + next(ages))
    worker.work_through(work, train)
    assert trained == [1, 0] and mine.unfinished() == 0
    assert not other.finish(theirs, 5.0)
    assert "1 trials are run by other processes; waiting" in capsys.readouterr().out
    assert other.close() == mine.close() == 0


def test_a_process_killed_while_it_queues_a_trial_again_loses_nothing(tmp_path, monkeypatch):
    sweep = grid(2)
    dead = Study(sweep, "x", sqlite(tmp_path))
    assert len(dead.take(1)) == 1
    monkeypatch.setattr(heartbeat, "process_runs", lambda number: False)
    killed = Study(sweep, "x", sqlite(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(killed.study, "tell", lambda *_, **__: 1 / 0)
        assert killed.requeue() == 0  # it is in the queue, and still counts as running
    heir = Study(sweep, "x", sqlite(tmp_path))
    assert heir.requeue() == 1
    taken = heir.take(9)
    assert sorted(heir.values(one)["seed"] for one in taken) == [0, 1]


def test_a_database_that_is_away_for_a_moment_costs_no_result(tmp_path, monkeypatch):
    mine = Study(grid(1), "x", sqlite(tmp_path))
    (trial,) = mine.take(1)
    tell, failures = mine.study.tell, [1, 1]

    def away(*args, **kwargs):
        if failures:
            failures.pop()
            raise mine._optuna.exceptions.StorageInternalError("server closed the connection")
        return tell(*args, **kwargs)

    monkeypatch.setattr(mine.study, "tell", away)
    monkeypatch.setattr(study.time, "sleep", lambda seconds: None)
    assert mine.finish(trial, 1.0)
    failures += [1] * 9
    monkeypatch.setattr(study, "PATIENCE_SECONDS", 0.0)
    with pytest.raises(study.Unreachable, match="cannot be reached: server closed"):
        mine._patiently(lambda: away())


def test_postgresql_urls_get_a_driver_that_is_installed(monkeypatch):
    installed = set()
    monkeypatch.setattr(
        storage.importlib.util, "find_spec", lambda name: name if name in installed else None
    )
    with pytest.raises(ValueError, match=r"pip install 'marlx\[sweep-postgres\]'"):
        storage._with_driver("postgresql://me@host/name")
    installed.add("psycopg2")
    assert storage._with_driver("postgres://me@host/name") == "postgresql+psycopg2://me@host/name"
    installed.add("psycopg")
    assert storage._with_driver("postgresql://h/n") == "postgresql+psycopg://h/n"
    assert storage._with_driver("postgresql+asyncpg://h/n") == "postgresql+asyncpg://h/n"


def test_a_database_that_does_not_answer_is_one_line(capfd):
    grid(1)
    url = "postgresql://me:secret@127.0.0.1:1/none"
    if reason := postgres.missing():
        pytest.skip(reason)
    assert cli.run(["sweep", "s.yaml", "--storage", url]) == 2
    err = capfd.readouterr().err
    assert err.count("\n") == 1 and "cannot open the storage" in err and "secret" not in err
