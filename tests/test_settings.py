"""Settings that declare their bounds: the checks, and that every setting of marlx has them."""

import dataclasses
import inspect
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx import registry
from marlx.algos.agent_modelling.config import CLAMConfig
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.subgoals.config import GMAHConfig
from marlx.algos.switching.config import SwitchConfig
from marlx.loop.settings import TrainConfig
from marlx.settings import bounds_of, check_settings, require, setting, traced_settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = setting(0.5, at_least=0, at_most=1, traced=True)

    def __post_init__(self):
        check_settings(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    lr: float = setting(1e-3, above=0, at_most=1e6, traced=True)
    size: int = setting(4, at_least=1)
    weight: float = setting(0.0, at_least=0)
    share: float = setting(0.5, above=0, below=1)
    limit: int | None = setting(None, at_least=0)
    mode: Literal["a", "b"] = "a"
    free: float = -5.0
    clip: float = setting(1.0, above=0, finite=False)
    inner: Inner = dataclasses.field(default_factory=Inner)

    def __post_init__(self):
        check_settings(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": 0}, "lr is 0; it must be above 0"),
        ({"lr": float("nan")}, "lr is nan; it must be above 0"),
        ({"lr": float("inf")}, "lr is inf; it must be a finite number"),
        ({"free": float("-inf")}, "free is -inf; it must be a finite number"),
        ({"free": float("nan")}, "free is nan; it must be a number"),
        ({"lr": 1e9}, "lr is 1000000000.0; it must be above 0 and at most 1000000.0"),
        ({"limit": 2**31}, "limit is 2147483648; it must be at most 2147483647, or none"),
        ({"size": 10**400}, f"size is 1{'0' * 36} ... {'0' * 37}; it must be at most 2147483647"),
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"weight": -1.0}, "weight is -1.0; it must be 0 or more"),
        ({"share": 1.0}, "share is 1.0; it must be above 0 and below 1"),
        ({"limit": -1}, "limit is -1; it must be 0 or more, or none"),
        ({"mode": "c"}, "mode is 'c'; it must be 'a' or 'b'"),
    ],
)
def test_a_value_out_of_bounds_is_answered_with_name_value_and_bounds(values, message):
    with pytest.raises(ValueError) as error:
        Config(**values)
    assert str(error.value) == message


def test_infinity_is_accepted_where_it_has_a_meaning():
    assert Config(clip=float("inf")).clip == float("inf")
    assert TrainConfig(seed=4_061_526_404).seed == 4_061_526_404, "as in public sweeps"


def test_bounds_of_parts_are_checked_when_the_parts_are_made():
    with pytest.raises(ValueError, match=r"^rate is 2; it must be between 0 and 1$"):
        Inner(rate=2)


def test_a_rule_that_joins_settings_names_what_is_accepted():
    require("burn_in", 2, True, "less than window (4)")
    with pytest.raises(ValueError, match=r"^burn_in is 5; it must be less than window \(4\)$"):
        require("burn_in", 5, False, "less than window (4)")


def test_bounds_include_their_ends_only_where_they_say_so():
    assert Inner(rate=0).rate == 0 and Inner(rate=1).rate == 1
    assert Config(limit=0).limit == 0 and Config(share=0.999).share == 0.999


def test_arrays_are_not_checked():
    """Their values are not known while a program is being compiled."""

    @jax.jit
    def lr(value):
        return dataclasses.replace(Inner(), rate=value).rate * 2

    assert lr(jnp.float32(3.0)) == 6
    assert Inner(rate=np.array([5.0])).rate == 5


def test_traced_settings_are_those_declared_by_dotted_name():
    assert traced_settings(Config()) == {"lr": 1e-3, "inner.rate": 0.5}


def settings_classes():
    found = {TrainConfig}
    todo = [one.config for one in registry.algorithms().values()]
    while todo:
        cls = todo.pop()
        found.add(cls)
        todo += [type(v) for v in vars(cls()).values() if dataclasses.is_dataclass(v)]
    return sorted((cls for cls in found if cls.__module__.startswith("marlx")), key=str)


@pytest.mark.parametrize("cls", settings_classes(), ids=lambda cls: cls.__name__)
def test_every_number_has_bounds(cls):
    """Also where a subclass has another default, which replaces the whole field."""
    for field in dataclasses.fields(cls):
        if isinstance(field.default, int | float) and not isinstance(field.default, bool):
            assert bounds_of(field), f"{cls.__name__}.{field.name}"


@pytest.mark.parametrize("cls", settings_classes(), ids=lambda cls: cls.__name__)
def test_a_subclass_declares_a_setting_as_its_base_does(cls):
    for base in cls.__mro__[1:]:
        fields = (
            {f.name: f for f in dataclasses.fields(base)} if dataclasses.is_dataclass(base) else {}
        )
        for field in dataclasses.fields(cls):
            if field.name in fields:
                assert field.metadata == fields[field.name].metadata, field.name


@pytest.mark.parametrize("make", [TrainConfig, PPOConfig, GMAHConfig, SwitchConfig, CLAMConfig])
def test_a_misspelt_setting_of_a_config_gets_the_nearest_name(make):
    name = dataclasses.fields(make)[0].name
    with pytest.raises(
        ValueError, match=rf"unknown setting '{name}x' in {make.__name__}; .*{name}"
    ):
        make(**{f"{name}x": 1})
    with pytest.raises(ValueError, match=f"did you mean .*{name}"):
        dataclasses.replace(make(), **{f"{name}x": 1})
    assert make() == make(**{name: getattr(make(), name)})
    assert name in inspect.signature(make).parameters
