"""TeamReg: agents guess what their team-mates do, and become easy to guess.

Every agent has an extra head for each team-mate, which guesses the team-mate's policy from what the
agent itself sees. The error is an auxiliary loss of PPO, in those who guess and in those who are
guessed. Acting is MAPPO's.

Source: Roy et al. 2020, "Promoting Coordination through Policy Regularization in Multi-Agent Deep
Reinforcement Learning", section 4.1; its base is MADDPG, ours PPO.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from marlx.algos.last_action import with_last_action
from marlx.algos.ppo import ppo_learner
from marlx.algos.ppo_auxiliary import Auxiliary, Sequence
from marlx.algos.ppo_losses import weighted_mean
from marlx.algos.ppo_networks import PPOParams
from marlx.algos.regularisation_config import TeamRegConfig
from marlx.learner import Learner
from marlx.learning.distributions import categorical_kl, distribution, log_probabilities
from marlx.nets.agents import feature_width, sharing
from marlx.nets.makers import agents_network
from marlx.registry import Algorithm
from marlx.types import Array, EnvSpec, Tree


def teammates(num_agents: int) -> np.ndarray[Any, Any]:
    """Returns int [N, N-1], the others of each agent: the next one, the one after it, and so on.

    The order is relative, so that agents may share the heads that guess.
    """
    agents = np.arange(num_agents)
    return (agents[:, None] + np.arange(1, num_agents)) % num_agents


def guess_errors(policy: Array, guess: Array, *, continuous: bool) -> Array:
    """Returns how far off each agent's guesses of its team-mates are, f32 [..., N, N-1].

    It is KL(policy of the team-mate || guess), or the squared distance of mean actions.

    Args:
      policy: f32 [..., N, A], log-probabilities of the agents' actions, or their mean actions.
      guess: f32 [..., N, N-1, A], the same of the team-mates, in the order of `teammates`.
      continuous: whether they are mean actions.

    Source: Roy et al. 2020, equation 3 (our reading), and their code.
    """
    others = jnp.take(policy, teammates(policy.shape[-2]), axis=-2)
    return ((others - guess) ** 2).sum(-1) if continuous else categorical_kl(others, guess)


def team_loss(
    config: TeamRegConfig, policy: Array, guess: Array, weight: Array | None, *, continuous: bool
) -> tuple[Array, dict[str, Array]]:
    """Returns the loss f32 [] of guessing and of being guessed, and metrics.

    `lambda_1` times the mean error goes into the guesses, `lambda_2` times the same into the
    policies that are guessed.

    Args:
      config: `prediction_weight` is lambda_1, `predictable_weight` lambda_2.
      policy: see `guess_errors`, as the next.
      guess: f32 [..., N, N-1, A].
      weight: f32 [..., N], of the agents' steps; a pair has the product. None: equal.
      continuous: see `guess_errors`.

    Source: Roy et al. 2020, section 4.1. Differs from: their code, whose mean also has each agent's
    guess of itself, which is exact.
    """
    fixed = jax.lax.stop_gradient
    if weight is not None:
        weight = weight[..., None] * jnp.take(weight, teammates(policy.shape[-2]), axis=-1)
    errors = functools.partial(guess_errors, continuous=continuous)
    guessing = weighted_mean(errors(fixed(policy), guess), weight)
    guessed = weighted_mean(errors(policy, fixed(guess)), weight)
    total = config.prediction_weight * guessing + config.predictable_weight * guessed
    return total, {"guess_error": guessing}


def guesses_of_teammates(spec: EnvSpec, config: TeamRegConfig) -> Auxiliary | None:
    """Returns the auxiliary loss of TeamReg; None for a team of one.

    Its parameters are the heads, [G, ...] as the agents' networks.
    """
    n, actions = spec.num_agents, distribution(spec, config.bounded)
    if n == 1:
        return None
    actor = agents_network(spec, config, actions.num_outputs(spec.num_actions))
    shared, heads = sharing(config.sharing, spec), nn.Dense((n - 1) * spec.num_actions)

    def init(key: Array) -> Tree:
        features = jnp.zeros(feature_width(actor, spec))
        return shared.init(lambda key: heads.init(key, features), key)

    def loss(params: PPOParams, sequence: Sequence) -> tuple[Array, dict[str, Array]]:
        batch, memory = sequence
        outputs, features, _ = actor.unroll(params.actor, memory.actor, batch.obs, batch.done)
        guess: Array = shared.apply(heads.apply, params.extra, features)
        guess = guess.reshape(*guess.shape[:-1], n - 1, spec.num_actions)
        mask = batch.obs.action_mask
        if spec.continuous:
            policy = actions.action(actions.mode(outputs, mask), mask)
        else:
            policy, guess = log_probabilities(outputs, mask), jax.nn.log_softmax(guess)
        return team_loss(config, policy, guess, batch.weight, continuous=spec.continuous)

    return Auxiliary(loss, init)


def team_regularised(spec: EnvSpec, config: TeamRegConfig) -> Learner:
    """Returns MAPPO with the losses of TeamReg. With both weights 0 it learns as MAPPO."""
    if config.last_action:
        plain = dataclasses.replace(config, last_action=False)
        build = functools.partial(team_regularised, config=plain)
        return with_last_action(spec, build)._replace(config=config)
    auxiliary = guesses_of_teammates(spec, config)
    return ppo_learner(spec, config, central=True, auxiliary=auxiliary)


def teamreg(spec: EnvSpec, config: TeamRegConfig | None = None, **settings: Any) -> Learner:
    """PPO of agents that predict their team-mates and are predictable (Roy et al. 2020)."""
    return team_regularised(spec, dataclasses.replace(config or TeamRegConfig(), **settings))


ALGORITHMS = (
    Algorithm(
        "teamreg", "PPO, agents that predict each other", TeamRegConfig, teamreg, preset="ppo"
    ),
)
