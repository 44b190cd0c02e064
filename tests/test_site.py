"""What the site makes of the pages: formulas, tables of settings, no comments for tools."""

import dataclasses
import importlib
import re
import types
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {page.name: page.read_text("utf-8") for page in DOCS.glob("*.md")}


@pytest.fixture
def markup(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    return importlib.import_module("markup")


def test_comments_for_tools_are_left_out(markup):
    page = "<!-- test: run\nx = 1\n-->\n<!-- table: a-b -->\n| a |\n<!-- end -->\ntext\n"
    assert markup.made(page) == "| a |\ntext\n"


def test_a_table_of_settings_has_all_of_them_with_default_values_and_meaning(markup):
    from marlx.algos.q_config import QConfig

    lines = markup.settings_table("marlx.algos.q_config.QConfig").splitlines()
    shown = [line.split("`")[1] for line in lines[2:]]
    assert shown == [field.name for field in dataclasses.fields(QConfig)]
    assert "| `gamma` | `0.99` | number ≥ 0, ≤ 1 | Discount per environment step. |" in lines
    assert "| `reward` | `team` | `team`, `own` | Reward that an agent learns from:<br>" in "".join(
        lines
    )


def test_parts_are_left_to_their_own_tables_and_none_is_said(markup):
    table = markup.settings_table("marlx.algos.switching.config.MansaConfig")
    assert "`switch`" not in table and "| `budget` | `none` | whole ≥ 0 or none |" in table


def test_every_table_of_settings_on_a_page_can_be_made(markup):
    names = re.findall(r"^<!-- settings: ([\w.]+) -->$", "".join(PAGES.values()), re.M)
    assert len(names) > 8
    for name in names:
        assert markup.settings_table(name).count("\n") > 3


def test_every_formula_is_typeset(markup):
    pytest.importorskip("latex2mathml")
    formulas = re.findall(r"^```math\n(.*?)^```$", "".join(PAGES.values()), re.M | re.S)
    assert len(formulas) > 10
    for formula in formulas:
        assert "<math" in markup.typeset(formula)
    with pytest.raises(ValueError, match=r"no MathML for \\unknown"):
        markup.typeset(r"\unknown x")


def test_links_out_of_the_pages_lead_nowhere_on_the_site(monkeypatch):
    """Files beside `docs/` are named there; a link to one would end `make docs`."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(DOCS)
    hooks = importlib.import_module("hooks")
    for name, text in PAGES.items():
        page = types.SimpleNamespace(file=types.SimpleNamespace(src_uri=name))
        shown = hooks.on_page_markdown(text, page, None, None)
        out = re.findall(r"\]\(\.\./([^)]*)\)", shown)
        assert not [path for path in out if path.partition("#")[0] not in hooks.BESIDE], name


def test_comments_do_not_stand_at_the_end_of_long_lines_of_code():
    for name, text in PAGES.items():
        for block in re.findall(r"^```(?:python|bash)[^\n]*\n(.*?)^```$", text, re.M | re.S):
            for line in block.splitlines():
                assert len(line) <= 100 or "  # " not in line, f"{name}: {line}"


def test_comments_behind_fields_are_their_descriptions(monkeypatch):
    griffe = pytest.importorskip("griffe")
    monkeypatch.syspath_prepend(DOCS)
    field_comments = importlib.import_module("field_comments")
    loader = griffe.GriffeLoader(
        extensions=griffe.load_extensions(field_comments.FieldComments), search_paths=[DOCS.parent]
    )
    transition = loader.load("marlx.types")["Transition"]
    lines = transition.docstring.value.splitlines()
    assert "    obs: before the step" in lines
    assert "    extras: added by the learner's `act`" in lines
