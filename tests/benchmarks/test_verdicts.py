"""Verdicts on claims: their rules on made-up rows, and pages without and with the rows."""

from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"


@pytest.fixture(scope="module")
def verdicts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUDIES)
        import _verdicts

        yield _verdicts


@pytest.fixture
def rows(verdicts, monkeypatch):
    """Replaces the stored studies; `rows(study, comparison, arm, finals, **columns)` adds some."""
    import _cells as cells

    from marlx.analysis.result_rows import Study

    stored = {}

    def study(name):
        return stored.setdefault(name, Study([], {}))

    def add(name, comparison, arm, finals, digest="a", record=None, **columns):
        one = study(name)
        for seed, final in enumerate(finals):
            row = {"comparison": comparison, "arm": arm, "seed": seed, "final": final}
            row |= {"config_hash": f"{comparison} {arm} {digest}", "judged": "drawn"}
            one.rows.append(row | {"curve": [0.0, final], "steps": [0, 1000], "calls": None}
                            | {"measured": {}} | columns)  # fmt: skip
        run = {"judged": "drawn", "mean": 0.5, "interval": [0.4, 0.6], "extra": {}}
        one.settings[f"{comparison} {arm} {digest}"] = {"runs": [run], **(record or {})}

    monkeypatch.setattr(cells, "study", study)
    return add


def result(verdicts, finals, judged="drawn", **measured):
    import _cells as cells

    rows = [{"final": x, "judged": judged, "measured": measured} for x in finals]
    return cells.Result(rows, [])


@pytest.mark.parametrize(
    ("one", "other", "verdict"),
    [
        ([1.0, 0.9, 1.1, 1.0], [0.5, 0.4, 0.6, 0.5], "REACHED"),
        ([0.5, 0.4, 0.6, 0.5], [1.0, 0.9, 1.1, 1.0], "REFUTED"),
        ([1.0, 0.0, 1.0, 0.0], [0.4, 0.6, 0.4, 0.6], "UNDECIDED"),
        ([0.7, 0.7], [0.7, 0.7], "REFUTED"),  # none of the interval is above 0
        ([1.0], [0.0], "UNDECIDED"),  # a single seed decides nothing
    ],
)
def test_the_interval_of_the_difference_decides(verdicts, one, other, verdict):
    found = verdicts.above("A", result(verdicts, one), result(verdicts, other))
    assert found.verdict == getattr(verdicts, verdict)
    assert found.seeds == str(len(one))


def test_what_has_no_rows_is_not_measured(verdicts):
    some = result(verdicts, [1.0, 2.0])
    missing = verdicts.above("B", some, None)
    assert missing.verdict == verdicts.MISSING
    games = [verdicts.Verdict(f"C: {game}", verdicts.MISSING) for game in ("x", "y")]
    text = verdicts.table([missing, verdicts.decided("A", True, "all", 3), *games])
    shown = ["| A | **reached** | all | 3 |", "", "Not measured:", "", "- B", "- C: x; y"]
    assert text.splitlines()[2:] == shown


def test_arms_that_were_judged_differently_are_compared_by_greedy_actions(verdicts):
    greedy = result(verdicts, [0.5, 0.5], "greedy")
    drawn = result(verdicts, [0.4, 0.4], "drawn", greedy_return=0.8)
    assert "0.800 against 0.500" in verdicts.above("A", drawn, greedy).evidence


def test_a_claim_of_several_parts_needs_all_of_them(verdicts):
    yes, no, open_, gone = (
        verdicts.Verdict(name, verdict, "so", "5")
        for name, verdict in (
            ("p", verdicts.REACHED),
            ("q", verdicts.REFUTED),
            ("r", verdicts.UNDECIDED),
            ("s", verdicts.MISSING),
        )
    )
    cases = (([yes, yes], "REACHED"), ([yes, open_], "UNDECIDED"), ([no, open_], "REFUTED"),
             ([yes, gone], "UNDECIDED"), ([gone], "MISSING"))  # fmt: skip
    for parts, verdict in cases:
        assert verdicts.all_of("A", parts).verdict == getattr(verdicts, verdict)
    assert verdicts.all_of("A", [yes, gone]).evidence == "p so; not measured: s"


def test_pages_without_rows_say_so_and_rows_fill_them(rows):
    import _clam_tables
    import _clam_verdicts
    import _gmah_tables
    import _gmah_verdicts
    import _mansa_tables
    import _qplex_verdicts

    assert {one.verdict for one in _gmah_verdicts.claims()} == {"not measured"}
    assert _clam_tables.clam_acquaint() == _mansa_tables.headroom() == "Not measured."
    assert _mansa_tables.chain("matrix/chain-100") == _qplex_verdicts.curve() == "Not measured."

    rows("gmah", "vault", "mixing", [1.0, 1.0])
    rows("gmah", "vault", "none", [0.7, 0.7])
    assert "| two levels, no mixing | 0.700 | 0 of 2 |" in _gmah_tables.TABLES["gmah-vault"]()
    (mixing,) = (one for one in _gmah_verdicts.claims() if "`grid/vault-4p`" in one.claim)
    assert mixing.verdict == "**reached**"
    # trained again with other settings: the later rows count
    rows("gmah", "vault", "none", [1.0, 1.0, 1.0], digest="b")
    assert "| two levels, no mixing | 1 | 3 of 3 |" in _gmah_tables.TABLES["gmah-vault"]()

    rates = {"rate": [0.01, 0.05, 0.4], "headroom": [0.01, 0.03, 0.9], "alone": 0.5, "always": 0.9}
    rows("headroom", "Foraging-x-v3", "iql and qmix", [None, None], measured=rates)
    assert "| `x` | iql and qmix | 0.500 | 0.900 | +0.030 |" in _mansa_tables.headroom()

    bounds = dict.fromkeys(("knows", "remembers_all", "window", "reset", "present_only"), 2.0)
    run = {"judged": "drawn", "mean": 0.5, "interval": [0.4, 0.6], "extra": {"bounds": bounds}}
    for arm, final in (("clam", 0.9), ("recurrent", 0.1), ("liam", 0.1), ("random", 0.1)):
        rows("clam", "acquaint/kept-10", arm, [final, final], record={"runs": [run]})
    text = _clam_tables.clam_acquaint()
    assert "| bound: who remembers all | 2.00 | - |" in text
    assert "| `clam` | 0.50 [0.40, 0.60] | 2 |" in text
    kept = _clam_verdicts.rivals("acquaint/kept-10")
    assert kept.verdict == "undecided" and kept.evidence.endswith("not measured: no model")
    rows("clam", "acquaint/kept-10", "none", [0.1, 0.1])
    assert _clam_verdicts.rivals("acquaint/kept-10").verdict == "**reached**"

    long = {"curve": [0.0, 1.0, 0.2], "steps": [0, 800_000, 2_000_000]}
    rows("learning", _qplex_verdicts.LONG, "qplex", [0.2, 0.2], **long)
    assert _qplex_verdicts.claims()[0].verdict == "refuted"
    assert _qplex_verdicts.curve().endswith("| 1.000 | 2 of 2 |")
