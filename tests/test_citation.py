"""The citation file and the front page name the version of the package."""

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def test_what_is_cited_is_this_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert {"cff-version", "title", "message", "authors"} <= citation.keys()
    assert f"version = {{{project['version']}}}" in (ROOT / "docs" / "index.md").read_text()
