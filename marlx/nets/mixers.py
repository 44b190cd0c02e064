"""Mixers: how agents' utilities become the value that is learned, and the joint greedy action.

Formulas are for one state, without batch axes; callers `vmap`. Every mixer is a record of three
functions, so that one Q-learner serves them all.
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
    """What a mixer reads, of one state."""

    q: Array  # f32 [N, A]
    features: Array  # f32 [N, H], what the agents' heads read
    action_mask: Array  # bool [N, A]
    global_state: Array  # f32 [S]


class Mixer(NamedTuple):
    """A way of combining utilities.

    Attributes:
      init: `(key) -> params`.
      value: `(params, utilities, action int32 [N]) -> value`, f32 [] for a team value or f32 [N]
        for one per agent.
      greedy: `(params, utilities) -> int32 [N]`, the legal joint action of highest value.
      uses_state: whether `value` reads the global state; if not, replays need not store it.
    """

    init: Callable[[Array], Tree]
    value: Callable[[Tree, Utilities, Array], Array]
    greedy: Callable[[Tree, Utilities], Array]
    uses_state: bool


def chosen(q: Array, action: Array) -> Array:
    """f32 [N], the utility of each agent's action; q f32 [N, A], action int32 [N]."""
    return jnp.take_along_axis(q, action[:, None], axis=-1)[:, 0]


def mixer_slope(mixer: Mixer, params: Tree, u: Utilities, action: Array) -> Array:
    """f32 [], how far the value moves with what an agent contributes: the gradient's mean size.

    1 where utilities are summed or independent. A mixer whose slope is 0 passes nothing on to its
    agents, who then learn nothing, however good the value looks.

    Args:
      mixer: whose `value` is asked.
      params: its parameters.
      u: of one state.
      action: int32 [N].
    """

    def value(q: Array, features: Array) -> Array:
        return mixer.value(params, u._replace(q=q, features=features), action).sum()

    by_q, by_features = jax.grad(value, (0, 1))(u.q, u.features)
    return (jnp.abs(by_q).sum() + jnp.abs(by_features).sum()) / len(action)


def _agents_greedy(params: Tree, utilities: Utilities) -> Array:
    """Each agent's own best action: the joint argmax wherever IGM holds."""
    del params
    return masked_argmax(utilities.q, utilities.action_mask)


def independent() -> Mixer:
    """Every agent's utility is its own value f32 [N] (IQL; Tan 1993)."""
    return Mixer(lambda key: {}, lambda _, u, a: chosen(u.q, a), _agents_greedy, False)


def additive() -> Mixer:
    """Q_tot is the sum of the utilities (VDN; Sunehag et al. 2018, eq. 3)."""
    return Mixer(lambda key: {}, lambda _, u, a: chosen(u.q, a).sum(), _agents_greedy, False)


def _dense(width: int, x: Array, name: str) -> Array:
    """A dense layer whose biases are drawn too, from +-1/sqrt(fan in), as PyTorch's are.

    With flax's zero biases a state of zeros, which is all that a stateless game has, gives weights
    of exactly zero. Neither `abs` nor `relu` passes a gradient there: the mixer would never learn.
    """
    bound = 1.0 / np.sqrt(max(1, x.shape[-1]))

    def bias(key: Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    out: Array = nn.Dense(width, bias_init=bias, name=name)(x)
    return out


def _encoded(width: int, x: Array, name: str, normalise: bool) -> Array:
    """A dense layer of the state, at mean 0 and variance 1 if `normalise`."""
    x = _dense(width, x, name)
    return nn.LayerNorm(name=f"{name}_norm")(x) if normalise else x


class _MonotonicNet(nn.Module):
    embed: int
    hypernet: int
    normalise: bool

    @nn.compact
    def __call__(self, q: Array, state: Array) -> Array:
        def encoded(width: int, name: str) -> Array:
            return _encoded(width, state, name, self.normalise)

        def hyper(width: int, name: str) -> Array:
            weights = jnp.abs(
                _dense(width, nn.relu(encoded(self.hypernet, f"{name}_hidden")), name)
            )
            # with this the value moves about as far as a utility does, at first
            return weights / np.sqrt(self.embed) if self.normalise else weights

        n = q.shape[0]
        w1 = hyper(n * self.embed, "w1").reshape(n, self.embed)
        w2 = hyper(self.embed, "w2")
        hidden = nn.elu(q @ w1 + encoded(self.embed, "b1"))
        v = _dense(1, nn.relu(encoded(self.embed, "v_hidden")), "v")[0]
        mixed: Array = hidden @ w2 + v
        return mixed


def monotonic(
    spec: EnvSpec, *, embed: int = 32, hypernet: int = 64, normalise: bool = False
) -> Mixer:
    """Q_tot from a mixing network with non-negative weights given by the state (QMIX).

    Args:
      spec: the environment's.
      embed: width of the mixing network.
      hypernet: hidden width of the two hypernetworks that make its weights.
      normalise: layer normalisation of what is made of the state. A value is a product of two
        weights and a utility, each linear in the state far out, so it grows with the state's cube;
        where states are unbounded, bootstrapping from beyond what was learned then diverges.
        Normalised, the weights are bounded (Ball et al. 2023, section 4.2, for critics).

    Source: Rashid et al. 2018, section 4.1 and figure 2. Differs from: the paper in hypernetworks
    with one hidden layer, as in the authors' later code.
    """
    net = _MonotonicNet(embed, hypernet, normalise)

    def init(key: Array) -> Tree:
        return net.init(key, jnp.zeros(spec.num_agents), jnp.zeros(spec.state_size))

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        return net.apply(params, chosen(u.q, action), u.global_state)  # type: ignore[return-value]

    return Mixer(init, value, _agents_greedy, True)


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
        actions = jnp.clip(mlp(joint, self.heads * n, "actions"), -10.0, self.exponent)
        return w, b, (agents * jnp.exp(actions.reshape(self.heads, n))).sum(0)


def duplex(
    spec: EnvSpec,
    *,
    hidden: int = 64,
    heads: int = 4,
    normalise: bool = False,
    exponent: float = 5.0,
) -> Mixer:
    """Q_tot from duplex duelling: every value whose greedy action is the agents' own (QPLEX).

    `Q_tot = sum_i V_i + sum_i lambda_i(s, a) A_i`, with `V_i = w_i(s) max Q_i + b_i(s)`,
    `A_i = w_i(s) (Q_i - max Q_i) <= 0` and `lambda_i > 0`.

    Args:
      spec: the environment's.
      hidden: width of the networks of the state.
      heads: number of terms summed into each lambda.
      normalise: see `monotonic`.
      exponent: each of those terms is at most e to this, and at least e to -10.

    Source: Wang et al. 2021, eqs. 9 to 12. As in the authors' code, no gradient flows from the
    lambda-weighted part into the utilities: they learn through `sum_i w_i Q_i + b_i`.
    Differs from: the paper, whose lambda is a sum of products of absolute values and sigmoids; here
    the part that reads the actions is an exponential. For the best action to overtake in the 8/-12
    game, lambda at the bad cells has to outgrow a vanishing advantage, and that is a race which
    sigmoids lose. Its exponent ends at 5 there: at 8, one run in five blew up. On foraging lambda
    above 1 goes with forgetting (docs/qplex.md).
    """
    net = _DuplexNet(hidden, heads, spec.num_actions, normalise, exponent)

    def init(key: Array) -> Tree:
        zeros = jnp.zeros(spec.num_agents, jnp.int32)
        return net.init(key, jnp.zeros(spec.state_size), zeros)

    def value(params: Tree, u: Utilities, action: Array) -> Array:
        w, b, importance = net.apply(params, u.global_state, action)  # type: ignore[misc]
        q = chosen(u.q, action)
        best = jnp.where(u.action_mask, u.q, -jnp.inf).max(-1)
        advantage = jax.lax.stop_gradient(w * (q - best))
        # sum_i V_i + A_i is sum_i w_i Q_i + b_i; the rest of lambda_i's weight goes on top
        total: Array = (w * q + b).sum() + ((importance - 1.0) * advantage).sum()
        return total

    return Mixer(init, value, _agents_greedy, True)


class _JointNet(nn.Module):
    hidden: int
    num_joint: int

    @nn.compact
    def __call__(self, features: Array, state: Array) -> Array:
        x = jnp.concatenate([features.reshape(-1), state])
        return nn.Dense(self.num_joint)(nn.relu(nn.Dense(self.hidden)(x)))


def joint(spec: EnvSpec, *, features: int, hidden: int = 64) -> Mixer:
    """One value per joint action, from all agents' features and the state: no factorisation.

    Acting needs everybody's observation, so this is centralised execution too: the upper bound
    that factorised learners are held against.

    Args:
      spec: the environment's.
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

    return Mixer(init, value, greedy, True)
