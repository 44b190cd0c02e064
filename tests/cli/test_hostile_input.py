"""Files, paths and names of others: every command answers in one line, and exits with 2."""

import json
import os
import re
import sys
import time
from pathlib import Path

import jax
import pytest

from marlx import cli
from marlx.cli.resume import parse_resume

sys.path.insert(0, str(Path(__file__).parents[1] / "analysis"))
from run_folders import write_run

GAME = "matrix/climbing"
STEPS = (100, 200, 300, 400, 500)
DEEP = "[" * 20_000
BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The folder of a run; commands are given in the folder that it is in."""
    jax.devices()  # JAX starts with the tests' devices, not with those that a command asks for
    monkeypatch.chdir(tmp_path)
    return write_run(
        tmp_path / "run", "iql", GAME, env={"horizon": 25}, steps=STEPS, returns=[[0.0, 1.0]] * 5
    )


def answer(argv, capsys, code=2):
    """What a command prints; on stderr it is one line."""
    began = time.process_time()
    assert cli.run([str(word) for word in argv]) == code
    out, err = capsys.readouterr()
    assert time.process_time() - began < 20
    assert "\x1b" not in out + err, "escape codes reach the terminal"
    if code == 2:
        assert err.startswith("marlx: ") and err.count("\n") == 1 and len(err) < 1700, err
    return err if code == 2 else out


def changed(file, **values):
    """Writes a JSON file with other values."""
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


HUGE = 10**400
CONTENTS = [
    ("config.yaml", f"algorithm: iql\nenvironment: {GAME}\nseeds: 1000000000\n", "seeds from 1 to"),
    ("config.yaml", f"algorithm: iql\nenvironment: {GAME}\nseed: -1\n", "seed from 0 to"),
    ("config.yaml", BOMB, "more than 20,000 values"),
    ("config.yaml", DEEP, "nested more than"),
    ("config.yaml", "seeds: !!int zz\n", "seeds is 'zz', which is no int"),
    ("config.yaml", f"algorithm: iql\nenvironment: {GAME}\n[a]: 1\n", "a key is a list"),
    ("result.json", {"return": ["x"]}, "return in .*result.json is a list; it must be an object"),
    ("result.json", {"random_return": "x"}, "random_return in .*result.json is 'x'"),
    ("result.json", {"optimum": HUGE}, "optimum in .*result.json is 10+ ... 0+; it must be a num"),
    ("result.json", {"seconds": {"compile": "x"}}, "seconds.compile in .*result.json is 'x'"),
    ("result.json", {"return": {"mean": 1, "interval_95": [1]}}, "return.interval_95 in .*a list"),
    ("result.json", DEEP, "result.json is not JSON, or is nested too deep"),
    ("environment.json", {"versions": [1]}, "versions in .*environment.json is a list"),
    ("environment.json", {"cpu_cores": "x"}, "cpu_cores in .*environment.json is 'x'"),
    ("environment.json", {"devices": {"a": 1}}, "devices in .*environment.json is an object"),
    ("metrics.jsonl", f'{{"steps": {HUGE}, "return": [1, 2]}}\n{{}}\n', "line 1 is not a line of"),
    ("metrics.jsonl", f'{{"steps": 1, "x": {DEEP}}}\n{{}}\n', "line 1 is not a line of metrics"),
    ("metrics.jsonl", '{"steps": 1, "return": [1, 2]}\n{}\n{}\n', "line 2 is not a line of met"),
    (
        "metrics.jsonl",
        '{"steps": 1, "return": "x"}\n',
        "return in .*line 1 is 'x'; it must be a ",
    ),
    (
        "metrics.jsonl",
        '{"steps": 1, "a": [1, {}]}\n',
        r"a\[1\] in .*line 1 is an object; it",
    ),
    (
        "metrics.jsonl",
        '{"steps": 1, "a": [1]}\n',
        "a in .*line 1 has 1 values; it must have 2",
    ),
    (
        "metrics.jsonl",
        f'{{"steps": 1, "a": {HUGE}}}\n',
        "a in .*line 1 is 10+ ... 0+; it must",
    ),
]


@pytest.mark.parametrize(
    ("file", "content", "reason"), CONTENTS, ids=[f"{c[0]}-{c[2][:24]}" for c in CONTENTS]
)
@pytest.mark.parametrize("command", ["doctor", "report"])
def test_a_damaged_run_is_one_line_that_names_file_and_key(
    command, file, content, reason, run, capsys
):
    if isinstance(content, str):
        (run / file).write_text(content)
    else:
        changed(run / file, **content)
    line = answer([command, run], capsys)
    assert file in line and re.search(reason, line)


@pytest.mark.parametrize("file", ["config.yaml", "result.json", "metrics.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_are_not_read(kind, file, run, capsys):
    (run / file).unlink()
    os.mkfifo(run / file) if kind == "pipe" else (run / file).symlink_to("/dev/zero")
    assert "it is not a regular file" in answer(["doctor", run], capsys)
    answer(["plot", run], capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "iql", GAME, "--config", "pipe"],
        ["train", "--resume", "pipe"],
        ["sweep", "pipe"],
        ["report", "run", "--bounds", "pipe"],
        ["plot", "pipe"],
        ["eval", "pipe"],
    ],
    ids=lambda words: words[0],
)
def test_a_pipe_in_place_of_a_file_or_a_folder_is_not_read(words, run, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert "pipe" in answer(words, capsys)


def test_a_policy_that_is_a_pipe_is_not_read(run, capsys):
    (run / "policy").mkdir()
    for name in ("policy.json", "arrays.safetensors"):
        os.mkfifo(run / "policy" / name)
    answer(["doctor", run], capsys, code=0)
    for command in ("eval", "render", "export", "play", "crossplay", "embeddings"):
        assert "is damaged: cannot read" in answer([command, run], capsys)


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"output": ["x"]}, "output in .*environment.json is a list"),
        ({"output": {"devices": {"a": 1}}}, "output.devices in .*environment.json is an object"),
        ({"backend": "cpu", "devices": 3}, "devices in .*environment.json is 3"),
        ({"resumed": 3}, "resumed in .*environment.json is 3"),
    ],
)
def test_a_resumed_run_checks_the_facts_that_it_keeps(facts, reason, run):
    changed(run / "environment.json", **facts)
    (run / "config.yaml").write_text(f"algorithm: iql\nenvironment: {GAME}\n")
    with pytest.raises(ValueError, match=reason):
        parse_resume([], ["--resume", str(run)])


def test_numbers_that_are_missing_make_no_warning(run, capsys):
    """Returns of NaN, as a broken environment gives; warnings are errors in tests."""
    lines = [{"steps": step, "return": [None, None], "loss": [None, None]} for step in STEPS]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    changed(run / "result.json", random_return=None, optimum=None)
    answer(["doctor", run], capsys, code=0)


def test_an_empty_list_in_a_marl_eval_file_is_no_number_and_no_warning(tmp_path, capsys):
    steps = {f"step_{i}": {"step_count": i, "return": [float(i)] * i} for i in range(4)}
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"e": {"t": {"a": {"seed_0": steps}}}}))
    assert "1 run" in answer(["report", file, "--out", tmp_path / "r.html"], capsys, code=0)
    assert "no run has the metric seconds; known: return, steps" in answer(
        ["plot", file, "--x", "seconds", "--out", tmp_path / "a.png"], capsys
    )
    steps["step_1"]["step_count"] = HUGE
    file.write_text(json.dumps({"e": {"t": {"a": {"seed_0": steps}}}}))
    assert "step_count is not a number of steps" in answer(["report", file], capsys)


def test_names_of_others_are_shown_escaped_everywhere(run, tmp_path, capsys):
    name = "a\x1b[31m$x$ <b>_y$"
    text = json.dumps({"algorithm": name, "environment": GAME, "seeds": 2, "a\x1b": name})
    (run / "config.yaml").write_text(text)
    assert r"a\x1b[31m$x$ <b>_y$ on" in answer(["doctor", run], capsys, code=0)
    answer(["plot", run, "--out", tmp_path / "a.png"], capsys, code=0)
    answer(["plot", run, "--out", tmp_path / "a.svg"], capsys, code=0)
    page = tmp_path / "r.html"
    answer(["report", run, "--out", page], capsys, code=0)
    assert "\x1b" not in page.read_text() and "<b>" not in page.read_text()
    assert r"a\x1b[31m$x$ &lt;b&gt;_y$" in page.read_text()


LONG = "x" * 300
COMMANDS = [
    ["train", "iql", GAME, "--out", LONG],
    ["train", "iql", GAME, "--config", LONG],
    ["train", "--resume", LONG],
    ["eval", LONG],
    ["render", LONG],
    ["render", GAME, "--out", f"{LONG}/x.gif"],
    ["doctor", LONG],
    ["export", LONG],
    ["plot", LONG],
    ["plot", "run", "--out", f"{LONG}.png"],
    ["report", LONG],
    ["report", "run", "--bounds", LONG],
    ["report", "run", "--out", LONG],
    ["sweep", LONG],
    ["embeddings", LONG],
    ["crossplay", LONG],
    ["pool", "train", GAME, "--out", LONG],
    ["reproduce", LONG],
    ["train", LONG, GAME],
    ["train", "iql", LONG],
    ["train", "iql", GAME, f"--{LONG}", "1"],
    ["train", "iql", GAME, "--learner.lr", LONG],
    ["list", "envs", LONG],
    [LONG],
]


@pytest.mark.parametrize("argv", COMMANDS, ids=[" ".join(c)[:28] for c in COMMANDS])
def test_paths_and_names_that_are_too_long_are_one_line(argv, run, capsys):
    assert len(answer(argv, capsys)) < 1000


@pytest.mark.parametrize("word", ["\x1b[31m", "a\nb", "\u202e", "\x9b"])
def test_what_a_user_types_is_shown_escaped(word, run, capsys):
    for argv in (["doctor", word], ["train", word, GAME], ["train", "iql", GAME, f"--{word}", "1"]):
        assert answer(argv, capsys)[:-1].isprintable()


TRAIN = ["train", "iql", GAME]
BOUNDS = [
    ([*TRAIN, "--devices", "1000000000"], "devices is 1000000000; it must be at most 65536"),
    ([*TRAIN, "--devices", "9" * 5000], "it must be at most 65536"),
    ([*TRAIN, "--devices", "60000"], "a CPU is split into at most 256 devices"),
    ([*TRAIN, "--seeds", "2000000000"], "seeds is 2000000000; it must be between 1 and 65536"),
    ([*TRAIN, "--seed", "4294967296"], "seed is 4294967296; it must be between 0 and 4294967295"),
    ([*TRAIN, "--seed", "4294967295", "--seeds", "2"], "must be at most 4294967294 with 2 seeds"),
    ([*TRAIN, "--eval-episodes", "1000000000"], "eval_episodes is 1000000000; it must be between"),
    ([*TRAIN, "--env.horizon", "2147483647"], "horizon is 2147483647; it must be at most 100000"),
    ([*TRAIN, "--learner.lr", "inf"], "lr is inf; it must be a finite number"),
    ([*TRAIN, "--learner.lr", "1e9"], "lr is 1000000000.0; it must be above 0 and at most"),
    ([*TRAIN, "--learner.lr", "nan"], "lr is nan; it must be above 0"),
    ([*TRAIN, "--learner.priority-exponent", "inf"], "priority_exponent is inf; it must be a fini"),
    ([*TRAIN, "--learner.importance-exponent", "1e3"], "importance_exponent is 1000.0"),
    ([*TRAIN, "--learner.updates-per-step", "inf"], "updates_per_step is inf"),
    ([*TRAIN, "--learner.hidden", "1000000"], "hidden is 1000000; it must be between 1 and 16384"),
    ([*TRAIN, "--learner.target-period", "1e12"], "target_period is 1000000000000; it must be at"),
    ([*TRAIN, "--learner.hidden", "1" * 5000], "--learner.hidden: expected a whole number, got"),
    ([*TRAIN, "--learning-rate", "1"], "did you mean --learner.lr"),
    (["train", "iql", "matrix/coordination-100000"], "it must be at most 256"),
    (["train", "iql", f"matrix/coordination-{'9' * 5000}"], "it must be at most 256"),
    (
        ["train", "iql", "mpe/simple_spread_v3", "--env.num-agents", "2147483647"],
        "num_agents is 2147483647; it must be at most 256",
    ),
    (
        ["train", "iql", "mpe/simple_spread_v3", "--env.horizon", "1e15"],
        "it must be at most 100000",
    ),
    (
        ["train", "iql", "Foraging-8x8-2p-2f-coop-v3", "--env.penalty", "inf"],
        "penalty is inf; it must be at most 1000000",
    ),
    (["eval", "run", "--episodes", "1000000000"], "--episodes is 1000000000; it must be between"),
    (["eval", "run", "--seed", "-1"], "--seed is -1; it must be 0 or more"),
    (["render", GAME, "--fps", "inf"], "--fps is inf; it must be a finite number"),
    (["render", "runn"], "runn is neither a run folder nor an environment; did you mean run?"),
    (["embeddings", "nope"], "nope is not the folder of a run"),
    (["reproduce", "nope"], "marlx reproduce --list shows all"),
]


@pytest.mark.parametrize(("argv", "reason"), BOUNDS, ids=[" ".join(b[0])[-44:] for b in BOUNDS])
def test_absurd_numbers_are_refused_before_anything_is_made(argv, reason, run, capsys):
    line = answer(argv, capsys)
    assert reason in line and len(line) < 600
