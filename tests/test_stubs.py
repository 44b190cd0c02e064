"""`marlx.algos` for type checkers and editors: a stub and signatures made from the settings."""

import dataclasses
import inspect

import pytest
import stubs

import marlx
from marlx import registry


def test_the_stub_is_up_to_date():
    assert stubs.STUB.read_text("utf-8") == stubs.stub_text(), "run: python tests/stubs.py"


@pytest.mark.parametrize("name", registry.algorithms())
def test_every_algorithm_is_a_function_documented_by_its_settings(name):
    function = getattr(marlx.algos, name)
    settings = [f.name for f in dataclasses.fields(registry.algorithm(name).config) if f.init]
    assert inspect.isfunction(function) and function.__name__ == name
    assert function is getattr(marlx.algos, name)
    assert list(inspect.signature(function).parameters) == ["spec", *settings]
    for setting in settings:
        assert f"\n  {setting}: " in inspect.getdoc(function), f"{setting} has no text"


def test_algorithms_are_listed():
    assert set(registry.algorithms()) <= set(dir(marlx.algos))
    assert marlx.algos.iql.__module__ == "marlx.algos"
