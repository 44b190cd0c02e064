"""`marlx protocol`: runs under a card that go on and grow, tables, and what is submitted."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from tiny import TinyConfig, tiny

from marlx import cli, registry
from marlx.analysis import protocol_cards, protocol_rows
from marlx.cli import protocol_plan

CARD = """\
title: A small one
environments: [matrix/climbing, matrix/penalty-0]
env: {horizon: 4}
steps: 32
seeds: 2
evals: 4
eval_episodes: 4
judged: drawn
unit: mean
settings: {num_envs: 2, rollout_length: 2}
report: [16, 32]
"""
RUN = ["protocol", "run", "small.yaml", "tiny", "--quiet"]
FOLDER = Path("runs/protocol-small")


def metrics(folder):
    return {path: path.read_text() for path in sorted(Path(folder).rglob("metrics.jsonl"))}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with a card, and what three calls of `run` made and printed there."""
    path, before = tmp_path_factory.mktemp("protocol"), os.getcwd()
    with pytest.MonkeyPatch.context() as patch:
        record = registry.Algorithm("tiny", "likes action 0", TinyConfig, tiny)
        everything = {**registry.algorithms(), "tiny": record}
        patch.setattr(registry, "algorithms", lambda: everything)
        patch.chdir(path)
        Path("small.yaml").write_text(CARD)
        yield path
    assert os.getcwd() == before


@pytest.fixture(scope="module")
def grown(home):
    """Metrics and rows after a cut of the card, and after all of it."""
    cut = [*RUN, "--env", "matrix/climbing", "--seeds", "1", "--steps", "16"]
    assert cli.run(cut) == 0
    first = metrics(FOLDER)
    shutil.copytree(FOLDER, "cut")
    assert cli.run(RUN) == 0
    return first, metrics(FOLDER)


def rows(capfd, *words):
    capfd.readouterr()
    assert cli.run(["protocol", *words]) == 0
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def test_a_cut_grows_into_the_whole(grown):
    """More steps go on from the run that is there, more seeds get a run beside it."""
    first, whole = grown
    names = {path.parent.name for path in whole}
    assert {path.parent.name for path in first} == {"tiny-matrix-climbing-seeds-0-0"}
    assert names == {
        *("tiny-matrix-climbing-seeds-0-0", "tiny-matrix-climbing-seeds-1-1"),
        "tiny-matrix-penalty-0-seeds-0-1",
    }
    ((path, text),) = first.items()
    assert whole[path].startswith(text) and len(whole[path]) > len(text)
    steps = [json.loads(line)["steps"] for line in whole[path].splitlines()]
    assert steps == [4, 12, 20, 28, 36], "a block is the eighth part of all rollouts, rounded up"


def test_the_same_command_again_trains_nothing(grown, capfd):
    assert cli.run(RUN) == 0
    assert metrics(FOLDER) == grown[1]
    out = capfd.readouterr().out
    assert "matrix/penalty-0  tiny" in out and "partial" not in out
    assert "no whole result yet" not in out


def test_a_cut_is_partial_and_says_what_is_missing(grown, capfd):
    assert cli.run(["protocol", "table", "small.yaml", "cut"]) == 0
    out = capfd.readouterr().out
    assert "partial: 1 of 2 seeds, 20 of 32 steps" in out
    assert "no whole result yet: matrix/climbing, matrix/penalty-0" in out


def test_a_row_has_the_card_the_settings_and_the_curve(grown, capfd):
    found = rows(capfd, "submit", str(FOLDER))
    card = protocol_cards.card("small.yaml")
    places = [("matrix/climbing", 0), ("matrix/climbing", 1)]
    places += [("matrix/penalty-0", 0), ("matrix/penalty-0", 1)]
    assert sorted((row["env"], row["seed"]) for row in found) == places
    for row in found:
        assert (row["study"], row["measured"]["card"]) == ("small", card.hash)
        assert row["differs"] is None and row["steps"] == [4, 12, 20, 28, 36]
    line = json.loads(
        grown[1][FOLDER / "tiny-matrix-penalty-0-seeds-0-1/metrics.jsonl"].splitlines()[2]
    )
    curves = {row["seed"]: row["curve"] for row in found if row["env"] == "matrix/penalty-0"}
    assert [curves[0][2], curves[1][2]] == pytest.approx(line["return"], abs=1e-3)


def test_rows_are_written_where_asked_and_hold_their_card(grown, tmp_path, capfd):
    assert cli.run(["protocol", "submit", str(FOLDER), "--out", str(tmp_path)]) == 0
    assert "4 rows under card small" in capfd.readouterr().out
    card = protocol_cards.card("small.yaml")
    study = protocol_rows.stored(card, tmp_path)
    protocol_rows.check_rows(card, study)
    assert len(study.rows) == 4 and len(study.settings) == 2
    for record in study.settings.values():
        assert {"jax", "python"} <= set(record["runs"][0]["versions"])
        assert record["settings"]["env"]["horizon"] == 4


def test_a_cut_is_submitted_only_as_partial(grown, tmp_path, capfd):
    words = ["protocol", "submit", "cut", "--out", str(tmp_path)]
    assert cli.run(words) == 1
    assert "partial: 1 of 2 seeds, 20 of 32 steps; --partial accepts" in capfd.readouterr().err
    assert not list(tmp_path.iterdir())
    assert cli.run([*words, "--partial"]) == 0
    card = protocol_cards.card("small.yaml")
    (row,) = protocol_rows.stored(card, tmp_path).rows
    assert row["differs"] == {"seeds": [1, 2], "steps": [20, 32]}
    # what was made longer since replaces its beginning
    assert cli.run(["protocol", "submit", str(FOLDER), "--out", str(tmp_path)]) == 0
    study = protocol_rows.stored(card, tmp_path)
    assert [row["differs"] for row in study.rows] == [None] * 4


def other_settings(row, record):
    record["settings"]["env"]["horizon"] = 25
    return "env.horizon is 25; the card says 4"


def other_card(row, record):
    row["measured"]["card"] = "0" * 12
    return "made under card 000000000000"


def other_fixed(row, record):
    record["settings"]["num_envs"] = 4
    return "num_envs is 4; the card says 2"


def warm_started(row, record):
    record["settings"]["warm_start"] = "runs/first"
    return "warm_start is runs/first; the card says training from the start"


def fewer_episodes(row, record):
    record["settings"]["eval_episodes"] = 3
    return "eval_episodes is 3; the card says 4"


def other_evaluations(row, record):
    row["steps"] = [4, 12, 20, 30, 36]
    return "evaluations are not every 8 steps"


def more_steps(row, record):
    row["steps"], row["curve"] = [*row["steps"], 44], [*row["curve"], 0.0]
    return "steps is 44; the card says 32"


def other_actions(row, record):
    row["judged"] = "drawn"
    return "actions in evaluations is drawn; the card says greedy"


def other_environment(row, record):
    row["env"] = record["env"] = "matrix/two_step"
    return "matrix/two_step is no environment of card small"


@pytest.mark.parametrize(
    "change",
    [
        *(other_settings, other_card, other_fixed, fewer_episodes, other_evaluations),
        *(more_steps, other_actions, other_environment, warm_started),
    ],
)
def test_rows_that_break_their_card_are_refused(grown, tmp_path, change):
    from marlx.analysis.protocol_runs import run_rows
    from marlx.analysis.result_rows import Study, config_hash
    from marlx.analysis.run_data import read_run

    card = protocol_cards.card("small.yaml")
    new, record = run_rows(card, read_run(FOLDER / "tiny-matrix-penalty-0-seeds-0-1"))
    protocol_rows.check_rows(card, Study(new, {record["config_hash"]: record}))
    message = next(change(row, record) for row in new)
    digest = config_hash(record["settings"])
    new, record = [row | {"config_hash": digest} for row in new], record | {"config_hash": digest}
    with pytest.raises(ValueError, match=message):
        protocol_rows.check_rows(card, Study(new, {digest: record}))
    with pytest.raises(ValueError, match=message):
        protocol_rows.add(card, tmp_path, new, record)
    assert not list(tmp_path.iterdir())


def test_a_row_that_hides_that_it_is_partial_is_refused(grown):
    from marlx.analysis.protocol_runs import run_rows
    from marlx.analysis.result_rows import Study
    from marlx.analysis.run_data import read_run

    card = protocol_cards.card("small.yaml")
    new, record = run_rows(card, read_run(FOLDER / "tiny-matrix-climbing-seeds-1-1"))
    with pytest.raises(ValueError, match=r"differs is None; it is .*seeds"):
        protocol_rows.check_rows(card, Study(new, {record["config_hash"]: record}))


def test_an_ordinary_run_is_checked_too(grown, capfd):
    """With another length of episodes it is left out of the table, and not submitted."""
    shutil.copytree(FOLDER / "tiny-matrix-penalty-0-seeds-0-1", "other")
    config = Path("other/config.yaml")
    config.write_text(config.read_text().replace("horizon: 4", "horizon: 25"))
    assert cli.run(["protocol", "submit", "other", "--card", "small.yaml"]) == 1
    assert capfd.readouterr().err == "marlx: other: env.horizon is 25; the card says 4\n"
    assert cli.run(["protocol", "table", "small.yaml", "other"]) == 0
    out, err = capfd.readouterr()
    assert "left out: other: env.horizon" in err and "tiny" not in out
    assert cli.run(["protocol", "submit", "other"]) == 2
    assert "other has no card.yaml; say which: --card NAME" in capfd.readouterr().err


def test_a_table_is_given_in_markdown_too(grown, capfd):
    assert cli.run(["protocol", "table", "small.yaml", "runs", "--format", "markdown"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0].startswith("| environment | method | return (mean) | 95% interval | seeds |")
    assert len(lines) == 4 and "| matrix/climbing | tiny |" in lines[2]


def test_changed_settings_of_the_algorithm_make_another_method(grown, capfd):
    words = [word for word in RUN if word != "--quiet"] + ["--env", "matrix/climbing", "--dry-run"]
    assert cli.run([*words, "--learner.lr", "0.1"]) == 0
    assert cli.run([*words, "--learner.lr", "0.2"]) == 0
    folders = re.findall(
        rf"run folder: {FOLDER}/tiny-matrix-climbing-(\w+)-seeds-0-1", capfd.readouterr().out
    )
    assert len(set(folders)) == 2, "neither goes on with the other, nor with the preset's"
    assert metrics(FOLDER) == grown[1]


def test_a_folder_belongs_to_one_card(grown, capfd):
    Path("small2.yaml").write_text(CARD.replace("steps: 32", "steps: 64"))
    words = ["protocol", "run", "small2.yaml", "tiny", "--out"]
    assert cli.run([*words, str(FOLDER)]) == 2
    assert "has runs under card small," in capfd.readouterr().err
    assert cli.run([*words, "."]) == 2
    assert ". is not empty and has no card.yaml" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tabel"], "unknown command 'tabel' in marlx protocol; did you mean table"),
        (["show"], "takes one card"),
        (["list", "x"], "takes nothing more"),
        (["show", "quik"], "unknown card 'quik'; did you mean quick"),
        (["show", "none.yaml"], "cannot read none.yaml"),
        (["run", "small.yaml"], "takes a card and algorithms"),
        (["run", "small.yaml", "tinny"], "unknown algorithm 'tinny'; did you mean tiny"),
        (["run", "small.yaml", "tiny", "--env", "x"], "unknown environment 'x' in card small"),
        (["run", "small.yaml", "tiny", "--env.horizon", "9"], "fixes the settings of environments"),
        (["run", "small.yaml", "tiny", "--num-envs", "9"], "card small fixes num_envs"),
        (["run", "small.yaml", "tiny", "--steps", "33"], "--steps is 33; it must be 1 to 32"),
        (["run", "small.yaml", "tiny", "--steps", "many"], "--steps is many; write a number"),
        (["run", "small.yaml", "tiny", "--seeds", "0"], "--seeds is 0"),
        (["run", "small.yaml", "tiny", "--learner.lrr", "1"], "did you mean --learner.lr"),
        (["table", "small.yaml", "nowhere"], "nowhere has no run"),
        (["table", "small.yaml", "--format", "x"], "--format: expected text or markdown or jsonl"),
        (["submit", "nowhere", "--card", "quick"], "nowhere has no run"),
        (["submit", "cut", "--out", "nowhere"], "there is no such folder"),
    ],
)
def test_wrong_input_is_one_line(grown, capfd, words, message):
    assert cli.run(["protocol", *words]) == 2
    out, err = capfd.readouterr()
    assert message in err and err.count("\n") == 1 and out == ""


@pytest.mark.parametrize(
    ("text", "steps"),
    [("5M", 5_000_000), ("500k", 500_000), ("2e6", 2_000_000), ("1_000", 1000), ("0.5M", 500_000)],
)
def test_steps_are_written_short(text, steps):
    assert protocol_plan.steps_of(text) == steps


def test_list_and_show_name_every_card(home, capfd):
    assert cli.run(["protocol", "list"]) == 0
    listed = capfd.readouterr().out
    for name in protocol_cards.card_names():
        assert f"  {name} " in listed
        assert cli.run(["protocol", "show", name]) == 0
        assert protocol_cards.card(name).hash in capfd.readouterr().out


def test_a_missing_package_is_named_in_one_line(home, capfd):
    text = CARD.replace("steps: 32", "versions: {no-such-package: '1.2'}\nsteps: 32")
    Path("needs.yaml").write_text(text)
    assert cli.run(["protocol", "run", "needs.yaml", "tiny"]) == 2
    assert capfd.readouterr().err == (
        "marlx: card needs needs no-such-package 1.2, which is not installed: "
        "pip install 'no-such-package==1.2.*'\n"
    )


def test_a_cut_of_quick_ends_with_a_table(home, capfd):
    """QMIX, as `marlx protocol run quick qmix` trains it, but one game, one seed, a block."""
    words = [
        "quick",
        "qmix",
        "--env",
        "matrix/climbing",
        "--seeds",
        "1",
        "--steps",
        "5k",
        "--quiet",
    ]
    assert cli.run(["protocol", "run", *words]) == 0
    out = capfd.readouterr().out
    assert "quick: Two minutes on two cores; runs in runs/protocol-quick" in out
    lines = [line for line in out.splitlines() if line.startswith("  matrix/climbing ")]
    notes = [line.rpartition("  ")[2] for line in lines]
    assert notes[0].endswith("stored with marlx"), "a whole result, which is not pooled with this"
    assert notes[1].startswith("partial: 1 of 2 seeds, ") and " qmix " in lines[1]
