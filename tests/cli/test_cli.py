import concurrent.futures
import dataclasses
import importlib.metadata
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import jax
import pytest

import marlx
from marlx import cli, loggers
from marlx.cli.help import option_name
from marlx.cli.records import Output
from marlx.cli.run_text import stopped_line
from marlx.config.tree import flatten
from marlx.loop.cpu_devices import use_cpu_devices
from marlx.settings import field_docs

FORAGING = "Foraging-8x8-2p-2f-coop-v3"
QMIX = ["train", "qmix", FORAGING]

BAD = [
    (["trian"], "did you mean train"),
    (["train", "qmx", FORAGING], "unknown algorithm 'qmx'; did you mean qmix"),
    (["train", "qmix", "Foragin-8x8-2p-2f-coop-v3"], f"did you mean {FORAGING}"),
    (["train", "qmix", "Chess"], "marlx list shows how ids are formed"),
    (["train", "qmix", "matrix/climbng"], "matrix/climbing"),
    (["train", "qmix"], "takes ALGO and ENV before its options"),
    (["train", "--seeds", "3"], "takes ALGO and ENV before its options"),
    ([*QMIX, "extra"], "takes ALGO and ENV before its options"),
    ([*QMIX, "--seeds", "2", "extra"], "unexpected 'extra'"),
    ([*QMIX, "--sed", "3"], "unknown option '--sed'; did you mean --seed"),
    ([*QMIX, "--learner.lrr", "3"], "did you mean --learner.lr"),
    ([*QMIX, "--lr", "3"], "unknown option '--lr'"),
    ([*QMIX, "--env.sigth=3"], "did you mean --env.sight"),
    ([*QMIX, "--seed", "x"], "--seed: expected a whole number, got 'x'"),
    ([*QMIX, "--seed", "-3"], "seed is -3; it must be 0 or more"),
    ([*QMIX, "--seeds", "0"], "seeds is 0; it must be at least 1"),
    ([*QMIX, "--learner.lr"], "--learner.lr needs a value"),
    ([*QMIX, "--learner.lr", "--seeds", "2"], "--learner.lr needs a value"),
    ([*QMIX, "--learner.lr", "abc"], "expected a number, got 'abc'"),
    ([*QMIX, "--learner.gamma", "2"], "gamma is 2.0; it must be between 0 and 1"),
    ([*QMIX, "--learner.double", "maybe"], "expected true or false, got 'maybe'"),
    ([*QMIX, "--learner.sharing", "al"], "expected all or group or none, got 'al'"),
    ([*QMIX, "--learner.capacity", "10"], "capacity is 10"),
    ([*QMIX, "--learner.capacity", "1e12"], "capacity"),
    ([*QMIX, "--total-steps", "100"], "total_steps is 100"),
    (["train", "qmix", "Foraging-3x3-2p-9f-v3"], "num_food is 9; a 3x3 board"),
    ([*QMIX, "--env.size", "3", "3", "--env.num-food", "9"], "num_food is 9; a 3x3 board"),
    ([*QMIX, "--env.size", "3"], "--env.size: expected 2 values, got 1"),
    ([*QMIX, "--env.sight", "big"], "expected a whole number or none, got 'big'"),
    ([*QMIX, "--devices", "x"], "it must be auto, all, a number from 1 up"),
    ([*QMIX, "--wandb", "maybe"], "expected off or offline or online, got 'maybe'"),
    ([*QMIX, "--out", "/dev/null/run"], "cannot write to /dev/null/run"),
    ([*QMIX, "--out", "{full}"], "is not empty"),
    ([*QMIX, "--keep-checkpoints", "0"], "keep_checkpoints is 0; it must be at least 1"),
    ([*QMIX, "--checkpoint-seconds", "-1"], "checkpoint_seconds is -1.0; it must be at least 0"),
    (["train", "--resume"], "takes ALGO and ENV before its options"),
    (["train", "--resume", "/nowhere"], "/nowhere is not the folder of a run"),
    (["train", "--resume", "{full}"], "it has no config.yaml"),
    ([*QMIX, "--config", "/nowhere.yaml"], "cannot read /nowhere.yaml"),
    ([*QMIX, "--config", "{full}/bad.yaml"], "'learner.lrr' in"),
    (["train", "matrix/climbing", "qmix"], "unknown algorithm 'matrix/climbing'"),
    (["eval"], "takes one run folder"),
    (["eval", "/nowhere"], "/nowhere holds no policy"),
    (["eval", "runs", "--episodes", "0"], "it must be at least 1"),
    (["eval", "runs", "--episods", "9"], "did you mean --episodes"),
    (["render", "{full}"], "holds no policy"),
    (["render", "{full}", "--out", "/nowhere/x.gif"], "there is no folder /nowhere"),
    (["reproduce", "qmix-matrix-two_stp"], "did you mean qmix-matrix-two_step"),
    (["reproduce", "qmix-matrix-two_step", "--seeds", "9"], "--seeds is 9; it must be 1 to 5"),
    (["reproduce", "qmix-matrix-two_step", "--total-steps", "1e9"], "it must be 1 to 40"),
    (["reproduce", "qmix-matrix-two_step", "--steps", "9"], "or --total-steps"),
    (["reproduce", "--list", "nothing like it"], "see marlx reproduce --list"),
    (["bench", "trainings"], "did you mean training"),
    (["bench", "all", "--fast"], "unknown option '--fast'"),
    (["list", "env"], "did you mean envs"),
    (["list", "envs", "Foragin-8x8-2p-2f-coop-v3"], f"did you mean {FORAGING}"),
    (["list", "algos", "qmix"], "takes no 'qmix'"),
    (["render", "./nowhere"], "./nowhere is neither a run folder nor an environment"),
    (["render", "Foragin-8x8-2p-2f-coop-v3"], f"did you mean {FORAGING}"),
    (["render", FORAGING, "--env.sigth", "3"], "did you mean --env.sight"),
    (["render", FORAGING, "--env.sight", "0"], "sight is 0; it must be 1"),
    (["render", FORAGING, "--fps", "0"], "--fps is 0.0; it must be above 0"),
    (["render", FORAGING, "--to", "x.html", "--out", "x.gif"], "give one of them"),
    (["render", FORAGING, "--to", "/nowhere/x.html"], "there is no folder /nowhere"),
    (["render", FORAGING, "--to", "x.html", "--episodes", "0"], "--episodes is 0; it must be"),
]


@pytest.fixture(autouse=True)
def inside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(("argv", "answer"), BAD, ids=[" ".join(argv)[-40:] for argv, _ in BAD])
def test_bad_input_is_one_line_and_code_2_before_anything_compiles(
    argv, answer, tmp_path, monkeypatch, capfd
):
    from marlx.loop import programs
    from marlx.loop.run import Run

    def compiled(*_, **__):
        raise AssertionError("got as far as compiling")

    monkeypatch.setattr(programs, "compile_programs", compiled)
    monkeypatch.setattr(Run, "random_returns", compiled)
    full = tmp_path / "full"
    full.mkdir()
    (full / "bad.yaml").write_text("learner: {lrr: 3}\n")
    assert cli.run([word.replace("{full}", str(full)) for word in argv]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.count("\n") == 1 and err.startswith("marlx: ")
    assert answer in err
    assert [path.name for path in tmp_path.iterdir()] == ["full"], "it left something behind"


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_help_is_fast_and_does_without_jax():
    report = python(
        "import time\n"
        "import sys; from marlx import cli\n"
        "for argv in (['--help'], ['--version'], ['train', '--help'], ['list', '--help'],\n"
        "             ['reproduce', '--help'], ['bench', '--help']):\n"
        "    assert cli.run(argv) == 0\n"
        "assert not {'jax', 'flax', 'wandb', 'numpy'} & set(sys.modules)\n"
        "print(time.process_time())"  # of the processor: a busy machine does not count
    )
    assert "marlx train ALGO ENV" in report
    assert float(report.split()[-1]) < 3


def test_import_costs_little_beyond_jax_and_flax():
    report = python(
        "import sys, time\n"
        "start = time.process_time()\n"
        "import jax, flax.linen\n"
        "before, began = set(sys.modules), time.process_time()\n"
        "import marlx\n"
        "bare = time.process_time() - began\n"
        "marlx.make, marlx.train, marlx.load_policy, marlx.envs, marlx.Learner\n"
        "heavy = {'gymnax', 'wandb', 'matplotlib', 'orbax', 'PIL', 'rich'}\n"
        "assert not heavy & (set(sys.modules) - before), heavy & (set(sys.modules) - before)\n"
        "print(began - start, bare, time.process_time() - began)"
    )
    both, bare, everything = map(float, report.split())
    assert bare < 0.1 * both and everything < 0.4 * both  # on any machine, however slow


def test_public_names_are_there():
    import marlx

    for name in marlx.__all__:
        assert getattr(marlx, name) is not None
    assert set(marlx.__all__) == set(marlx._HOME) <= set(dir(marlx))
    assert marlx.algos.qmix.__name__ == "qmix"
    with pytest.raises(AttributeError, match="no attribute 'trian'; did you mean train"):
        marlx.trian  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'qmx'; did you mean qmix"):
        marlx.algos.qmx  # noqa: B018


def test_list_names_everything(capsys):
    from marlx import registry

    assert cli.run(["list"]) == 0
    out = capsys.readouterr().out
    for name in (*registry.algorithms(), *registry.families(), FORAGING):
        assert name in out
    assert max(map(len, out.splitlines())) < 100


def test_list_envs_shows_sizes(capsys):
    assert cli.run(["list", "envs"]) == 0
    out = capsys.readouterr().out
    line = next(line for line in out.splitlines() if f" {FORAGING} " in line)
    assert line.split()[1:] == ["2", "6", "12", "50", "1"]
    assert cli.run(["list", "envs", "climbing-3p"]) == 0
    out = capsys.readouterr().out
    assert "matrix/climbing-3p" in out and FORAGING not in out


def test_render_of_random_play(capsys, tmp_path):
    from PIL import Image

    assert cli.run(["render", "Foraging-5x5-2p-1f-v3", "--env.horizon", "3", "--seed", "1"]) == 0
    assert "Foraging-5x5-2p-1f-v3.gif: 3 steps" in capsys.readouterr().out
    with Image.open(tmp_path / "Foraging-5x5-2p-1f-v3.gif") as gif:
        assert gif.n_frames == 4


def test_render_of_random_play_as_a_page(capsys, tmp_path):
    options = ["--env.horizon", "3", "--episodes", "2", "--to", "play.html"]
    assert cli.run(["render", "matrix/climbing", *options]) == 0
    assert "play.html: 2 episodes" in capsys.readouterr().out
    text = (tmp_path / "play.html").read_text()
    assert text.count('"frames"') == 2
    assert "random legal actions" in text


def test_help_of_a_pair_shows_every_setting_and_its_value(capsys, monkeypatch):
    from marlx.config import layers as config_layers

    monkeypatch.setattr(
        config_layers,
        "preset_layers",
        lambda *_: [config_layers.Layer("preset", {"learner": {"lr": 0.123}})],
    )
    with pytest.raises(SystemExit) as end:
        cli.run([*QMIX, "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for block in ("training options", "learner options", "env options", "output options"):
        assert block in out
    known = config_layers.schema("qmix", FORAGING)
    for name in flatten(known):
        assert f"--{option_name(name)} " in out
    assert "0.123" in out


@pytest.mark.parametrize("name", ["qmix", "gmah_q", "mansa_ppo", "clam"])
def test_every_setting_of_a_learner_has_a_description(name):
    from marlx import registry

    todo = [registry.algorithm(name).config(), Output()]
    while todo:
        record = todo.pop()
        docs = field_docs(type(record))
        for field in dataclasses.fields(record):
            assert docs[field.name]
            value = getattr(record, field.name)
            todo += [value] if dataclasses.is_dataclass(value) else []


def test_help_lists_the_values_of_a_choice_one_a_line_and_parts_as_blocks(capsys):
    with pytest.raises(SystemExit):
        cli.run(["train", "gmah_q", FORAGING, "--help"])
    out = capsys.readouterr().out
    assert "--learner.refresh {achieved,fixed,changed,options}\n" in out
    assert "When a subgoal ends: (default: achieved)\n" in out
    assert "\n                                  `fixed`: always after `period` steps.\n" in out
    assert "\nlearner.high options:\n" in out and "  --learner.high.lr FLOAT" in out


def test_help_describes_fields_that_the_class_documents(capsys):
    with pytest.raises(SystemExit):
        cli.run(["render", "matrix/climbing", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert "--env.horizon INT steps per episode. (default: 25)" in out


def parse(*options):
    return cli.parse_train(["tiny", FORAGING], options)


def test_options_may_be_written_in_the_usual_ways(tiny_algorithm):
    experiment, output = parse(
        *["--total_steps=1e6", "--num-envs", "8", "--learner.lr", "3e-4", "--env.size", "9", "10"],
        *["--env.sight", "2", "--env.normalize-reward", "false", "--env.no-observe-levels"],
        *["--env.no-force-coop", "--out", "x"],
    )
    assert (experiment.train.total_steps, experiment.train.num_envs) == (1_000_000, 8)
    assert experiment.learner.lr == 3e-4
    env = experiment.env
    assert (env.size, env.sight, env.normalize_reward) == ((9, 10), 2, False)
    assert (env.observe_levels, env.force_coop) == (False, False)
    assert output.out == "x"
    assert parse("--env.sight", "none")[0].env.sight is None
    assert parse("--env.size", "[9, 10]")[0].env.size == (9, 10)
    assert parse("--env.size=(9, 10)", "--learner.lr=-3")[0].learner.lr == -3
    assert parse("--env.force-coop")[0].env.force_coop is True


def test_a_block_may_be_written_as_yaml(tiny_algorithm):
    for words in (["--learner", "{lr: 1e-3, batch: 2}"], ["--learner={'lr': 0.001, 'batch': 2}"]):
        learner = parse(*words)[0].learner
        assert (learner.lr, learner.batch, learner.capacity) == (1e-3, 2, 8)
    learner = cli.parse_train(["pair", FORAGING], ["--learner={first: {lr: 3}}"])[0].learner
    assert (learner.first.lr, learner.second.lr) == (3.0, 0.5)
    with pytest.raises(ValueError, match=r"'--learner\.lrr'; did you mean --learner\.lr"):
        parse("--learner", "{lrr: 1}")
    with pytest.raises(ValueError, match=r"--learner\.lr: expected a number, got 'x'"):
        parse("--learner", "{lr: x}")
    with pytest.raises(ValueError, match="--learner must hold `name: value` lines"):
        parse("--learner", "3")


def test_settings_need_to_go_together_only_at_the_end(tiny_algorithm, tmp_path):
    """A file asks for a batch that only fits the replay of the command line."""
    (tmp_path / "a.yaml").write_text("learner: {batch: 64}\nwandb: offline\n")
    with pytest.raises(ValueError, match="capacity is 8"):
        parse("--config", "a.yaml")
    experiment, output = parse("--config", "a.yaml", "--learner.capacity", "100")
    assert (experiment.learner.batch, experiment.learner.capacity) == (64, 100)
    assert output.wandb == "offline"


# Whole runs

RUN = ["train", "tiny", "matrix/climbing", "--total-steps", "64", "--num-envs", "2", "--evals"]
RUN += ["2", "--rollout-length", "4", "--eval-episodes", "50", "--env.horizon", "3"]


def test_a_run_from_start_to_end(tiny_algorithm, tmp_path, capsys):
    assert cli.run([*RUN, "--seeds", "2", "--learner.lr", "0.7"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for said in ("memory per seed", "greedy return", "95% interval", "random policy", "optimum"):
        assert said in out
    for phase in ("compile", "rollout", "update", "evaluation"):
        assert f"{phase} " in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("tiny-matrix-climbing-20")
    assert str(folder.relative_to(tmp_path)) in out
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000000000072"]
    assert {name for name in names if not name.startswith("checkpoints/")} == {
        *("config.yaml", "environment.json", "metrics.jsonl", "result.json", "curve.png"),
        *("episode.gif", "policy/policy.json", "policy/arrays.safetensors"),
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["steps"] for line in lines] == [8, 40, 72]
    assert all(len(line["return"]) == 2 for line in lines)
    result = json.loads((folder / "result.json").read_text())
    assert result["seeds"] == [0, 1] and result["episodes_per_seed"] >= 100
    low, high = result["return"]["interval_95"]
    assert low <= result["return"]["mean"] <= high

    # the same again, from its own configuration
    assert cli.run(["train", "--config", str(folder / "config.yaml"), "--out", "again"]) == 0
    again = json.loads((tmp_path / "again" / "result.json").read_text())
    assert again["return"] == result["return"]
    assert (tmp_path / "again" / "config.yaml").read_text() == (folder / "config.yaml").read_text()

    capsys.readouterr()
    assert cli.run(["eval", "again", "--episodes", "7", "--policy-seed", "1"]) == 0
    out = capsys.readouterr().out
    assert "seed 1, after 72 environment steps" in out and "7 episodes" in out
    (tmp_path / "again" / "episode.gif").unlink()
    assert cli.run(["render", "again"]) == 0
    assert (tmp_path / "again" / "episode.gif").read_bytes().startswith(b"GIF89a")
    assert "3 steps" in capsys.readouterr().out
    assert cli.run(["render", "again", "--to", "team.html", "--episodes", "1"]) == 0
    assert "1 episode of each of 2 seeds" in capsys.readouterr().out
    assert (tmp_path / "team.html").read_text().count('"frames"') == 2
    assert cli.run(["eval", "again", "--policy-seed", "5"]) == 2
    assert "no seed 5; it has 0, 1" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_is_resumed_as_if_nothing_had_been(
    number, tiny_algorithm, tmp_path, capsys, monkeypatch
):
    log = loggers.Console.log

    def log_and_stop(self, progress):
        log(self, progress)
        if progress.steps == 40:
            os.kill(os.getpid(), number)

    assert cli.run([*RUN, "--out", "alone"]) == 0
    handler = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(loggers.Console, "log", log_and_stop)
        capsys.readouterr()
        assert cli.run([*RUN, "--out", "run", "--checkpoint-seconds", "9"]) == 128 + number
    assert signal.getsignal(number) is handler
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "marlx: stopped at 40 steps; go on with: marlx train --resume run"
    assert [line for line in said if "a second signal stops at once" in line] == said[:-1]
    run = tmp_path / "run"
    assert not (run / "result.json").exists()
    for name in ("config.yaml", "metrics.jsonl", "policy/arrays.safetensors", "curve.png"):
        assert (run / name).stat().st_size
    from marlx import load_policy

    assert load_policy("run").steps == 40

    with open(run / "metrics.jsonl", "a") as file:  # what a kill may leave
        file.write('{"steps": 72, "ret')
    assert cli.run(["train", "--resume", "run"]) == 0
    out, err = capsys.readouterr()
    assert err == "" and "going on from 40 of 72 steps" in out
    assert without_times(run) == without_times(tmp_path / "alone")
    facts = json.loads((run / "environment.json").read_text())
    assert [part["steps"] for part in facts["resumed"]] == [40]
    assert facts["output"] == {"checkpoint_seconds": 9.0}

    assert cli.run(["train", "--resume", "run"]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith("run is finished, at 72 steps") and out.count("\n") == 1


def test_a_run_that_ends_before_its_first_checkpoint_says_so():
    kept = types.SimpleNamespace(steps=None)
    assert stopped_line("runs/a", kept, 0) == (
        "stopped at 0 steps, before the first checkpoint; go on with: marlx train --resume runs/a"
    )


@pytest.mark.parametrize(("version", "count"), [("0.10.2", 4), ("0.11.2", 1), ("0.12.0.1", 4)])
def test_a_compiler_that_crashes_on_several_devices_is_given_one(version, count, monkeypatch):
    asked = {}
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: version)
    monkeypatch.setattr(jax.config, "update", asked.__setitem__)
    use_cpu_devices(4)
    assert asked == {"jax_num_cpu_devices": count}


def without_times(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    result = json.loads((folder / "result.json").read_text())
    kept = [{k: v for k, v in x.items() if k not in ("seconds", "phases")} for x in lines]
    return kept, {k: v for k, v in result.items() if k != "seconds"}


def test_a_finished_run_gets_more_steps(tiny_algorithm, tmp_path, capsys):
    assert cli.run([*RUN, "--out", "run"]) == 0
    assert cli.run(["train", "--resume", "run", "--total-steps", "128"]) == 0
    out = capsys.readouterr().out
    assert "going on from 72 of 136 steps" in out and "  72 / 136 steps" in out
    longer = ["--total-steps", "128", "--evals", "4"]
    at = RUN.index("--total-steps")
    words = [*RUN[:at], *RUN[at + 2 :], *longer, "--out", "alone"]
    del words[words.index("--evals") : words.index("--evals") + 2]
    assert cli.run(words) == 0
    assert without_times(tmp_path / "run") == without_times(tmp_path / "alone")
    assert (tmp_path / "run/config.yaml").read_text() == (
        tmp_path / "alone/config.yaml"
    ).read_text()
    policy = json.loads((tmp_path / "run/policy/policy.json").read_text())
    assert policy["settings"]["total_steps"] == 128

    capsys.readouterr()
    for options, answer in [
        (["--total-steps", "64"], "is at 136 already"),
        (["--seeds", "2"], "seeds is 2; the run has 1"),
        (["--evals", "9"], "evals is 9; the run has 4"),
        (["--learner.lr", "0.1"], "learner.lr is 0.1; the run has 0.5"),
        (["--env.horizon", "4"], "env.horizon is 4; the run has 3"),
        (["--out", "x"], "--out cannot be given with --resume"),
        (["--config", "x"], "--config cannot be given with --resume"),
    ]:
        before = (tmp_path / "run" / "config.yaml").read_text()
        assert cli.run(["train", "--resume", "run", *options]) == 2, options
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1 and answer in err
        assert (tmp_path / "run" / "config.yaml").read_text() == before
    assert cli.run(["train", "qmix", "matrix/climbing", "--resume", "run"]) == 2
    assert "run is a run of tiny, not of qmix" in capsys.readouterr().err

    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert cli.run(["train", "--resume", "run", "--total-steps", "500"]) == 2
    assert "is finished and has no checkpoint" in capsys.readouterr().err
    (tmp_path / "run" / "result.json").unlink()
    assert cli.run(["train", "--resume", "run"]) == 0
    assert "begins again from the start" in capsys.readouterr().err
    assert without_times(tmp_path / "run") == without_times(tmp_path / "alone")


def test_a_run_without_checkpoints(tiny_algorithm, tmp_path, capsys, monkeypatch):
    assert cli.run([*RUN, "--out", "run", "--no-checkpoints"]) == 0
    out, _ = capsys.readouterr()
    assert "checkpoint" not in out and not (tmp_path / "run" / "checkpoints").exists()


def test_a_run_is_trained_by_one_process_at_a_time(tiny_algorithm, tmp_path, capsys):
    from marlx.runs import folder as run_folder

    assert cli.run([*RUN, "--out", "run"]) == 0
    folder = run_folder.RunFolder(tmp_path / "run", resume=True)
    folder.lock()
    capsys.readouterr()
    assert cli.run(["train", "--resume", "run", "--total-steps", "500"]) == 2
    assert capsys.readouterr().err == "marlx: run is being trained by another process\n"
    folder.unlock()
    folder.lock()
    folder.unlock()


def test_a_run_in_a_thread_prints_commands_that_can_be_pasted(tiny_algorithm, tmp_path, capsys):
    """Python lets only its main thread handle signals; a shell splits words at spaces."""
    folder = tmp_path / "runs of mine" / "it's one"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(cli.run, [*RUN, "--out", str(folder)]).result(120) == 0
    out, err = capsys.readouterr()
    assert err == ""
    commands = [line.split(": ", 1)[1] for line in out.splitlines() if ": marlx train" in line]
    words = [shlex.split(command) for command in commands]
    assert [word for line in words for word in line if str(tmp_path) in word] == [
        str(folder / "config.yaml"),
        str(folder),
    ]
    load = re.search(r"marlx\.load_policy\(.*\)", out)[0]
    assert eval(load, {"marlx": marlx}).learner.config.lr == 0.5
    assert cli.run(["train", "--resume", str(folder)]) == 0
    assert shlex.quote(str(folder)) in capsys.readouterr().out


def test_a_full_disk_does_not_cost_the_training(tiny_algorithm, capsys, monkeypatch):
    from marlx.runs import folder as run_folder

    def full(source, target):
        if "config" not in str(target):
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    monkeypatch.setattr(run_folder.os, "replace", full)
    assert cli.run([*RUN, "--out", "run"]) == 1
    out, err = capsys.readouterr()
    assert "greedy return" in out
    lines = err.splitlines()
    assert all("No space left on device" in line for line in lines)
    assert len(lines) == len(set(lines)) == 7, "each file is told of once, and checkpoints are"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(24, "Too many open files"), "Too many open files (MARLX_DEBUG=1 shows where)"),
        (OSError(28, "No space left", "x"), "x: No space left (MARLX_DEBUG=1 shows where)"),
        (MemoryError(), "out of memory: no more is given to this process"),
        (RuntimeError("RESOURCE_EXHAUSTED: 9 GB"), "out of memory: RESOURCE_EXHAUSTED: 9 GB"),
    ],
)
def test_a_system_with_nothing_left_costs_a_line(tiny_algorithm, capsys, monkeypatch, error, line):
    from marlx.loop.run import Run

    def refused(*_):
        raise error

    monkeypatch.setattr(Run, "compile", refused)
    assert cli.run([*RUN, "--out", "run", "--quiet"]) == 1
    assert capsys.readouterr().err == f"marlx: {line}\n"
    monkeypatch.setattr(cli, "_command", refused)
    named = getattr(error, "filename", None) is not None
    assert cli.run(["list"]) == (2 if named else 1), "about a named file it may be the input"
    monkeypatch.setenv("MARLX_DEBUG", "1")
    with pytest.raises(type(error)):
        cli.run(["list"])


def test_pictures_that_cannot_be_drawn_cost_a_line(tiny_algorithm, capsys, monkeypatch):
    from marlx.analysis import plots, video

    def fails(*_, **__):
        raise OSError(24, "Too many open files", "DejaVuSans.ttf")

    monkeypatch.setattr(plots, "learning_curve", lambda *_, **__: {}["bug"])
    monkeypatch.setattr(video, "record_episode", fails)
    assert cli.run([*RUN, "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-2:] == [
        "  no curve.png: KeyError: 'bug'",
        "  no episode.gif: OSError: DejaVuSans.ttf: Too many open files",
    ]
    assert not err and Path("run/result.json").exists()
    monkeypatch.setenv("MARLX_DEBUG", "1")
    with pytest.raises(KeyError):
        cli.run([*RUN, "--out", "again"])


def test_a_folder_deleted_during_the_training_stays_away(tiny_algorithm, tmp_path, monkeypatch):
    from marlx.loop.run import Run

    final_evaluation = Run.final_evaluation

    def deleted(self):
        shutil.rmtree("run")
        return final_evaluation(self)

    monkeypatch.setattr(Run, "final_evaluation", deleted)
    assert cli.run([*RUN, "--out", "run"]) == 1
    assert not (tmp_path / "run").exists()


def test_a_clock_that_is_set_back_makes_no_time_negative(tiny_algorithm, tmp_path, monkeypatch):
    """By a minute each time that it is read, as when a machine is synchronised."""
    clock, began = itertools.count(), time.time()
    monkeypatch.setattr(time, "time", lambda: began - 60.0 * next(clock))
    assert cli.run([*RUN, "--out", "run", "--checkpoint-seconds", "0"]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert min(result["seconds"].values()) >= 0
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    seconds = [json.loads(line)["seconds"] for line in lines]
    assert seconds == sorted(seconds) and seconds[0] >= 0
    assert cli.run(["train", "--resume", "run", "--total-steps", "128"]) == 0


def test_nan_ends_a_run_with_one_line_and_code_1(tiny_algorithm, tmp_path, capsys):
    """Infinity in the policy at the second evaluation: everything kept is from the first."""
    run = [*RUN, "--out", "run", "--seeds", "2", "--learner.lr", "3e38"]
    assert cli.run(run) == 1
    out, err = capsys.readouterr()
    assert "greedy return" not in out and err.count("\n") == 1
    for said in ("learner has NaN or infinity in logits", "between 8 and 40 steps, seeds 0, 1;"):
        assert said in err
    assert "the last good checkpoint, at 8 steps, is kept" in err
    folder = tmp_path / "run"
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["000000000008"]
    assert not (folder / "result.json").exists()
    assert json.loads((folder / "failure.json").read_text())["array"] == "logits"
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2
    assert cli.run(["doctor", "run"]) == 0
    assert (
        "  numbers are not finite: the learner has NaN" in capsys.readouterr().out.split("\n\n")[1]
    )

    assert cli.run(["train", "--resume", "run"]) == 1, "the same steps, so the same end"
    assert "at 8 steps, is kept" in capsys.readouterr().err


def test_an_error_in_the_training_is_no_wrong_input(tiny_algorithm, monkeypatch):
    from marlx.loop.run import Run

    def broken(self):
        raise ValueError("a bug")
        yield

    monkeypatch.setattr(Run, "blocks", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.run([*RUN, "--out", "run"])


def test_wandb_offline_keeps_its_files_in_the_run(tiny_algorithm, tmp_path, capsys):
    assert cli.run([*RUN, "--out", "run", "--wandb", "offline"]) == 0
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert "greedy return" in capsys.readouterr().out


def test_wandb_failing_costs_a_line(tiny_algorithm, capsys, monkeypatch):
    import wandb

    def down(*_, **__):
        raise RuntimeError("service\nis down")

    monkeypatch.setattr(wandb, "init", down)
    assert cli.run([*RUN, "--out", "run", "--wandb", "offline"]) == 0
    assert capsys.readouterr().err == "wandb: could not start: RuntimeError: service is down\n"


def test_help_never_points_to_text_that_it_does_not_show():
    from marlx import registry

    families = [one for one in registry.families().values() if not one.extra]
    records = [registry.make_env(one.examples[0]) for one in families]
    records += [one.config() for one in registry.algorithms().values()]
    assert len(records) > 10
    for record in records:
        for name, text in field_docs(type(record)).items():
            assert "see above" not in text and "see below" not in text, (type(record), name)


def test_options_of_help_are_written_as_they_are_typed(capsys):
    for algorithm in ("qmix", "ippo", "gmah_q", "clam"):
        with pytest.raises(SystemExit):
            cli.run(["train", algorithm, FORAGING, "--help"])
        options = re.findall(r"^  (--\S+ ?\S*)", capsys.readouterr().out, re.M)
        assert len(options) > 40
        assert not [one for one in options if "_ " in one or "None" in one]


@pytest.mark.parametrize(
    ("out", "said"),
    [("f.avi", "it must end in .gif"), ("f", "must end in .gif"), ("f.mp4", "MP4 needs ffmpeg")],
)
def test_render_refuses_what_it_cannot_write(out, said, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.run(["render", "matrix/climbing", "--out", out]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_render_writes_mp4_with_ffmpeg(monkeypatch, tmp_path):
    (tmp_path / "ffmpeg").write_text('#!/bin/sh\nfor last; do :; done\nwc -c > "$last"\n')
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    options = ["--env.horizon", "3", "--out", "f.mp4"]
    assert cli.run(["render", "Foraging-5x5-2p-1f-v3", *options]) == 0
    assert int((tmp_path / "f.mp4").read_text()) % ((4 + 8) * 3) == 0  # frames and 2 seconds
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho no codec >&2\nexit 1\n")
    assert cli.run(["render", "Foraging-5x5-2p-1f-v3", *options]) == 2


LITTLE = "train tiny matrix/climbing --total-steps 200 --num-envs 4 --evals 1".split()


def test_a_dry_run_shows_the_plan_and_leaves_nothing(tiny_algorithm, capsys, tmp_path):
    assert cli.run([*LITTLE, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "memory per seed" in out and "nothing was trained" in out
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    assert cli.run([*LITTLE, "--dry-run", "--out", "full"]) == 2
    assert cli.run([*LITTLE, "--dry-run", "--learner.capacity", "1"]) == 2


def test_a_quiet_run_says_nothing(tiny_algorithm, capsys, tmp_path):
    assert cli.run([*LITTLE, "--quiet", "--out", "run"]) == 0
    assert capsys.readouterr() == ("", "")
    assert (tmp_path / "run" / "result.json").exists()
    assert "quiet" not in (tmp_path / "run" / "environment.json").read_text()


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_completes_commands_names_and_options(capsys, tmp_path):
    assert cli.run(["completion", "bash"]) == 0
    (tmp_path / "marlx.bash").write_text(capsys.readouterr().out)

    def complete(*words):
        script = (
            f"source {tmp_path}/marlx.bash; COMP_WORDS=({' '.join(words)}); "
            'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _marlx; printf "%s " "${COMPREPLY[@]}"'
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("marlx", "tr") == ["train"]
    assert complete("marlx", "train", "qm") == ["qmix"]
    assert "matrix/climbing" in complete("marlx", "train", "qmix", "matrix/")
    assert complete("marlx", "train", "qmix", "x", "--learner.lam") == ["--learner.lambda"]
    assert complete("marlx", "train", "qmix", "x", "--total") == ["--total-steps"]
    assert complete("marlx", "train", "ippo", "x", "--learner.clip") == ["--learner.clip"]
    assert complete("marlx", "eval", "x", "--epi") == ["--episodes"]
    assert complete("marlx", "train", "qmix,vd") == ["qmix,vdn"]
    assert complete("marlx", "train", "ippo,qmix", "x", "--learner.clip") == ["--learner.clip"]
    assert complete("marlx", "train", "qmix,ippo", "x", "--learner.clip") == []
    found = complete("marlx", "train", "a,b", "matrix/climbing,matrix/pen")
    assert found[0].startswith("matrix/climbing,matrix/penalty-")
    assert cli.run(["completion", "zsh"]) == 0 and "bashcompinit" in capsys.readouterr().out
    assert cli.run(["completion", "fihs"]) == 2


def test_a_run_without_a_picture_says_so(tiny_algorithm, capsys, monkeypatch, tmp_path):
    from marlx.envs.matrix.game import MatrixGame

    monkeypatch.delattr(MatrixGame, "render")
    assert cli.run([*LITTLE, "--out", "run"]) == 0
    assert "no episode.gif: MatrixGame draws no pictures" in capsys.readouterr().out
    assert not (tmp_path / "run" / "episode.gif").exists()


def test_report_and_plot_say_when_they_replace_a_file(capsys, tmp_path):
    sys.path.append(str(Path(__file__).parents[1] / "analysis"))
    from run_folders import write_run

    write_run(tmp_path / "run")
    for words in (["report", "run", "--marl-eval", "runs.json"], ["plot", "run"]):
        assert cli.run(words) == 0
        assert "replaces" not in capsys.readouterr().out
        assert cli.run(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(
            "; replaces the file that was there" in line for line in lines[: len(words) // 2]
        )


def test_figures_for_papers(capsys, tmp_path):
    sys.path.append(str(Path(__file__).parents[1] / "analysis"))
    from run_folders import write_run

    write_run(tmp_path / "run")
    paper = ["--width", "column", "--palette", "safe", "--format", "pdf", "--csv"]
    assert cli.run(["plot", "run", *paper]) == 0
    out = capsys.readouterr().out
    assert "curves.csv: the numbers of the figure" in out
    assert "caption: Interquartile mean over 2 seeds of the greedy team return, over 200 " in out
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    (tmp_path / "run" / "result.json").write_text(json.dumps({**result, "judged": "drawn"}))
    assert cli.run(["plot", "run", *paper]) == 0
    assert "caption: Interquartile mean over 2 seeds of the drawn team" in capsys.readouterr().out
    assert (tmp_path / "curves.pdf").read_bytes().startswith(b"%PDF")
    assert (tmp_path / "curves.csv").read_text().splitlines()[-1].endswith("200.0,0.6,0.5,0.7")
    (tmp_path / "good").write_text("font.size: 6\nlines.linewidth: 3\n")
    assert cli.run(["plot", "run", "--style", "good", "--format", "svg"]) == 0
    (tmp_path / "bad").write_text("font.sizes: 6\n")
    (tmp_path / "worse").write_text("font.size: wide\n")
    for words, said in (
        (["--style", "bad"], "Bad key font.sizes"),
        (["--style", "worse"], "--style worse: "),
        (["--style", "nothing"], "cannot read nothing"),
        (["--format", "pdf", "--out", "a.png"], "give one of them"),
    ):
        capsys.readouterr()
        assert cli.run(["plot", "run", *words]) == 2
        err = capsys.readouterr().err
        assert said in err and err.count("\n") == 1
