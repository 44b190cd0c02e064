"""`marlx train --workers`: wrong options, a killed worker, and going on after it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from marlx.cli import run

SCRIPT = """
from marlx import cli, registry
from tiny import TinyConfig, tiny
known = {**registry.algorithms(), "tiny": registry.Algorithm("tiny", "", TinyConfig, tiny)}
registry.algorithms = lambda: known
if __name__ == "__main__":
    cli.main()
"""
WORDS = (
    "train tiny matrix/climbing --num-envs 4 --rollout-length 4 --eval-episodes 8 --evals 600 "
    "--total-steps 9600 --seeds 2 --checkpoint-seconds 0"
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("--workers 3", "--workers is 3; it must be from 1 to the number of seeds, which is 2"),
        ("--workers 0", "--workers is 0; it must be from 1"),
        ("--workers 2 --devices 2", "--workers 2 and --devices 2: a worker has one device"),
    ],
)
def test_wrong_options_are_one_line(words, expected, tiny_algorithm, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run([*WORDS.split(), *words.split()]) == 2
    said = capsys.readouterr().err
    assert expected in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def children(pid: int) -> list[int]:
    """Processes started by a process whose command is that of a worker."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [
        one
        for one in map(int, text.split())
        if b"spawn_main" in Path(f"/proc/{one}/cmdline").read_bytes()
    ]


def lines_of(folder: Path) -> list[dict]:
    try:
        text = (folder / "metrics.jsonl").read_text()
    except OSError:
        return []
    lines = [json.loads(line) for line in text.split("\n")[:-1]]
    for line in lines:
        del line["seconds"], line["phases"]
    return lines


def started(script: Path, *words: str) -> subprocess.Popen:
    place = {**os.environ, "PYTHONPATH": f"{Path(__file__).parents[1]}:{Path(__file__).parents[2]}"}
    pipe = subprocess.PIPE
    command = [sys.executable, str(script), *words]
    return subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=place)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_a_killed_worker_ends_the_run_which_goes_on_with_the_same_bits(tmp_path, tiny_algorithm):
    script, here, alone = tmp_path / "own.py", tmp_path / "run", tmp_path / "alone"
    script.write_text(SCRIPT)
    process = started(script, *WORDS.split(), "--workers", "2", "--out", str(here))
    while len(lines_of(here)) < 3 and process.poll() is None:
        time.sleep(0.02)
    both = children(process.pid)
    assert len(both) == 2
    os.kill(both[1], signal.SIGKILL)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said
    assert f"worker 1 of 2 is gone; stopped at {lines_of(here)[-1]['steps']:,} steps" in said
    assert f"go on with: marlx train --resume {here}" in said and "Traceback" not in said
    assert not any(Path(f"/proc/{one}").exists() for one in both)
    assert not (here / "result.json").exists()

    again = started(script, "train", "--resume", str(here))  # it keeps its two workers
    said, _ = again.communicate(timeout=300)
    assert again.returncode == 0, said
    assert run([*WORDS.split(), "--devices", "2", "--out", str(alone)]) == 0
    assert lines_of(here) == lines_of(alone)
    results = [json.loads((one / "result.json").read_text()) for one in (here, alone)]
    assert results[0]["return"] == results[1]["return"]
    assert (here / "episode.gif").exists() and (here / "curve.png").exists()
