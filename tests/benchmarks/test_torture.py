"""A cut of `make torture`: the same cases in every run, few enough for every day."""

import itertools
import random
import sys
from pathlib import Path

import pytest

from marlx import cli

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "torture"))
sys.path.append(str(Path(__file__).parents[1] / "analysis"))

import files
import folders
import judge
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
