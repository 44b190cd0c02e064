"""`marlx bench`: what JaxMARL's scripts need, and ratios beside those that the page claims."""

import sys
from pathlib import Path

import pytest

from marlx.analysis.result_rows import read_study
from marlx.cli import bench_claims, run
from marlx.cli.bench_claims import CLAIMS, Case, Claim

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks" / "speed"))


def row(claim, case, ratio):
    return {"comparison": claim.comparison, "arm": case.arm, "measured": {claim.ratio: ratio}}


def claimed(target=1.3, *, stored=None, here=None):
    """A claim with one case beside its stored row and the one measured now."""
    claim = Claim("QMIX", "JaxMARL", "speed_jaxmarl", (Case("", "qmix", target),))
    rows = [[row(claim, claim.cases[0], one)] if one else [] for one in (here, stored)]
    return bench_claims.judged(claim, *rows)[0]


@pytest.mark.parametrize(
    ("target", "stored", "here", "least", "behind", "verdict"),
    [
        (1.3, 1.4, 1.3, 1.3, False, "reached"),  # the target is claimed, and reached exactly
        (1.3, 1.4, 1.29, 1.3, True, "not reached"),
        (1.3, 1.3, 1.29, 1.3, True, "not reached"),
        (1.3, 1.0, 0.9, 0.9, False, "not reached"),  # not reached there: nine tenths of it are
        (1.3, 1.0, 0.89, 0.9, True, "not reached"),
        (None, 2.0, 1.81, 1.8, False, ""),
        (None, 2.0, 1.79, 1.8, True, ""),
        (1.3, None, 0.1, None, False, "not reached"),  # the page has no number to fall behind
        (1.3, 1.4, None, 1.3, False, "not measured"),
    ],
)
def test_a_ratio_is_behind_exactly_where_it_is_below_the_claim(
    target, stored, here, least, behind, verdict
):
    found = claimed(target, stored=stored, here=here)
    assert (found.claimed, found.behind, found.verdict) == (least, behind, verdict)


def all_rows(ratio):
    return [row(claim, case, ratio) for claim in CLAIMS for case in claim.cases]


def test_every_claim_of_the_table_names_cases_of_its_script():
    import speed_foraging
    import speed_jaxmarl
    import speed_mpe
    import speed_qmix

    names = {(claim.comparison, case.arm) for claim in CLAIMS for case in claim.cases}
    assert len(names) == len(all_rows(1.0)), "no case twice"
    trained = {arm for comparison, arm in names if comparison == "speed_jaxmarl"}
    assert trained == speed_jaxmarl.CASES.keys()
    at_once = {arm for comparison, arm in names if comparison == "speed_qmix"}
    assert at_once < speed_qmix.CASES.keys()
    assert {comparison for comparison, _ in names} == {
        module.__name__ for module in (speed_foraging, speed_jaxmarl, speed_mpe, speed_qmix)
    }


def bench(monkeypatch, tmp_path, made, page, interrupted=False):
    """Runs `marlx bench table` whose scripts only write the rows `made`."""
    written = [row(CLAIMS[0], CLAIMS[0].cases[0], 0.01)]  # of another day: it must not count

    def script(one, *rest):
        if one.name == "speed_jaxmarl":
            written.extend(made)
            if interrupted:
                raise KeyboardInterrupt
        return 0

    (tmp_path / "baselines").mkdir()
    monkeypatch.setattr("marlx.cli.bench._run", script)
    monkeypatch.setattr("marlx.cli.bench._rows", lambda folder: list(written))
    monkeypatch.setattr("marlx.cli.bench._page_rows", lambda: page)
    return run(["bench", "table", "--jaxmarl", str(tmp_path), "--out", str(tmp_path / "out")])


def test_the_table_is_printed_and_one_slow_row_is_an_error_and_a_line(
    monkeypatch, tmp_path, capsys
):
    made = all_rows(20.0)
    assert bench(monkeypatch, tmp_path, made, all_rows(18.0)) == 0
    said = capsys.readouterr()
    assert said.err == "" and "4 scripts, about 32 minutes" in said.out
    assert said.out.count("reached") == len(CLAIMS) - 3 and "not measured" not in said.out

    slow = next(one for one in made if one["arm"] == "simple_tag_v3, 64 environments")
    made[made.index(slow)] = slow | {"measured": {"ratio": 9.99}}
    (tmp_path / "again").mkdir()
    assert bench(monkeypatch, tmp_path / "again", made, all_rows(18.0)) == 1
    said = capsys.readouterr()
    assert said.err == (
        "marlx: slower than documented: simple_tag, vector_step, 64 environments: 9.99 times, and "
        "the page claims 10.00\n"
    )
    assert "2 of 3 reached" in said.out


def test_an_interruption_shows_what_was_done(monkeypatch, tmp_path, capsys):
    made = [one for one in all_rows(20.0) if one["comparison"] == "speed_jaxmarl"]
    assert bench(monkeypatch, tmp_path, made, all_rows(18.0), interrupted=True) == 130
    said = capsys.readouterr().out
    assert said.count(" reached") == 7 and said.count("not measured") == len(CLAIMS) - 10


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["jaxmarl"], "marlx bench jaxmarl needs --jaxmarl CLONE"),
        (["table"], "marlx bench table needs --jaxmarl CLONE"),
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


def test_a_failing_case_is_one_line_and_the_others_are_run(monkeypatch, tmp_path, capsys):
    import speed_jaxmarl

    done = []

    def compare(name, case, *rest):
        if name == "vdn":
            raise speed_jaxmarl.Failed("jaxmarl failed: no such module")
        return {"ratio": 1.0}

    monkeypatch.setattr(speed_jaxmarl, "compare", compare)
    monkeypatch.setattr(
        speed_jaxmarl._timing, "write", lambda script, arm, *_, **__: done.append(arm)
    )
    (tmp_path / "baselines").mkdir()
    words = ["speed_jaxmarl.py", "--jaxmarl", str(tmp_path), "--only", "qmix", "vdn", "iql"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit, match="failed: vdn"):
        speed_jaxmarl.main()
    said = capsys.readouterr()
    assert done == ["qmix", "iql"] and said.err == "vdn: jaxmarl failed: no such module\n"
    assert "3 cases in 3 turns: about 5 minutes" in said.out


def test_a_side_that_fails_says_why_in_one_line(tmp_path):
    import speed_jaxmarl

    words = [sys.executable, "-c", "raise SystemExit('no\\nroom')"]
    with pytest.raises(speed_jaxmarl.Failed, match=r"^ours failed: no room$"):
        speed_jaxmarl.in_turns({"ours": words}, 1, str(tmp_path))


def test_a_row_replaces_that_of_its_case_whatever_its_settings_were(tmp_path, monkeypatch):
    import _timing

    monkeypatch.setenv("MARLX_BENCH_RESULTS", str(tmp_path))
    for steps in (100, 200):
        _timing.write("speed_x", "a", {"steps": steps}, {"ratio": float(steps)})
        _timing.write("speed_x", "b", {"steps": 1}, {"ratio": 1.0})
    stored = read_study(tmp_path, "speed")
    assert {row["arm"]: row["measured"]["ratio"] for row in stored.rows} == {"a": 200.0, "b": 1.0}
    assert len(stored.rows) == len(stored.settings) == 2
