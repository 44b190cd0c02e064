"""Runs read back and compared, from folders that are written by hand: every number is known."""

import json

import numpy as np
import pytest

from marlx.analysis import scores
from marlx.analysis.comparison import Bounds, Sample, compare, curves, only_finished, task_bounds
from marlx.analysis.marl_eval import read_marl_eval, to_marl_eval
from marlx.analysis.reading import read_all
from marlx.analysis.run_data import read_run
from marlx.config.yaml_text import dump

FORAGING = "Foraging-8x8-2p-2f-coop-v3"


def write_run(
    folder,
    algorithm="qmix",
    environment=FORAGING,
    *,
    returns=((0.0, 0.2), (0.5, 0.7)),
    steps=(100, 200),
    seed=0,
    final=None,
    finished=True,
    optimum=1.0,
    learner=None,
    env=None,
    **metrics,
):
    """A run folder whose greedy returns [K, seeds] are `returns`."""
    folder.mkdir(parents=True)
    seeds = len(returns[0])
    settings = {"algorithm": algorithm, "environment": environment, "total_steps": 200}
    settings |= {"seed": seed, "seeds": seeds, "learner": learner or {"lr": 1e-3}}
    (folder / "config.yaml").write_text(dump({**settings, "env": env or {"sight": None}}))
    lines = [
        {"steps": step, "seconds": step / 10, "phases": {}, "return": list(row)}
        | {name: values[k] for name, values in metrics.items()}
        for k, (step, row) in enumerate(zip(steps, returns, strict=True))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    facts = {"python": "3.11.7", "system": "Linux x86_64", "versions": {"jax": "0.10"}}
    (folder / "environment.json").write_text(json.dumps({**facts, "devices": ["cpu"]}))
    if finished:
        per_seed = list(final or returns[-1])
        result = {"return": {"mean": np.mean(per_seed), "per_seed": per_seed}}
        result["return"]["interval_95"] = [min(per_seed) - 0.1, max(per_seed) + 0.1]
        result |= {"random_return": 0.0, "optimum": optimum, "seconds": {"compile": 3.0}}
        (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = read_run(write_run(tmp_path / "a", final=(0.6, 0.8), seed=3, loss=[[None, 1], [2, 3]]))
    assert (run.name, run.algorithm, run.environment, run.finished) == ("a", "qmix", FORAGING, True)
    assert run.seeds == ("3", "4") and run.settings["learner.lr"] == 1e-3
    np.testing.assert_array_equal(run.steps, [100, 200])
    np.testing.assert_array_equal(run.metrics["return"], [[0, 0.2], [0.5, 0.7]])
    np.testing.assert_array_equal(run.metrics["loss"], [[np.nan, 1], [2, 3]])
    np.testing.assert_array_equal(run.metrics["seconds"], [[10, 10], [20, 20]])
    np.testing.assert_array_equal(run.final, [0.6, 0.8])
    assert run.facts["python"] == "3.11.7"


def test_a_stopped_run_ends_at_its_last_whole_line(tmp_path):
    folder = write_run(tmp_path / "a", finished=False)
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"steps": 300, "return": [0.')
    run = read_run(folder)
    assert not run.finished
    np.testing.assert_array_equal(run.final, [0.5, 0.7])
    comparison = compare([run])
    assert comparison.methods == ("qmix (unfinished)",)
    assert only_finished(comparison) == comparison, "there is nothing else to show"


def test_of_lines_written_twice_the_last_holds(tmp_path):
    """A resumed run may write again what came after its checkpoint."""
    steps, returns = (100, 200, 300, 200, 300), ((0, 0), (1, 1), (2, 2), (5, 5), (6, 6))
    run = read_run(write_run(tmp_path / "a", steps=steps, returns=returns))
    np.testing.assert_array_equal(run.steps, [100, 200, 300])
    np.testing.assert_array_equal(run.metrics["return"][:, 0], [0, 5, 6])


def test_folders_of_runs_are_searched_and_empty_runs_told_of(tmp_path):
    for name in ("all/a", "all/b/inner", "all/empty"):
        write_run(tmp_path / name)
    (tmp_path / "all" / "empty" / "metrics.jsonl").unlink()
    runs, notes = read_all([tmp_path / "all", tmp_path / "all" / "a"])
    assert [run.name for run in runs] == ["a", "inner"], "given twice, it counts once"
    assert len(notes) == 1 and "empty holds nothing yet" in notes[0]
    with pytest.raises(ValueError, match="holds nothing yet"):
        read_all([tmp_path / "all" / "empty"])
    with pytest.raises(ValueError, match="holds no run"):
        read_all([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("name", "text", "answer"),
    [
        ("metrics.jsonl", "x\ny\n", "line 1 is no record"),
        ("metrics.jsonl", "[1]\n{}\n", "line 1 is no record"),
        ("metrics.jsonl", '{"steps": 1}\n', "has no return"),
        ("config.yaml", "algorithm: qmix\n", "names no algorithm and environment"),
        ("config.yaml", "algorithm: q\nenvironment: e\nseeds: x\n", "no whole seed"),
        ("config.yaml", "- 1\n", "must hold `name: value` lines"),
    ],
)
def test_what_is_no_run_is_a_line(name, text, answer, tmp_path):
    folder = write_run(tmp_path / "a")
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=answer) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


def test_runs_are_grouped_by_what_differs(tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", seed=2)  # more seeds of a
    write_run(tmp_path / "c", learner={"lr": 3e-3})
    write_run(tmp_path / "d", env={"sight": 2})
    write_run(tmp_path / "e", "vdn", learner={"lr": 5e-4})
    write_run(tmp_path / "f", "vdn", "matrix/climbing", learner={"lr": 1e-2}, env={})
    comparison = compare(*read_all([tmp_path]))
    assert comparison.tasks == (f"{FORAGING} sight=none", f"{FORAGING} sight=2", "matrix/climbing")
    # vdn was only ever run with one rate per task: no label tells of it
    assert comparison.methods == ("qmix lr=0.001", "qmix lr=0.003", "vdn")
    sample = comparison.samples[f"{FORAGING} sight=none", "qmix lr=0.001"]
    assert [run.name for run in sample.runs] == ["a", "b"] and len(sample.final) == 4
    assert set(comparison.differing) == {"seed", "learner.lr", "env.sight"}


def test_a_seed_that_two_runs_share_counts_once(tmp_path):
    write_run(tmp_path / "a", seed=0)
    write_run(tmp_path / "b", seed=1, returns=((9, 9), (9, 9), (9, 9)), steps=(1, 2, 900))
    comparison = compare(*read_all([tmp_path]))
    (sample,) = comparison.samples.values()
    np.testing.assert_array_equal(np.sort(sample.final), [0.5, 9, 9])
    assert comparison.notes == ("seed 1 of a is also in b, with the same settings; it counts once",)


def sample_of(*runs):
    return Sample("t", "m", runs, tuple(tuple(range(len(run.seeds))) for run in runs))


def test_curves_on_the_same_steps_stay_as_they_are(tmp_path):
    a, b = (read_run(write_run(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 2)))
    drawn = curves(sample_of(a, b))
    np.testing.assert_array_equal(drawn.x, [100, 200])
    np.testing.assert_array_equal(drawn.y, [[0, 0.2, 0, 0.2], [0.5, 0.7, 0.5, 0.7]])


def test_curves_on_other_steps_are_interpolated_within_their_common_range(tmp_path):
    a = read_run(write_run(tmp_path / "a", steps=(0, 100, 200), returns=((0,), (1,), (2,))))
    b = read_run(write_run(tmp_path / "b", steps=(50, 150), returns=((5,), (15,)), seed=1))
    drawn = curves(sample_of(a, b))
    assert (drawn.x[0], drawn.x[-1]) == (50, 150)
    np.testing.assert_allclose(drawn.y[:, 0], drawn.x / 100)
    np.testing.assert_allclose(drawn.y[:, 1], drawn.x / 10)
    late = read_run(write_run(tmp_path / "c", steps=(900,), returns=((1,),), seed=2))
    assert curves(sample_of(a, late)) is None


def test_curves_skip_what_does_not_exist(tmp_path):
    run = read_run(write_run(tmp_path / "a", loss=[[None, None], [2, None]]))
    drawn = curves(sample_of(run), "loss")
    np.testing.assert_array_equal(drawn.x, [200])
    np.testing.assert_array_equal(drawn.y, [[2]])
    assert curves(sample_of(run), "nothing") is None


def test_any_metric_that_grows_may_be_the_x_axis(tmp_path):
    calls = [[0, 10], [100, 30]]
    run = read_run(write_run(tmp_path / "a", calls=calls, down=[[2, 2], [1, 1]]))
    drawn = curves(sample_of(run), "return", "calls")
    assert (drawn.x[0], drawn.x[-1]) == (10, 30)
    np.testing.assert_allclose(drawn.y[-1], [0.15, 0.7])
    np.testing.assert_array_equal(curves(sample_of(run), x="seconds").x, [10, 20])
    with pytest.raises(ValueError, match="down falls along a"):
        curves(sample_of(run), "return", "down")


def test_bounds_are_random_and_optimum_or_what_was_seen(tmp_path):
    write_run(tmp_path / "a", returns=((-1.0,), (3.0,)), optimum=None)
    write_run(tmp_path / "b", environment="matrix/climbing", env={})
    comparison = compare(*read_all([tmp_path]))
    bounds = task_bounds(comparison)
    assert bounds["matrix/climbing"] == Bounds(0.0, 1.0, "random policy to optimum")
    assert bounds[FORAGING] == Bounds(0.0, 3.0, "random policy to highest seen")
    assert task_bounds(comparison, {FORAGING: (-5, 5)})[FORAGING] == Bounds(-5, 5, "given")
    with pytest.raises(ValueError, match="low first"):
        task_bounds(comparison, {FORAGING: (5, 5)})
    with pytest.raises(ValueError, match="bounds are given for nowhere; the tasks are"):
        task_bounds(comparison, {"nowhere": (0, 1)})


def test_analysis_of_known_numbers(tmp_path):
    """Two methods on two tasks, seeds without spread: every aggregate is the plain one."""
    for i, (algorithm, a, b) in enumerate((("qmix", 1.0, 0.8), ("vdn", 0.5, 0.2))):
        for env_id, end in ((FORAGING, a), ("matrix/climbing", b)):
            returns = ((0.0, 0.0), (end, end))
            write_run(tmp_path / f"{i}{end}", algorithm, env_id, returns=returns, env={"x": 1})
    comparison = compare(*read_all([tmp_path]))
    bounds = task_bounds(comparison)
    tasks = scores.shared_tasks(comparison)
    assert set(tasks) == {FORAGING, "matrix/climbing"}
    dots = scores.aggregates(comparison, bounds, tasks)
    for name, values in (("Mean", (0.9, 0.35)), ("Optimality gap", (0.1, 0.65))):
        for dot, value in zip(dots[name], values, strict=True):
            np.testing.assert_allclose(dot[1:], value)
    pairs = scores.improvements(comparison, bounds)
    assert pairs["qmix", "vdn"] == (scores.Estimate(1.0, 1.0, 1.0), 2)
    assert pairs["vdn", "qmix"] == (scores.Estimate(0.0, 0.0, 0.0), 2)
    one = comparison.samples[FORAGING, "qmix"]
    found = scores.efficiency(one, bounds[FORAGING])
    assert (found.half, found.most) == pytest.approx((150, 190))
    assert found.area.value == pytest.approx(0.5)
    vdn = scores.efficiency(comparison.samples[FORAGING, "vdn"], bounds[FORAGING])
    assert (vdn.half, vdn.most) == (200, None)
    profile = scores.profiles(comparison, bounds, tasks)
    at = {line.label: line.middle[np.searchsorted(line.x, 0.6)] for line in profile.lines}
    assert at == {"qmix": 1.0, "vdn": 0.0}
    panel = scores.efficiency_panel(comparison, bounds, tasks)
    ends = {line.label: (line.x[-1], line.middle[-1]) for line in panel.lines}
    assert ends["qmix"] == (100, pytest.approx(0.9)) and ends["vdn"][1] == pytest.approx(0.35)


# marl-eval


def test_runs_survive_the_way_through_marl_evals_format(tmp_path):
    write_run(tmp_path / "runs" / "a", final=(0.6, 0.8))
    write_run(tmp_path / "runs" / "b", "vdn", steps=(10, 30, 70), returns=((0,), (1,), (2,)))
    write_run(tmp_path / "runs" / "c", "vdn", "matrix/climbing", env={}, finished=False)
    comparison = compare(*read_all([tmp_path / "runs"]))
    content = to_marl_eval(comparison)
    assert set(content) == {"Foraging", "matrix"}
    record = content["Foraging"][FORAGING]["qmix"]["seed_1"]
    assert record["step_1"] == {"step_count": 200, "elapsed_time": 20.0, "return": [0.7]}
    assert record["absolute_metrics"]["return"] == [0.8]
    (tmp_path / "x.json").write_text(json.dumps(content))
    again = compare(*read_all([tmp_path / "x.json"]))
    assert (again.tasks, again.methods) == (comparison.tasks, comparison.methods)
    for place, sample in comparison.samples.items():
        other = again.samples[place]
        np.testing.assert_array_equal(other.final, sample.final)
        for x in ("steps", "seconds"):
            for ours, theirs in zip(curves(sample, x=x), curves(other, x=x), strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert to_marl_eval(again) == content


def test_files_of_others_are_read(tmp_path):
    """As marl-eval's README has it: capitals, values per episode, runs named anyhow."""
    seed = {
        "STEP_1": {"step_count": 10, "return": [1, 2, 3, 4], "win_rate": [0.8]},
        "STEP_2": {"step_count": 20, "return": [0, 1, 2, 9], "win_rate": [0.4]},
        "absolute_metrics": {"return": [5, 8, 4, 1], "win_rate": [0.2]},
    }
    other = {"step_1": {"step_count": 15, "mean_episode_return": [7.0]}}
    content = {"SMAC": {"3s5z": {"ppo": {"43289": seed, "42": seed}, "dqn": {"0": other}}}}
    (tmp_path / "x.json").write_text(json.dumps(content))
    ppo, dqn = read_marl_eval(tmp_path / "x.json")
    assert (ppo.environment, ppo.algorithm, ppo.seeds) == ("SMAC/3s5z", "ppo", ("43289", "42"))
    np.testing.assert_array_equal(ppo.metrics["return"], [[2.5, 2.5], [3, 3]])
    np.testing.assert_array_equal(ppo.final, [4.5, 4.5])
    assert ppo.finished and not dqn.finished
    np.testing.assert_array_equal(dqn.final, [7])
    comparison = compare([ppo, dqn])
    assert task_bounds(comparison)["SMAC/3s5z"] == Bounds(2.5, 7, "lowest seen to highest seen")


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("x", "is not JSON"),
        ("[1]", "must hold records by name"),
        ("{}", "holds no run"),
        ('{"e": 1}', "e must hold records"),
        ('{"e": {"t": {"a": {"r": 3}}}}', "e, t, a, r holds no steps"),
        ('{"e": {"t": {"a": {"r": {"s": 3}}}}}', "r, s holds no metrics"),
        ('{"e": {"t": {"a": {"r": {"s": {"return": [1]}}}}}}', "has no step_count"),
        ('{"e": {"t": {"a": {"r": {"s": {"step_count": 1}}}}}}', "has no return"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_not_marl_evals_format_is_a_line(content, answer, tmp_path):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=answer) as caught:
        read_all([tmp_path / "x.json"])
    assert "\n" not in str(caught.value)
