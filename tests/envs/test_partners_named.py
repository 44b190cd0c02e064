"""Environments with partners by name: settings, pools and errors."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import marlx
from marlx import config
from marlx.envs import partners
from marlx.envs.foraging import Foraging
from marlx.envs.partners import Partner


def test_names_make_the_environment_and_its_settings() -> None:
    env, params = marlx.make("partners/Foraging-2s-8x8-3p-2f-v3")
    assert env.cast.names == ("h1", "h2", "h3", "h4") and env.cast.ego == (0,)
    assert env.spec(params).id == "partners/Foraging-2s-8x8-3p-2f-v3"
    assert (env.spec().num_agents, env.spec().horizon, env.spec().optimum) == (1, 50, None)
    other, _ = marlx.make(
        "partners/Foraging-2s-8x8-3p-2f-v3", pool=("random", "h1"), ego=(2, 1), horizon=7
    )
    assert other.cast.names == ("random", "h1") and other.cast.ego == (2, 1)
    assert other.spec().horizon == other.cast.env.horizon == 7
    push, _ = marlx.make("partners/mpe/simple_push_v3")
    assert push.cast.names == ("random",)


def test_settings_are_those_of_a_run() -> None:
    """Settings from the command line and from a config.yaml make the same environment."""
    id = "partners/Foraging-8x8-2p-2f-coop-v3"
    experiment = config.experiment("iql", id, env={"pool": ["h1", "h2"], "penalty": 0.1})
    settings = experiment.settings()
    assert settings["env"]["pool"] == ["h1", "h2"] and settings["env"]["ego"] == [0]
    again = config.experiment("iql", id, env=settings["env"])
    assert again.settings() == settings
    assert again.env.cast.env == experiment.env.cast.env == Foraging(force_coop=True, penalty=0.1)
    assert "name" not in settings["env"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pool": ("h5",)}, r"unknown partner 'h5' in the pool of .*; did you mean h4"),
        ({"ego": (0, 1)}, r"ego is \(0, 1\), all agents of"),
        ({"ego": (2,)}, r"ego is \(2,\); it must hold different agents from 0 to 1"),
        ({"epsilon": 2.0}, r"epsilon is 2.0; it must be between 0 and 1"),
        ({"sight": 0}, r"sight is 0"),
        ({"pol": ("h1",)}, r"unknown environment setting 'pol' .* did you mean pool"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        marlx.make("partners/Foraging-8x8-2p-2f-v3", **settings)


def test_ids_that_cannot_be_are_refused(tmp_path: Any) -> None:
    with pytest.raises(ValueError, match="unknown environment 'Foragin"):
        marlx.make("partners/Foragin-8x8-2p-2f-v3")
    with pytest.raises(ValueError, match="has 1 agent"):
        marlx.make("partners/Foraging-8x8-1p-1f-v3")
    with pytest.raises(ValueError, match="holds no policy"):
        marlx.make("partners/Foraging-8x8-2p-2f-v3", pool=(str(tmp_path),))


def test_a_setting_of_the_same_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Pooled(Foraging):
        pool: int = 3

    monkeypatch.setattr(partners.named, "make_env", lambda id: Pooled())
    with pytest.raises(ValueError, match="has a setting 'pool' of its own"):
        partners.make("partners/Pooled")


def test_every_partner_is_one_kind_where_it_can_be() -> None:
    """h1 to h4 are one rule with other parameters, so the four cost what one does."""
    env, _ = marlx.make("partners/Foraging-8x8-2p-2f-v3")
    assert [kind.size for kind in env.cast.kinds] == [4]
    assert all(isinstance(p, Partner) for p in partners.heuristics(env.cast.env).values())
