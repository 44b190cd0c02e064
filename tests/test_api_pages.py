"""Every public name is documented; the build of the site fails on one that is not."""

import importlib.util
import sys
import types
from pathlib import Path

import pytest

import marlx

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def hooks():
    """`docs/hooks.py`, with or without mkdocs installed."""
    files = types.ModuleType("mkdocs.structure.files")
    files.File = object
    stand_ins = {"mkdocs": None, "mkdocs.structure": None, "mkdocs.structure.files": files}
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs")
        for name, module in stand_ins.items():
            patch.setitem(sys.modules, name, module or types.ModuleType(name))
        spec = importlib.util.spec_from_file_location("hooks", ROOT / "docs" / "hooks.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def test_every_public_name_is_documented(hooks):
    assert not hooks.undocumented()
    names = {*hooks.public_names()}
    assert "marlx.testing.checks.check_env" in names
    assert not [name for name in names if "._" in name], "modules that are not public"


def test_a_name_that_no_page_has_is_found(hooks, monkeypatch):
    names = ["marlx.learner.Learner", "marlx.runs.policies.forgotten"]
    monkeypatch.setattr(hooks, "public_names", lambda: names)
    assert hooks.undocumented() == ["marlx.runs.policies.forgotten"]
    with pytest.raises(ValueError, match="forgotten"):
        hooks.on_files([], None)


def test_the_public_face_is_documented(hooks):
    values = {name: getattr(marlx, name) for name in marlx.__all__ if name not in ("algos", "envs")}
    assert not hooks.undocumented(f"{value.__module__}.{name}" for name, value in values.items())
