"""Mixers: how agents' utilities become the value that is learned, and the joint greedy action.

A mixer is a record of functions of one state, without batch axes. `window_values` and
`greedy_actions` are their batched forms.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from marlx.learning.returns import masked_argmax
from marlx.types import Array, EnvSpec, Tree

MAX_JOINT_ACTIONS = 4096


class Utilities(NamedTuple):
    """Inputs of a mixer, of one state."""

    q: Array  # f32 [N, A]
    features: Array  # f32 [N, H], inputs of the agents' last layer
    action_mask: Array  # bool [N, A]
    global_state: Array  # f32 [S]


class Mixer(NamedTuple):
    """A way of combining utilities.

    Attributes:
      init: `(key) -> params`.
      value: `(params, utilities, action int32 [N]) -> value`, f32 [] for a team value or f32 [N]
        for one value per agent.
      greedy: `(params, utilities) -> int32 [N]`, the legal joint action of highest value.
      uses_state: whether `value` reads the global state; if not, replays need not store it.
      per_agent: whether each agent has a value of its own. A traced bool [] where that changes
        during training, see `mixed_after`.
    """

    init: Callable[[Array], Tree]
    value: Callable[[Tree, Utilities, Array], Array]
    greedy: Callable[[Tree, Utilities], Array]
    uses_state: bool
    per_agent: bool | Array


def chosen_utilities(q: Array, action: Array) -> Array:
    """Returns f32 [N], the utility of each agent's action; q f32 [N, A], action int32 [N]."""
    return jnp.take_along_axis(q, action[:, None], axis=-1)[:, 0]


def window_values(mixer: Mixer, params: Tree, utilities: Utilities, action: Array) -> Array:
    """Returns values f32 [T, b] or [T, b, N] of actions int32 [T, b, N] in a batch of windows."""
    over_batch = jax.vmap(mixer.value, (None, 0, 0))
    return jax.vmap(over_batch, (None, 0, 0))(params, utilities, action)


def greedy_actions(mixer: Mixer, params: Tree, utilities: Utilities) -> Array:
    """Returns the greedy joint actions int32 [B, N] of a batch of states."""
    return jax.vmap(mixer.greedy, (None, 0))(params, utilities)


def mixed_after(mixer: Mixer, delay: int, steps: Array) -> Mixer:
    """Returns `mixer` for a learner that mixes only after `delay` environment steps.

    Until then each agent's value is its own utility, as in `independent`. Values are f32 [N]
    throughout: after the delay, N copies of the team value.

    Args:
      mixer: of a team value.
      delay: environment steps; with 0 the mixer is returned as it is.
      steps: int32 [], environment steps so far.
    """
    if not delay:
        return mixer
    unmixed = steps <= delay

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        mixed = mixer.value(params, u, action)
        return jnp.where(unmixed, chosen_utilities(u.q, action), mixed[None])

    return mixer._replace(value=value, per_agent=unmixed)


def mixer_slope(mixer: Mixer, params: Tree, u: Utilities, action: Array) -> Array:
    """Returns f32 [], the mean size of the gradient of the value in an agent's utilities.

    It is 1 where utilities are summed or independent. A mixer of slope 0 gives its agents no
    gradient: they learn nothing, whatever the loss says.

    Args:
      mixer: the mixer.
      params: its parameters.
      u: utilities of one state.
      action: int32 [N].
    """

    def value(q: Array, features: Array) -> Array:
        return mixer.value(params, u._replace(q=q, features=features), action).sum()

    by_q, by_features = jax.grad(value, (0, 1))(u.q, u.features)
    return (jnp.abs(by_q).sum() + jnp.abs(by_features).sum()) / len(action)


def _agents_greedy(params: Tree, utilities: Utilities) -> Array:
    """Returns each agent's own best action: the joint argmax wherever IGM holds."""
    del params
    return masked_argmax(utilities.q, utilities.action_mask)


def independent() -> Mixer:
    """Returns the mixer of independent learners: utilities are values (IQL; Tan 1993)."""
    return Mixer(
        init=lambda key: {},
        value=lambda _, u, action: chosen_utilities(u.q, action),
        greedy=_agents_greedy,
        uses_state=False,
        per_agent=True,
    )


def additive() -> Mixer:
    """Returns the mixer whose Q_tot is the sum of utilities (VDN; Sunehag et al. 2018, eq. 3)."""
    return Mixer(
        init=lambda key: {},
        value=lambda _, u, action: chosen_utilities(u.q, action).sum(),
        greedy=_agents_greedy,
        uses_state=False,
        per_agent=False,
    )


def _dense(width: int, x: Array, name: str) -> Array:
    """Returns a dense layer of x, its biases initialised from +-1/sqrt(fan in) as in PyTorch.

    The state of a stateless game is all zeros. With flax's zero biases the mixer's weights would
    then be exactly 0, where neither `abs` nor `relu` passes a gradient: it would never learn.
    """
    bound = 1.0 / np.sqrt(max(1, x.shape[-1]))

    def bias(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    out: Array = nn.Dense(width, bias_init=bias, name=name)(x)
    return out


def _encoded(width: int, x: Array, name: str, normalise: bool) -> Array:
    """Returns a dense layer of x, followed by layer normalisation if `normalise`."""
    x = _dense(width, x, name)
    return nn.LayerNorm(name=f"{name}_norm")(x) if normalise else x


class _MonotonicNet(nn.Module):
    """The mixing network of QMIX and the hypernetworks of its weights."""

    embed: int
    hypernet: int
    normalise: bool
    positive: bool = True

    @nn.compact
    def __call__(self, q: Array, state: Array) -> Array:
        def encoded(width: int, name: str) -> Array:
            return _encoded(width, state, name, self.normalise)

        def hyper(width: int, name: str) -> Array:
            weights = _dense(width, nn.relu(encoded(self.hypernet, f"{name}_hidden")), name)
            weights = jnp.abs(weights) if self.positive else weights
            # at initialisation the slope of the value is then about 1
            return weights / np.sqrt(self.embed) if self.normalise else weights

        n = q.shape[0]
        w1 = hyper(n * self.embed, "w1").reshape(n, self.embed)
        w2 = hyper(self.embed, "w2")
        hidden = nn.elu(q @ w1 + encoded(self.embed, "b1"))
        v = _dense(1, nn.relu(encoded(self.embed, "v_hidden")), "v")[0]
        mixed: Array = hidden @ w2 + v
        return mixed


def monotonic(
    spec: EnvSpec,
    *,
    embed: int = 32,
    hypernet: int = 64,
    normalise: bool = False,
    positive: bool = True,
) -> Mixer:
    """Returns QMIX's mixer: a mixing network whose non-negative weights depend on the state.

    Args:
      spec: of the environment.
      embed: width of the mixing network.
      hypernet: hidden width of the two hypernetworks that compute its weights.
      normalise: layer normalisation in the hypernetworks. A value is a product of two weights and
        a utility. For large states each of them is linear in the state, so the value grows with
        its cube, and where states are unbounded bootstrapping can diverge. Normalisation bounds
        the weights (Ball et al. 2023, section 4.2, for critics).
      positive: False leaves out the restriction to non-negative weights, and with it monotonicity:
        for learners that search no best joint action (FACMAC, Peng et al. 2021, section 4.1).

    Source: Rashid et al. 2018, section 4.1 and figure 2. Differs from: the paper in hypernetworks
    with one hidden layer, as in the authors' later code.
    """
    net = _MonotonicNet(embed, hypernet, normalise, positive)

    def init(key: Array) -> Tree:
        return net.init(key, jnp.zeros(spec.num_agents), jnp.zeros(spec.state_size))

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        return net.apply(params, chosen_utilities(u.q, action), u.global_state)  # type: ignore[return-value]

    return Mixer(init, value, _agents_greedy, uses_state=True, per_agent=False)


class _DuplexNet(nn.Module):
    """The transformation (w, b) and the importance weights (lambda) of QPLEX."""

    hidden: int
    heads: int
    num_actions: int
    normalise: bool
    exponent: float

    @nn.compact
    def __call__(self, state: Array, action: Array) -> tuple[Array, Array, Array]:
        n = action.shape[0]

        def mlp(x: Array, width: int, name: str) -> Array:
            hidden = _encoded(self.hidden, x, f"{name}_hidden", self.normalise)
            return _dense(width, nn.relu(hidden), name)

        w = jnp.abs(mlp(state, n, "w")) + 1e-10
        b = mlp(state, n, "b")
        joint = jnp.concatenate([state, jax.nn.one_hot(action, self.num_actions).reshape(-1)])
        agents = nn.sigmoid(mlp(state, self.heads * n, "agents")).reshape(self.heads, n)
        actions = bounded_exp(mlp(joint, self.heads * n, "actions"), self.exponent)
        return w, b, (agents * actions.reshape(self.heads, n)).sum(0)


def bounded_exp(x: Array, exponent: float) -> Array:
    """Returns `e^exponent sigmoid(x - max(exponent, 0))`, f32 [...] between 0 and `e^exponent`.

    With a large bound it is close to `e^x`, with one of 1 or less it is a sigmoid of that height,
    half of it at 0. It has a gradient everywhere. `min(e^x, e^exponent)` has none above the bound,
    where with foraging's preset 97% of QPLEX's weights were at initialisation, and all of them
    after training.
    """
    return jnp.exp(exponent) * nn.sigmoid(x - jnp.maximum(exponent, 0.0))


def duplex(
    spec: EnvSpec,
    *,
    hidden: int = 64,
    heads: int = 4,
    normalise: bool = False,
    exponent: float = 5.0,
    gradient: bool = False,
) -> Mixer:
    """Returns QPLEX's mixer: duplex duelling, all value functions that satisfy IGM.

    `Q_tot = sum_i V_i + sum_i lambda_i(s, a) A_i`, with `V_i = w_i(s) max Q_i + b_i(s)`,
    `A_i = w_i(s) (Q_i - max Q_i) <= 0` and `lambda_i > 0`.

    Args:
      spec: of the environment.
      hidden: width of the networks of the state.
      heads: number of terms summed into each lambda.
      normalise: see `monotonic`.
      exponent: upper bound of the logarithm of each term, approached smoothly (`bounded_exp`).
      gradient: whether gradient flows from the lambda-weighted part into the utilities. Without it
        they learn through `sum_i w_i Q_i + b_i` alone, which is not the gradient of the loss.

    Source: Wang et al. 2021, eqs. 9 to 12. The authors' code stops that gradient, as the default.
    Differs from: the paper, whose lambda is a sum of products of absolute values and sigmoids; here
    the factor that reads the actions is an exponential below a bound. In the 8/-12 matrix game
    lambda at the bad cells has to grow faster than their advantage vanishes, and sigmoids alone are
    too slow for that.
    """
    net = _DuplexNet(hidden, heads, spec.num_actions, normalise, exponent)

    def init(key: Array) -> Tree:
        zeros = jnp.zeros(spec.num_agents, jnp.int32)
        return net.init(key, jnp.zeros(spec.state_size), zeros)

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        w, b, importance = net.apply(params, u.global_state, action)  # type: ignore[misc]
        q = chosen_utilities(u.q, action)
        best = jnp.where(u.action_mask, u.q, -jnp.inf).max(-1)
        advantage = w * (q - best)
        if not gradient:
            advantage = jax.lax.stop_gradient(advantage)
        # sum_i V_i + A_i = sum_i w_i Q_i + b_i, and lambda_i A_i = A_i + (lambda_i - 1) A_i
        total: Array = (w * q + b).sum() + ((importance - 1.0) * advantage).sum()
        return total

    return Mixer(init, value, _agents_greedy, uses_state=True, per_agent=False)


class _JointNet(nn.Module):
    """Values f32 [A^N] of all joint actions."""

    hidden: int
    num_joint: int

    @nn.compact
    def __call__(self, features: Array, state: Array) -> Array:
        x = jnp.concatenate([features.reshape(-1), state])
        return nn.Dense(self.num_joint)(nn.relu(nn.Dense(self.hidden)(x)))


def joint(spec: EnvSpec, *, features: int, hidden: int = 64) -> Mixer:
    """Returns the mixer with one value per joint action, from all features and the state.

    Nothing is factorised. Acting needs the observations of all agents, so execution is centralised
    too: an upper bound for factorised learners.

    Args:
      spec: of the environment.
      features: H, width of the agents' features.
      hidden: width of the hidden layer.

    Raises:
      ValueError: more than `MAX_JOINT_ACTIONS` joint actions.
    """
    n, a = spec.num_agents, spec.num_actions
    if a**n > MAX_JOINT_ACTIONS:
        raise ValueError(
            f"joint actions are {a}^{n} = {a**n} in {spec.id}; a joint-action Q takes at most "
            f"{MAX_JOINT_ACTIONS}: use vdn, qmix or qplex there"
        )
    net = _JointNet(hidden, a**n)
    table = jnp.array(list(itertools.product(range(a), repeat=n)), jnp.int32)  # [A^N, N]
    place = jnp.array([a ** (n - 1 - i) for i in range(n)], jnp.int32)

    def init(key: Array) -> Tree:
        return net.init(key, jnp.zeros((n, features)), jnp.zeros(spec.state_size))

    def values(params: Tree, u: Utilities) -> Array:
        return net.apply(params, u.features, u.global_state)  # type: ignore[return-value]

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        return values(params, u)[(action * place).sum()]

    def greedy(params: Tree, u: Utilities) -> Array:
        legal = u.action_mask[np.arange(n), table].all(-1)  # [A^N]
        return table[masked_argmax(values(params, u), legal)]

    return Mixer(init, value, greedy, uses_state=True, per_agent=False)


class _CentralNet(nn.Module):
    """The value f32 [] of one joint action."""

    hidden: int

    @nn.compact
    def __call__(self, features: Array, actions: Array, state: Array) -> Array:
        x = jnp.concatenate([features.reshape(-1), actions.reshape(-1), state])
        for name in ("first", "second"):
            x = nn.relu(_dense(self.hidden, x, name))
        return _dense(1, x, "value")[0]


def central(spec: EnvSpec, *, features: int, hidden: int = 64) -> Mixer:
    """Returns the unrestricted value of a joint action, beside utilities that choose the actions.

    It reads all features, the joint action and the state, and is computed for one joint action at
    a time, so their number does not matter. The greedy joint action is that of the utilities:
    nothing here is searched for it.

    Args:
      spec: of the environment.
      features: H, width of the agents' features.
      hidden: width of the two hidden layers.

    Source: Son et al. 2019 (the joint Q) and Rashid et al. 2020 (Q*). Differs from: Rashid et al.,
    whose Q* has recurrent agents of its own; here it reads the features of the agents that act, as
    that of Son et al. does.
    """
    net, n, a = _CentralNet(hidden), spec.num_agents, spec.num_actions

    def init(key: Array) -> Tree:
        return net.init(
            key, jnp.zeros((n, features)), jnp.zeros((n, a)), jnp.zeros(spec.state_size)
        )

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        return net.apply(params, u.features, jax.nn.one_hot(action, a), u.global_state)  # type: ignore[return-value]

    return Mixer(init, value, _agents_greedy, uses_state=True, per_agent=False)
