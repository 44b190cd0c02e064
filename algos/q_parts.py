"""Parts that a Q-learner is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import optax

from marlx.algos.q_config import QConfig
from marlx.algos.q_network import QNetwork, q_network
from marlx.algos.q_state import LossInfo, QParams, QPolicy, QState
from marlx.algos.td_credit import Adjust
from marlx.algos.td_equations import Backup
from marlx.data.replay import Replay, Sample, prioritised, uniform
from marlx.learning.part_rates import with_part_rates
from marlx.learning.returns import epsilon_greedy
from marlx.nets.mixers import Mixer, greedy_actions
from marlx.types import Array, EnvSpec, Observation, Tree


class Loss(Protocol):
    """`loss(params, parts, state, sample) -> f32 [], LossInfo`, of a batch of windows."""

    def __call__(
        self, params: QParams, parts: QParts, state: QState, sample: Sample
    ) -> tuple[Array, LossInfo]:
        """Returns the loss that is differentiated in `params`, and what else a step needs."""


class QParts(NamedTuple):
    """The functions that a Q-learner is made of."""

    config: QConfig
    net: QNetwork
    mixer: Mixer
    optimiser: optax.GradientTransformation
    replay: Replay
    loss: Loss
    adjust: Adjust | None
    backup: Backup | None


def make_parts(
    spec: EnvSpec,
    config: QConfig,
    mixer: Mixer,
    loss: Loss,
    adjust: Adjust | None = None,
    backup: Backup | None = None,
) -> QParts:
    """Returns the parts of a Q-learner.

    Raises:
      ValueError: the actions are continuous, or settings do not go with the mixer.
    """
    c = config
    _check_mixer(c, mixer)
    adam = optax.chain(optax.clip_by_global_norm(c.max_grad_norm), optax.adam(c.lr, eps=1e-5))
    optimiser, replay = with_part_rates(adam), make_replay(c)
    return QParts(c, q_network(spec, c), mixer, optimiser, replay, loss, adjust, backup)


def make_replay(config: QConfig) -> Replay:
    """Returns the replay buffer that the settings ask for."""
    c = config
    if not c.prioritised:
        return uniform(c.capacity, c.batch, c.window)
    return prioritised(
        c.capacity,
        c.batch,
        c.window,
        exponent=c.priority_exponent,
        importance=c.importance_exponent,
    )


def _check_mixer(c: QConfig, mixer: Mixer) -> None:
    """Raise ValueError where settings ask for agents' values and the mixer has a team's, or not."""
    if c.reward == "own" and not mixer.per_agent:
        raise ValueError("reward is 'own'; only independent learners can learn from their own")
    if c.mixing_delay and mixer.per_agent:
        raise ValueError(f"mixing_delay is {c.mixing_delay}; independent learners mix nothing")


def act(
    net: QNetwork,
    mixer: Mixer,
    epsilon: Callable[[Array], Array],
    policy: QPolicy,
    memory: Array,
    obs: Observation,
    key: Array,
    explore: bool,
) -> tuple[Array, Array, Tree]:
    """Returns greedy actions, or if `explore` epsilon-greedy ones; see `Learner.act`.

    `epsilon` gives the share of random actions after so many environment steps.
    """
    utilities, memory = net.step(policy.params.agents, memory, obs)
    action = greedy_actions(mixer, policy.params.mixer, utilities)
    if explore:
        action = epsilon_greedy(key, action, obs.action_mask, epsilon(policy.steps))
    return action, memory, ()
