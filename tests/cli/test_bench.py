"""`marlx bench`: which scripts run, what JaxMARL's need, and ratios beside the documented ones."""

import sys
from pathlib import Path

import pytest

from marlx.cli import bench, run

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "speed"))


def row(arm, ratio, comparison="speed_jaxmarl"):
    return {"comparison": comparison, "arm": arm, "measured": {"ratio": ratio}}


def test_a_ratio_more_than_a_tenth_below_the_documented_one_is_behind():
    stored = [row("qmix", 1.3), row("vdn", 2.0), row("gone", 1.0), row("x", 5.0, "speed_mpe")]
    here = [row("qmix", 1.18), row("vdn", 1.7), row("new", 0.1), row("x", 1.0, "speed_mpe")]
    found = bench.compared(here, stored, ["speed_jaxmarl"])
    assert [one.name for one in found] == ["speed_jaxmarl: qmix", "speed_jaxmarl: vdn"]
    assert [one.here < one.least for one in found] == [False, True]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["jaxmarl"], "marlx bench jaxmarl needs --jaxmarl CLONE"),
        (["jaxmarl", "--jaxmarl", "nowhere"], "--jaxmarl is nowhere; it must be a clone"),
    ],
)
def test_jaxmarls_scripts_need_a_clone(words, expected, capsys):
    assert run(["bench", *words]) == 2
    assert expected in capsys.readouterr().err


def test_settings_of_jaxmarls_scripts_are_those_of_their_files(tmp_path):
    import jaxmarl_script

    for name, text in {
        "a.yaml": '"LR": 5e-3\n"NUM_ENVS": 8\n"SEED": 7',
        "b.yaml": "LR: 1e-3",
    }.items():
        (tmp_path / name).write_text(text)
    script = jaxmarl_script.Script("a.py", ("a.yaml", "b.yaml"), tests=True)
    found = jaxmarl_script.settings_of(script, tmp_path, steps=100, tests=False)
    assert (found["LR"], found["NUM_ENVS"]) == (1e-3, 8)  # 1e-3 is a word in YAML 1.1
    assert (found["TOTAL_TIMESTEPS"], found["SEED"], found["TEST_DURING_TRAINING"]) == (
        100,
        0,
        False,
    )
