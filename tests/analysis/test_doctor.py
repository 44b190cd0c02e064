"""`marlx doctor`: synthetic runs with one problem each, sound ones, and a real one."""

import json

import numpy as np
import pytest
import yaml

from marlx import cli
from marlx.analysis import doctor
from marlx.analysis.doctor import CHECKS, examine
from marlx.analysis.run_data import read_run
from marlx.runs.files import finite

K = 20  # evaluations of a synthetic run
STEPS = np.linspace(5_000, 500_000, K)
RISE = np.linspace(0.01, 0.9, K)

Q_SETTINGS = {
    "updates_per_step": 0.0625,
    "batch": 32,
    "window": 8,
    "capacity": 200_000,
    "warmup": 5_000,
    "epsilon_start": 1.0,
    "epsilon_end": 0.05,
    "epsilon_steps": 100_000,
    "reward_scaling": "none",
    "max_grad_norm": 10.0,
    "lr": 5e-4,
}
Q_METRICS = {
    "return": RISE,
    "train_return": 0.8 * RISE,
    "loss": 0.01 + 0 * RISE,
    "td_error": 0.05 + 0.1 * RISE,
    "q": 0.05 + 0.6 * RISE,
    "mixer_slope": 0.8 + 0 * RISE,
    "dormant": 0.1 + 0 * RISE,
    "grad_norm": 2.0 + 0 * RISE,
}
PPO_SETTINGS = {"lr": 5e-4, "entropy": 0.01, "normalise_value": True, "max_grad_norm": 0.5}
PPO_METRICS = {
    "return": RISE,
    "train_return": 0.9 * RISE,
    "entropy": np.linspace(1.6, 0.4, K),
    "kl": 0.01 + 0 * RISE,
    "clipped": 0.1 + 0 * RISE,
    "explained_variance": RISE,
    "grad_norm": 1.5 + 0 * RISE,
}


def falls(name, at, to):
    """A metric that is `to` from evaluation `at` on."""
    return {name: np.where(np.arange(K) < at, {**Q_METRICS, **PPO_METRICS}[name], to)}


LONG = {"capacity": 1_000_000, "epsilon_steps": 400_000}
COLLAPSE = np.where(np.arange(K) < 14, RISE, 0.1)

# (kind of learner, the finding, settings that differ, metrics that differ)
WRONG = [
    ("q", "numbers are no longer finite", {}, falls("loss", 15, np.nan)),
    (
        "q",
        "values explode",
        {},
        {"q": np.geomspace(0.1, 1e4, K), "td_error": np.geomspace(0.1, 1e4, K)},
    ),
    ("q", "values are larger than any return", {}, {"q": np.linspace(5, 9, K)}),
    (
        "q",
        "values are larger than any return",
        {"reward_scaling": "scale"},
        {"q": np.linspace(5, 9, K), "reward_scale": 2.0 + 0 * RISE},
    ),
    ("q", "the mixer is dead", {}, falls("mixer_slope", 12, 1e-5)),
    ("q", "most units are dormant", {}, falls("dormant", 12, 0.8)),
    ("q", "gradients are always clipped", {}, {"grad_norm": 900 + 0 * RISE}),
    ("ppo", "entropy collapses early", {}, falls("entropy", 4, 0.01)),
    ("ppo", "policy updates are too large", {}, {"kl": 0.3 + 0 * RISE}),
    ("ppo", "policy updates are too large", {}, {"clipped": 0.6 + 0 * RISE}),
    ("ppo", "the critic does not predict returns", {}, falls("explained_variance", 5, -0.2)),
    ("q", "exploration ends before learning starts", {"epsilon_steps": 4_000}, {}),
    ("q", "exploration ends before learning starts", {"epsilon_steps": 9_000}, {}),
    ("q", "the run ends before exploration does", {"epsilon_steps": 5_000_000}, {}),
    ("q", "most of the run is warm-up", {"warmup": 300_000, **LONG}, {}),
    ("q", "replay ratio is unusual", {"updates_per_step": 0.001}, {}),
    ("q", "replay ratio is unusual", {"updates_per_step": 2.0}, {}),
    ("q", "the replay buffer is too small", {"capacity": 4_000}, {}),
    ("q", "the replay buffer is too small", {"capacity": 1_000, "warmup": 500}, {}),
    (
        "q",
        "rewards are badly scaled",
        {},
        {"return": 9_000 * RISE, "train_return": 9_000 * RISE},
    ),
    (
        "ppo",
        "rewards are badly scaled",
        {"normalise_value": False},
        {"return": 1e-4 * RISE, "train_return": 1e-4 * RISE},
    ),
    ("q", "return fell from its best", {}, {"return": COLLAPSE}),
]


EMPTY: dict = {}
SHARED = ("kl", "clipped", "explained_variance", "grad_norm")
"""Metrics whose checks look at the mean over seeds."""


def make_run(
    folder,
    kind,
    settings=EMPTY,
    metrics=EMPTY,
    *,
    environment="Foraging-8x8-2p-2f-coop-v3",
    seeds=2,
    random_return=0.0,
    count=K,
):
    """Write a run folder; `metrics` replace those of the last seed, and of all if in `SHARED`."""
    learner = {**(Q_SETTINGS if kind == "q" else PPO_SETTINGS), **settings}
    config = {
        "algorithm": "unheard-of",
        "environment": environment,
        "total_steps": 500_000,
        "seeds": seeds,
        "num_envs": 32,
        "learner": learner,
        "env": {},
    }
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.dump(config))
    series = dict(Q_METRICS if kind == "q" else PPO_METRICS)
    changed = {**series, **metrics}
    with (folder / "metrics.jsonl").open("w") as file:
        for i in range(count):
            line = {"steps": int(STEPS[i]), "seconds": 1.0, "phases": {}}
            for name, values in changed.items():
                usual = series.get(name, values)[i]
                each = [usual] * (seeds - 1) + [values[i]]
                each = [values[i]] * seeds if name in SHARED or "train_return" in metrics else each
                line[name] = [None if np.isnan(x) else float(x) for x in each]
            file.write(json.dumps(line) + "\n")
    if count == K:
        mean = float(changed["return"][-1])
        returns = {"mean": mean, "interval_95": [mean - 0.02 * abs(mean), mean], "iqm": mean}
        result = {"return": returns, "random_return": random_return, "optimum": 1.0}
        (folder / "result.json").write_text(json.dumps(finite(result)))
    return folder


@pytest.mark.parametrize("kind", ["q", "ppo"])
def test_nothing_is_found_in_a_sound_run(kind, tmp_path, capsys):
    folder = make_run(tmp_path / "run", kind)
    assert examine(read_run(folder)) == []
    assert cli.run(["doctor", str(folder), "--strict"]) == 0
    out = capsys.readouterr().out
    assert "nothing looks wrong" in out and "checked, as far as the run tells" in out
    assert "500,000 steps, finished" in out


@pytest.mark.parametrize(
    ("kind", "title", "settings", "metrics"),
    WRONG,
    ids=[f"{i} {w[1]}" for i, w in enumerate(WRONG)],
)
def test_each_mistake_is_found_and_nothing_else(kind, title, settings, metrics, tmp_path, capsys):
    folder = make_run(tmp_path / "run", kind, settings, metrics)
    findings = examine(read_run(folder))
    assert [finding.title for finding in findings] == [title]
    blamed = [name for name in settings if name not in (*LONG, "reward_scaling")]
    assert all(f"learner.{name}" in " ".join(findings[0].look_at) for name in blamed)
    assert findings[0].look_at and all(
        name.split()[0] in read_run(folder).settings
        for name in findings[0].look_at
        if name.startswith("learner.")
    )
    assert any(character.isdigit() for character in findings[0].seen), "it has numbers"
    assert cli.run(["doctor", str(folder)]) == 0
    assert cli.run(["doctor", str(folder), "--strict"]) == 1
    assert title in capsys.readouterr().out


def test_a_return_at_random_play_is_found_unless_it_is_the_optimum(tmp_path):
    (finding,) = examine(read_run(make_run(tmp_path / "bad", "q", random_return=0.95)))
    assert finding.title == "no better than random play" and "0.95" in finding.seen
    best = {"return": np.linspace(0.97, 0.99, K), "train_return": 0.9 + 0 * RISE}
    run = read_run(make_run(tmp_path / "best", "q", {}, best, random_return=0.99))
    assert examine(run) == []


@pytest.mark.parametrize(
    ("evaluation", "found"), [(94.0, True), (9.0, False), (20.0, False), (40.0, True)]
)
def test_evaluations_that_take_much_of_the_time_are_found(evaluation, found, tmp_path):
    folder = make_run(tmp_path / "run", "q")
    result = json.loads((folder / "result.json").read_text())
    result["seconds"] = {"compile": 500.0, "rollout": 4.0, "update": 60.0, "evaluation": evaluation}
    (folder / "result.json").write_text(json.dumps(result))
    findings = examine(read_run(folder))
    assert [one.title for one in findings] == ["evaluations take much of the time"] * found
    assert all("94 of 158 s" in one.seen for one in findings if evaluation == 94)


def test_every_check_has_a_run_here():
    titles = {wrong[1] for wrong in WRONG} | {"no better than random play"}
    titles |= {"evaluations take much of the time", "numbers are not finite"}
    titles |= {"the environment's rewards are not finite"}
    assert len(titles) == len(CHECKS)


def test_broken_arrays_of_a_policy_are_found(tmp_path):
    from safetensors.numpy import save

    folder = make_run(tmp_path / "run", "q")
    (folder / "policy").mkdir()
    arrays = {"good": np.ones(2, np.float32), "bad/kernel": np.array([1, np.nan], np.float32)}
    (folder / "policy" / "arrays.safetensors").write_bytes(save(arrays))
    (finding,) = examine(read_run(folder))
    assert finding.title == "numbers are no longer finite" and "bad/kernel" in finding.seen


def test_the_cause_of_nan_is_told_first_and_alone(tmp_path):
    """A run that was ended says it itself; an older one has returns without a number."""
    series = {"return": np.where(np.arange(K) < 9, RISE, np.nan), "loss": RISE * np.nan}
    folder = make_run(tmp_path / "run", "q", {}, series)
    first, *others = examine(read_run(folder))
    assert first.title == "the environment's rewards are not finite" and "check_env" in str(first)
    assert not [one for one in others if one.title == "numbers are no longer finite"]
    failure = {"source": "learner", "message": "the learner has NaN in kernel"}
    (folder / "failure.json").write_text(json.dumps(failure))
    first, *others = examine(read_run(folder))
    assert first.seen == failure["message"] and "learner.lr (smaller)" in first.look_at
    assert not [one for one in others if "finite" in one.title]


def test_noise_is_not_reported(tmp_path):
    """Noisy returns, and runs that have not learned yet, 100 of them."""
    rng = np.random.default_rng(0)
    for index in range(100):
        noise = rng.normal(0, 0.1, K)
        series = {"return": (RISE if index % 2 else 0.4) + noise}
        folder = make_run(tmp_path / str(index), "q", {}, series)
        assert [f.title for f in examine(read_run(folder))] == [], index


def test_unfinished_and_unknown_runs_are_read_as_far_as_they_go(tmp_path, capsys):
    for count in (1, 2, 3, 5):
        folder = make_run(tmp_path / str(count), "q", environment="elsewhere/game", count=count)
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"steps": 9, "ret')  # being written
        assert examine(read_run(folder)) == []
    assert cli.run(["doctor", str(folder)]) == 0
    assert "not finished" in capsys.readouterr().out
    line = '{"steps": 5, "seconds": 1, "return": [0.0, 0.1], "strange": [1.0, 2.0]}\n'
    (folder / "metrics.jsonl").write_text(line)
    (folder / "config.yaml").write_text("{algorithm: other, environment: other, seeds: 2}\n")
    assert examine(read_run(folder)) == []


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert cli.run(["doctor", str(tmp_path)]) == 2
    assert "has no config.yaml" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text("{algorithm: iql, environment: matrix/climbing}")
    assert cli.run(["doctor", str(tmp_path)]) == 2
    assert "has no evaluation yet" in capsys.readouterr().err
    assert cli.run(["doctor"]) == 2
    assert cli.run(["doctor", str(tmp_path), "--strct"]) == 2
    assert "did you mean --strict" in capsys.readouterr().err


def test_a_real_run_has_all_metrics(tmp_path, capsys):
    """QMIX on a small game, with an exploration that ends at once."""
    options = ["--total-steps", "1500", "--num-envs", "4", "--rollout-length", "4", "--evals", "8"]
    options += [
        "--learner.hidden",
        "8",
        "--learner.mixer-hidden",
        "8",
        "--learner.mixer-embed",
        "4",
    ]
    options += ["--learner.warmup", "200", "--learner.epsilon-end", "0", "--learner.epsilon-steps"]
    options += ["100", "--eval-episodes", "20", "--learner.batch", "8", "--learner.capacity"]
    command = ["train", "qmix", "matrix/two_step", *options, "1000", "--out", str(tmp_path / "run")]
    assert cli.run(command) == 0
    run = read_run(tmp_path / "run")
    for name in ("mixer_slope", "dormant", "q", "td_error", "grad_norm"):
        late = run.late(name)
        assert late is not None and np.isfinite(late).all(), name
    assert 0 <= run.late("dormant").min() <= run.late("dormant").max() <= 1
    assert run.late("mixer_slope").min() > 0
    titles = [finding.title for finding in examine(run)]
    assert "exploration ends before learning starts" in titles
    assert not {"numbers are no longer finite", "the mixer is dead", "values explode"} & {*titles}
    assert doctor.exploration_over(run) is not None
