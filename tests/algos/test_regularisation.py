"""TeamReg and CoachReg: every equation by hand, whom each loss teaches, and their controls."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.algos.coach_regularisation import (
    coach_network,
    coaching,
    coachreg,
    gated_networks,
    guided_loss,
    mask_loss,
    team_view,
)
from marlx.algos.gated_actor import Head, chosen_masks, gated_actor, gates, mixture, of_mask
from marlx.algos.ppo_auxiliary import Sequence
from marlx.algos.ppo_batch import Batch
from marlx.algos.ppo_networks import Memories, PPOExtras, PPOParams
from marlx.algos.regularisation_config import CoachRegConfig, TeamRegConfig
from marlx.algos.team_regularisation import (
    guess_errors,
    guesses_of_teammates,
    team_loss,
    teammates,
    teamreg,
)
from marlx.learning.distributions import categorical_kl, log_probabilities
from marlx.nets.makers import agents_network
from marlx.testing import Constant, Recall
from marlx.types import Observation

SPEC = Recall(num_agents=3).spec()
TEAM, COACH = TeamRegConfig(hidden=8), CoachRegConfig(hidden=8, masks=2)
P, Q = jnp.log(jnp.array([0.5, 0.5])), jnp.log(jnp.array([0.9, 0.1]))
KL_PQ = 0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(0.5 / 0.1)
KL_QP = 0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_divergence_by_hand_and_an_illegal_action_adds_nothing():
    close(categorical_kl(P, Q), KL_PQ)
    legal = jnp.array([True, True, False])
    close(
        categorical_kl(log_probabilities(jnp.array([0.0, 0, 9]), legal), jnp.append(Q, 0.0)), KL_PQ
    )


# --- TeamReg ---


def test_each_agent_guesses_the_next_one_first():
    np.testing.assert_array_equal(teammates(3), [[1, 2], [2, 0], [0, 1]])
    policy, guess = jnp.stack([P, Q]), jnp.stack([P, Q])[:, None]  # agent 0 guesses P, 1 guesses Q
    close(guess_errors(policy, guess, continuous=False), [[KL_QP], [KL_PQ]])
    close(guess_errors(jnp.exp(policy), jnp.exp(guess), continuous=True), [[0.32], [0.32]])


@pytest.mark.parametrize("continuous", [False, True])
def test_one_weight_teaches_those_who_guess_and_the_other_those_who_are_guessed(continuous):
    config = dataclasses.replace(TEAM, prediction_weight=3.0, predictable_weight=5.0)
    policy = jax.nn.log_softmax(jax.random.normal(jax.random.key(0), (3, 4)))
    guess = jax.nn.log_softmax(jax.random.normal(jax.random.key(1), (3, 2, 4)))

    def mean(policy, guess):
        return guess_errors(policy, guess, continuous=continuous).mean()

    def loss(policy, guess):
        return team_loss(config, policy, guess, None, continuous=continuous)[0]

    close(loss(policy, guess), 8 * mean(policy, guess))
    of_policy, of_guess = jax.grad(mean, (0, 1))(policy, guess)
    found = jax.grad(loss, (0, 1))(policy, guess)
    close(found[0], 5 * of_policy)
    close(found[1], 3 * of_guess)


def test_a_pair_counts_where_both_are_there():
    config = dataclasses.replace(TEAM, prediction_weight=1.0, predictable_weight=0.0)
    policy = jnp.stack([P, Q, P])
    guess = jnp.stack([jnp.stack([P, Q]), jnp.stack([Q, Q]), jnp.stack([P, P])])
    there = jnp.array([1.0, 1.0, 0.0])
    loss, metrics = team_loss(config, policy, guess, there, continuous=False)
    close(loss, (KL_QP + KL_PQ) / 2)  # 0 guesses P of 1, and 1 guesses Q of 0, its second one
    assert metrics["guess_error"] == loss


def sequence(length=2, num_envs=3, key=0):
    """A minibatch of random observations."""
    shape = (length, num_envs, SPEC.num_agents)
    mask = jnp.ones((*shape, SPEC.num_actions), bool)
    local = jax.random.normal(jax.random.key(key), (*shape, SPEC.obs_size))
    obs = Observation(local, mask, jnp.zeros((length, num_envs, SPEC.state_size)))
    zeros = jnp.zeros(shape)
    advantage = jax.random.normal(jax.random.key(key + 1), shape)
    old = PPOExtras(jnp.zeros(shape, jnp.int32), zeros - 1)
    batch = Batch(obs, jnp.zeros(shape[:2], bool), old, zeros, zeros, advantage, None, None)
    memory = jnp.zeros((num_envs, SPEC.num_agents, 0))
    return Sequence(batch, Memories(memory, memory))


def largest(tree):
    return max(float(jnp.abs(x).max()) for x in jax.tree.leaves(tree))


def test_guesses_reach_heads_and_actor_and_without_weights_nothing():
    actor = agents_network(SPEC, TEAM, SPEC.num_actions)

    def gradient(**weights):
        auxiliary = guesses_of_teammates(SPEC, dataclasses.replace(TEAM, **weights))
        extra = auxiliary.init(jax.random.key(1))
        assert extra["params"]["kernel"].shape == (1, TEAM.hidden, 2 * SPEC.num_actions)
        params = PPOParams(actor.init(jax.random.key(0)), (), extra)
        return jax.grad(auxiliary.loss, has_aux=True)(params, sequence())[0]

    both = gradient(prediction_weight=1.0, predictable_weight=1.0)
    assert min(largest(both.actor), largest(both.extra)) > 1e-3
    obeying = gradient(prediction_weight=0.0, predictable_weight=1.0)
    assert largest(obeying.extra) == 0 and largest(obeying.actor) > 1e-3
    assert largest(gradient(prediction_weight=0.0, predictable_weight=0.0)) == 0


def test_an_agent_alone_has_nobody_to_guess():
    assert guesses_of_teammates(Constant(num_agents=1).spec(), TEAM) is None


# --- CoachReg ---


def test_masks_leave_on_units_of_their_own():
    np.testing.assert_array_equal(gates(5, 2), [[1, 0, 1, 0, 1], [0, 1, 0, 1, 0]])
    head, features = Head(2, 4, 3), jnp.arange(1.0, 6.0)
    params = head.init(jax.random.key(0), features)
    for unit in range(5):
        change = jnp.abs(
            head.apply(params, features.at[unit].add(1.0)) - head.apply(params, features)
        )
        assert (change.max(-1) > 0).tolist() == [unit % 2 == 0, unit % 2 == 1]


def test_a_mixture_has_the_probabilities_of_drawing_the_mask_first():
    masks, logits = jnp.log(jnp.array([[0.25, 0.75]])), jnp.stack([P, Q])[None]
    legal = jnp.ones((1, 2), bool)
    close(jnp.exp(mixture(masks, logits, legal)), [[0.25 * 0.5 + 0.75 * 0.9, 0.2]])
    close(of_mask(logits, legal, jnp.array([1])), [[np.log(0.5), np.log(0.1)]])
    one = mixture(masks, logits, jnp.array([[False, True]]))
    close(one[..., 1], 0.0)
    assert one[0, 0] < -1e8


def test_controls_act_under_any_mask_or_another_agents():
    masks = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(chosen_masks("own", masks), masks)
    np.testing.assert_array_equal(chosen_masks("random", masks), 0 * masks)
    np.testing.assert_array_equal(chosen_masks("other", masks), masks[::-1])


def test_agents_choose_masks_as_the_coach_and_the_coach_as_they():
    config = dataclasses.replace(COACH, mask_weight=2.0, coach_mask_weight=3.0)
    coach, agents = P[None], jnp.stack([Q, P])
    loss, divergence = mask_loss(config, coach, agents, None)
    close(divergence, KL_PQ / 2)
    close(loss, 5 * KL_PQ / 2)
    close(mask_loss(config, coach, agents, jnp.array([1.0, 0.0]))[0], 5 * KL_PQ)

    def mean(coach, agents):
        return categorical_kl(coach, agents).mean()

    of_coach, of_agents = jax.grad(mean, (0, 1))(coach, agents)
    found = jax.grad(lambda *x: mask_loss(config, *x, None)[0], (0, 1))(coach, agents)
    close(found[0], 3 * of_coach)
    close(found[1], 2 * of_agents)


def test_the_guided_loss_is_expected_over_the_coachs_mask():
    """Ratios 2 and 0.8 with an advantage of 1 and a clip of 0.2: 1.2, without gradient, and 0.8."""
    config = dataclasses.replace(COACH, guided_weight=2.0, coach_guided_weight=3.0)
    coach, new = jnp.log(jnp.array([[0.25, 0.75]])), jnp.log(jnp.array([[0.5, 0.2]]))
    old, advantage = jnp.log(jnp.array([0.25])), jnp.ones(1)

    def loss(coach, new):
        return guided_loss(config, coach, new, old, advantage, None)[0]

    value = -(0.25 * 1.2 + 0.75 * 0.8)
    close(guided_loss(config, coach, new, old, advantage, None)[1], value)
    close(loss(coach, new), 5 * value)
    of_coach, of_new = jax.grad(loss, (0, 1))(coach, new)
    close(of_coach, [[-3 * 0.25 * 1.2, -3 * 0.75 * 0.8]])
    close(of_new, [[0.0, -2 * 0.75 * 0.8]])


def test_a_sequence_is_recomputed_as_it_was_acted_with_a_memory_whatever_the_mask():
    config = dataclasses.replace(COACH, recurrent=True)
    nets = gated_networks(SPEC, config, gated_actor(SPEC, config))
    params, batch = nets.init(jax.random.key(0)), sequence(length=4).batch
    done = batch.done.at[1, 0].set(True)
    params = jax.tree.map(lambda x: x + 0.3 * jax.random.normal(jax.random.key(2), x.shape), params)

    @jax.jit
    def acted(params):
        memory, steps = nets.actor_memory(3), []
        for t in range(4):
            now, memory = nets.policy(
                params.actor, memory, jax.tree.map(lambda x, t=t: x[t], batch.obs)
            )
            memory = jnp.where(done[t, :, None, None], 0.0, memory)
            steps.append(now)
        before = Memories(nets.actor_memory(3), nets.critic_memory(3))
        return jnp.stack(steps), nets.unroll(params, before, batch.obs, done, batch.old.raw)[0]

    close(*acted(params))
    assert np.std(acted(params)[0]) > 0.1


def test_the_coach_reads_all_observations_and_weights_of_0_teach_nobody():
    actor, coach = gated_actor(SPEC, COACH), coach_network(SPEC, COACH)
    batch = sequence().batch
    seen = team_view(batch.obs).global_state
    np.testing.assert_array_equal(seen[1, 2, -SPEC.obs_size :], batch.obs.local[1, 2, -1])
    nothing = dict.fromkeys(
        ("mask_weight", "coach_mask_weight", "guided_weight", "coach_guided_weight"), 0.0
    )

    def gradient(**weights):
        auxiliary = coaching(SPEC, dataclasses.replace(COACH, **weights), actor)
        params = PPOParams(actor.init(jax.random.key(0)), (), coach.init(jax.random.key(1)))
        return jax.grad(auxiliary.loss, has_aux=True)(params, sequence())

    found, metrics = gradient()
    assert min(largest(found.actor.trunk), largest(found.actor.head), largest(found.extra)) > 1e-5
    assert 0 < metrics["mask_entropy"] <= np.log(2) + 1e-6
    assert largest(gradient(**nothing)[0]) == 0
    following = gradient(**{**nothing, "mask_weight": 1.0})[0]
    assert largest(following.extra) == 0 < largest(following.actor.trunk)


def test_impossible_settings_are_refused():
    continuous = dataclasses.replace(SPEC, continuous=True)
    with pytest.raises(ValueError, match="continuous actions; the policies of CoachReg"):
        coachreg(continuous)
    assert teamreg(continuous).judged == "drawn"
    with pytest.raises(ValueError, match=r"masks is 9; it must be at most hidden \(8\)"):
        coachreg(SPEC, hidden=8, masks=9)
    with pytest.raises(ValueError, match="trunk is 'shared'; it must be 'separate'"):
        teamreg(SPEC, trunk="shared")
