"""A cut of `make torture`: the same cases in every run, few enough for every day."""

import itertools
import random
import sys
import time
from pathlib import Path

import pytest

from marlx import cli

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "torture"))
sys.path.append(str(Path(__file__).parents[1] / "analysis"))

import files
import folders
import groups
import judge
import processes
import table
import words
from run_folders import write_run


@pytest.fixture(autouse=True)
def stopped(monkeypatch, tmp_path):
    judge.stop_before_compiling(monkeypatch.setattr, shapes=False)
    monkeypatch.setattr(judge, "LIMIT", 60.0)  # the machine may be busy
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (judge.Outcome(2, "", "marlx: no\n", 0.1), []),
        (judge.Outcome(0, "fine\n", "marlx: warning: x\n", 0.1), []),
        (judge.Outcome(None, "", "", 0.1), []),
        (judge.Outcome(3, "", "marlx: no\n", 0.1), ["exit code"]),
        (judge.Outcome(2, "", "", 0.1), ["no plain line"]),
        (judge.Outcome(2, "", "ValueError: no\n", 0.1), ["no plain line"]),
        (judge.Outcome(None, "", "", 0.1, "KeyError: 'x'"), ["traceback"]),
        (judge.Outcome(None, "", "", 0.1, "Stuck: after 60 s"), ["hang"]),
        (judge.Outcome(2, "", "marlx: no\n", 66.0), ["slow"]),
        (judge.Outcome(2, "", f"marlx: {'x' * 5000}\n", 0.1), ["long message"]),
        (judge.Outcome(2, "", "marlx: \x1b[31m\n", 0.1), ["raw control code"]),
    ],
)
def test_an_outcome_is_judged(outcome, expected):
    assert judge.faults(judge.Case(["train"]), outcome) == expected


def test_a_value_that_has_to_be_refused_is_not_trained_with():
    case = judge.Case(["train"], (2,))
    assert judge.faults(case, judge.Outcome(None, "", "", 0.1)) == ["exit code"]


def test_a_case_is_run_in_a_folder_of_its_own(tmp_path):
    outcome = judge.run(judge.Case(["list", "algos"], files={"deep/file": b"x"}))
    assert outcome.code == 0 and "qmix" in outcome.out and list(tmp_path.iterdir()) == []
    assert judge.run(judge.Case(["train", "qmx", "x"])).code == 2
    small = "train iql matrix/climbing --total-steps 2000 --learner.warmup 100 --devices 1"
    assert judge.run(judge.Case(small.split())).code is None  # it came to where it would compile


def test_an_exception_that_leaves_a_command_is_seen(monkeypatch):
    def fails(words):
        raise KeyError("x")

    monkeypatch.setattr(cli, "run", fails)
    outcome = judge.run(judge.Case(["list"]))
    assert outcome.error.startswith("KeyError: 'x'")


def test_parts_of_a_run_make_one_table(tmp_path):
    failures = [
        {"end": 3, "words": ["train"], "faults": ["exit code", "long message"], "error": "a | b"},
        {"end": 4, "words": ["eval"], "faults": ["hang"], "error": "Stuck"},
    ]
    for part in (
        table.Part("words", 10, failures, upto=10, seconds=60.0),
        table.Part("kills", 1, names=["kills of qmix"], missing=["kills of vdn", "kills of iql"]),
        table.Part("words", 5, upto=15, seconds=30.0),
        table.Part("kills", 1, failures[1:], names=["kills of vdn"]),
    ):
        table.append(tmp_path / "parts.jsonl", part)
    parts = table.read(tmp_path / "parts.jsonl")
    rows = {row.split()[0]: row.split()[1:] for row in table.lines(parts)}
    assert rows == {
        "kind": "cases failures tracebacks hangs exit codes others minutes".split(),
        "words": ["15", "2", "0", "1", "1", "1", "1.5"],
        "kills": ["2", "1", "0", "1", "0", "0", "0.0"],
        "all": ["17", "3", "0", "2", "1", "1", "1.5"],
    }
    assert max(one.upto for one in table.merged(parts)) == 15
    assert table.examples(parts)[-1] == "kills: not run: kills of iql"
    assert table.read(tmp_path / "none.jsonl") == [] and table.lines([])[-1].split()[1] == "0"


def test_every_kind_that_is_asked_for_has_a_check():
    names = [name for _, name, *_ in processes.every_check()]
    assert len(set(names)) == len(names)
    kills = {name.removeprefix("kills of ") for name in names if name.startswith("kills of ")}
    assert kills == set(words.algorithms()) >= {"clam", "gmah", "mansa", "pqn"}
    for text in ("disk ro", "disk size=", "full log", "rename", "clock", "four in a second",
                 "locked study", "memory", "ulimit", "SIGINT while", "SIGTERM while",
                 "two signals", "/dev/full", ">&-", "head"):  # fmt: skip
        assert any(text in name for name in names), text


def test_a_process_that_is_left_behind_is_found_and_ended():
    group = groups.shell("sleep 60 >/dev/null 2>&1 & exit 0")
    with pytest.raises(groups.Faulty, match="process left"):
        groups.ended(group)
    until = time.monotonic() + 20
    while group.left() and time.monotonic() < until:
        time.sleep(0.01)  # a killed process takes a moment
    assert not group.left() and not groups.Group.alive
    assert groups.ended(groups.shell("echo out; exit 3"), (3,)).out == "out\n"
    with pytest.raises(groups.Faulty, match=r"exit code . 3"):
        groups.ended(groups.shell("exit 3"))


def wrong(cases):
    """Every case that is not as it should be, with why."""
    found = []
    for case in cases:
        outcome = judge.run(case)
        if faults := judge.faults(case, outcome):
            found.append((faults, [word[:60] for word in case.words], outcome.error or outcome.err))
    return found


def test_command_lines():
    assert wrong(words.command_line(random.Random(f"ci/{i}")) for i in range(40)) == []


def test_numbers_of_settings():
    every = list(words.numbers())
    assert len(every) > 5000 and len(set(case.words[3] for case in every)) > 1000
    assert wrong(random.Random(1).sample(every, 24)) == []


def test_files():
    whole = [case for case in files.every() if len(case.files["file.yaml"]) < 100_000]
    damaged = [files.case(random.Random(f"ci/{i}")) for i in range(40)]
    damaged = [case for case in damaged if len(case.files["file.yaml"]) < 100_000]
    assert wrong(itertools.chain(whole, damaged)) == []


def test_run_folders(tmp_path):
    run = write_run(tmp_path / "run", loss=((1.0, 2.0), (0.5, 0.1)))

    def cases():
        for number in range(0, 400, 10):  # another damage and another command each time
            case = folders.case("ci", number, run, tmp_path / "scratch")
            if case.words[0] in ("doctor", "plot", "report", "train", "sweep"):
                yield case

    assert wrong(cases()) == []
