"""Auxiliary losses of PPO: what they see, what they train, and what they leave as it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.ppo import ppo_learner
from marlx.algos.ppo_auxiliary import Auxiliary, first_params
from marlx.algos.ppo_config import PPOConfig
from marlx.algos.ppo_epochs import adam
from marlx.algos.ppo_networks import actor_critic
from marlx.environment import EnvParams
from marlx.loop.program import loop
from marlx.loop.settings import TrainConfig
from marlx.testing import Recall

ENV, PARAMS = Recall(shortest=1, longest=4), EnvParams(max_steps_in_episode=4)
SPEC = ENV.spec(PARAMS)
CONFIG = PPOConfig(hidden=8, recurrent=True, window=5, epochs=1, minibatches=1, lr=0.01)
TRAIN = TrainConfig(num_envs=4, rollout_length=10)
_jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


@pytest.fixture(scope="module")
def begun():
    """The state of a learner without auxiliary loss before its first update."""
    functions = loop(ENV, PARAMS, ppo_learner(SPEC, CONFIG, central=True), TRAIN)
    return _jit(lambda key: functions.warm_up(functions.init(key)).learner)(jax.random.key(0))


def updated(begun, auxiliary):
    """The state before the first update, the one after it, and its metrics."""
    learner = ppo_learner(SPEC, CONFIG, central=True, auxiliary=auxiliary)
    if auxiliary is not None:
        params = begun.params._replace(extra=auxiliary.init(jax.random.key(0)))
        begun = begun._replace(params=params, optimiser=adam(CONFIG).init(params))
    return begun, *_jit(learner.update)(begun, jax.random.key(1))


def test_its_own_parameters_take_the_step_of_adam_and_ppo_takes_its_own(begun):
    """3 (w - 2)^2 is 12 where w is 0; the first step of Adam is the step size, downhill."""

    def loss(params, sequence):
        error = 3 * jnp.square(params.extra - 2).sum()
        return 1e-3 * error, {"error": error}

    _, plain, of_plain = updated(begun, None)
    _, after, metrics = updated(begun, Auxiliary(loss, lambda key: jnp.zeros(())))
    assert metrics["error"] == 12 and of_plain.keys() == metrics.keys() - {"error"}
    np.testing.assert_allclose(after.params.extra, CONFIG.lr, rtol=0.01)
    close = functools.partial(np.testing.assert_allclose, atol=1e-5)
    jax.tree.map(close, after.params[:2], plain.params[:2])


def test_it_sees_what_was_acted_from_and_its_gradient_reaches_actor_and_critic(begun):
    """Recomputed from the sequence, actions have the probabilities that they were drawn with.

    The weight of a million leaves nothing of PPO's own gradient: all parameters shrink.
    """
    nets = actor_critic(SPEC, CONFIG, central=True)

    def loss(params, sequence):
        batch, memory = sequence
        assert batch.done.shape == (CONFIG.window, 8) and memory.actor.shape[0] == 8
        outputs, _ = nets.unroll(params, memory, batch.obs, batch.done, batch.old.raw)
        again = nets.distribution.log_prob(outputs, batch.obs.action_mask, batch.old.raw)
        gap = jnp.abs(again - batch.old.log_prob).max()
        return 1e6 * sum(jnp.square(x).sum() for x in jax.tree.leaves(params)), {"gap": gap}

    before, after, metrics = updated(begun, Auxiliary(loss))
    assert metrics["gap"] < 1e-5 and jnp.abs(begun.rollout.memory).max() > 1e-3
    for old, new in zip(*(jax.tree.leaves(s.params) for s in (before, after)), strict=True):
        large = jnp.abs(old) > 0.1
        assert (jnp.abs(new)[large] < jnp.abs(old)[large]).all()


def test_first_parameters_of_actor_and_critic_do_not_depend_on_it():
    nets, key = actor_critic(SPEC, CONFIG, central=True), jax.random.key(3)
    own = Auxiliary(lambda params, sequence: (jnp.zeros(()), {}), jax.random.normal)
    with_it, without = (first_params(nets, one, key) for one in (own, None))
    jax.tree.map(np.testing.assert_array_equal, with_it[:2], without[:2])
    assert with_it.extra != 0 and without.extra == ()


def test_a_name_of_ppo_and_a_part_of_a_composite_are_refused(begun):
    clash = Auxiliary(lambda params, sequence: (jnp.zeros(()), {"entropy": jnp.zeros(())}))
    learner = ppo_learner(SPEC, CONFIG, central=True, auxiliary=clash)
    with pytest.raises(ValueError, match="the metric entropy; it must have a name that PPO's do"):
        jax.eval_shape(learner.update, begun, jax.random.key(1))
    with pytest.raises(ValueError, match="values_everywhere is True; it must be False with"):
        ppo_learner(SPEC, CONFIG, central=True, values_everywhere=True, auxiliary=clash)
