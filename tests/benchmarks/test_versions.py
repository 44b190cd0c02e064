"""Lowest versions: every dependency has one, and `make test-versions` takes them as they stand."""

import importlib.util
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("versions", ROOT / "benchmarks/versions/run.py")
assert SPEC is not None and SPEC.loader is not None
versions = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(versions)


def test_every_dependency_is_run_at_its_floor_and_without_bounds():
    needed = versions.requirements()
    names = [Requirement(one).name for one in needed]
    assert len(names) == len(set(names)) > 15 and {"jax", "flax", "optuna", "tensorboard"} <= {
        *names
    }
    for one in needed:
        low, new = Requirement(versions.lowest(one)), Requirement(versions.newest(one))
        assert low.name == new.name and not new.specifier
        if not Requirement(one).specifier:
            assert one == "six"  # gymnax needs it and does not say which
            continue
        (floor,) = low.specifier
        assert floor.operator == "==" and Requirement(one).specifier.contains(floor.version)


def test_the_floor_of_jax_has_what_the_code_calls():
    """jax 0.6.0 has no `jax.shard_map`, which two seeds need."""
    (jax,) = [one for one in versions.requirements() if Requirement(one).name == "jax"]
    assert versions.lowest(jax) == "jax==0.6.1"


def test_the_page_has_the_floors_that_were_run():
    page = (ROOT / "docs" / "accelerators.md").read_text(encoding="utf-8")
    heads = re.search(r"\| \| Python \|(.*)\|  ?\|\n", page)
    row = re.search(r"\| lowest \| [\d.]+ \|(.*)\| passes \|", page)
    assert heads is not None and row is not None
    named = dict(zip(*(map(str.strip, one[1].split("|")) for one in (heads, row)), strict=True))
    for one in versions.requirements():
        requirement = Requirement(one)
        if requirement.name in named:
            assert requirement.specifier.contains(named[requirement.name])
            (floor,) = Requirement(versions.lowest(one)).specifier
            shown = named[requirement.name]
            assert shown == floor.version or shown.startswith(f"{floor.version}.")
    assert {"jax", "flax", "optax", "numpy"} <= {*named}
