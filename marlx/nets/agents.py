"""Networks of agents, and how agents share parameters.

Parameters are always stacked along a leading axis of parameter sets, so that the sharing modes
`all`, `group` and `none` are one code path (`Sharing.apply`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from marlx.learning.active import zero_inactive
from marlx.nets.contract import Network, Step, scanned
from marlx.nets.recurrent import gru
from marlx.types import Array, EnvSpec, Observation, Tree

SharingMode = Literal["all", "group", "none"]


class Sharing(NamedTuple):
    """Assignment of agents to `G` parameter sets.

    Attributes:
      members: int [G, M], the agents of each set; smaller sets repeat an agent to fill the row.
      place: int [N], index of each agent among the `G * M` results.
    """

    members: np.ndarray[Any, Any]
    place: np.ndarray[Any, Any]

    def init(self, init: Callable[[Array], Tree], key: Array) -> Tree:
        """Returns parameters stacked `[G, ...]`, every set from its own key."""
        return jax.vmap(init)(jax.random.split(key, len(self.members)))

    def apply(self, function: Callable[..., Tree], params: Tree, *inputs: Tree) -> Tree:
        """Returns `function(params, *inputs)`, each agent with the parameters of its set.

        Args:
          function: of one parameter set and inputs `[..., M, F]`; returns arrays `[..., M, F']`.
          params: `[G, ...]`.
          inputs: pytrees of arrays `[..., N, F]`.

        Returns:
          The results of `function` for all N agents, arrays `[..., N, F']`.
        """
        sets = jax.tree.map(self._split, inputs)
        return jax.tree.map(self._join, jax.vmap(function)(params, *sets))

    def _split(self, x: Array) -> Array:
        if len(self.members) == 1:  # one set: no gather, and XLA drops the axis of one
            return x[None]
        return jnp.moveaxis(jnp.take(x, self.members, axis=-2), -3, 0)

    def _join(self, x: Array) -> Array:
        if len(self.members) == 1:
            return x[0]
        x = jnp.moveaxis(x, 0, -3)
        *before, sets, width, features = x.shape  # features may be 0, so no -1 below
        return jnp.take(x.reshape(*before, sets * width, features), self.place, axis=-2)


def sharing(mode: SharingMode, spec: EnvSpec) -> Sharing:
    """Returns the sharing of a mode.

    Args:
      mode: `all`: one parameter set; `group`: one per group of `spec.groups`; `none`: one per
        agent.
      spec: the environment's.

    Raises:
      ValueError: an unknown mode.
    """
    groups: list[tuple[int, ...]]
    if mode == "all":
        groups = [tuple(range(spec.num_agents))]
    elif mode == "group":
        groups = [group for _, group in spec.groups]
    elif mode == "none":
        groups = [(i,) for i in range(spec.num_agents)]
    else:
        raise ValueError(f"sharing is {mode!r}; it must be 'all', 'group' or 'none'")
    width = max(len(group) for group in groups)
    members = np.array([group + (group[0],) * (width - len(group)) for group in groups])
    place = np.zeros(spec.num_agents, np.int32)
    for row, group in enumerate(groups):
        for column, agent in enumerate(group):
            place[agent] = row * width + column
    return Sharing(members, place)


class AgentNetwork(nn.Module):
    """Encoder, then a GRU (or a dense layer), then a linear head.

    The three parts are methods, so that a sequence is encoded and read out in one large product
    and only the recurrence is scanned.

    Attributes:
      num_outputs: width of the head.
      hidden: width of encoder and recurrence.
      recurrent: use a GRU; False: a dense layer, and a memory of width 0.
      layer_norm: normalise the encoder's output.
      head_scale: standard deviation of the head's initial weights, relative to LeCun's; with 0.01
        policies start near uniform.
      body: encoder f32 [..., F] to [..., hidden]; None: a dense layer.
    """

    num_outputs: int
    hidden: int = 64
    recurrent: bool = True
    layer_norm: bool = False
    head_scale: float = 1.0
    body: nn.Module | None = None

    @property
    def memory_size(self) -> int:
        """Width of one agent's recurrent memory; 0 without recurrence."""
        return self.hidden if self.recurrent else 0

    def setup(self) -> None:  # noqa: D102  flax's hook
        if self.body is None:
            self.encoder = nn.Dense(self.hidden)
        self.norm = nn.LayerNorm() if self.layer_norm else None
        if self.recurrent:
            # not flax's orthogonal default: batched QR factorisations can lock up the CPU backend
            recurrent = nn.initializers.lecun_normal()
            self.cell = nn.GRUCell(self.hidden, recurrent_kernel_init=recurrent)
        else:
            self.dense = nn.Dense(self.hidden)
        head = nn.initializers.variance_scaling(self.head_scale**2, "fan_in", "truncated_normal")
        self.readout = nn.Dense(self.num_outputs, kernel_init=head)

    def encode(self, x: Array) -> Array:
        """Returns f32 [..., hidden] from inputs f32 [..., F]."""
        x = self.encoder(x) if self.body is None else self.body(x)
        return nn.relu(x if self.norm is None else self.norm(x))

    def recur(self, memory: Array, x: Array) -> tuple[Array, Array]:
        """Returns the next memory f32 [..., memory_size] and features f32 [..., hidden]."""
        if not self.recurrent:
            return memory, nn.relu(self.dense(x))
        memory, features = self.cell(memory, x)
        return memory, features

    def head(self, features: Array) -> Array:
        """Returns f32 [..., num_outputs] from features f32 [..., hidden]."""
        return self.readout(features)

    def __call__(self, memory: Array, x: Array) -> tuple[Array, Array, Array]:
        """Returns outputs, features and the next memory after one step."""
        memory, features = self.recur(memory, self.encode(x))
        return self.head(features), features, memory


def unroll_network(
    network: AgentNetwork, params: Tree, memory: Array, x: Array, done: Array
) -> tuple[Array, Array, Array]:
    """Returns the network's outputs over a sequence that may hold several episodes.

    Args:
      network: the network.
      params: one parameter set.
      memory: f32 [b, M, memory_size], *before* the first step.
      x: f32 [T, b, M, F].
      done: bool [T, b], the episode ended at that step: the next one starts from a zero memory.

    Returns:
      outputs f32 [T, b, M, O], features f32 [T, b, M, hidden], and memories f32
      [T, b, M, memory_size] *after* each step and before any reset. The value of the state after
      that step has to be computed with this memory.
    """
    apply: Callable[..., Any] = functools.partial(network.apply, params)
    encoded = apply(x, method="encode")
    if network.recurrent:
        memories = features = gru(params["params"]["cell"], memory, encoded, done)
    else:
        memories = jnp.zeros((*x.shape[:-1], 0))
        _, features = apply(memories, encoded, method="recur")
    return apply(features, method="head"), features, memories


def of_module(network: AgentNetwork, width: int) -> Network:
    """Returns an `AgentNetwork` that reads `width` numbers, as the functions of the contract."""

    def init(key: Array) -> Tree:
        return network.init(key, jnp.zeros((1, network.memory_size)), jnp.zeros((1, width)))

    step: Step = network.apply  # type: ignore[assignment]
    return Network(init, network.memory_size, step, functools.partial(unroll_network, network))


def dormant(features: Array, threshold: float = 0.025) -> Array:
    """Returns the share of dormant units f32 [], from features f32 [..., H].

    A unit is dormant if its mean absolute activation is at most `threshold` of the layer's average.

    Source: Sokar et al. 2023, definition 3.1. Differs from: it is computed for the layer before the
    head only.
    """
    size = jnp.abs(features).reshape(-1, features.shape[-1]).mean(0)
    return (size <= threshold * size.mean()).mean()


class TeamNetwork(NamedTuple):
    """Network of several agents as functions of stacked parameters and observations.

    Outputs are f32 [..., N, O], features f32 [..., N, hidden]; N is 1 for a `central_network`.

    Attributes:
      init: `(key) -> params [G, ...]`.
      memory: `(B) -> f32 [B, N, memory_size]`, at an episode's start.
      step: `(params, memory [..., N, M], obs [..., N, F]) -> outputs, features, memory`.
      unroll: `(params, memory [b, N, M], obs [T, b, ...], done [T, b]) -> outputs, features,
        memories`, over a sequence that may hold several episodes; memories `[T, b, N, M]` are those
        *after* each step and before any reset.
    """

    init: Callable[[Array], Tree]
    memory: Callable[[int], Array]
    step: Callable[[Tree, Array, Observation], tuple[Array, Array, Array]]
    unroll: Callable[[Tree, Array, Observation, Array], tuple[Array, Array, Array]]


def feature_width(network: TeamNetwork, spec: EnvSpec) -> int:
    """Returns H, the width of a network's features; nothing is computed."""

    def features() -> Array:
        agents, there = (1, spec.num_agents), jnp.ones((1, spec.num_agents), bool)
        local, mask = jnp.zeros((*agents, spec.obs_size)), jnp.ones((*agents, spec.num_actions))
        obs = Observation(local, mask > 0, jnp.zeros((1, spec.state_size)), there)
        return network.step(network.init(jax.random.key(0)), network.memory(1), obs)[1]

    return int(jax.eval_shape(features).shape[-1])


def team_network(
    network: Network | AgentNetwork, spec: EnvSpec, mode: SharingMode, agent_id: bool
) -> TeamNetwork:
    """Returns a network in which each agent reads its own observation; zeros while it is inactive.

    Args:
      network: the network of one parameter set.
      spec: the environment's.
      mode: which agents share parameters.
      agent_id: append the agent's one-hot index to its observation.
    """

    def inputs(obs: Observation) -> Array:
        local = zero_inactive(obs.local.astype(jnp.float32) / spec.scale, obs.active)
        if not agent_id:
            return local
        ids = jnp.broadcast_to(jnp.eye(spec.num_agents), (*local.shape[:-1], spec.num_agents))
        return jnp.concatenate([local, ids], -1)

    width = spec.obs_size + agent_id * spec.num_agents
    return _team(network, sharing(mode, spec), spec.num_agents, width, inputs)


def central_network(network: Network | AgentNetwork, spec: EnvSpec) -> TeamNetwork:
    """Returns a network that reads the global state, once for all agents."""

    def inputs(obs: Observation) -> Array:
        return obs.global_state.astype(jnp.float32)[..., None, :] / spec.scale

    single = Sharing(np.zeros((1, 1), np.int32), np.zeros(1, np.int32))
    return _team(network, single, 1, spec.state_size, inputs)


def _team(
    network: Network | AgentNetwork,
    shared: Sharing,
    num_agents: int,
    width: int,
    inputs: Callable[[Observation], Array],
) -> TeamNetwork:
    """Returns a network of `num_agents` whose inputs f32 [..., N, width] are `inputs(obs)`."""
    made = network if isinstance(network, Network) else of_module(network, width)
    unroll_set = made.unroll or scanned(made.step)

    def memory(num_envs: int) -> Array:
        return jnp.zeros((num_envs, num_agents, made.memory))

    def step(params: Tree, memory: Array, obs: Observation) -> tuple[Array, Array, Array]:
        return shared.apply(made.step, params, memory, inputs(obs))  # type: ignore[no-any-return]

    def unroll(
        params: Tree, memory: Array, obs: Observation, done: Array
    ) -> tuple[Array, Array, Array]:
        def one_set(params: Tree, memory: Array, x: Array) -> Tree:
            return unroll_set(params, memory, x, done)

        return shared.apply(one_set, params, memory, inputs(obs))  # type: ignore[no-any-return]

    return TeamNetwork(lambda key: shared.init(made.init, key), memory, step, unroll)
