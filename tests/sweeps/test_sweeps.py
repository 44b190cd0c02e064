"""Sweep files, the trials they become, and that wandb reads the same in them."""

import concurrent.futures
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml

from marlx import cli
from marlx.cli.options import parse_train
from marlx.sweeps import file as sweep_file
from marlx.sweeps.storage import sqlite
from marlx.sweeps.study import Study

FILES = sorted((Path(__file__).parents[2] / "configs" / "sweeps").glob("*.yaml"))
GOLDEN = Path(__file__).parents[1] / "golden" / "sweeps_of_wandb.json"
COMMAND = ["${env}", "marlx", "train", "iql", "matrix/climbing", "${args}"]


def text(**changes):
    """A sweep file that is right but for `changes`; None leaves a key out."""
    content = {
        "program": "marlx",
        "command": COMMAND,
        "method": "random",
        "run_cap": 3,
        "metric": {"name": "return", "goal": "maximize"},
        "parameters": {"learner.lr": {"values": [0.1, 0.2]}},
        **changes,
    }
    return yaml.safe_dump({key: value for key, value in content.items() if value is not None})


def one(**about):
    (parameter,) = sweep_file.sweep_from_text(
        text(parameters={"learner.lr": about}), "x"
    ).parameters
    return parameter


BAD = [
    ({"method": None}, "there is no method; it must be grid, random or bayes"),
    ({"method": "baeys"}, "method is 'baeys'; it must be grid, random or bayes"),
    ({"metric": None}, "there is no metric; for example"),
    ({"metric": {"goal": "maximize"}}, "metric needs a name"),
    ({"metric": {"name": "return", "goal": "max"}}, "goal is 'max'; it must be maximize or"),
    ({"metric": {"name": "retrun", "goal": "maximize"}}, "unknown metric 'retrun' in"),
    ({"parameters": None}, "there are no parameters"),
    ({"parameters": {"learner.lrr": {"value": 1}}}, "did you mean --learner.lr"),
    ({"parameters": {"learner": {"parameters": {"lrr": {"value": 1}}}}}, "--learner.lr"),
    ({"parameters": {"lr": {"values": [1, 2]}}}, "unknown option '--lr'"),
    ({"parameters": {"learner.lr": {"values": ["fast"]}}}, "expected a number, got 'fast'"),
    ({"parameters": {"learner.gamma": {"values": [0.9, 2]}}}, "gamma is 2.0; it must be between"),
    ({"parameters": {"learner.gamma": {"min": 0.5, "max": 1.5}}}, "gamma is 1.5; it must be"),
    ({"parameters": {"learner.lr": {"distribution": "normal"}}}, "'normal' cannot be drawn here"),
    ({"parameters": {"learner.lr": {"min": 0.1}}}, "uniform needs min and max"),
    ({"parameters": {"learner.lr": {"min": 2.0, "max": 1.0}}}, "min is 2.0 and max 1.0"),
    (
        {
            "method": "grid",
            "parameters": {f"p{i}": {"values": list(range(60))} for i in range(8)},
        },
        "the grid has more than 100,000 points",
    ),
    (
        {"method": "grid", "parameters": {"seed": {"min": 1, "max": 10**9}}},
        "the grid has more than 100,000 points",
    ),
    (
        {
            "parameters": {
                "learner.lr": {"distribution": "q_uniform", "min": 0, "max": 1, "q": 1e-12}
            }
        },
        "q is 1e-12; it makes more than",
    ),
    ({"parameters": {"learner.lr": {"min": 1, "max": float("inf")}}}, "max inf; they must be num"),
    ({"parameters": {"learner.lr": {"min": 0.1, "max": 10**400}}}, "they must be numbers"),
    ({"parameters": {("a",): {"value": 1}}}, "a key is a list or a block"),
    ({"parameters": {"learner.lr": {"distribution": ["x"]}}}, "it must be a name"),
    ({"method": ["grid"]}, "method is ['grid']; it must be grid, random or bayes"),
    ({"run_cap": 10**30}, "run_cap is 1000000000000000000000000000000; it must be a whole number"),
    (
        {"parameters": {f"p{i}": {"value": 1} for i in range(30_000)}},
        "more than 20,000 values",
    ),
    ({"parameters": {"learner.lr": {"values": 3}}}, "values is 3; it must be a list"),
    ({"parameters": {"learner.lr": {"value": 3, "max": 4}}}, "unknown key 'max' in learner.lr"),
    (
        {"parameters": {"learner.lr": {"values": [1, 2], "probabilities": [0.5, 0.5]}}},
        "probabilities cannot be drawn here",
    ),
    (
        {
            "parameters": {
                "learner.lr": {"min": 0.0, "max": 1.0, "distribution": "log_uniform_values"}
            }
        },
        "a logarithm needs it above 0",
    ),
    (
        {
            "parameters": {
                "learner.hidden": {"min": 8, "max": 64, "distribution": "log_uniform_values"}
            }
        },
        "learner.hidden takes whole numbers",
    ),
    ({"method": "grid", "parameters": {"learner.lr": {"min": 0.1, "max": 1.0}}}, "needs `values`"),
    ({"command": None}, "command must be like"),
    ({"command": ["python", "train.py", "${args}"]}, "command must be like"),
    ({"command": COMMAND[:-1]}, "command must be like"),
    ({"command": [*COMMAND, "${args_json}"]}, "command has ${args_json}"),
    ({"command": ["marlx", "train", "iqll", "matrix/climbing", "${args}"]}, "did you mean iql"),
    ({"command": [*COMMAND, "--sed", "1"]}, "did you mean --seed"),
    ({"early_terminate": {"type": "median"}}, "must have `type: hyperband`"),
    ({"early_terminate": {"type": "hyperband"}}, "needs min_iter, or max_iter and s"),
    ({"early_terminate": {"type": "hyperband", "min_iter": 2, "eta": 1.5}}, "eta is 1.5"),
    ({"run_cap": None}, "a random search has no end; give it --trials N, or run_cap"),
    ({"run_cap": 0}, "run_cap is 0"),
    ({"methid": "grid"}, "unknown key 'methid'"),
    ({"scheduler": {"engine": "optuna"}}, "only wandb's own service can run"),
]


@pytest.mark.parametrize(("changes", "answer"), BAD, ids=[answer[:40] for _, answer in BAD])
def test_a_wrong_file_is_one_line_and_code_2_before_anything_compiles(
    changes, answer, tmp_path, monkeypatch, capfd
):
    from marlx.loop import programs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        programs, "compile_programs", lambda *_, **__: pytest.fail("got as far as compiling")
    )
    (tmp_path / "bad.yaml").write_text(text(**changes))
    assert cli.run(["sweep", "bad.yaml"]) == 2
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("marlx: ")
    assert answer in err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.yaml"], "it left something behind"


def test_a_hyperband_of_very_many_brackets_is_the_same_as_of_31():
    early = {"type": "hyperband", "max_iter": 27, "s": 10**9}
    assert sweep_file.sweep_from_text(text(early_terminate=early), "x").early == (1, 27, 3)
    early["s"] = 2
    assert sweep_file.sweep_from_text(text(early_terminate=early), "x").early == (3, 27, 3)


def test_the_command_may_start_python_with_the_module():
    words = ["${env}", "${interpreter}", "-m", *COMMAND[1:]]
    sweep = sweep_file.sweep_from_text(text(command=words), "x")
    assert sweep.names == ("iql", "matrix/climbing") and sweep.options == ()


def test_wrong_options_are_one_line_and_code_2(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.yaml").write_text(text())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for argv, answer in (
        (["nowhere.yaml"], "cannot read nowhere.yaml"),
        (["good.yaml", "--vmap", "0"], "--vmap is 0; it must be at least 1"),
        (["good.yaml", "--trils", "3"], "did you mean --trials"),
        (["good.yaml", "bad.yaml"], "takes one sweep file or folder"),
        (["full"], "full is not the folder of a sweep"),
        (["good.yaml", "--out", "full"], "full is not the folder of a sweep"),
        (["good.yaml", "--out", "o", "--storage", "sqlit:///x"], "cannot open the storage"),
    ):
        assert cli.run(["sweep", *argv]) == 2
        out, err = capfd.readouterr()
        assert out == "" and err.count("\n") == 1 and answer in err, err


@pytest.mark.parametrize(
    "start",
    [
        ["marlx"],
        ["${env}", "/opt/venv/bin/marlx"],
        ["${env}", "${interpreter}", "-m", "marlx"],
        ["/usr/bin/python3.11", "-m", "marlx"],
        ["${env}", "${interpreter}", "-m", "${program}"],
    ],
    ids=" ".join,
)
def test_the_command_may_start_marlx_in_any_of_the_usual_ways(start):
    command = [*start, "train", "iql", "matrix/climbing", "--seeds", "2", "${args}"]
    sweep = sweep_file.sweep_from_text(text(command=command), "x")
    assert (sweep.names, sweep.options) == (("iql", "matrix/climbing"), ("--seeds", "2"))


@pytest.mark.parametrize(
    ("about", "kind", "low", "high"),
    [
        ({"min": 0.1, "max": 1.0}, "uniform", 0.1, 1.0),
        ({"min": 1, "max": 4}, "whole", 1, 4),
        ({"min": 0.1, "max": 1.0, "q": 0.25, "distribution": "q_uniform"}, "steps", 0.1, 0.85),
        ({"min": 0.1, "max": 1.0, "distribution": "inv_log_uniform_values"}, "log", 0.1, 1.0),
    ],
)
def test_distributions_are_wandbs(about, kind, low, high):
    found = one(**about)
    assert (found.kind, found.low) == (kind, low) and found.high == pytest.approx(high)


def test_the_points_of_a_grid_are_wandbs():
    assert one(min=1, max=4).points() == (1, 2, 3, 4)
    steps = one(min=1, max=9, q=2, distribution="q_uniform").points()
    assert steps == (1, 3, 5, 7) and all(isinstance(x, int) for x in steps)  # 9 is left out there
    assert one(values=[0.5, 0.5, True, "a"]).points() == (0.5, True, "a")


def drawn(folder, seed=0, count=60, **about):
    sweep = sweep_file.sweep_from_text(
        text(parameters={"learner.lr": about, "learner.gamma": about}), "x"
    )
    study = Study(sweep, "x", sqlite(folder), trials=count, seed=seed)
    return np.array([list(study.values(trial).values()) for trial in study.take(count)])


def test_draws_have_their_distribution_and_depend_on_the_seed_alone(tmp_path):
    folders = [tmp_path / name for name in "abcd"]
    for folder in folders:
        folder.mkdir()
    about = {"min": 0.001, "max": 10.0, "distribution": "log_uniform_values"}
    values = drawn(folders[0], **about)
    assert values.min() >= 0.001 and values.max() <= 10
    quarters = np.histogram(np.log10(values), bins=4, range=(-3, 1))[0] / values.size
    np.testing.assert_allclose(quarters, 0.25, atol=0.1)
    assert abs(np.corrcoef(np.log(values).T)[0, 1]) < 0.25, "parameters are drawn apart"
    np.testing.assert_array_equal(values[:8], drawn(folders[1], count=8, **about))
    assert not np.allclose(values[:8], drawn(folders[2], count=8, seed=1, **about))
    steps = drawn(folders[3], count=24, min=1, max=9, q=4, distribution="q_log_uniform_values")
    assert set(steps.ravel()) <= {0, 4, 8} and len(set(steps.ravel())) == 3


def test_two_processes_draw_what_one_would(tmp_path):
    sweep = sweep_file.sweep_from_text(
        text(parameters={"learner.lr": {"min": 0.0, "max": 1.0}}), "x"
    )
    first, second = (Study(sweep, "x", sqlite(tmp_path), trials=6) for _ in range(2))
    shared = [study.values(study.take(1)[0]) for study in (first, second) * 3]
    assert first.take(1) == second.take(1) == []
    (tmp_path / "alone").mkdir()
    alone = Study(sweep, "x", sqlite(tmp_path / "alone"), trials=6)
    assert shared == [alone.values(trial) for trial in alone.take(9)]


def test_a_grid_is_shared_without_a_point_twice(tmp_path):
    parameters = {"learner.lr": {"values": [0.1, 0.2, 0.3]}, "env.rounds": {"values": [1, 2]}}
    sweep = sweep_file.sweep_from_text(text(method="grid", parameters=parameters), "x")
    first, second = (Study(sweep, "x", sqlite(tmp_path)) for _ in range(2))
    taken = [first.values(t) for t in first.take(4)] + [second.values(t) for t in second.take(4)]
    assert sorted(map(repr, taken)) == sorted(map(repr, sweep.grid())) and len(taken) == 6
    # numbers of the learner turn fastest, so that neighbours can share a program
    assert [point["learner.lr"] for point in taken[:3]] == [0.1, 0.2, 0.3]


def test_two_that_ask_at_once_are_never_given_the_same_trial(tmp_path):
    """From a database that is not there yet; SQLite by itself lets both have it."""
    sweep = sweep_file.sweep_from_text(
        text(method="grid", parameters={"seed": {"values": [*range(20)]}}), "x"
    )
    together = threading.Barrier(2, timeout=60)

    def work(_):
        together.wait()
        study, numbers = Study(sweep, "x", sqlite(tmp_path)), []
        together.wait()
        while trials := study.take(1):
            study.finish(trials[0], 1.0)
            numbers.append(trials[0].number)
        return numbers

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, range(2))
    assert sorted(first + second) == [*range(20)]


def test_trials_of_the_dead_are_queued_again_and_of_the_living_are_not(tmp_path):
    sweep = sweep_file.sweep_from_text(text(method="grid"), "x")
    study = Study(sweep, "x", sqlite(tmp_path))
    (trial, other) = study.take(2)
    study.finish(other, 1.0)
    living = Study(sweep, "x", sqlite(tmp_path))
    study.open()
    assert living.open() == 0 and living.take(1) == []
    node, _, began = trial.user_attrs["worker"].rsplit(":", 2)
    trial.set_user_attr("worker", f"{node}:{2**22 + 1}:{began}")  # no process has this number
    heir = Study(sweep, "x", sqlite(tmp_path))
    assert heir.open() == 1
    (again,) = heir.take(5)
    assert heir.values(again) == study.values(trial)
    heir.finish(again, 2.0)
    assert [(row.state, row.value) for row in heir.rows()] == [("finished", 2), ("finished", 1)]
    for one_of in (study, living, heir):
        assert one_of.close() == 0


def test_another_sweep_in_the_same_storage_is_refused(tmp_path):
    Study(sweep_file.sweep_from_text(text(), "x"), "x", sqlite(tmp_path), trials=1)
    other = sweep_file.sweep_from_text(text(parameters={"learner.lr": {"values": [1, 2]}}), "x")
    with pytest.raises(ValueError, match="holds another sweep called x"):
        Study(other, "x", sqlite(tmp_path), trials=1)


def test_a_search_learns_and_tells_what_mattered(tmp_path):
    """The better half of a search by TPE lies where the value is high; the idle setting is idle."""
    parameters = {
        "learner.lr": {"min": 0.0, "max": 1.0},
        "learner.gamma": {"min": 0.0, "max": 1.0},
    }
    sweep = sweep_file.sweep_from_text(text(method="bayes", parameters=parameters), "x")
    study = Study(sweep, "x", sqlite(tmp_path), trials=40)
    rates = []
    while trials := study.take(4):  # asked together, as a vmapped sweep does
        for trial in trials:
            rates.append(study.values(trial)["learner.lr"])
            study.finish(trial, -abs(rates[-1] - 0.8))
    assert len(rates) == 40
    assert (
        np.abs(np.array(rates[20:]) - 0.8).mean() < 0.5 * np.abs(np.array(rates[:10]) - 0.8).mean()
    )
    importances = study.importances()
    assert importances["learner.lr"] > 0.8 and sum(importances.values()) == pytest.approx(1)
    assert study.rows()[0].value == max(row.value for row in study.rows())


def flat(proposal):
    """Values by dotted name of what wandb's agent is told."""
    found = {}
    for name, about in proposal.items():
        value = about["value"]
        inside = value.items() if isinstance(value, dict) else [("", value)]
        found |= {f"{name}.{key}".rstrip("."): entry for key, entry in inside}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_wandbs_tooling_takes_our_files_and_our_command_takes_its_proposals(path):
    """Recorded by tests/golden/sweeps_of_wandb.py; the agent's own code makes the words."""
    from wandb.sdk.launch.sweeps.utils import create_sweep_command, create_sweep_command_args

    golden = json.loads(GOLDEN.read_text())[path.name]
    assert golden["violations"] == []
    content = yaml.safe_load(path.read_text())  # as wandb reads it
    sweep = sweep_file.read_sweep(path)
    for proposal in golden["proposals"]:
        args = create_sweep_command_args({"args": proposal})["args"]
        command = [
            part
            for word in create_sweep_command(list(content["command"]))
            for part in ({"${env}": ["/usr/bin/env"], "${args}": args}.get(word, [word]))
        ]
        assert command[:3] == ["/usr/bin/env", "marlx", "train"]
        experiment, output = parse_train(command[3:5], command[5:])
        assert output.wandb == "online"
        settings, expected = experiment.settings(), flat(proposal)
        assert expected.keys() == {one.name for one in sweep.parameters}
        for name, value in expected.items():
            found = settings
            for part in name.split("."):
                found = found[part]
            assert found == value, name
    if sweep.method == "grid":
        ours = [repr(sorted((sweep.constants() | point).items())) for point in sweep.grid()]
        theirs = [repr(sorted(flat(proposal).items())) for proposal in golden["proposals"]]
        assert sorted(ours) == sorted(theirs)


def test_the_command_line_takes_all_that_wandbs_agent_writes():
    from wandb.sdk.launch.sweeps.utils import create_sweep_command_args

    values = {"learner.lr": 1e-05, "learner.double": False, "env.size": [5, 6], "env.sight": None}
    values["learner"] = {"gamma": 0.5, "sharing": "none", "layer_norm": True}
    made = create_sweep_command_args({"args": {k: {"value": v} for k, v in values.items()}})
    experiment, _ = parse_train(["qmix", "Foraging-8x8-2p-2f-coop-v3"], made["args"])
    learner = experiment.learner
    assert (learner.lr, learner.gamma, learner.double) == (1e-5, 0.5, False)
    assert learner.sharing == "none" and learner.layer_norm is True
    assert experiment.env.size == (5, 6) and experiment.env.sight is None
