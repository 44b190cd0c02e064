"""The tables of the pages, and the numbers in their sentences, are those of the stored rows."""

from pathlib import Path

import pytest

STUDIES = Path(__file__).parents[2] / "benchmarks" / "studies"


@pytest.fixture(scope="module")
def tables():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(STUDIES)
        import tables

        yield tables


def test_pages_show_the_stored_numbers(tables):
    for page in tables.pages():
        text, name = page.read_text("utf-8"), tables.name(page)
        assert tables.filled(text, name) == text, f"{name}: python benchmarks/studies/tables.py"


def test_every_table_is_on_a_page(tables):
    text = "".join(page.read_text("utf-8") for page in tables.pages())
    assert [name for name in tables.TABLES if f"<!-- table: {name} -->" not in text] == []


def test_a_changed_number_is_put_right(tables):
    page = tables.DOCS / "results.md"
    text = page.read_text("utf-8")
    assert tables.filled(text.replace("165 [155, 175]", "166 [155, 175]")) == text


@pytest.mark.parametrize(
    ("page", "stored", "typed"),
    [
        ("docs/gmah.md", "0.903 against 0.761", "0.913 against 0.761"),
        ("docs/mansa.md", "0.955\n[0.923, 0.983]", "0.955\n[0.923, 0.993]"),
        (
            "docs/mansa.md",
            "at least 71% fewer calls, **but its",
            "at least 81% fewer calls, **but its",
        ),
    ],
)
def test_a_changed_number_in_a_sentence_is_put_right(tables, page, stored, typed):
    text = (tables.ROOT / page).read_text("utf-8")
    assert text.count(stored) == 1
    assert tables.filled(text.replace(stored, typed), page) == text


def test_a_changed_number_of_the_readme_is_put_right(tables):
    text = (tables.ROOT / "README.md").read_text("utf-8")
    (line,) = [one for one in text.splitlines() if one.startswith("| foraging 8x8, 2 players |")]
    typed = text.replace(line, "| foraging 8x8, 2 players | jumanji | 99.9 to 100.0 |")
    assert typed != text and tables.filled(typed, "README.md") == text


def test_a_sentence_that_is_not_there_is_missed(tables):
    text = (tables.ROOT / "docs/iql.md").read_text("utf-8")
    with pytest.raises(
        ValueError, match=r"found 0 times, and not once: 'it was at \{\} in this run"
    ):
        tables.filled(text.replace("in this run", "in a run"), "docs/iql.md")


def test_every_number_of_a_page_is_accounted_for(tables):
    """It is in a table, in a claim, or named as no result: none is typed by hand."""
    import _claims
    import _prose

    for page in _claims.CLAIMS.keys() | _claims.OTHERS.keys():
        text = (tables.ROOT / page).read_text("utf-8")
        others = _claims.OTHERS.get(page, ())
        left = list(_prose.unclaimed(text, _claims.claims(page), others))
        assert left == [], f"{page}: store the run and add a claim in _claims.py, or leave it out"


@pytest.mark.parametrize("typed", ["It got 0.731 once.", "Some 4,111 steps.", "In 31% of them."])
def test_a_number_typed_by_hand_is_found(tables, typed):
    import _prose

    text = "A third, `0.5` of [it](a-1.5.md), on Python 3.11, 95% intervals, 2,000,000 steps.\n"
    assert list(_prose.unclaimed(text, [], [])) == []
    claim = _prose.Claim("We have {}.", "0.25 [0.20, 0.30]")
    text += "We have 0.21 [0.20,\n0.30]. Gamma is 0.99.\n"
    assert claim.filled(text) == text.replace("0.21", "0.25")
    assert list(_prose.unclaimed(text, [claim], ["is 0.99"])) == []
    assert len(list(_prose.unclaimed(text + typed, [claim], ["is 0.99"]))) == 1


def test_words_that_the_rows_do_not_bear_out_are_refused(tables):
    import _prose

    assert _prose.stated("All of them.", true=True).match("All\nof them. Or so.")
    with pytest.raises(ValueError, match="no longer show it: 'All of them"):
        _prose.stated("All of them.", true=False)


def test_a_region_without_end_or_table_is_refused(tables):
    with pytest.raises(ValueError, match="no <!-- end -->"):
        tables.filled("<!-- table: learning-small -->\n| a |\n")
    with pytest.raises(ValueError, match="no table is called 'learning-smal'"):
        tables.filled("<!-- table: learning-smal -->\n<!-- end -->\n")


@pytest.mark.parametrize(
    ("mean", "low", "high", "text"),
    [
        (0.9719, 0.9516, 1.0, "0.972 [0.952, 1.000]"),
        (165.0, 155.0, 175.0, "165 [155, 175]"),
        (-9.969, -11.93, -8.401, "-9.97 [-11.93, -8.40]"),
        (500.0, 500.0, 500.0, "500"),
        (-0.0002, -0.0004, 0.0, "0.000 [0.000, 0.000]"),
    ],
)
def test_numbers_have_three_digits_and_intervals_as_many_decimals(tables, mean, low, high, text):
    import _cells

    assert _cells.interval(mean, low, high) == text
