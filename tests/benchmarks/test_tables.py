"""The tables of the pages are those of the stored rows."""

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
        text = page.read_text("utf-8")
        assert tables.filled(text) == text, f"{page.name}: python benchmarks/studies/tables.py"


def test_every_table_is_on_a_page(tables):
    text = "".join(page.read_text("utf-8") for page in tables.pages())
    assert [name for name in tables.TABLES if f"<!-- table: {name} -->" not in text] == []


def test_a_changed_number_is_put_right(tables):
    page = tables.DOCS / "results.md"
    text = page.read_text("utf-8")
    assert tables.filled(text.replace("165 [155, 175]", "166 [155, 175]")) == text


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
