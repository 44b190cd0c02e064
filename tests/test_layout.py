"""Imports point one way: a package imports only what stands before it."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    "_version statistics text types",
    "files settings _modules",
    "policy_files",
    "xla",
    "environment learner",
    "learning subgoals",
    "nets data",
    "registry",
    "loop",
    "testing",
    "config",
    "runs",
    "loggers",
    "training",
    "analysis",
    "sweeps",
    "viewer",
    "cli",
)
"""Parts of `marlx`, lowest first; those of one line do not import each other."""
LEVEL = {part: level for level, parts in enumerate(ORDER) for part in parts.split()}
BESIDE = {
    "envs": "_modules files settings text types xla environment learner learning registry testing",
    "envs.partners": "_modules files settings text types xla environment learner learning registry "
    "loop config runs",
    "algos": "_modules settings text types xla environment learner learning subgoals nets data "
    "registry",
}
"""What environments and algorithms may import of `marlx`, besides themselves."""
FACE = {"marlx", "marlx.__main__"}
"""The public face imports everything, when it is first used."""


def modules() -> dict[str, Path]:
    """Every module of the package by dotted name."""
    found = {}
    for folder, package in (("marlx", "marlx"), ("envs", "marlx.envs"), ("algos", "marlx.algos")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            if folder == "marlx" and parts[0] in (
                "envs",
                "algos",
                "configs",
                "protocols",
                "reference",
            ):
                continue  # links to the folders beside
            name = ".".join([package, *(part for part in parts if part != "__init__")])
            found[name] = path
    return found


MODULES = modules()


def imports(name: str) -> Iterator[str]:
    """Modules that a module imports: at the top, inside functions and for types alike."""
    for node in ast.walk(ast.parse(MODULES[name].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in MODULES:
                    yield inner
                elif node.module in MODULES:
                    yield node.module


EDGES = {name: sorted(set(imports(name)) - {name}) for name in MODULES}


def part(name: str) -> str:
    """The part of the layout that a module belongs to: `loop`, `envs.partners`, `algos`."""
    _, first, *rest = [*name.split("."), ""]
    return "envs.partners" if first == "envs" and rest[:1] == ["partners"] else first


def allowed(importer: str, imported: str) -> bool:
    """Whether one module may import another."""
    if imported in FACE:  # the command line stands above all
        return importer in FACE or part(importer) == "cli"
    own, other = part(importer), part(imported)
    if importer in FACE or own == other:
        return True
    if own in BESIDE:
        return other in BESIDE[own].split() or other.partition(".")[0] == own.partition(".")[0]
    return other in LEVEL and LEVEL[other] < LEVEL[own]


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_stands_before_it(name):
    wrong = [other for other in EDGES[name] if not allowed(name, other)]
    assert not wrong, f"{name} imports {', '.join(wrong)}"


def test_every_part_has_its_place():
    parts = {part(name) for name in MODULES if name not in FACE}
    assert parts == {*LEVEL, *BESIDE}


def test_no_imports_form_a_circle():
    state: dict[str, str] = {}
    trail: list[str] = []

    def visit(name: str) -> None:
        state[name] = "open"
        trail.append(name)
        for other in EDGES[name]:
            if state.get(other) == "open":
                circle = trail[trail.index(other) :]
                pytest.fail(" -> ".join([*circle, other]))
            if other not in state:
                visit(other)
        state[name] = "done"
        trail.pop()

    for name in MODULES:
        if name not in state and name not in FACE:
            visit(name)


def test_no_package_has_a_name_that_one_of_its_modules_has():
    """Else the module hides the name, or the name the module, as imports happen to run."""
    for name, path in MODULES.items():
        if path.name != "__init__.py" or name == "marlx":
            continue
        package = importlib.import_module(name)
        inside = {module.name for module in pkgutil.iter_modules(package.__path__)}
        public = set(getattr(package, "__all__", ())) | {
            target.id
            for node in ast.parse(path.read_text("utf-8")).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        assert not inside & public, f"{name} has both a module and a name: {inside & public}"


def test_no_module_of_algos_bears_an_algorithms_name():
    from marlx.registry import algorithms

    own = {name.split(".")[2] for name in MODULES if name.startswith("marlx.algos.")}
    assert not own & set(algorithms())
