"""Protocol cards, their rows and tables, from files written by hand."""

import dataclasses
import json

import pytest
from run_folders import write_run

from marlx.analysis import protocol_cards, protocol_rows, protocol_tables
from marlx.analysis.protocol_runs import run_rows
from marlx.analysis.result_rows import Study
from marlx.analysis.run_data import read_run
from marlx.registry import make_env
from marlx.runs.folder import config_text

NAMES = protocol_cards.card_names()
CARD = """\
title: Small
environments: [matrix/climbing]
steps: 100
seeds: 2
evals: 2
eval_episodes: 8
judged: greedy
unit: mean
settings: {num_envs: 2, rollout_length: 5}
report: [50, 100]
"""


def written(path, text=CARD):
    path.write_text(text)
    return protocol_cards.card(path)


def study_of(card, *runs):
    """The rows of run folders."""
    study, notes = protocol_rows.with_runs(card, Study([], {}), map(read_run, runs))
    assert not notes
    return study


def fitting_run(folder, card, returns, algorithm="ippo", *, steps=(0, 50, 100), **given):
    """A run folder that satisfies a card; its returns are [evaluations][seeds]."""
    write_run(folder, algorithm, returns=returns, steps=steps, **given)
    made = protocol_cards.experiment_under(
        card, algorithm, "matrix/climbing", seeds=len(returns[0]), seed=given.get("seed", 0)
    )
    (folder / "config.yaml").write_text(config_text(made))
    return folder


def test_all_the_cards_that_were_asked_for_are_there():
    assert {"lbf-100", "lbforaging-v3", "mpe-sum", "matrix", "smax-jaxmarl", "quick"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_card_can_be_run(name):
    card = protocol_cards.card(name)
    assert card.name == name and card.title and card.about
    if not card.missing():
        for env_id in card.environments:
            make_env(env_id, **card.env)
    assert all(step <= card.steps for step in card.report)


@pytest.mark.parametrize("name", NAMES)
def test_published_numbers_belong_to_a_card_and_name_their_source(name):
    card = protocol_cards.card(name)
    for record in protocol_rows.published(card):
        assert record["env"] in card.environments
        assert record["source"] and record["code"] and record["judged"]
        assert all(0 < step <= record["total_steps"] * 1.001 for step in record["steps"])


def test_every_published_number_has_a_card():
    file = protocol_cards.shipped() / "published.jsonl"
    count = sum(len(protocol_rows.published(protocol_cards.card(name))) for name in NAMES)
    assert count == len(file.read_text().splitlines()) > 10


def test_mavas_protocol_is_what_its_papers_say():
    """100-step episodes, 20M steps, 10 seeds, 122 evaluations of 32 episodes, drawn actions."""
    card = protocol_cards.card("lbf-100")
    numbers = (card.env["horizon"], card.steps, card.seeds, card.evals, card.eval_episodes)
    assert numbers == (100, 20_000_000, 10, 122, 32) and card.judged == "drawn"
    at_5m = {
        (one["method"], one["env"]): one["curve"][one["steps"].index(5_000_000)]
        for one in protocol_rows.published(card)
    }
    boards = ("2s-10x10-3p-3f", "15x15-3p-5f", "15x15-4p-5f")
    assert [at_5m["MAT", f"Foraging-{board}-v3"] for board in boards] == [0.915, 0.627, 0.806]


def test_the_hash_is_of_what_a_run_has_to_satisfy(tmp_path):
    card = written(tmp_path / "a.yaml")
    same = written(tmp_path / "b.yaml", CARD.replace("Small", "Other words"))
    assert card.hash == same.hash and len(card.hash) == 12
    for old, new in (("steps: 100", "steps: 101"), ("greedy", "drawn"), ("mean", "sum"),
                     ("seeds: 2", "seeds: 3"), ("unit", "env: {horizon: 9}\nunit")):  # fmt: skip
        assert written(tmp_path / "c.yaml", CARD.replace(old, new)).hash != card.hash
    left = tmp_path / "left.yaml"
    from marlx.config.yaml_text import dump

    left.write_text(dump(card.plain()))
    assert protocol_cards.card(left) == card, "the copy beside the runs is the card, name and all"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps: 100", "", "has no steps; a card needs one"),
        ("title: Small", "", "has no title"),
        ("steps: 100", "steps: 0", "steps is 0"),
        ("steps: 100", "steps: many", "steps in .*: expected a whole number, got 'many'"),
        ("greedy", "both", "judged in .*: expected drawn or greedy, got 'both'"),
        ("evals", "eval", "unknown key 'eval' in .*did you mean evals"),
        ("[matrix/climbing]", "[]", "environments"),
        ("{num_envs: 2, ", "{evals: 3, ", "unknown setting 'evals'"),
        ("unit", "env: 7\nunit", "env in .*: expected `name: value` lines, got 7"),
    ],
)
def test_a_file_that_is_no_card_is_one_line(tmp_path, old, new, message):
    with pytest.raises(ValueError, match=message) as error:
        written(tmp_path / "a.yaml", CARD.replace(old, new))
    assert "\n" not in str(error.value) and "a.yaml" in str(error.value)


def test_versions_fit_by_their_beginning():
    fits = protocol_cards.version_fits
    assert fits("0.2", "0.2") and fits("0.2.1", "0.2") and not fits("0.20.1", "0.2")
    assert not fits(None, "0.2")


def test_an_experiment_is_presets_then_the_card():
    card = protocol_cards.card("lbf-100")
    under = protocol_cards.experiment_under
    made = under(card, "mappo", "Foraging-2s-10x10-3p-3f-v3", {"learner": {"hidden": 32}})
    assert (made.env.horizon, made.env.sight) == (100, 2)
    assert (made.learner.hidden, made.learner.recurrent) == (32, True)
    train = made.train
    assert (train.seeds, train.eval_episodes, train.seed) == (10, 32, 0)
    cut = under(card, "mappo", "Foraging-2s-10x10-3p-3f-v3", steps=5_000_000, seeds=3, seed=4).train
    assert (cut.seeds, cut.seed) == (3, 4) and 5_000_000 <= cut.total_steps < 5_200_000
    assert cut.total_steps / cut.evals == pytest.approx(train.total_steps / train.evals, rel=0.01)


def test_policies_are_judged_drawn_and_q_learners_greedily():
    under, matrix = protocol_cards.experiment_under, protocol_cards.card("matrix")
    greedy = dataclasses.replace(matrix, judged="greedy")
    made = {
        (card.judged, name): under(card, name, "matrix/climbing").train.eval
        for card in (matrix, greedy)
        for name in ("ippo", "vdn")
    }
    assert made == {
        ("drawn", "ippo"): "drawn",
        ("drawn", "vdn"): "greedy",
        ("greedy", "ippo"): "greedy",
        ("greedy", "vdn"): "greedy",
    }


def test_what_the_card_sets_is_not_the_users(tmp_path):
    card = written(
        tmp_path / "a.yaml", CARD.replace("{num_envs: 2,", "{learner: {hidden: 8}, num_envs: 2,")
    )
    under, env_id = protocol_cards.experiment_under, "matrix/climbing"
    made = under(card, "ippo", env_id)
    assert (made.train.num_envs, made.learner.hidden) == (2, 8)
    with pytest.raises(ValueError, match=r"card a fixes learner\.hidden"):
        under(card, "ippo", env_id, {"learner": {"hidden": 9}})
    with pytest.raises(ValueError, match="card a sets evals; only learner, num_envs"):
        under(card, "ippo", env_id, {"evals": 9})
    strict = dataclasses.replace(card, algorithm="preset")
    with pytest.raises(ValueError, match="with its preset; num_envs cannot be given"):
        under(dataclasses.replace(strict, settings={}), "ippo", env_id, {"num_envs": 4})


def test_returns_are_in_the_cards_unit(tmp_path):
    """simple_spread gives the mean of three agents; JaxMARL adds them."""
    card = protocol_cards.card("mpe-sum")
    run = write_run(
        tmp_path / "run", "qmix", "mpe/simple_spread_v3", returns=((-10.0,), (-8.0,)), optimum=None,
        env={"horizon": 26},
    )  # fmt: skip
    (row,), record = run_rows(card, read_run(run))
    assert (row["curve"], row["final"]) == ([-30.0, -24.0], -24.0)
    assert record["runs"][0]["mean"] == -24.0
    mean = dataclasses.replace(card, unit="mean")
    assert run_rows(mean, read_run(run))[0][0]["final"] == -8.0
    lbf = dataclasses.replace(protocol_cards.card("quick"), unit="mean")
    run = write_run(
        tmp_path / "lbf", environment="Foraging-5x5-2p-1f-coop-v3", returns=((1.0,),) * 2
    )
    assert run_rows(lbf, read_run(run))[0][0]["final"] == 0.5, "each of two agents earned a half"


def test_a_card_may_compare_a_rate(tmp_path):
    """What the environment tells of an episode, e.g. whether a battle was won; it has no unit."""
    card = dataclasses.replace(protocol_cards.card("quick"), measure="success_rate", unit="mean")
    board = "Foraging-5x5-2p-1f-coop-v3"
    run = write_run(tmp_path / "run", "qmix", board, success_rate=[[0.25, 0.25], [0.5, 0.5]])
    result = json.loads((run / "result.json").read_text())
    rate = {"mean": 0.75, "interval_95": [0.5, 1.0], "per_seed": [0.75, 0.75]}
    (run / "result.json").write_text(json.dumps(result | {"success_rate": rate}))
    with pytest.raises(ValueError, match="has no win_rate, which card quick compares"):
        run_rows(dataclasses.replace(card, measure="win_rate"), read_run(run))
    (row, _), record = run_rows(card, read_run(run))
    assert (row["final"], record["optimum"], record["runs"][0]["mean"]) == (0.75, 1.0, 0.75)
    assert row["curve"] == [0.25, 0.5]


def test_a_table_has_the_numbers_of_the_rows(tmp_path):
    """Of random play at 0 and an optimum of 275, 90 % is 247.5: halfway from 220 to 275."""
    card = written(tmp_path / "a.yaml")
    run = fitting_run(
        tmp_path / "run", card, ((0.0, 0.0), (220.0, 220.0), (275.0, 275.0)), final=(270.0, 280.0)
    )
    (one,) = protocol_tables.entries(card, study_of(card, run))
    assert one.ranked and (one.value, one.seeds, one.reached) == (275.0, 2, 75.0)
    assert (one.low, one.high) == (270.0, 280.0)
    assert dict(one.at) == {50: 220.0, 100: 275.0}
    head, cells = protocol_tables.table_cells(card, [one])
    assert head[-3:] == ["at 50", "at 100", "notes"]
    assert cells == ["matrix/climbing", "ippo", "275", "270 to 280", "2", "75", "220", "275", ""]
    assert protocol_tables.not_run(card, [one]) == []


def test_whole_results_come_first_then_partial_then_published_ones(tmp_path):
    card = written(tmp_path / "a.yaml")
    low = fitting_run(tmp_path / "low", card, ((0.0, 0.0), (1.0, 1.0), (5.0, 5.0)), "mappo")
    high = fitting_run(tmp_path / "high", card, ((0.0, 0.0), (1.0, 1.0), (9.0, 9.0)))
    single = fitting_run(tmp_path / "one", card, ((0.0,), (1.0,), (50.0,)), "ia2c")
    short = fitting_run(
        tmp_path / "short", card, ((0.0, 0.0), (60.0, 60.0)), "maa2c", steps=(0, 50)
    )
    published = {
        **{"env": "matrix/climbing", "method": "X", "code": "elsewhere", "measure": "return"},
        **{"judged": "drawn", "seeds": 5, "steps": [50], "curve": [90.0], "final": 100.0},
        "deviation": 2.0,
    }
    found = protocol_tables.entries(card, study_of(card, low, high, single, short), [published])
    assert [one.method for one in found] == ["ippo", "mappo", "maa2c", "ia2c", "X"]
    assert [one.ranked for one in found] == [True, True, False, False, False]
    cells = protocol_tables.table_cells(card, found)[1:]
    assert [line[-1] for line in cells] == [
        "",
        "",
        "partial: 50 of 100 steps",
        "partial: 1 of 2 seeds; one seed",
        "drawn actions; published: elsewhere",
    ]
    assert cells[3][3] == "-" and cells[4][3] == "s.d. 2"


def test_seeds_of_several_runs_are_one_method(tmp_path):
    card = written(tmp_path / "a.yaml")
    first = fitting_run(tmp_path / "first", card, ((0.0,), (1.0,), (10.0,)))
    second = fitting_run(tmp_path / "second", card, ((0.0,), (1.0,), (20.0,)), seed=1)
    (one,) = protocol_tables.entries(card, study_of(card, first, second))
    assert one.ranked and (one.seeds, one.value) == (2, 15.0)


def test_an_unfinished_run_shows_what_it_has(tmp_path):
    card = written(tmp_path / "a.yaml")
    run = fitting_run(tmp_path / "run", card, ((0.0,), (7.0,)), steps=(0, 50), finished=False)
    (one,) = protocol_tables.entries(card, study_of(card, run))
    assert (one.value, one.ranked, one.reached) == (7.0, False, None)
