"""Algorithms by name; made by `python tests/stubs.py`.

Those of other packages are not here; `marlx.algorithm(NAME)` returns them.
"""

from collections.abc import Mapping
from typing import Any, Literal

from marlx.algos.agent_modelling.config import ContrastConfig, EncoderConfig, LiamConfig
from marlx.algos.influence.config import NextActionConfig
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.q_config import QConfig
from marlx.algos.switching.config import SwitchConfig
from marlx.environment import Environment
from marlx.learner import Learner
from marlx.nets.contract import Maker
from marlx.types import EnvSpec

def iql(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
) -> Learner:
    """Returns a learner of iql: independent Q-learning.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
    """

def vdn(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
) -> Learner:
    """Returns a learner of vdn: value decomposition: sum of utilities.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
    """

def qmix(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
) -> Learner:
    """Returns a learner of qmix: monotonic mixing of utilities.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
    """

def qplex(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
) -> Learner:
    """Returns a learner of qplex: duplex duelling mixer, all of IGM.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
    """

def joint_q(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
) -> Learner:
    """Returns a learner of joint_q: one Q over joint actions (centralised bound).

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
    """

def ow_qmix(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
    central_hidden: int = 64,
    alpha: float = 0.1,
) -> Learner:
    """Returns a learner of ow_qmix: QMIX that weighs overestimates less.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
      central_hidden: Width of the unrestricted value's network.
      alpha: Weight of errors of the mixed value that may stay; with 1 all count the same.
    """

def cw_qmix(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
    central_hidden: int = 64,
    alpha: float = 0.1,
) -> Learner:
    """Returns a learner of cw_qmix: QMIX that weighs joint actions less that are not the best.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
      central_hidden: Width of the unrestricted value's network.
      alpha: Weight of errors of the mixed value that may stay; with 1 all count the same.
    """

def qtran(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    gamma: float = 0.99,
    updates_per_step: float = 0.03125,
    batch: int = 32,
    window: int = 16,
    burn_in: int = 0,
    capacity: int = 200000,
    warmup: int = 5000,
    prioritised: bool = False,
    priority_exponent: float = 0.6,
    importance_exponent: float = 0.4,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 100000,
    epsilon_delay: int = 0,
    double: bool = True,
    lambda_: float = 0.0,
    target_period: int = 200,
    target_rate: float = 0.0,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = True,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
    mixer_exponent: float = 5.0,
    mixer_gradient: bool = False,
    mixing_delay: int = 0,
    central_hidden: int = 64,
    opt_weight: float = 1.0,
    nopt_weight: float = 1.0,
) -> Learner:
    """Returns a learner of qtran: utilities that bound an unrestricted joint value.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window. A window starts at a stored memory of the network and may span
        episodes.
      burn_in: First steps of a window, which only update the memory and are not learned from.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      prioritised: Sample windows in proportion to their last TD error instead of uniformly.
      priority_exponent: Power of the TD error in the sampling probability: 0 is uniform, 1
        proportional.
      importance_exponent: Power of the importance weights in the loss: 0 is no correction, 1
        the full correction.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      epsilon_delay: Environment steps before the probability begins to fall.
      double: Choose the next action with the online network, value it with the target (double
        Q).
      lambda_: TD(lambda); 0 is one-step TD.
      target_period: Gradient updates between copies into the target network (hard updates).
      target_rate: Step of the target network towards the online one at every update; 0 is hard
        updates.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in the mixers of QMIX and QPLEX, for unbounded global
        states.
      mixer_exponent: Bound of QPLEX's weights: each is a sum of four terms of at most e to this
        power
        (see `marlx.nets.mixers.duplex`).
      mixer_gradient: Whether QPLEX's weighted advantages pass gradient to the utilities. The
        authors' code stops
        it; with that, half of ten teams forgot foraging.
      mixing_delay: Environment steps in which agents learn independently, before their
        utilities are mixed.
      central_hidden: Width of the networks of the joint value and of the state's.
      opt_weight: Weight of the loss at the joint action that the agents would choose.
      nopt_weight: Weight of the loss at the joint action taken.
    """

def pqn(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.65,
    epochs: int = 2,
    minibatches: int = 8,
    window: int = 16,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 200000,
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = True,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = True,
) -> Learner:
    """Returns a learner of pqn: independent Q-learning on fresh rollouts, no replay.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Step size of rectified Adam.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: TD(lambda) over the rollout; 0 is one-step TD.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output, which takes the target network's
        place.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in QMIX's mixer.
    """

def pqn_vdn(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.65,
    epochs: int = 2,
    minibatches: int = 8,
    window: int = 16,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 200000,
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = True,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = True,
) -> Learner:
    """Returns a learner of pqn_vdn: PQN with the sum of utilities.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Step size of rectified Adam.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: TD(lambda) over the rollout; 0 is one-step TD.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output, which takes the target network's
        place.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in QMIX's mixer.
    """

def pqn_qmix(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.65,
    epochs: int = 2,
    minibatches: int = 8,
    window: int = 16,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 200000,
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = True,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = True,
) -> Learner:
    """Returns a learner of pqn_qmix: PQN with QMIX's mixer.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Step size of rectified Adam.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: TD(lambda) over the rollout; 0 is one-step TD.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      epsilon_start: Probability of a random action at the start.
      epsilon_end: Probability of a random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own (independent learners only).
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of the agents' networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Agents' networks have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      layer_norm: Layer normalisation of the encoder's output, which takes the target network's
        place.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      mixer_hidden: Hidden width of the mixer's networks.
      mixer_embed: Width of QMIX's mixing network.
      mixer_norm: Layer normalisation in QMIX's mixer.
    """

def ippo(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate", "shared"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
) -> Learner:
    """Returns a learner of ippo: independent PPO.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network:
        `separate`: its own.
        `shared`: a second head on the actor's (IPPO only).
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
    """

def mappo(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate", "shared"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
) -> Learner:
    """Returns a learner of mappo: PPO with a critic of the global state.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network:
        `separate`: its own.
        `shared`: a second head on the actor's (IPPO only).
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
    """

def ia2c(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 1,
    minibatches: int = 1,
    clip: float = 0.2,
    value_clip: float = 0.0,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate", "shared"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
) -> Learner:
    """Returns a learner of ia2c: independent advantage actor-critic.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network:
        `separate`: its own.
        `shared`: a second head on the actor's (IPPO only).
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
    """

def maa2c(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 1,
    minibatches: int = 1,
    clip: float = 0.2,
    value_clip: float = 0.0,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate", "shared"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
) -> Learner:
    """Returns a learner of maa2c: actor-critic with a critic of the global state.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network:
        `separate`: its own.
        `shared`: a second head on the actor's (IPPO only).
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
    """

def mat(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    hidden: int = 64,
    heads: int = 4,
    blocks: int = 1,
    agent_id: bool = True,
    bounded: Literal["clipped", "squashed"] = "clipped",
) -> Learner:
    """Returns a learner of mat: transformer over agents, which act in turn.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      hidden: Width of all layers, and of all heads together.
      heads: Heads of every attention or retention; they divide `hidden`.
      blocks: Blocks of the encoder, and of the decoder.
      agent_id: Append the agent's one-hot index to its observation.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
    """

def sable(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    hidden: int = 64,
    heads: int = 4,
    blocks: int = 1,
    agent_id: bool = True,
    bounded: Literal["clipped", "squashed"] = "clipped",
    recurrent: bool = True,
    window: int = 16,
    decay: float = 1.0,
) -> Learner:
    """Returns a learner of sable: retention over agents and steps, agents act in turn.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      hidden: Width of all layers, and of all heads together.
      heads: Heads of every attention or retention; they divide `hidden`.
      blocks: Blocks of the encoder, and of the decoder.
      agent_id: Append the agent's one-hot index to its observation.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
      recurrent: Retention runs on over an episode; without it teams see the present step only.
      window: Steps per sequence of an update; it starts at the memory that acting had there.
      decay: Factor of what the heads keep of the past from step to step, 31/32 to 511/512.
    """

def happo(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["none"] = "none",
    agent_id: bool = False,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
    order: Literal["random", "fixed"] = "random",
) -> Learner:
    """Returns a learner of happo: PPO, agents updated one after another.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from: the team's.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network: its own.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters: none.
      agent_id: Always false: an agent's parameters are its own, so it needs no index.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
      order: Order in which agents are updated:
        `random`: drawn anew for every update.
        `fixed`: as they are numbered.
    """

def haa2c(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 1,
    minibatches: int = 1,
    clip: float = 0.2,
    value_clip: float = 0.0,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["none"] = "none",
    agent_id: bool = False,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
    order: Literal["random", "fixed"] = "random",
) -> Learner:
    """Returns a learner of haa2c: A2C, agents updated one after another.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from: the team's.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network: its own.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters: none.
      agent_id: Always false: an agent's parameters are its own, so it needs no index.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
      order: Order in which agents are updated:
        `random`: drawn anew for every update.
        `fixed`: as they are numbered.
    """

def coma(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    critic_lr: float = 0.0005,
    gamma: float = 0.99,
    lambda_: float = 0.8,
    critic_epochs: int = 4,
    critic_minibatches: int = 4,
    target_period: int = 200,
    entropy: float = 0.01,
    max_grad_norm: float = 10.0,
    normalise_advantage: bool = True,
    hidden: int = 64,
    critic_hidden: int = 128,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
) -> Learner:
    """Returns a learner of coma: actor-critic with a counterfactual baseline.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actor.
      lr_steps: Environment steps over which both step sizes fall linearly to 0; 0 keeps them
        constant.
      critic_lr: Adam's step size for the critic.
      gamma: Discount per environment step.
      lambda_: TD(lambda) of the critic's targets; 0 is one-step TD.
      critic_epochs: The critic's passes over each rollout; the actor makes one.
      critic_minibatches: The critic's gradient updates per pass; the actor makes one per
        rollout.
      target_period: Gradient updates of the critic between copies into its target network.
      entropy: Weight of the entropy bonus.
      max_grad_norm: Largest global norm of a gradient, of actor and critic each; larger ones
        are scaled down.
      normalise_advantage: Divide the advantages of a rollout by their root mean square.
      hidden: Width of the actor's network.
      critic_hidden: Width of the critic's network.
      recurrent: The actor has a GRU; without it, it sees the present observation only.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters, in actor and critic:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
    """

def teamreg(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
    prediction_weight: float = 0.01,
    predictable_weight: float = 0.01,
) -> Learner:
    """Returns a learner of teamreg: PPO, agents that predict each other.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network: its own.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
      prediction_weight: Weight of the error of agents' guesses of what their team-mates do, in
        those who guess.
      predictable_weight: Weight of the same error in those who are guessed; 0: nobody learns to
        be predictable
        (control).
    """

def coachreg(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    lr_steps: int = 0,
    gamma: float = 0.99,
    lambda_: float = 0.95,
    epochs: int = 4,
    minibatches: int = 4,
    clip: float = 0.2,
    value_clip: float = 0.2,
    entropy: float = 0.01,
    entropy_end: float = 0.001,
    entropy_steps: int = 0,
    value_weight: float = 0.5,
    max_grad_norm: float = 0.5,
    normalise_advantage: bool = True,
    normalise_value: bool = True,
    reward: Literal["team", "group", "own"] = "team",
    window: int = 16,
    hidden: int = 64,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    trunk: Literal["separate"] = "separate",
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    bounded: Literal["clipped", "squashed"] = "clipped",
    masks: int = 4,
    mask_of: Literal["own", "random", "other"] = "own",
    mask_weight: float = 0.65,
    coach_mask_weight: float = 1.3,
    guided_weight: float = 0.5,
    coach_guided_weight: float = 1.0,
) -> Learner:
    """Returns a learner of coachreg: PPO, sub-policies that a coach makes agree.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size.
      lr_steps: Environment steps over which `lr` falls linearly to 0; 0 keeps it constant.
      gamma: Discount per environment step.
      lambda_: Generalised advantage estimation: 0 is one-step advantages, 1 those of the whole
        return.
      epochs: Passes over each rollout.
      minibatches: Gradient updates per pass.
      clip: Largest change of the probability ratio that still gets a gradient (PPO's epsilon).
      value_clip: Largest change of a value that still gets a gradient, in deviations of the
        return where
        values are normalised; 0 is no clipping.
      entropy: Weight of the entropy bonus.
      entropy_end: Weight of the entropy bonus after `entropy_steps`; below 0, policies become
        deterministic.
      entropy_steps: Environment steps over which `entropy` changes linearly to `entropy_end`; 0
        keeps it.
      value_weight: Weight of the value loss.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      normalise_advantage: Scale the advantages of a minibatch to mean 0 and deviation 1.
      normalise_value: The critic predicts returns less their running mean, divided by their
        running deviation.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `group`: that of its group.
        `own`: its own.
      window: Steps per sequence of a recurrent learner; it starts at the memory that acting had
        there.
      hidden: Width of all networks.
      network: Agents' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actor and critic have a GRU, where `network` leaves that open (`auto`, `cnn`,
        `entity`);
        without it they see the present observation only.
      trunk: The critic's network: its own.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      bounded: How samples of a Gaussian are brought into the bounds of continuous actions:
        `clipped`: by clipping.
        `squashed`: by tanh.
      masks: Masks that an agent's hidden layer is gated by; each leaves on one of so many
        units.
      mask_of: Mask that an agent acts under:
        `own`: the one that it chooses.
        `random`: any, with equal probability (control).
        `other`: the one that the next agent chooses (control; agents see more than their own).
      mask_weight: Weight of the divergence of agents' choices of a mask from the coach's, in
        the agents.
      coach_mask_weight: Weight of the same divergence in the coach.
      guided_weight: Weight of the policy loss under the coach's mask, in the agents.
      coach_guided_weight: Weight of the same loss in the coach.
    """

def iddpg(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    critic_lr: float = 0.001,
    gamma: float = 0.99,
    updates_per_step: float = 0.0625,
    batch: int = 256,
    window: int = 1,
    capacity: int = 200000,
    warmup: int = 5000,
    target_rate: float = 0.01,
    critics: int = 1,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    gumbel_temperature: float = 1.0,
    hidden: int = 64,
    critic_hidden: int = 128,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    lambda_: float = 0.0,
    noise: float = 0.1,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 50000,
    regularisation: float = 0.001,
) -> Learner:
    """Returns a learner of iddpg: independent DDPG.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actors.
      critic_lr: Adam's step size for the critics.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window; a network with a memory needs several. A window starts at a
        stored memory
        and may span episodes.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      target_rate: Step of the target networks towards the online ones at every update.
      critics: Critics, of which the smallest value counts: two do not overestimate as one does.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own.
      max_grad_norm: Largest norm of a gradient, of actors and critics each; larger ones are
        scaled down.
      gumbel_temperature: Temperature of the Gumbel-softmax, by which gradients pass through a
        discrete action.
      hidden: Width of the actors' networks.
      critic_hidden: Width of the critics' networks.
      network: Actors' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
        without it
        they see the present observation only, as critics always do.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      lambda_: TD(lambda) of the critics' targets within a window; 0 is one-step TD.
      noise: Standard deviation of the noise on continuous actions, whose range is 1.
      epsilon_start: Probability of a uniformly random action at the start.
      epsilon_end: Probability of a uniformly random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      regularisation: Weight of the mean square of the actors' outputs in their loss, against
        saturation.
    """

def maddpg(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    critic_lr: float = 0.001,
    gamma: float = 0.99,
    updates_per_step: float = 0.0625,
    batch: int = 256,
    window: int = 1,
    capacity: int = 200000,
    warmup: int = 5000,
    target_rate: float = 0.01,
    critics: int = 1,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    gumbel_temperature: float = 1.0,
    hidden: int = 64,
    critic_hidden: int = 128,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    lambda_: float = 0.0,
    noise: float = 0.1,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 50000,
    regularisation: float = 0.001,
    critic_input: Literal["state", "observations"] = "state",
    others: Literal["taken", "policy"] = "taken",
) -> Learner:
    """Returns a learner of maddpg: DDPG with a critic of all actions.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actors.
      critic_lr: Adam's step size for the critics.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window; a network with a memory needs several. A window starts at a
        stored memory
        and may span episodes.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      target_rate: Step of the target networks towards the online ones at every update.
      critics: Critics, of which the smallest value counts: two do not overestimate as one does.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own.
      max_grad_norm: Largest norm of a gradient, of actors and critics each; larger ones are
        scaled down.
      gumbel_temperature: Temperature of the Gumbel-softmax, by which gradients pass through a
        discrete action.
      hidden: Width of the actors' networks.
      critic_hidden: Width of the critics' networks.
      network: Actors' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
        without it
        they see the present observation only, as critics always do.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      lambda_: TD(lambda) of the critics' targets within a window; 0 is one-step TD.
      noise: Standard deviation of the noise on continuous actions, whose range is 1.
      epsilon_start: Probability of a uniformly random action at the start.
      epsilon_end: Probability of a uniformly random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      regularisation: Weight of the mean square of the actors' outputs in their loss, against
        saturation.
      critic_input: What the critic reads beside the joint action:
        `state`: the global state.
        `observations`: those of all agents.
      others: Actions of the others in an actor's loss:
        `taken`: those of the replay.
        `policy`: those of their present policies.
    """

def facmac(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    critic_lr: float = 0.001,
    gamma: float = 0.99,
    updates_per_step: float = 0.0625,
    batch: int = 256,
    window: int = 1,
    capacity: int = 200000,
    warmup: int = 5000,
    target_rate: float = 0.01,
    critics: int = 1,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team"] = "team",
    max_grad_norm: float = 10.0,
    gumbel_temperature: float = 1.0,
    hidden: int = 64,
    critic_hidden: int = 128,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    lambda_: float = 0.0,
    noise: float = 0.1,
    epsilon_start: float = 1.0,
    epsilon_end: float = 0.05,
    epsilon_steps: int = 50000,
    regularisation: float = 0.001,
    mixer: Literal["monotonic", "nonmonotonic", "additive"] = "monotonic",
    mixer_hidden: int = 64,
    mixer_embed: int = 32,
    mixer_norm: bool = False,
) -> Learner:
    """Returns a learner of facmac: DDPG with a mixed critic.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actors.
      critic_lr: Adam's step size for the critics.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window; a network with a memory needs several. A window starts at a
        stored memory
        and may span episodes.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      target_rate: Step of the target networks towards the online ones at every update.
      critics: Critics, of which the smallest value counts: two do not overestimate as one does.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that agents learn from: the team's.
      max_grad_norm: Largest norm of a gradient, of actors and critics each; larger ones are
        scaled down.
      gumbel_temperature: Temperature of the Gumbel-softmax, by which gradients pass through a
        discrete action.
      hidden: Width of the actors' networks.
      critic_hidden: Width of the critics' networks.
      network: Actors' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
        without it
        they see the present observation only, as critics always do.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      lambda_: TD(lambda) of the critics' targets within a window; 0 is one-step TD.
      noise: Standard deviation of the noise on continuous actions, whose range is 1.
      epsilon_start: Probability of a uniformly random action at the start.
      epsilon_end: Probability of a uniformly random action after `epsilon_steps`.
      epsilon_steps: Environment steps over which the probability falls linearly.
      regularisation: Weight of the mean square of the actors' outputs in their loss, against
        saturation.
      mixer: How the agents' critics make up the team's value:
        `monotonic`: by QMIX's mixing network.
        `nonmonotonic`: by the same network without its restriction to positive weights.
        `additive`: as a sum.
      mixer_hidden: Hidden width of the mixer's hypernetworks.
      mixer_embed: Width of the mixing network.
      mixer_norm: Layer normalisation in the mixer, for unbounded global states.
    """

def isac(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    critic_lr: float = 0.001,
    gamma: float = 0.99,
    updates_per_step: float = 0.0625,
    batch: int = 256,
    window: int = 1,
    capacity: int = 200000,
    warmup: int = 5000,
    target_rate: float = 0.01,
    critics: int = 2,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    gumbel_temperature: float = 1.0,
    hidden: int = 64,
    critic_hidden: int = 128,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    temperature: float = 0.2,
    temperature_lr: float = 0.0005,
    target_entropy: float = -1.0,
    target_entropy_share: float = 0.2,
) -> Learner:
    """Returns a learner of isac: independent soft actor-critic.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actors.
      critic_lr: Adam's step size for the critics.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window; a network with a memory needs several. A window starts at a
        stored memory
        and may span episodes.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      target_rate: Step of the target networks towards the online ones at every update.
      critics: Critics, of which the smallest value counts: two do not overestimate as one does.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own.
      max_grad_norm: Largest norm of a gradient, of actors and critics each; larger ones are
        scaled down.
      gumbel_temperature: Temperature of the Gumbel-softmax, by which gradients pass through a
        discrete action.
      hidden: Width of the actors' networks.
      critic_hidden: Width of the critics' networks.
      network: Actors' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
        without it
        they see the present observation only, as critics always do.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      temperature: Weight of the entropy at first.
      temperature_lr: Adam's step size for the logarithm of that weight; 0 keeps it.
      target_entropy: Entropy of a continuous policy that the weight is adjusted to, for each
        component, in nats
        where actions lie between -1 and 1.
      target_entropy_share: The same of a discrete policy, as a share of the entropy of uniform
        legal actions.
    """

def masac(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    critic_lr: float = 0.001,
    gamma: float = 0.99,
    updates_per_step: float = 0.0625,
    batch: int = 256,
    window: int = 1,
    capacity: int = 200000,
    warmup: int = 5000,
    target_rate: float = 0.01,
    critics: int = 2,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team", "own"] = "team",
    max_grad_norm: float = 10.0,
    gumbel_temperature: float = 1.0,
    hidden: int = 64,
    critic_hidden: int = 128,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["all", "group", "none"] = "all",
    agent_id: bool = True,
    last_action: bool = False,
    temperature: float = 0.2,
    temperature_lr: float = 0.0005,
    target_entropy: float = -1.0,
    target_entropy_share: float = 0.2,
    critic_input: Literal["state", "observations"] = "state",
    others: Literal["taken", "policy"] = "policy",
) -> Learner:
    """Returns a learner of masac: SAC with a critic of all actions.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actors.
      critic_lr: Adam's step size for the critics.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window; a network with a memory needs several. A window starts at a
        stored memory
        and may span episodes.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      target_rate: Step of the target networks towards the online ones at every update.
      critics: Critics, of which the smallest value counts: two do not overestimate as one does.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that an agent learns from:
        `team`: the team's.
        `own`: its own.
      max_grad_norm: Largest norm of a gradient, of actors and critics each; larger ones are
        scaled down.
      gumbel_temperature: Temperature of the Gumbel-softmax, by which gradients pass through a
        discrete action.
      hidden: Width of the actors' networks.
      critic_hidden: Width of the critics' networks.
      network: Actors' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
        without it
        they see the present observation only, as critics always do.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters:
        `all`: all agents.
        `group`: the agents of a group.
        `none`: no agents.
      agent_id: Append the agent's one-hot index to its observation.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      temperature: Weight of the entropy at first.
      temperature_lr: Adam's step size for the logarithm of that weight; 0 keeps it.
      target_entropy: Entropy of a continuous policy that the weight is adjusted to, for each
        component, in nats
        where actions lie between -1 and 1.
      target_entropy_share: The same of a discrete policy, as a share of the entropy of uniform
        legal actions.
      critic_input: What the critic reads beside the joint action:
        `state`: the global state.
        `observations`: those of all agents.
      others: Actions of the others in an actor's loss:
        `taken`: those of the replay.
        `policy`: those of their present policies.
    """

def hasac(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    lr: float = 0.0005,
    critic_lr: float = 0.001,
    gamma: float = 0.99,
    updates_per_step: float = 0.0625,
    batch: int = 256,
    window: int = 1,
    capacity: int = 200000,
    warmup: int = 5000,
    target_rate: float = 0.01,
    critics: int = 2,
    reward_scaling: Literal["none", "scale", "standardise"] = "none",
    reward: Literal["team"] = "team",
    max_grad_norm: float = 10.0,
    gumbel_temperature: float = 1.0,
    hidden: int = 64,
    critic_hidden: int = 128,
    network: Literal["auto", "mlp", "gru", "cnn", "entity", "transformer"] | Maker = "auto",
    attention_steps: int = 16,
    recurrent: bool = False,
    layer_norm: bool = False,
    sharing: Literal["none"] = "none",
    agent_id: bool = False,
    last_action: bool = False,
    temperature: float = 0.2,
    temperature_lr: float = 0.0005,
    target_entropy: float = -1.0,
    target_entropy_share: float = 0.2,
    critic_input: Literal["state", "observations"] = "state",
    order: Literal["random", "fixed"] = "random",
) -> Learner:
    """Returns a learner of hasac: SAC, agents updated one after another.

    Args:
      spec: of the environment; or the environment, or its id.
      lr: Adam's step size for the actors.
      critic_lr: Adam's step size for the critics.
      gamma: Discount per environment step.
      updates_per_step: Gradient updates per environment step, whatever the number of
        environments.
      batch: Windows per gradient update.
      window: Steps per window; a network with a memory needs several. A window starts at a
        stored memory
        and may span episodes.
      capacity: Environment steps that the replay buffer holds.
      warmup: Environment steps before the first update.
      target_rate: Step of the target networks towards the online ones at every update.
      critics: Critics, of which the smallest value counts: two do not overestimate as one does.
      reward_scaling: Scaling of the reward by running statistics:
        `none`: no scaling.
        `scale`: divide by the deviation.
        `standardise`: subtract the mean, then divide.
      reward: Reward that agents learn from: the team's.
      max_grad_norm: Largest norm of a gradient, of actors and critics each; larger ones are
        scaled down.
      gumbel_temperature: Temperature of the Gumbel-softmax, by which gradients pass through a
        discrete action.
      hidden: Width of the actors' networks.
      critic_hidden: Width of the critics' networks.
      network: Actors' networks (see the page on networks):
        `auto`: `gru` or `mlp`, as `recurrent` says.
        `mlp`: dense layers.
        `gru`: a GRU behind a dense layer.
        `cnn`: convolutions over the observation's planes.
        `entity`: attention over the rows of things that are seen.
        `transformer`: attention over the last `attention_steps` steps.
        From Python also a function that makes one.
      attention_steps: Steps that a `transformer` sees, with the present one.
      recurrent: Actors have a GRU, where `network` leaves that open (`auto`, `cnn`, `entity`);
        without it
        they see the present observation only, as critics always do.
      layer_norm: Layer normalisation of the encoders' output.
      sharing: Agents that share parameters: none.
      agent_id: Always false: an agent's parameters are its own, so it needs no index.
      last_action: Append the agent's previous action to its observation; zeros at an episode's
        start.
      temperature: Weight of the entropy at first.
      temperature_lr: Adam's step size for the logarithm of that weight; 0 keeps it.
      target_entropy: Entropy of a continuous policy that the weight is adjusted to, for each
        component, in nats
        where actions lie between -1 and 1.
      target_entropy_share: The same of a discrete policy, as a share of the entropy of uniform
        legal actions.
      critic_input: What the critic reads beside the joint action:
        `state`: the global state.
        `observations`: those of all agents.
      order: Order in which agents are updated:
        `random`: drawn anew for every update.
        `fixed`: as they are numbered.
    """

def mansa(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    switching: Literal["learned", "disagreement", "always", "never", "random", "first"] = "learned",
    call_cost: float = 0.05,
    switch_cost: float = 0.0,
    lasts: int = 1,
    budget: int | None = None,
    run_budget: int | None = None,
    rate: float = 0.1,
    first: int = 100000,
    il_trains_on: Literal["all", "g0"] = "all",
    cl_trains_on: Literal["g1", "paced", "all"] = "g1",
    execution: Literal["switched", "independent", "centralised"] = "switched",
    mixer: Literal["qmix", "vdn", "qplex", "joint_q"] = "qmix",
    independent: QConfig | Mapping[str, Any] = ...,
    centralised: QConfig | Mapping[str, Any] = ...,
    switch: SwitchConfig | Mapping[str, Any] = ...,
) -> Learner:
    """Returns a learner of mansa: IQL, and a centralised Q-learner where a switch calls it.

    Args:
      spec: of the environment; or the environment, or its id.
      switching: What decides about calls:
        `learned`: the switch.
        `disagreement`: calls where the centralised learner values its own greedy joint action
          by more
        than `call_cost` above the independent learner's; nothing else is learned (needs
          `cl_trains_on`
        `all`, and Q-values).
        `always`: every step is a call (control).
        `never`: no step is a call (control).
        `random`: calls with probability `rate` (control).
        `first`: every step until there were `first` calls, then none (control).
      call_cost: Cost of a centralised step, in units of return, whatever the switch's reward
        scaling.
      switch_cost: Cost of a change from independent to centralised, in units of return.
      lasts: Steps that an activation of the centralised learner lasts; it ends earlier with the
        episode
        or the budget. The switch decides again afterwards.
      budget: Most centralised calls per episode; none is no limit.
      run_budget: Most centralised calls in training, per seed; up to one rollout of them may
        stay unused.
      rate: Probability of a call with switching `random`.
      first: Number of calls with switching `first`; counted after each rollout.
      il_trains_on: Steps that the independent learner learns from:
        `all`: all steps (it must be off-policy).
        `g0`: the steps in which it acted.
      cl_trains_on: Steps that the centralised learner learns from:
        `g1`: the steps in which it was called.
        `paced`: all steps, with as many updates as its calls give (it must be off-policy).
        `all`: all steps, with all updates, which saves nothing.
      execution: Which learner acts greedily, in evaluations and in the policy:
        `switched`: the one that the switch chooses.
        `independent`: the independent one (decentralised execution).
        `centralised`: the centralised one.
      mixer: Algorithm of the centralised learner.
      independent: Settings of independent Q-learning.
      centralised: Settings of the centralised Q-learner.
      switch: Settings of the switch.
    """

def mansa_ppo(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    switching: Literal["learned", "disagreement", "always", "never", "random", "first"] = "learned",
    call_cost: float = 0.05,
    switch_cost: float = 0.0,
    lasts: int = 1,
    budget: int | None = None,
    run_budget: int | None = None,
    rate: float = 0.1,
    first: int = 100000,
    il_trains_on: Literal["all", "g0"] = "g0",
    cl_trains_on: Literal["g1", "paced", "all"] = "g1",
    execution: Literal["switched", "independent", "centralised"] = "switched",
    independent: PPOConfig | Mapping[str, Any] = ...,
    centralised: PPOConfig | Mapping[str, Any] = ...,
    switch: SwitchConfig | Mapping[str, Any] = ...,
    critics_train_on: Literal["all", "own"] = "all",
) -> Learner:
    """Returns a learner of mansa_ppo: IPPO, and MAPPO where a switch calls it.

    Args:
      spec: of the environment; or the environment, or its id.
      switching: What decides about calls:
        `learned`: the switch.
        `disagreement`: calls where the centralised learner values its own greedy joint action
          by more
        than `call_cost` above the independent learner's; nothing else is learned (needs
          `cl_trains_on`
        `all`, and Q-values).
        `always`: every step is a call (control).
        `never`: no step is a call (control).
        `random`: calls with probability `rate` (control).
        `first`: every step until there were `first` calls, then none (control).
      call_cost: Cost of a centralised step, in units of return, whatever the switch's reward
        scaling.
      switch_cost: Cost of a change from independent to centralised, in units of return.
      lasts: Steps that an activation of the centralised learner lasts; it ends earlier with the
        episode
        or the budget. The switch decides again afterwards.
      budget: Most centralised calls per episode; none is no limit.
      run_budget: Most centralised calls in training, per seed; up to one rollout of them may
        stay unused.
      rate: Probability of a call with switching `random`.
      first: Number of calls with switching `first`; counted after each rollout.
      il_trains_on: Steps that the independent learner learns from; only `g0`, those in which it
        acted.
      cl_trains_on: Steps that the centralised learner learns from:
        `g1`: the steps in which it was called.
        `paced`: all steps, with as many updates as its calls give (it must be off-policy).
        `all`: all steps, with all updates, which saves nothing.
      execution: Which learner acts greedily, in evaluations and in the policy:
        `switched`: the one that the switch chooses.
        `independent`: the independent one (decentralised execution).
        `centralised`: the centralised one.
      independent: Settings of IPPO.
      centralised: Settings of MAPPO.
      switch: Settings of the switch.
      critics_train_on: Steps that both critics are fitted on; advantages bootstrap from them at
        every step:
        `all`: all steps.
        `own`: those that each learner acted in, which saves the rest.
    """

def gmah(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    period: int = 16,
    refresh: Literal["achieved", "fixed", "changed", "options"] = "achieved",
    quantile: float = 0.95,
    subgoals: Literal["declared", "learned"] = "declared",
    regions: int = 8,
    curiosity: float = 0.5,
    chooser: Literal["learned", "scripted", "uniform"] = "learned",
    mixing: bool = True,
    external: float = 0.0,
    low_steps: int = 0,
    low_after: Literal["train", "freeze"] = "train",
    low_greedy: bool = True,
    together: float = 0.0,
    unmixed_steps: int = 0,
    high: QConfig | Mapping[str, Any] = ...,
    low: PPOConfig | Mapping[str, Any] = ...,
) -> Learner:
    """Returns a learner of gmah: subgoals chosen by mixed values, pursued by PPO.

    Args:
      spec: of the environment; or the environment, or its id.
      period: Most steps for which a subgoal is kept.
      refresh: When a subgoal ends:
        `achieved`: when it is achieved, or after `period` steps.
        `fixed`: always after `period` steps.
        `changed`: as `achieved`, and when an auto-encoder's reconstruction error exceeds
          `quantile`.
        `options`: when the set of available subgoals changes, or after `period` steps.
      quantile: With refresh `changed`: share of observations whose error counts as normal.
      subgoals: Where subgoals come from:
        `declared`: the environment's.
        `learned`: regions of observations, around landmarks chosen from those seen.
      regions: Number of learned subgoals.
      curiosity: With learned subgoals: share of training environments in which agents go where
        they have
        been least; the high level learns from that too.
      chooser: What chooses subgoals:
        `learned`: the high level.
        `scripted`: the environment's task tree.
        `uniform`: uniformly at random among the available ones.
      mixing: Mix the agents' values of subgoals; without, each agent learns to choose
        independently.
      external: Weight of the team's reward in the low level's reward, beside 1 for its
        subgoals.
      low_steps: Environment steps at the start in which only the low level learns, with random
        subgoals.
      low_after: The low level after `low_steps`:
        `train`: it learns on.
        `freeze`: it stays as it is.
      low_greedy: In evaluations the low level takes its best action; without, it samples as in
        training,
        because a best action that changes nothing is repeated forever.
      together: Share of environments in which a random choice gives all agents the same
        subgoal, so that
        agents which have to meet learn to get past each other.
      unmixed_steps: Environment steps after `low_steps` in which agents learn to choose
        independently, before
        their values are mixed.
      high: Settings of the level that chooses subgoals; steps and rates are in environment
        steps.
      low: Settings of the level that acts; its reward is always that of the agent's own
        subgoal.
    """

def gmah_q(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    period: int = 16,
    refresh: Literal["achieved", "fixed", "changed", "options"] = "achieved",
    quantile: float = 0.95,
    subgoals: Literal["declared", "learned"] = "declared",
    regions: int = 8,
    curiosity: float = 0.5,
    chooser: Literal["learned", "scripted", "uniform"] = "learned",
    mixing: bool = True,
    external: float = 0.0,
    low_steps: int = 0,
    low_after: Literal["train", "freeze"] = "train",
    low_greedy: bool = True,
    together: float = 0.0,
    unmixed_steps: int = 0,
    high: QConfig | Mapping[str, Any] = ...,
    low: QConfig | Mapping[str, Any] = ...,
    hindsight: float = 0.0,
) -> Learner:
    """Returns a learner of gmah_q: subgoals chosen by mixed values, pursued by Q-learning.

    Args:
      spec: of the environment; or the environment, or its id.
      period: Most steps for which a subgoal is kept.
      refresh: When a subgoal ends:
        `achieved`: when it is achieved, or after `period` steps.
        `fixed`: always after `period` steps.
        `changed`: as `achieved`, and when an auto-encoder's reconstruction error exceeds
          `quantile`.
        `options`: when the set of available subgoals changes, or after `period` steps.
      quantile: With refresh `changed`: share of observations whose error counts as normal.
      subgoals: Where subgoals come from:
        `declared`: the environment's.
        `learned`: regions of observations, around landmarks chosen from those seen.
      regions: Number of learned subgoals.
      curiosity: With learned subgoals: share of training environments in which agents go where
        they have
        been least; the high level learns from that too.
      chooser: What chooses subgoals:
        `learned`: the high level.
        `scripted`: the environment's task tree.
        `uniform`: uniformly at random among the available ones.
      mixing: Mix the agents' values of subgoals; without, each agent learns to choose
        independently.
      external: Weight of the team's reward in the low level's reward, beside 1 for its
        subgoals.
      low_steps: Environment steps at the start in which only the low level learns, with random
        subgoals.
      low_after: The low level after `low_steps`:
        `train`: it learns on.
        `freeze`: it stays as it is.
      low_greedy: In evaluations the low level takes its best action; without, it samples as in
        training,
        because a best action that changes nothing is repeated forever.
      together: Share of environments in which a random choice gives all agents the same
        subgoal, so that
        agents which have to meet learn to get past each other.
      unmixed_steps: Environment steps after `low_steps` in which agents learn to choose
        independently, before
        their values are mixed.
      high: Settings of the level that chooses subgoals; steps and rates are in environment
        steps.
      low: Settings of the level that acts; its reward is always that of the agent's own
        subgoal.
      hindsight: Share of environments in which the low level learns from failures as if the
        subgoal had been
        what was achieved (hindsight relabelling).
    """

def clam(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    model: Literal["clam", "labels", "liam", "none", "oracle", "random", "shuffled"] = "clam",
    embedding: int = 20,
    standardise: bool = True,
    token: Literal["own", "observation", "change", "code"] = "own",
    inputs: tuple[int, ...] = (),
    encoder: EncoderConfig | Mapping[str, Any] = ...,
    contrast: ContrastConfig | Mapping[str, Any] = ...,
    liam: LiamConfig | Mapping[str, Any] = ...,
    policy_steps: int = 0,
    ppo: PPOConfig | Mapping[str, Any] = ...,
) -> Learner:
    """Returns a learner of clam: PPO with a contrastive model of its partners.

    Args:
      spec: of the environment; or the environment, or its id.
      model: Model of the partners:
        `clam`: contrastive encoder of the own trajectory.
        `labels`: upper bound, CLAM trained with labels of which partners are alike.
        `liam`: LIAM's encoder, which reconstructs what the partners see and do.
        `none`: control, zeros.
        `oracle`: upper bound, the partner's identity.
        `random`: control, an untrained encoder.
        `shuffled`: control, the embedding of another episode.
      embedding: Size of the embedding, the same for all models.
      standardise: The policy reads embeddings less their running mean, over their running
        deviation (not those
        of `oracle` and `none`).
      token: Input of the encoder at each step:
        `own`: the agent's observation and action.
        `observation`: its observation alone; for observations that show what partners do.
        `change`: the change of that since the step before.
        `code`: its observation and the others' actions, as in the authors' repository.
      inputs: Components of the observation that the encoder reads; none given: all.
      encoder: Size of CLAM's encoder.
      contrast: Training of CLAM's encoder.
      liam: Settings of LIAM.
      policy_steps: Steps after which the policy's memory is reset and its returns are cut, as
        if an episode had
        ended, while the model of the partner goes on; 0: at the end of an episode only.
      ppo: Settings of the policy.
    """

def liam(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    model: Literal["clam", "labels", "liam", "none", "oracle", "random", "shuffled"] = "liam",
    embedding: int = 20,
    standardise: bool = True,
    token: Literal["own", "observation", "change", "code"] = "own",
    inputs: tuple[int, ...] = (),
    encoder: EncoderConfig | Mapping[str, Any] = ...,
    contrast: ContrastConfig | Mapping[str, Any] = ...,
    liam: LiamConfig | Mapping[str, Any] = ...,
    policy_steps: int = 0,
    ppo: PPOConfig | Mapping[str, Any] = ...,
) -> Learner:
    """Returns a learner of liam: PPO with LIAM's model of its partners, by reconstruction.

    Args:
      spec: of the environment; or the environment, or its id.
      model: Model of the partners; see `clam`. `liam`: an encoder of the own trajectory that
        reconstructs what the partners see and do.
      embedding: Size of the embedding, the same for all models.
      standardise: The policy reads embeddings less their running mean, over their running
        deviation (not those
        of `oracle` and `none`).
      token: Input of the encoder at each step:
        `own`: the agent's observation and action.
        `observation`: its observation alone; for observations that show what partners do.
        `change`: the change of that since the step before.
        `code`: its observation and the others' actions, as in the authors' repository.
      inputs: Components of the observation that the encoder reads; none given: all.
      encoder: Size of CLAM's encoder.
      contrast: Training of CLAM's encoder.
      liam: Settings of LIAM.
      policy_steps: Steps after which the policy's memory is reset and its returns are cut, as
        if an episode had
        ended, while the model of the partner goes on; 0: at the end of an episode only.
      ppo: Settings of the policy.
    """

def dynamic_population(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    population: int = 10,
    growing: bool = True,
    seed_updates: int = 300,
    phase_updates: int = 300,
    inner_steps: int = 3,
    inner_lr: float = 0.1,
    second_order: bool = False,
    supervised: float = 1.0,
    lr: float = 0.001,
    entropy: float = 0.01,
    baseline_rate: float = 0.05,
    max_grad_norm: float = 10.0,
    hidden: int = 64,
) -> Learner:
    """Returns a learner of dynamic_population: a listener meta-learns with many speakers.

    Args:
      spec: of the environment; or the environment, or its id.
      population: T, speakers that are trained after the first one.
      growing: A new speaker is a copy of the newest one, which stays as it is. Otherwise the
        first speaker
        itself is trained on: seeded self-play of one pair.
      seed_updates: Updates at the start in which the first speaker and the listener learn from
        lessons alone.
      phase_updates: Updates of a phase; a listener's phase and a speaker's phase take turns.
      inner_steps: Gradient steps that the listener makes on a speaker's games before it is
        judged by others;
        0 is a listener of many speakers without meta-learning.
      inner_lr: Step size of these.
      second_order: Differentiate through these steps (MAML) instead of as if they were
        constants.
      supervised: Weight of the lessons beside the games; 0: lessons in the first updates only.
      lr: Adam's step size, of listener and speakers.
      entropy: Weight of the entropy bonus of the speaker that learns.
      baseline_rate: Share of the newest games in the running mean of hits, the speaker's
        baseline.
      max_grad_norm: Largest global norm of a gradient; larger ones are scaled down.
      hidden: Width of all networks.
    """

def ami(
    spec: EnvSpec | Environment[Any, Any] | str,
    *,
    influence: float = 0.1,
    influence_of: Literal["marginal", "taken"] = "marginal",
    targets: Literal["oracle", "drawn", "random", "shuffled", "none"] = "oracle",
    distance: Literal["l1", "l2", "max", "log"] = "l1",
    model: NextActionConfig | Mapping[str, Any] = ...,
    ppo: PPOConfig | Mapping[str, Any] = ...,
) -> Learner:
    """Returns a learner of ami: PPO against a team, rewarded for its influence (AMI).

    Args:
      spec: of the environment; or the environment, or its id.
      influence: Weight of the penalty (lambda), in deviations of the reward; 0 is `mappo`.
      influence_of: Own actions whose influence counts:
        `marginal`: all that the policy may take, by their probability.
        `taken`: the one that was taken, so that it gets the credit itself.
      targets: What the others are to be brought to do next:
        `oracle`: proposed by an oracle, which learns from what the others did and what
          followed.
        `drawn`: as in the authors' code, an oracle that learns from its own proposals.
        `random`: control, any legal action.
        `shuffled`: control, what the oracle proposed for other steps of the rollout.
        `none`: control, anything but what they do where own actions are uniformly random.
      distance: Distance of what is expected from what is proposed:
        `l1`: the sum of differences of probabilities.
        `l2`: Euclidean.
        `max`: the largest difference.
        `log`: minus the log-probability of what is proposed.
      model: Training of the model of what the others do next.
      ppo: Settings of the policy, and of the oracle but for its network.
    """
