"""Killed at random moments and resumed, a run ends with the bits of one that was left alone."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from safetensors.numpy import load_file

from marlx import cli
from marlx.runs import array_store, checkpoints

SMALL = "--num-envs 4 --rollout-length 8 --evals 40 --eval-episodes 8 --learner.hidden 8"
Q = f"{SMALL} --learner.mixer-hidden 8 --learner.mixer-embed 4 --total-steps 4000"
PPO = f"{SMALL} --total-steps 1500 --learner.window 8"

MANSA = SMALL.replace("learner.hidden", "learner.independent.hidden")

GMAH = (
    SMALL.replace("learner.hidden", "learner.low.hidden")
    + " --learner.high.window 8 --learner.high.hidden 8 --learner.high.warmup 200"
)
CLAM = SMALL.replace("--learner.hidden 8", "--learner.contrast.batch 8")

# A learner joins with a line: name, environment, options that make it small.
LEARNERS = [
    ("qmix", "matrix/two_step", f"{Q} --seeds 2"),
    ("mappo", "matrix/two_step", f"{PPO} --learner.recurrent"),
    ("mansa", "matrix/chain-2", f"{MANSA} --total-steps 4000 --learner.budget 2"),
    ("gmah", "grid/doorkey-5x5", f"{GMAH} --total-steps 4000 --learner.period 8"),
    ("clam", "partners/mpe/simple_tag_v3", f"{CLAM} --total-steps 4000"),
]
# The first, with its replay and two seeds, stands for all; `make test-slow` tries all.
PARAMS = [pytest.param(one, marks=[pytest.mark.slow] * (i > 0)) for i, one in enumerate(LEARNERS)]

# The command line, but with a checkpoint at every evaluation, so that many a kill hits one.
MARLX = """
from marlx import cli
from marlx.runs import checkpoints
checkpoints.WAIT_FACTOR = 0
cli.main()
"""


class Process(NamedTuple):
    """`marlx` with a few words, on its own."""

    popen: subprocess.Popen[str]

    @classmethod
    def start(cls, *words: str) -> Process:
        command = [sys.executable, "-c", MARLX, *words]
        pipe = subprocess.PIPE
        return cls(subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True))

    def ended(self) -> bool:
        return self.popen.poll() is not None

    def wait(self) -> tuple[int, str]:
        said, _ = self.popen.communicate(timeout=600)
        return self.popen.returncode, said


def steps_in(folder: Path) -> int:
    """Steps of the last whole line of `metrics.jsonl`."""
    try:
        lines = (folder / "metrics.jsonl").read_text().split("\n")[:-1]
        return json.loads(lines[-1])["steps"] if lines else 0
    except (OSError, ValueError):
        return 0


def newest(folder: Path) -> int:
    """Steps of the newest checkpoint."""
    names = [path.name for path in (folder / "checkpoints").glob("[0-9]*")]
    return max(map(int, names), default=0)


def what_is_left(folder: Path) -> dict[str, object]:
    """All that must be equal to the bit, in a form that `==` compares by bits."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    for record in (*lines, result):
        del record["seconds"]
        record.pop("phases", None)
    saved = checkpoints.Checkpoints(folder / "checkpoints").newest()
    state = array_store.read_arrays(saved)
    policy = load_file(folder / "policy" / "arrays.safetensors")
    return {
        "metrics": lines,
        "result": result,
        **{f"policy/{name}": bits(array) for name, array in policy.items()},
        **{f"state/{name}": bits(array) for name, array in state.items()},
    }


def bits(array: np.ndarray) -> tuple[str, tuple[int, ...], bytes]:
    array = np.asarray(array)
    return str(array.dtype), array.shape, array.tobytes()


def train_and_kill(words: list[str], folder: Path, kills: int, seed: int) -> tuple[int, int]:
    """Train to the end, killed on the way; how often, and how often within a checkpoint."""
    rng = random.Random(seed)
    killed = torn = 0
    while True:
        resumable = (folder / "config.yaml").exists()
        process = Process.start(*(["train", "--resume", str(folder)] if resumable else words))
        if killed >= kills:
            code, said = process.wait()
            assert code == 0, said
            return killed, torn
        here, total = newest(folder), 4_000 if "qmix" in words else 1_500
        target = rng.randint(here, (here + total) // 2)
        while steps_in(folder) <= target and not process.ended() and rng.random() < 0.9998:
            time.sleep(0.01)  # now and then it is killed while it starts
        time.sleep(rng.uniform(0, 0.2))
        process.popen.send_signal(signal.SIGKILL)
        code, said = process.wait()
        assert code in (0, -signal.SIGKILL), said
        killed += code != 0
        torn += bool(list((folder / "checkpoints").glob(".*.partial")))
        if code == 0:
            return killed, torn


@pytest.fixture(params=PARAMS, ids=[name for name, *_ in LEARNERS], scope="module")
def alone(request, tmp_path_factory):
    """A run that was left alone, and the words that start it."""
    name, env, options = request.param
    folder = tmp_path_factory.mktemp(name) / "alone"
    seeds = "2" if "--seeds" in options else "1"
    words = ["train", name, env, *options.split(), "--checkpoint-seconds", "0", "--devices", seeds]
    assert cli.run([*words, "--out", str(folder)]) == 0
    return words, folder


def check(alone, tmp_path, kills, seed):
    words, folder = alone
    killed, torn = train_and_kill(
        [*words, "--out", str(tmp_path / "run")], tmp_path / "run", kills, seed
    )
    left, expected = what_is_left(tmp_path / "run"), what_is_left(folder)
    assert left.keys() == expected.keys() and len(left) > 20
    for name, value in expected.items():
        assert left[name] == value, name
    return killed, torn


def test_killed_twice_and_resumed_a_run_ends_with_the_same_bits(alone, tmp_path):
    for attempt in range(3):  # a busy machine may let a run end before its kill comes
        (tmp_path / str(attempt)).mkdir()
        killed, _ = check(alone, tmp_path / str(attempt), 2, seed=attempt)
        if killed == 2:
            return
    pytest.fail("no run was killed twice")


@pytest.mark.slow
def test_killed_twenty_times(alone, tmp_path):
    killed = torn = chains = 0
    while killed < 20:
        (tmp_path / str(chains)).mkdir()
        more = check(alone, tmp_path / str(chains), 5, seed=100 + chains)
        killed, torn, chains = killed + more[0], torn + more[1], chains + 1
    print(f"killed {killed} times, {torn} of them within a checkpoint")
    assert torn, "no kill came within a checkpoint"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_costs_no_training_and_no_checkpoint(alone, small_disk):
    words, folder = alone
    run = small_disk / "run"
    process = Process.start(*words, "--out", str(run))
    while newest(run) <= 1 and not process.ended():
        time.sleep(0.005)
    with open(small_disk / "other", "wb", buffering=0) as other, contextlib.suppress(OSError):
        while other.write(bytes(4096)):
            pass
    code, said = process.wait()
    lines = [line for line in said.splitlines() if line.startswith("marlx: ")]
    assert code == 1 and "greedy return" in said
    about = [line for line in lines if "cannot write checkpoint" in line]
    assert len(about) == 1 and "No space left on device" in about[0], said
    assert len(lines) == len(set(lines)), said
    kept = checkpoints.Checkpoints(run / "checkpoints").newest()
    assert f"the one at {kept.steps:,} steps stays" in about[0]
    for line in (run / "metrics.jsonl").read_text().splitlines():
        json.loads(line)

    (small_disk / "other").unlink()
    code, said = Process.start("train", "--resume", str(run)).wait()
    assert code == 0, said
    assert what_is_left(run) == what_is_left(folder)
