"""Networks by name: what each computes, exactly; what is refused; and networks of one's own."""

import dataclasses
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx.algos.parallel_q_config import PQNConfig
from marlx.algos.ppo import ippo, mappo
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_networks import actor_critic
from marlx.algos.q_config import QConfig
from marlx.algos.q_learning import iql
from marlx.config.coerce import coerce
from marlx.nets.agents import team_network
from marlx.nets.contract import Network, NetworkSpec, scanned
from marlx.nets.makers import NETWORKS, agents_network, check_network
from marlx.types import Entities, EnvSpec, Planes

KINDS = (Entities.block("foods", 1, 3, 3, present=2), Entities("agents", ((10, 12), (11, 13))))
SPEC = NetworkSpec(16, 5, hidden=8, steps=4, planes=Planes(2, 2, 3), entities=KINDS)


def made(name, spec=SPEC):
    """A network with parameters away from their initial values, and 5 steps of 2 environments."""
    network = NETWORKS[name](spec)
    keys = jax.random.split(jax.random.key(0), 3)
    params = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.fold_in(keys[1], x.size), x.shape),
        jax.jit(network.init)(keys[0]),
    )
    return network, params, jax.random.normal(keys[2], (9, 2, 3, spec.width))


def outputs(network, params, x):
    """Outputs f32 [..., O] of the first step of an episode."""
    memory = jnp.zeros((*x.shape[:-1], network.memory))
    return jax.jit(network.step)(params, memory, x)[0]


# --- rows ---


def test_the_order_of_rows_changes_nothing():
    network, params, x = made("entity")
    foods = np.arange(1, 10).reshape(3, 3)
    for order in ([2, 0, 1], [1, 0, 2]):
        other = x.at[..., foods].set(x[..., foods[order]])
        other = other.at[..., [10, 11, 12, 13]].set(x[..., [11, 10, 13, 12]])
        found, wanted = outputs(network, params, other), outputs(network, params, x)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
        assert jnp.abs(other - x).max() > 0.1


def test_absent_rows_change_nothing_and_there_may_be_any_number():
    """The same parameters read three foods, of which one is absent, and six, of which four are."""
    network, params, x = made("entity")
    x = x.at[..., [3, 6]].set(1.0).at[..., 9].set(0.0)
    wanted = outputs(network, params, x)
    noise = x.at[..., [7, 8]].set(99.0)
    np.testing.assert_array_equal(outputs(network, params, noise), wanted)
    wide = jnp.concatenate([x[..., :7], jnp.full((*x.shape[:-1], 12), -5.0), x[..., 10:]], -1)
    more = (Entities.block("foods", 1, 6, 3, present=2), Entities("agents", ((19, 21), (20, 22))))
    larger = NETWORKS["entity"](SPEC._replace(width=25, entities=more))
    np.testing.assert_allclose(outputs(larger, params, wide), wanted, atol=1e-5)
    fewer = jnp.concatenate([x[..., :7], x[..., 10:]], -1)
    less = (Entities.block("foods", 1, 2, 3, present=2), Entities("agents", ((7, 9), (8, 10))))
    smaller = NETWORKS["entity"](SPEC._replace(width=13, entities=less))
    np.testing.assert_allclose(outputs(smaller, params, fewer), wanted, atol=1e-5)


def test_present_rows_and_the_agents_own_numbers_count():
    network, params, x = made("entity")
    x = x.at[..., 3].set(1.0)
    for place in (0, 1, 10, 15):
        other = outputs(network, params, x.at[..., place].add(1.0))
        assert jnp.abs(other - outputs(network, params, x)).max(-1).min() > 1e-4


# --- planes ---


def test_planes_are_read_in_either_order():
    network, params, x = made("cnn")
    image, rest = x[..., :12].reshape(*x.shape[:-1], 2, 2, 3), x[..., 12:]
    turned = jnp.moveaxis(image, -1, -3).reshape(*x.shape[:-1], 12)
    first = NETWORKS["cnn"](SPEC._replace(planes=Planes(2, 2, 3, channels_first=True)))
    found = outputs(first, params, jnp.concatenate([turned, rest], -1))
    np.testing.assert_allclose(found, outputs(network, params, x), atol=1e-5)
    moved = outputs(network, params, x.at[..., 14].add(1.0))  # behind the image
    assert jnp.abs(moved - outputs(network, params, x)).max() > 1e-4


# --- time ---


def test_a_sequence_of_the_transformer_is_its_steps():
    network, params, x = made("transformer")
    done = jnp.zeros((9, 2), bool).at[2, 0].set(True).at[3, 0].set(True).at[6, 1].set(True)
    memory = jnp.zeros((2, 3, network.memory))
    unroll, wanted = (
        jax.jit(network.unroll),
        jax.jit(scanned(network.step))(params, memory, x, done),
    )
    found = unroll(params, memory, x, done)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    middle = jnp.where(done[4][:, None, None], 0.0, found[2][4])  # a window that starts later
    for one, other in zip(unroll(params, middle, x[5:], done[5:]), wanted, strict=True):
        np.testing.assert_allclose(one, other[5:], atol=1e-5)


def test_the_transformer_sees_its_last_steps_of_the_episode_and_no_others():
    network, params, x = made("transformer")
    memory, never = jnp.zeros((2, 3, network.memory)), jnp.zeros((9, 2), bool)
    unroll = jax.jit(network.unroll)

    def changed(at, done=never):
        before, after = (unroll(params, memory, y, done)[0] for y in (x, x.at[at].add(1.0)))
        return list(np.flatnonzero(jnp.abs(after - before).max((1, 2, 3)) > 1e-5))

    assert changed(2) == [2, 3, 4, 5]  # steps = 4
    assert changed(2, never.at[3].set(True)) == [2, 3]


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "auto"])
def test_gradients_reach_all_parameters(name):
    network, params, x = made(name)
    unroll = network.unroll or scanned(network.step)

    def loss(params):
        memory = jnp.zeros((2, 3, network.memory))
        return (unroll(params, memory, x, jnp.zeros((9, 2), bool))[0] ** 2).mean()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert jnp.abs(gradient).max() > 0, jax.tree_util.keystr(path)


# --- the setting ---


@pytest.mark.parametrize(
    ("config", "settings", "answer"),
    [
        (PPOConfig, {"network": "mpl"}, "network is 'mpl'; it must be auto, mlp, gru, cnn, entity"),
        (QConfig, {"network": 3}, "network is 3; it must be a name, or a function"),
        (
            PPOConfig,
            {"network": "mlp", "recurrent": True},
            "'mlp', which has no GRU; leave out",
        ),
        (QConfig, {"network": "gru", "recurrent": False}, "'gru', which has a GRU; leave out one"),
        (PQNConfig, {"network": "transformer", "recurrent": True}, "which has no GRU; leave out"),
        (QConfig, {"network": "entity", "hidden": 10}, "hidden is 10; it must be a multiple of 4"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(config, settings, answer):
    with pytest.raises(ValueError, match=answer):
        config(**settings)


@pytest.mark.parametrize("name", ["cnn", "entity"])
def test_networks_are_refused_where_nothing_is_declared(name):
    spec = marlx.make("matrix/climbing")[0].spec()
    reads = {"cnn": "declares no planes", "entity": "declares no entities"}[name]
    for build in (iql, mappo):
        with pytest.raises(ValueError, match=f"network is '{name}'.* matrix/climbing {reads}"):
            build(spec, network=name)


def test_text_that_names_no_network_is_answered_with_the_names():
    hint = typing.get_type_hints(PPOConfig)["network"]
    assert coerce("entity", hint) == "entity"
    with pytest.raises(ValueError, match=r"^expected auto or mlp or .* or transformer, got 'x'$"):
        coerce("x", hint)


def test_recurrent_decides_where_the_network_leaves_it_open():
    """`auto` is `gru` or `mlp`; `cnn` and `entity` have a GRU behind them, or none."""
    spec = dataclasses.replace(
        marlx.make("Foraging-5x5-2p-1f-v3")[0].spec(), planes=Planes(1, 2, 3)
    )

    def memory(config):
        return agents_network(spec, config, 6).memory(1).shape[-1]

    for name in ("auto", "cnn", "entity"):
        assert memory(QConfig(network=name, hidden=8)) == 8
        assert memory(PPOConfig(network=name, hidden=8)) == 0
    assert memory(QConfig(network="mlp")) == 0 and memory(PPOConfig(network="gru", hidden=8)) == 8
    assert memory(QConfig(network="transformer", hidden=8, attention_steps=3)) == 17
    check_network(QConfig(network="mlp"))  # `recurrent` was left at its default


def test_a_critic_of_the_global_state_reads_no_rows():
    spec = marlx.make("Foraging-5x5-2p-1f-v3")[0].spec()
    nets = actor_critic(spec, PPOConfig(network="entity", hidden=8), central=True)
    params = jax.eval_shape(nets.init, jax.random.key(0))
    assert "body" in params.actor["params"] and "encoder" in params.critic["params"]
    nets = actor_critic(spec, PPOConfig(network="transformer", hidden=8), central=True)
    assert nets.remembers and nets.critic_memory(3).shape == (3, 1, 121)


def linear(spec):
    """A network of one's own: no hidden layer, and the sum of all inputs so far as its memory."""

    def init(key):
        return {"weight": jax.random.normal(key, (spec.width, spec.outputs))}

    def step(params, memory, x):
        seen = memory + x
        return seen @ params["weight"], seen, seen

    return Network(init, spec.width, step)


def test_a_function_may_stand_in_place_of_a_name():
    spec = marlx.make("matrix/two_step")[0].spec()
    config = PPOConfig(network=linear, agent_id=False)
    team = agents_network(spec, config, 2)
    params = team.init(jax.random.key(0))
    assert params["weight"].shape == (1, spec.obs_size, 2)
    obs = jnp.ones((3, 1, spec.num_agents, spec.obs_size))
    seen = marlx.types.Observation(obs, None, None)
    done = jnp.zeros((3, 1), bool).at[1].set(True)
    found, _, memory = team.unroll(params, team.memory(1), seen, done)
    np.testing.assert_allclose(memory[:, 0, 0, 0] * spec.scale, [1, 2, 1])
    once = obs[0] @ params["weight"][0] / spec.scale
    np.testing.assert_allclose(found, jnp.stack([once, 2 * once, once]), rtol=1e-5)
    assert actor_critic(spec, config, central=False).remembers
    assert ippo(spec, config).memory(2).shape == (2, spec.num_agents, spec.obs_size)
    same = team_network(linear(NetworkSpec(spec.obs_size, 2)), spec, "all", agent_id=False)
    assert same.init(jax.random.key(0))["weight"].shape == params["weight"].shape


@pytest.mark.parametrize(
    ("changes", "answer"),
    [
        ({"planes": Planes(2, 3, 2)}, "planes are 2 x 3 x 2; an observation has 9 numbers"),
        ({"entities": (Entities.block("a", 5, 2, 3),)}, "'a' name number 10; an observation has 9"),
        ({"entities": (Entities("a", ((0, 1), (2,))),)}, "must have rows, all of one width"),
        ({"entities": (Entities("a", ((0, 1), (1, 2))),)}, "'a' name a number twice"),
        ({"entities": (Entities.block("a", 0, 1, 2, present=2),)}, "'a' have no number 2 in a row"),
        ({"entities": (Entities("a", ((0,),)), Entities("a", ((1,),)))}, "named twice: a, a"),
    ],
)
def test_declarations_that_do_not_fit_the_observation_are_refused(changes, answer):
    with pytest.raises(ValueError, match=answer):
        EnvSpec("x", num_agents=1, num_actions=2, obs_size=9, state_size=1, horizon=5, **changes)
