"""Every learner of marlx passes the conformance suite, and the suite finds what is broken."""

import dataclasses

import jax.numpy as jnp
import pytest
from tiny import TinyConfig, tiny

import marlx
from marlx.learner import Learner
from marlx.testing import Constant, Leaving, Masked, Recall, Unequal, check_env, check_learner

SMALL = {
    "hidden": 8, "mixer_hidden": 8, "mixer_embed": 4, "critic_hidden": 8, "warmup": 32, "batch": 4,
    "window": 8, "updates_per_step": 1 / 16, "capacity": 512, "period": 4, "low_steps": 0,
    "minibatches": 2, "epochs": 2, "embedding": 4, "width": 8, "heads": 2, "seeds": 2,
    "shortest": 2, "longest": 4, "projection": 8, "updates": 1, "regions": 3,
    "subgoals": "learned", "central_hidden": 8, "critic_epochs": 2, "critic_minibatches": 2,
}  # fmt: skip
"""Sizes that compile and run fast, by the name of the setting."""
CENTRAL = ("joint_q", "mansa", "mansa_ppo", "mat", "sable")
"""Learners that act on more than the agents' own observations."""
CORES = ("qmix", "ippo")
"""One learner of each core, trained with one agent and with unequal agents in every test run."""
PRIVILEGED = marlx.make("partners/matrix/climbing", privileged=True)[0]
OWN = {
    "ami": PRIVILEGED,
    "liam": PRIVILEGED,
    "dynamic_population": marlx.make("signal/lewis-5", lessons=3, rounds=4)[0],
}
"""Environments of learners that need something of them: partners in the global state, a language
that is taught."""
ABSENT = (
    "iql",
    "qmix",
    "qplex",
    "ow_qmix",
    "qtran",
    "ippo",
    "mappo",
    "happo",
    "coma",
    "mat",
    "sable",
    "teamreg",
    "coachreg",
    "iddpg",
    "maddpg",
    "facmac",
    "isac",
    "masac",
    "hasac",
)
"""Learners that do not learn from agents that are not there."""
LEFT_TO_THE_SLOW = {
    "liam", "cw_qmix", "haa2c", "teamreg", "coachreg", "iddpg", "maddpg", "facmac", "isac", "masac",
    "ami", "dynamic_population", "vdn", "ia2c", "maa2c", "pqn_vdn",
}  # fmt: skip
"""LIAM's environment takes long to compile. The others are settings, or made of the parts, of those
that are checked, or have checks of their own (`test_regularisation.py`, `test_population.py`,
`test_off_policy.py`, and AMI's)."""
SIBLINGS = {
    "iql", "qplex", "ow_qmix", "qtran", "joint_q", "pqn", "mappo", "mat", "sable", "gmah", "mansa",
}  # fmt: skip
"""Learners that share the training loop of one that is checked whole: their seeds are trained one
by one only, and under `vmap` among the slow."""
TOLERANCE = {"clam": 0.1}
"""CLAM's encoder has a bias before a normalisation, whose gradient is 0 but for rounding."""


def small(config):
    """`config` with those of the small sizes that it has, its parts' included."""
    changes = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = small(value)
        elif field.name in SMALL and type(value) is type(SMALL[field.name]):
            changes[field.name] = SMALL[field.name]
    return dataclasses.replace(config, **changes)


def check(name, others, eager, together=True):
    """The suite on the algorithm `name`, with small networks."""
    record = marlx.algorithm(name)
    prepare = record.prepare or (lambda env: env)
    config = small(record.config())
    check_learner(
        lambda spec: record.build(spec, config),
        OWN.get(name) or prepare(Recall(num_agents=3)),
        others=[prepare(env) for env in others],
        decentralised=name not in CENTRAL,
        absent=Leaving() if name in ABSENT else None,
        eager=eager,
        together=together,
        tolerance=TOLERANCE.get(name, 1e-3),
    )


@pytest.mark.parametrize("name", sorted({*marlx.algorithms()} - LEFT_TO_THE_SLOW))
def test_every_learner_keeps_the_contract(name):
    """All but a few, which are among the slow."""
    others = (Constant(num_agents=1), Unequal()) if name in CORES else ()
    check(name, others, eager=name in ("iql", "ippo"), together=name not in SIBLINGS)


@pytest.mark.parametrize("name", sorted(marlx.algorithms()))
@pytest.mark.slow
def test_every_learner_keeps_all_of_the_contract(name):
    others = () if name in OWN else (Constant(num_agents=1), Unequal(), Masked())
    check(name, others, eager=True)


@pytest.mark.slow
def test_independent_execution_of_mansa_is_decentralised():
    record = marlx.algorithm("mansa")
    config = dataclasses.replace(small(record.config()), execution="independent")
    check_learner(lambda spec: record.build(spec, config), others=())


def test_a_probe_of_unequal_agents_keeps_the_environments_contract():
    check_env(Unequal())


def broken(**changes):
    """A builder of the tiny learner with some of its functions replaced."""

    def build(spec):
        learner = tiny(spec, TinyConfig())
        made = {name: change(spec, learner) for name, change in changes.items()}
        return learner._replace(**made)

    return build


def peeks(spec, learner: Learner):
    def act(policy, memory, obs, key, explore):
        seen = obs.local.sum((-1, -2)).astype(jnp.int32)[:, None] + jnp.arange(spec.num_agents)
        order = jnp.argsort(~obs.action_mask, axis=-1, stable=True)
        count = obs.action_mask.sum(-1)
        action = jnp.take_along_axis(order, (seen % count)[..., None], -1)[..., 0]
        return action.astype(jnp.int32), memory + 1, ()

    return act


def illegal(spec, learner):
    def act(policy, memory, obs, key, explore):
        return jnp.zeros(obs.local.shape[:-1], jnp.int32), memory + 1, ()

    return act


def undeclared(spec, learner):
    def act(*args):
        action, memory, _ = learner.act(*args)
        return action, memory, jnp.zeros(action.shape)

    return act


def counts_the_batch(spec, learner):
    def act(policy, memory, obs, key, explore):
        return (
            learner.act(policy, memory, obs, key, explore)[0],
            memory + memory.shape[0],
            (),
        )

    return act


def grows(spec, learner):
    return lambda state, key: ({**state, "more": jnp.zeros(2)}, {})


def doubled(spec, learner):
    def init(key, example):
        array = learner.init(key, example)["logits"]
        return {"logits": array, "again": array}

    return init


def counts_the_dead(spec, learner):
    def observe(state, rollout):
        return {"logits": state["logits"] + rollout.reward.sum()}

    return observe


def blows_up(spec, learner):
    return lambda state, key: ({"logits": state["logits"] / 0.0}, {})


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"act": peeks}, "acts on more than its own observations"),
        ({"act": illegal}, "an illegal action is taken"),
        ({"act": undeclared}, "held against Learner.extras"),
        ({"update": grows}, "the state that update returns changes its structure"),
        ({"update": blows_up}, "is not finite"),
        ({"act": counts_the_batch}, "memory recomputed"),
        ({"observe": counts_the_dead}, "what inactive agents see, do or are paid is learned from"),
    ],
)
def test_what_is_broken_is_named_in_one_line(changes, fault):
    with pytest.raises(AssertionError, match=fault) as raised:
        check_learner(broken(**changes), others=())
    assert "\n" not in str(raised.value)


def test_an_array_that_stands_twice_in_the_state_cannot_be_donated():
    keeps = {"update": lambda spec, learner: lambda state, key: (state, {})}
    with pytest.raises(AssertionError, match="cannot be donated"):
        check_learner(broken(init=doubled, **keeps), others=())


def test_a_sound_learner_passes():
    check_learner(lambda spec: tiny(spec, TinyConfig()), others=(Masked(),))
