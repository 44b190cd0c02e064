"""Placement on devices and processes: same numbers as on one device, and checkpoints that move."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from jax.tree_util import keystr

from marlx import cli
from marlx.algos import ppo, q_learning
from marlx.loop.placement import Layout, infer_environment_axes, layout
from marlx.loop.program import state_shape
from marlx.loop.progress import Progress
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig
from marlx.runs.array_store import read_arrays
from marlx.runs.checkpoint_files import open_checkpoint
from marlx.runs.checkpoints import Checkpoints
from marlx.testing import Recall
from marlx.training import train
from marlx.types import Tree

ENV = Recall(shortest=1, longest=3)
PARAMS = ENV.default_params
LEARNERS = {
    "qmix": q_learning.qmix(
        ENV.spec(), hidden=8, mixer_hidden=8, mixer_embed=4, batch=8, window=5, capacity=2_000,
        warmup=100, updates_per_step=1 / 20, target_period=5,
    ),
    "mappo": ppo.mappo(ENV.spec(), hidden=8, minibatches=2, epochs=2),
}  # fmt: skip
CONFIG = TrainConfig(
    total_steps=700, num_envs=8, rollout_length=5, evals=3, eval_episodes=48, seed=1
)

KEPT = tempfile.TemporaryDirectory()
"""Checkpoints that several tests read."""

TOLERANCE = {"rtol": 2e-3, "atol": 1e-4}
"""Sums over environments are in another order: a few 1e-7 each, amplified by 30 updates."""


# What devices mean


@pytest.mark.parametrize(
    ("devices", "there", "seeds", "expected"),
    [
        ("auto", 8, 3, Layout(3, 1)),
        ("auto", 2, 5, Layout(2, 1)),
        ("all", 8, 1, Layout(1, 8)),
        ("all", 8, 4, Layout(4, 2)),
        ("all", 2, 5, Layout(2, 1)),
        (6, 8, 3, Layout(3, 2)),
        ("1", 8, 3, Layout(1, 1)),
        ("2x4", 8, 3, Layout(2, 4)),
        ("1x8", 8, 3, Layout(1, 8)),
    ],
)
def test_seeds_come_first(devices, there, seeds, expected):
    assert layout(devices, there, seeds, num_envs=64) == expected


@pytest.mark.parametrize(
    ("devices", "seeds", "num_envs", "words"),
    [
        ("all", 3, 64, "makes 8, and seeds is 3; more devices than seeds must be a multiple"),
        ("1x4", 1, 30, "num_envs is 30; it must be a multiple of 4, the devices that share"),
        (16, 1, 64, "devices is 16; it must be at most 8"),
        ("4x2", 3, 64, "at most as many groups as seeds"),
        ("2x", 1, 64, "must be auto, all, a number from 1 up, or the number of groups"),
        (0, 1, 64, "must be auto, all, a number from 1 up"),
    ],
)
def test_devices_that_do_not_divide_are_refused(devices, seeds, num_envs, words):
    with pytest.raises(ValueError, match=words):
        layout(devices, 8, seeds, num_envs)


def test_environment_axes_are_inferred_from_shapes():
    shape = functools.partial(
        state_shape, ENV, PARAMS, LEARNERS["qmix"], TrainConfig(num_envs=8, rollout_length=5)
    )
    axes = infer_environment_axes(shape, 8, 2)
    assert set(jax.tree.leaves(axes.learner.replay.ring.items)) == {1}, "[W, B, stride, ...]"
    assert set(jax.tree.leaves(axes.actors)) == {0}
    assert set(jax.tree.leaves((axes.learner.params, axes.learner.optimiser, axes.key))) == {-1}


# The numbers of one device


def reported(history: Sequence[Progress], policies: Tree) -> dict[str, np.ndarray]:
    """All numbers that a run reports, and its policies, by name."""
    metrics = {f"{p.steps} {name}": x for p in history for name, x in p.metrics.items()}
    arrays = jax.tree_util.tree_leaves_with_path(jax.device_get(policies))
    return metrics | {f"policy {keystr(path)}": np.asarray(x) for path, x in arrays}


def numbers(run: Run, history: Sequence[Progress]) -> dict[str, np.ndarray]:
    return reported(history, run.policies())


def close(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys() and len(one) > 20
    for name, x in one.items():
        np.testing.assert_allclose(other[name], x, **TOLERANCE, err_msg=name)


class Trained(NamedTuple):
    """A run that came to its end, with a checkpoint of every evaluation."""

    run: Run
    history: list[Progress]
    checkpoints: Path
    numbers: dict[str, np.ndarray]


@functools.cache
def trained(name: str, devices: str) -> Trained:
    """A run that several tests compare with; compiled once."""
    run = Run(ENV, PARAMS, LEARNERS[name], CONFIG, devices=devices)
    folder = Path(KEPT.name) / name / devices
    store, history = Checkpoints(folder, seconds=0, keep=9), []
    for progress in run.blocks():
        history.append(progress)
        assert store.save(run, history)
    return Trained(run, history, folder, numbers(run, history))


@pytest.mark.parametrize("name", ["qmix", pytest.param("mappo", marks=pytest.mark.slow)])
def test_two_devices_share_environments_and_get_the_numbers_of_one(name):
    two = trained(name, "1x2")
    assert two.run.placement.layout == Layout(1, 2) and len(two.history) == 4
    close(trained(name, "1").numbers, two.numbers)
    state = two.run.state
    shared = [x for x in jax.tree.leaves(state) if not x.is_fully_replicated]
    assert all(x.sharding.shard_shape(x.shape)[1:] != x.shape[1:] for x in shared)
    everywhere = jax.tree.leaves((state.learner.params, state.learner.optimiser))
    assert all(x.is_fully_replicated for x in everywhere)
    assert sum(x.nbytes for x in shared) > 100 * state.learner.steps.nbytes


@pytest.mark.parametrize("name", LEARNERS)
def test_devices_communicate_by_reductions_only(name):
    """Gradients are summed; nothing is permuted in a ring, for which on CPUs all groups wait."""
    block = trained(name, "1x2").run.programs.block.as_text()
    assert "all-reduce(" in block and "collective-permute(" not in block


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize(("first", "then"), [("1x2", "1"), ("1", "1x2")])
def test_a_checkpoint_moves_to_other_devices(name, first, then, capsys):
    moves(trained(name, first).checkpoints, trained(name, then))
    assert "devices" in capsys.readouterr().err, "that the last bits may differ is said"


def moves(checkpoints: Path, then: Trained) -> None:
    """Continues the last but one of `checkpoints` with `then`, to the same numbers."""
    folder = sorted(checkpoints.iterdir())[-2]
    kept = Checkpoints(checkpoints).restore(then.run, open_checkpoint(folder))
    assert [p.steps for p in kept] == [p.steps for p in then.history[: len(kept)]]
    assert len(kept) < len(then.history)
    kept += list(then.run.blocks())
    close(then.numbers, numbers(then.run, kept))


def free_address() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{one.getsockname()[1]}"


def python(code: str, *words: str, place: Path | None = None) -> subprocess.Popen:
    """Python on its own, which finds marlx and these tests."""
    folders = [str(folder) for folder in Path(__file__).parents[:3]]  # these tests, all, marlx
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], cwd=place, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def ended(started: list[subprocess.Popen]) -> list[tuple[int, str]]:
    said = [process.communicate(timeout=300)[0] for process in started]
    return [(process.returncode, text) for process, text in zip(started, said, strict=True)]


IN_GROUPS = """
import sys, jax
jax.config.update("jax_num_cpu_devices", 4)
from test_placement import in_groups
in_groups(sys.argv[1])
"""


def in_groups(name: str) -> None:
    """Two seeds: a device each, and two devices each; two on both devices of a group."""
    config = dataclasses.replace(CONFIG, seeds=2)
    numbers = []
    for devices in ("2", "2x2", "1x2"):
        result = train(ENV, LEARNERS[name], config=config, devices=devices)
        numbers.append(reported(result.history, result.policies))
    close(numbers[0], numbers[1])
    close(numbers[0], numbers[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", LEARNERS)
def test_groups_of_devices_train_seeds_of_their_own(name):
    ((code, said),) = ended([python(IN_GROUPS, name)])
    assert code == 0, said


# Several processes


ONE_OF_TWO = """
import sys, jax
name, folder, address, process = sys.argv[1:]
jax.config.update("jax_num_cpu_devices", 1)
jax.distributed.initialize(address, 2, int(process))
from test_placement import one_of_two
one_of_two(name, folder, int(process))
"""


def one_of_two(name: str, folder: str, process: int) -> None:
    """Trains in one of two processes, and writes what it reports."""
    policies = []
    result = train(
        ENV, LEARNERS[name], config=CONFIG, checkpoints=Path(folder, "checkpoints"), resume=True,
        report=lambda progress: policies.append(progress.policies()),
    )  # fmt: skip
    assert len(policies) == (3 if process == 0 else 0), "the first one reports"
    np.savez(Path(folder, f"{process}.npz"), **reported(result.history, result.policies))


@pytest.mark.parametrize("name", ["mappo", pytest.param("qmix", marks=pytest.mark.slow)])
def test_two_processes_go_on_to_the_numbers_of_one(name, tmp_path):
    one, address = trained(name, "1"), free_address()
    first, store = sorted(one.checkpoints.iterdir())[0], tmp_path / "checkpoints"
    shutil.copytree(first, store / first.name)
    pair = [python(ONE_OF_TWO, name, str(tmp_path), address, str(i)) for i in range(2)]
    for code, said in ended(pair):
        assert code == 0, said
    for i in range(2):
        close(one.numbers, dict(np.load(tmp_path / f"{i}.npz")))
    assert [int(path.name) for path in sorted(store.iterdir())] == [
        one.history[0].steps,
        one.history[-1].steps,
    ]
    arrays = [
        read_arrays(open_checkpoint(path))
        for path in (sorted(store.iterdir())[-1], sorted(one.checkpoints.iterdir())[-1])
    ]
    close(*arrays)


MARLX = """
from marlx import cli, registry
from tiny import TinyConfig, tiny
known = {**registry.algorithms(), "tiny": registry.Algorithm("tiny", "", TinyConfig, tiny)}
registry.algorithms = lambda: known
cli.main()
"""


def together(folder: Path, *words: str) -> list[subprocess.Popen]:
    """`marlx train` in two processes of one device each, each in a folder of its own."""
    address, started = free_address(), []
    for i in range(2):
        place = folder / f"process{i}"
        place.mkdir()
        cluster = ["--coordinator", address, "--num-processes", "2", "--process-id", str(i)]
        started.append(python(MARLX, "train", *words, "--distributed", *cluster, place=place))
    return started


def lines_of(folder: Path) -> list[dict]:
    """Whole lines of `metrics.jsonl`."""
    try:
        text = (folder / "metrics.jsonl").read_text()
    except OSError:
        return []
    return [json.loads(line) for line in text.split("\n")[:-1]]


TINY = (
    "tiny matrix/climbing --num-envs 8 --rollout-length 4 --eval-episodes 8 --evals 300 "
    "--total-steps 9600"
)


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_and_one_goes_on(tmp_path, tiny_algorithm):
    run = tmp_path / "run"
    pair = together(tmp_path, *TINY.split(), "--out", str(run))
    while len(lines_of(run)) < 3 and all(one.poll() is None for one in pair):
        time.sleep(0.02)
    pair[1].send_signal(signal.SIGTERM)
    (code, said), (other_code, other_said) = ended(pair)
    assert (code, other_code) == (143, 143), said + other_said
    assert "2 devices share the environments of a seed" in said
    assert f"go on with: marlx train --resume {run}" in said
    assert "stopping after the current block" in other_said
    assert not list((tmp_path / "process1").rglob("*")), "only the first one writes"
    stopped = lines_of(run)
    assert 3 <= len(stopped) < 300

    assert cli.run(["train", "--resume", str(run), "--devices", "1"]) == 0
    both = lines_of(run)
    assert both[: len(stopped)] == stopped
    assert [line["steps"] for line in both] == [32 * (i + 1) for i in range(len(both))]
    assert json.loads((run / "result.json").read_text())["steps"] == both[-1]["steps"] >= 9600


def test_processes_start_together_or_not_at_all(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "something").write_text("of somebody's")
    pair = together(tmp_path, *TINY.split(), "--out", str(run))
    first, other = ended(pair)
    assert first[0] == other[0] == 2
    assert "is not empty" in first[1]
    assert "process 0 cannot start, and says why; all of them stop" in other[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--coordinator localhost:1", "--coordinator needs --distributed"),
        ("--distributed --coordinator localhost", "--coordinator is localhost; it must be HOST"),
        ("--distributed --num-processes 0", "--num-processes is 0; it must be at least 1"),
        ("--distributed --num-processes 2 --process-id 2", "must be a number from 0 to 1"),
        ("--devices 3x", "devices is 3x; it must be auto, all"),
        ("--devices 1x2 --num-envs 31", "num_envs is 31; it must be a multiple of 2"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options, words, capsys):
    assert cli.run(["train", "iql", "matrix/climbing", *options.split()]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
