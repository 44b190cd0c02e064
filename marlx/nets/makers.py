"""The networks that the setting `network` names, and the one place where it is read.

`NETWORKS` is a table of functions `(NetworkSpec) -> Network`. The setting takes a name of the table
or, from Python, such a function.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from marlx.nets.agents import (
    AgentNetwork,
    SharingMode,
    TeamNetwork,
    central_network,
    of_module,
    team_network,
)
from marlx.nets.contract import Maker, Network, NetworkSpec
from marlx.nets.encoders import HEADS, EntityEncoder, PlanesEncoder
from marlx.nets.window_attention import window_network
from marlx.settings import require
from marlx.types import EnvSpec

NetworkName = Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"]


class NetworkSettings(Protocol):
    """Settings of a learner that its agents' networks are made from."""

    @property
    def network(self) -> NetworkName | Maker: ...  # noqa: D102
    @property
    def attention_steps(self) -> int: ...  # noqa: D102
    @property
    def hidden(self) -> int: ...  # noqa: D102
    @property
    def recurrent(self) -> bool: ...  # noqa: D102
    @property
    def layer_norm(self) -> bool: ...  # noqa: D102
    @property
    def sharing(self) -> SharingMode: ...  # noqa: D102
    @property
    def agent_id(self) -> bool: ...  # noqa: D102


# --- the table ---


def mlp(spec: NetworkSpec) -> Network:
    """Returns two dense layers and a head; the agent sees the present observation only."""
    return _agent(spec, recurrent=False)


def gru(spec: NetworkSpec) -> Network:
    """Returns a dense encoder, a GRU and a head."""
    return _agent(spec, recurrent=True)


def auto(spec: NetworkSpec) -> Network:
    """Returns `gru` or `mlp`, as `spec.recurrent` says."""
    return _agent(spec, recurrent=spec.recurrent)


def cnn(spec: NetworkSpec) -> Network:
    """Returns convolutions over the observation's planes, then as `auto`.

    Raises:
      ValueError: no planes are declared.
    """
    if spec.planes is None:
        raise ValueError(
            f"network is 'cnn', which reads an image, and {spec.env} declares no planes; "
            "Foraging-grid-8x8-2p-2f-coop-v3, for instance, does"
        )
    return _agent(spec, spec.recurrent, PlanesEncoder(spec.hidden, spec.planes))


def entity(spec: NetworkSpec) -> Network:
    """Returns attention over the rows of an observation, then as `auto`.

    Raises:
      ValueError: no rows are declared.
    """
    if not spec.entities:
        raise ValueError(
            f"network is 'entity', which reads rows, and {spec.env} declares no entities; "
            "Foraging-8x8-2p-2f-coop-v3, for instance, does"
        )
    return _agent(spec, spec.recurrent, EntityEncoder(spec.hidden, spec.entities))


NETWORKS: Mapping[str, Maker] = {
    "auto": auto,
    "mlp": mlp,
    "gru": gru,
    "cnn": cnn,
    "entity": entity,
    "transformer": window_network,
}
"""Makers by name. To add one for everyone, write it and add a line here and in `NetworkName`."""

OF_A_STATE: Mapping[str, Maker] = {"mlp": mlp, "gru": gru, "transformer": window_network}
"""Makers for the global state, which declares no planes and no rows; of all others it is `auto`."""


def _agent(spec: NetworkSpec, recurrent: bool, body: Any = None) -> Network:
    module = AgentNetwork(
        spec.outputs, spec.hidden, recurrent, spec.layer_norm, spec.head_scale, body
    )
    return of_module(module, spec.width)


# --- the setting ---


def maker_of(network: NetworkName | Maker) -> Maker:
    """Returns the maker that the setting `network` means."""
    return NETWORKS[network] if isinstance(network, str) else network


def has_gru(config: NetworkSettings) -> bool | None:
    """Whether a dense encoder is followed by a GRU, or by a dense layer; None: it is neither."""
    return {"auto": config.recurrent, "mlp": False, "gru": True}.get(str(config.network))


def check_network(config: Any) -> None:
    """Raise ValueError for a `network` that is unknown, or contradicted by `recurrent`.

    A `recurrent` that was left at the default contradicts nothing.

    Args:
      config: a dataclass with `NetworkSettings`.
    """
    network, recurrent = config.network, config.recurrent
    if not isinstance(network, str):
        require("network", network, callable(network), "a name, or a function that makes a network")
        return
    names = [name for name in NETWORKS if name != "auto"]
    known = f"auto, {', '.join(names[:-1])} or {names[-1]}"
    require("network", network, network in NETWORKS, known)
    (left,) = (field.default for field in dataclasses.fields(config) if field.name == "recurrent")
    has = {"mlp": False, "gru": True, "transformer": False}.get(network, recurrent)
    if recurrent != has and recurrent != left:
        raise ValueError(
            f"recurrent is {recurrent} and network is {network!r}, which has "
            f"{'a' if has else 'no'} GRU; leave out one of them"
        )
    if network in ("entity", "transformer"):
        whole = config.hidden % HEADS == 0
        require("hidden", config.hidden, whole, f"a multiple of {HEADS} with network {network!r}")


def agents_network(
    spec: EnvSpec, config: NetworkSettings, outputs: int, head_scale: float = 1.0
) -> TeamNetwork:
    """Returns the network of a learner's agents, each of which reads its own observation.

    Args:
      spec: of the environment.
      config: settings of the learner.
      outputs: numbers that the network gives for each agent.
      head_scale: of the head's initial weights.

    Raises:
      ValueError: the network reads what the environment does not declare.
    """
    width = spec.obs_size + config.agent_id * spec.num_agents
    asked = _asked(spec, config, width, outputs)._replace(
        head_scale=head_scale,
        planes=spec.planes,
        # observations are divided by the scale before they are read
        entities=tuple(
            kind._replace(above=kind.above / spec.scale) for kind in spec.entities
        ),
    )  # fmt: skip
    network = maker_of(config.network)(asked)
    return team_network(network, spec, config.sharing, config.agent_id)


def state_network(spec: EnvSpec, config: NetworkSettings, outputs: int) -> TeamNetwork:
    """Returns a network that reads the global state, once for all agents.

    It is of the same kind as the agents' where that reads any numbers, else as `auto`.
    """
    make = OF_A_STATE.get(str(config.network), auto)
    return central_network(make(_asked(spec, config, spec.state_size, outputs)), spec)


def _asked(spec: EnvSpec, config: NetworkSettings, width: int, outputs: int) -> NetworkSpec:
    return NetworkSpec(
        width,
        outputs,
        config.hidden,
        config.recurrent,
        config.layer_norm,
        steps=config.attention_steps,
        env=spec.id,
    )
