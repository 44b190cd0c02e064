"""All runs under a folder as they go: states, and that terminal and page agree."""

from __future__ import annotations

import fcntl
import io
import json
import os
import re
import subprocess
import sys
import threading
import time

import pytest
from PIL import Image

from marlx import cli
from marlx.cli.watch import print_rows, sparkline
from marlx.viewer import watching
from marlx.viewer.liveness import Locks
from marlx.viewer.page import page
from marlx.viewer.serving import Server
from marlx.viewer.watching import Watcher, as_json

HOSTILE = "<script>alert(1)\x1b[31m</script>\"'"
NAMED = "sweep <script>\"'\x1b"
SHOWN_NAME = "sweep <script>\"'\\x1b"
SHOWN = "<script>alert(1)\\x1b[31m<"
SCRIPTS = ("drawing.js", "parallel.js", "watch.js")
HOLD = (
    "import fcntl, os, sys, time; fd = os.open(sys.argv[1], os.O_RDONLY);"
    "fcntl.flock(fd, fcntl.LOCK_EX); print(flush=True); time.sleep(600)"
)


def write_run(
    folder,
    returns=((0.0, 0.2), (0.5, 0.7), (0.5, 0.9)),
    *,
    finished=False,
    total=400,
    learner=None,
):
    """A run of two seeds with an evaluation at every 100 steps, each of which took 10 seconds."""
    folder.mkdir(parents=True)
    settings = {"algorithm": "qmix", "environment": "matrix/climbing", "total_steps": total}
    if learner is not None:
        settings["learner"] = json.dumps(learner)
    settings |= {"seed": 0, "seeds": len(returns[0]) if returns else 2}
    (folder / "config.yaml").write_text("".join(f"{k}: {v}\n" for k, v in settings.items()))
    lines = [
        {"steps": 100 * (k + 1), "seconds": 10 * (k + 1), "return": list(row)}
        for k, row in enumerate(returns)
    ]
    if lines:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (folder / "metrics.jsonl").write_text(text)
    if finished:
        mean = sum(returns[-1]) / 2
        result = {"return": {"mean": mean, "per_seed": list(returns[-1])}}
        result["return"]["interval_95"] = [mean - 0.1, mean + 0.1]
        result |= {"random_return": 0.0, "optimum": 1.0, "seconds": {"compile": 3.0}}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


@pytest.fixture
def twelve(tmp_path):
    """Twelve runs: four are live, one of which is another process; also that process."""
    names = ["a", "b", f"grid/{HOSTILE.replace('/', '_')}"]
    live = [write_run(tmp_path / name) for name in names]
    for k in range(4):
        write_run(tmp_path / f"done{k}", finished=True)
    write_run(tmp_path / "stopped")
    write_run(tmp_path / "new", ())
    failed = write_run(tmp_path / "failed", ((0.0, 0.0),))
    (failed / "failure.json").write_text(json.dumps({"message": "NaN in the reward"}))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("algorithm: [\n")
    killed = write_run(tmp_path / "killed")
    held = [os.open(path, os.O_RDONLY) for path in live]
    for fd in held:
        fcntl.flock(fd, fcntl.LOCK_EX)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(killed)], stdout=subprocess.PIPE, text=True
    )
    process.stdout.readline()
    if not Locks().known:
        pytest.skip("this system has no list of locks")
    yield tmp_path, process
    process.kill()
    process.wait()
    process.stdout.close()
    for fd in held:
        os.close(fd)


def states(rows):
    return {row.name: row.state for row in rows}


def test_twelve_runs_have_the_right_states_also_after_a_kill(twelve):
    folder, process = twelve
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    watcher = Watcher(folder)
    seen = states(watcher.rows())
    assert len(seen) == 12
    live = {name for name, state in seen.items() if state == "live"}
    assert {"a", "b", "killed"} < live and len(live) == 4
    assert all(seen[f"done{k}"] == "finished" for k in range(4))
    assert (seen["stopped"], seen["new"]) == ("stopped", "stopped")
    assert (seen["failed"], seen["broken"]) == ("failed", "unreadable")
    process.kill()
    process.wait()
    assert states(watcher.rows())["killed"] == "stopped"
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_row_tells_steps_returns_and_the_time_left(twelve):
    folder, _ = twelve
    row = next(row for row in Watcher(folder).rows() if row.name == "a")
    assert (row.steps, row.total) == (300, 400)
    assert (row.value, row.low, row.high) == pytest.approx((0.7, 0.5, 0.9))
    assert 0 <= row.left <= 10  # 100 steps in 10 seconds, less what has passed
    assert [point[1] for point in row.curve] == pytest.approx([0.1, 0.6, 0.7])
    failed = next(row for row in Watcher(folder).rows() if row.name == "failed")
    assert "numbers are not finite" in failed.warnings


def test_only_what_changed_is_read_again(twelve, monkeypatch):
    folder, _ = twelve
    watcher, reads = Watcher(folder), []
    watcher.rows()
    read = watching.read_run
    monkeypatch.setattr(watching, "read_run", lambda path: reads.append(path.name) or read(path))
    watcher.rows()
    assert reads == []
    with (folder / "a" / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"steps": 400, "seconds": 40, "return": [1.0, 1.0]}) + "\n")
    rows = watcher.rows()
    assert reads == ["a"]
    assert next(row for row in rows if row.name == "a").value == 1.0


def test_a_folder_that_is_deleted_while_it_is_read_is_left_out(twelve, monkeypatch):
    folder, _ = twelve
    look = Locks.live

    def gone(self, path, changed, now):
        return look(self, path / "gone" if path.name == "b" else path, changed, now)

    monkeypatch.setattr(Locks, "live", gone)
    seen = states(Watcher(folder).rows())
    assert "b" not in seen and len(seen) == 11


@pytest.mark.parametrize(("kind", "age", "live"), [("nfs4", 10, True), ("nfs4", 900, False),
                                                   ("ext4", 10, False)])  # fmt: skip
def test_runs_of_other_machines_are_live_while_their_files_change(tmp_path, kind, age, live):
    device = os.stat(tmp_path).st_dev
    (tmp_path / "locks").write_text("1: FLOCK  ADVISORY  WRITE 7 00:01:5 0 EOF\n")
    place = f"36 35 {os.major(device)}:{os.minor(device)} / {tmp_path} rw - {kind} server:/ rw\n"
    (tmp_path / "mounts").write_text(place)
    locks = Locks(tmp_path / "locks", tmp_path / "mounts")
    now = time.time()
    assert locks.live(tmp_path, now - age, now) is live
    nothing = Locks(tmp_path / "none", tmp_path / "mounts")
    assert nothing.live(tmp_path, now - age, now) is (age < 180)


def test_the_terminal_and_the_page_agree(chrome, twelve, capsys):
    folder, process = twelve
    watcher = Watcher(folder)
    routes = {
        "": lambda _: page("runs", "", {"seconds": 0.2}, SCRIPTS, asks=True),
        "runs": lambda _: as_json(watcher.rows()),
    }
    server = Server(routes)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        chrome.open(server.url)
        chrome.wait("marlx.watch.runs.length === 12")
        shown = chrome.run(
            "[...document.querySelectorAll('tbody tr')]"
            ".map((r) => [...r.cells].map((c) => c.textContent))"
        )
        capsys.readouterr()
        print_rows(Watcher(folder).rows())
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == len(shown) == 12
        for line, row in zip(lines, shown, strict=True):
            assert line.startswith(f"{row[0]}  {row[1]}")
            assert row[8] in line
            assert bool(re.fullmatch(r"[\d.]+ [kMG]B", row[7])) == ("live" in row[0])
            assert bool(re.search(r"  [\d.]+ [kMG]B", line)) == ("live" in row[0])
        text = "".join(map("".join, shown))
        assert "<script>alert(1)" in text and "\x1b" not in text
        assert chrome.run("document.querySelectorAll('td script').length") == 0
        assert "4 live" in chrome.run("document.querySelector('.summary').textContent")
        assert chrome.run("document.querySelectorAll('.plot').length") == 1
        process.kill()
        process.wait()
        chrome.wait("marlx.watch.runs.some((r) => r.name === 'killed' && r.state === 'stopped')")
        assert chrome.problems == []
        assert all(url.startswith((server.url, "data:")) for url in chrome.requests)
    finally:
        server.close()
        thread.join()
    chrome.wait("document.querySelector('.summary').textContent.includes('has ended')")


def test_a_sweep_and_pictures_are_shown(chrome, tmp_path):
    gif = io.BytesIO()
    Image.new("P", (40, 30)).save(gif, "GIF")
    for k, lr in enumerate((1e-4, 1e-3, 1e-2, 1e-2)):
        known = {"lr": lr, "mixer_hidden": 16, "double": k % 2 == 0}
        write_run(tmp_path / NAMED / f"t{k}", ((k / 10, k / 5),), finished=True, learner=known)
    (tmp_path / NAMED / "t1" / "episode.gif").write_bytes(gif.getvalue())
    write_run(tmp_path / "alone", finished=True)
    watcher = Watcher(tmp_path)
    (sweep,) = as_json(watcher.rows())["sweeps"]
    assert sweep["axes"] == ["learner.lr", "learner.double"]  # not what all have in common
    assert sweep["runs"][1]["values"] == [1e-3, "False"]
    routes = {
        "": lambda _: page("runs", "", {"seconds": 0.2}, SCRIPTS, asks=True),
        "runs": lambda _: as_json(watcher.rows()),
        "picture": watcher.picture,
    }
    server = Server(routes)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        chrome.open(server.url)
        chrome.wait("document.querySelectorAll('.coordinate').length === 4")
        chrome.wait("[...document.images].some((i) => i.naturalWidth === 40)")
        heads = "[...document.querySelectorAll('.axis-name')].map((t) => t.firstChild.data)"
        assert chrome.run(heads) == ["learner.lr", "learner.double", "return"]
        heights = chrome.run(  # of the learning rates: by powers of ten
            "[...document.querySelectorAll('.coordinate')]"
            ".map((p) => +p.getAttribute('d').split(/[ML]/)[1].split(' ')[1])"
        )
        assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2])
        assert heights[2] == heights[3]
        updates = chrome.run("marlx.watch.updates")
        chrome.wait(f"marlx.watch.updates > {updates + 1}")  # drawn again, not asked for again
        assert sum(url.endswith("picture") for url in chrome.requests) == 1
        title = "document.querySelector('.parallel').parentElement.querySelector('b')"
        assert chrome.run(f"{title}.textContent") == SHOWN_NAME
        assert chrome.run(f"{title}.childElementCount") == 0
        assert chrome.problems == []
        assert all(url.startswith((server.url, "data:")) for url in chrome.requests)
    finally:
        server.close()
        thread.join()


def test_pictures_are_those_of_runs_only(tmp_path):
    write_run(tmp_path / "run")
    watcher = Watcher(tmp_path)
    watcher.rows()
    for name in ("../run", "nothing", ""):
        with pytest.raises(ValueError, match="no such run"):
            watcher.picture({"name": name})
    with pytest.raises(ValueError, match=r"episode\.gif"):
        watcher.picture({"name": "run"})


def test_watch_prints_once_where_there_is_no_terminal(twelve, capsys):
    folder, _ = twelve
    assert cli.run(["watch", str(folder)]) == 0
    out = capsys.readouterr().out
    assert (
        "\u25cf live  a  qmix on matrix/climbing  300 of 400 steps  return 0.7 (0.5 to 0.9)" in out
    )
    assert "\x1b" not in out and SHOWN in out
    assert cli.run(["watch", str(folder / "nothing")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_table_of_the_terminal_keeps_names_as_text(twelve):
    from rich.console import Console

    from marlx.cli.watch import _table

    console = Console(width=200, record=True, file=io.StringIO(), force_terminal=True)
    console.print(_table(Watcher(twelve[0]).rows()))
    text = console.export_text(styles=False)
    assert "\u25cf live" in text and "300/400" in text and "0.7 0.5..0.9" in text
    assert "<script>" in text and "\x1b[31m" not in text
    assert max(map(len, text.splitlines())) <= 200


def test_sparklines_go_from_the_lowest_to_the_highest():
    assert sparkline([0, 1, 7]) == "\u2581\u2582\u2588"
    assert sparkline([2.0, 2.0]) == "\u2581\u2581"
    assert len(sparkline(list(range(1000)))) == 16
    assert sparkline([1.0]) == ""
