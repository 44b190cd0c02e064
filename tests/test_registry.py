"""Names: every one can be called, unknown ones are answered, plug-ins are found."""

import importlib
from pathlib import Path

import pytest

import marlx.algos
from marlx import registry
from marlx._modules import modules_of
from marlx.config import experiment
from marlx.learner import Learner
from marlx.testing import Constant

FORAGING = "Foraging-8x8-2p-2f-coop-v3"


@pytest.mark.parametrize("name", registry.algorithms())
def test_every_algorithm_is_an_attribute_that_can_be_called(name):
    """Also at the second access, when its module has been imported."""
    env_id = registry.algorithm(name).example or "Foraging-5x5-2p-1f-coop-v3"
    spec = experiment(name, env_id).prepared().spec()
    for _ in range(2):
        assert isinstance(getattr(marlx.algos, name)(spec), Learner)


def test_an_environment_or_its_id_stands_for_its_spec():
    env, params = registry.make("matrix/climbing", horizon=3)
    assert marlx.algos.iql(env).recipe.spec == env.spec(params)
    assert marlx.algos.iql("matrix/climbing").recipe.spec.horizon == 25
    assert marlx.algos.gmah("Foraging-5x5-2p-1f-coop-v3").recipe.spec.subgoals is not None
    with pytest.raises(ValueError, match=r"iql takes .* type tuple; .*marlx\.algos\.iql\(env"):
        marlx.algos.iql((env, params))
    with pytest.raises(ValueError, match=r"made from its id.*type EnvSpec"):
        marlx.make(env.spec())


def test_liam_is_clams_learner_with_that_model_and_its_presets():
    clam = experiment("clam", "partners/matrix/climbing", env={"privileged": True})
    liam = experiment("liam", "partners/matrix/climbing")
    assert liam.settings() == {
        **clam.settings(),
        "algorithm": "liam",
        "learner": {**clam.settings()["learner"], "model": "liam"},
    }
    with pytest.raises(ValueError, match="model 'liam' needs the partners"):
        marlx.algos.liam("matrix/climbing")


@pytest.mark.parametrize(
    "name",
    ["data.replay", "nets.mixers", "envs.matrix.game", "training", "algos.td_equations"],
)
def test_every_module_is_an_attribute(name):
    module = marlx
    for part in name.split("."):
        module = getattr(module, part)
    assert module.__name__ == f"marlx.{name}"


@pytest.mark.parametrize("package", ["xla", "learning", "nets", "data", "loop", "config", "runs",
                                     "analysis", "sweeps", "envs"])  # fmt: skip
def test_type_checkers_and_dir_know_every_module_of_a_package(package):
    module = importlib.import_module(f"marlx.{package}")
    names = modules_of(module.__name__)
    assert names and set(names) <= set(dir(module))
    text = Path(module.__file__).read_text("utf-8")
    for name in names:
        assert f"from marlx.{package} import {name} as {name}\n" in text
    with pytest.raises(AttributeError, match=r"no attribute 'zzz'$"):
        module.zzz  # noqa: B018
    with pytest.raises(AttributeError, match=f"did you mean .*{names[0]}"):
        getattr(module, f"{names[0]}x")


def test_an_algorithm_of_a_package_is_an_attribute_too(tiny_algorithm):
    for _ in range(2):
        assert isinstance(marlx.algos.tiny(Constant().spec(), lr=0.25), Learner)


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean qmix"):
        registry.algorithm("qmx")
    with pytest.raises(ValueError, match=rf"did you mean {FORAGING}.*Ids are formed as"):
        registry.make("Foragin-8x8-2p-2f-coop-v3")
    with pytest.raises(ValueError, match=r"'sigt' in Foraging.*did you mean sight"):
        registry.make(FORAGING, sigt=2)
    with pytest.raises(ValueError, match="'lrr' in qmix; did you mean lr"):
        registry.algorithm("qmix")(None, lrr=1)


class Entry:
    """An entry point of a package."""

    def __init__(self, name, load):
        self.name, self.value, self.load = name, f"package:{name}", load


@pytest.fixture
def loaded(monkeypatch):
    """`load(entries)`: algorithms, and the warnings, with the entry points of other packages."""

    def load(*entries):
        monkeypatch.setattr(registry.importlib.metadata, "entry_points", lambda group: entries)
        with pytest.warns(UserWarning) as caught:
            found = registry.algorithms.__wrapped__()
        return found, [str(warning.message) for warning in caught]

    return load


def test_plugins_are_found_and_broken_ones_cost_a_warning(loaded):
    def broken():
        raise ImportError("no\nsuch module")

    qmix = registry.algorithm("qmix")
    found, lines = loaded(
        Entry("good", lambda: qmix._replace(name="mine")),
        Entry("broken", broken),
        Entry("taken", lambda: qmix),
        Entry("wrong", lambda: ("not an algorithm",)),
    )
    assert len(lines) == 3 and not any("\n" in line for line in lines)
    assert "ImportError: no such module" in lines[0] and "'qmix' is taken" in lines[1]
    assert {"mine", "qmix"} <= set(found)
    assert "wrong" in lines[2]


@pytest.mark.parametrize("name", ["switching", "subgoals", "q_learning", "ppo_config"])
def test_a_plugin_with_the_name_of_a_module_of_algos_is_refused(name, loaded):
    """`marlx.algos.switching` would be the module, once that is imported."""
    own = registry.algorithm("qmix")._replace(name=name)
    found, (line,) = loaded(Entry("own", lambda: own))
    assert name not in found and "\n" not in line
    assert line.endswith(f"left out: ValueError: marlx.algos.{name} is a module of marlx")
