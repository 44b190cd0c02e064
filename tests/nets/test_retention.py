"""Retention: sums over steps and agents by hand, whole rollouts against single steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.nets import retention
from marlx.nets.attention import DecoderBlock, attend, before_and_own

HEADS, KEY, VALUE = 2, 3, 4
DECAY = np.array([0.5, 0.9], np.float32)


def rows(agents, steps=(7, 2), seed=0):
    """Queries, keys and values of some steps."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shapes = [(*steps, agents, HEADS, width) for width in (KEY, KEY, VALUE)]
    return [jax.random.normal(k, s) for k, s in zip(keys, shapes, strict=True)]


def by_hand(query, key, value, start, done, in_turn):
    """What each agent reads: the sum over all rows it may see, each decayed by the steps since."""
    length, number, agents = query.shape[:3]
    result = np.zeros((length, number, agents, HEADS, VALUE))
    for env in range(number):
        matrix = np.array(start[env])
        for t in range(length):
            matrix = DECAY[:, None, None] * matrix
            if not in_turn:
                for i in range(agents):
                    matrix = matrix + key[t, env, i][..., None] * value[t, env, i][:, None, :]
            for i in range(agents):
                if in_turn:
                    matrix = matrix + key[t, env, i][..., None] * value[t, env, i][:, None, :]
                result[t, env, i] = np.einsum("hk,hkv->hv", query[t, env, i], matrix)
            if done[t, env]:
                matrix = np.zeros_like(matrix)
    return result


@pytest.mark.parametrize("in_turn", [False, True])
def test_a_rollout_at_once_is_the_sum_by_hand(in_turn):
    query, key, value = rows(agents=3)
    start = jax.random.normal(jax.random.key(5), (2, HEADS, KEY, VALUE))
    done = jnp.zeros((7, 2), bool).at[2, 0].set(True).at[4, 1].set(True)
    make = retention.in_turn_over_steps if in_turn else retention.together_over_steps
    found, after = make(start, done, jnp.asarray(DECAY))(query, key, value)
    given = [np.asarray(x) for x in (query, key, value, start, done)]
    np.testing.assert_allclose(found, by_hand(*given, in_turn), atol=1e-5)
    # matrices after a step are those before the reset, from which the next value is computed
    again = retention.together(after[1], jnp.asarray(DECAY))(query[2], key[2], value[2])
    np.testing.assert_allclose(again[1], after[2], atol=1e-5)


@pytest.mark.parametrize("in_turn", [False, True])
@pytest.mark.parametrize("agents", [1, 3])
def test_pieces_of_a_rollout_are_the_sum_by_hand(agents, in_turn, monkeypatch):
    """Pieces of three steps, or of nearly ten: episodes end within, at and between their ends."""
    query, key, value = rows(agents)
    start = jax.random.normal(jax.random.key(5), (2, HEADS, KEY, VALUE))
    done = jnp.zeros((7, 2), bool).at[2, 0].set(True).at[jnp.array([4, 5]), 1].set(True)
    given = [np.asarray(x) for x in (query, key, value, start, done)]
    for number in (9, 30):
        monkeypatch.setattr(retention, "ROWS", number)
        retain = retention.over_steps(start, done, jnp.asarray(DECAY), in_turn)
        found, _ = jax.jit(retain)(query, key, value)
        np.testing.assert_allclose(found, by_hand(*given, in_turn), atol=1e-5)


def test_chunks_of_agents_are_all_pairs():
    agents = 2 * retention.CHUNK + 5
    query, key, value = rows(agents, steps=(1,))
    found = jax.jit(retention.causal)(query, key, value)
    scores = np.einsum("bnhk,bmhk->bhnm", query, key) * np.tri(agents)
    np.testing.assert_allclose(found, np.einsum("bhnm,bmhv->bnhv", scores, value), atol=1e-4)


def test_heads_forget_between_a_32nd_and_a_512th_of_the_past():
    np.testing.assert_allclose(retention.decays(3), [31 / 32, 127 / 128, 511 / 512], rtol=1e-6)
    np.testing.assert_allclose(retention.decays(1, 0.5), [31 / 64], rtol=1e-6)


def test_blocks_begin_by_passing_their_input_on():
    """What was retained, and the step's number, hardly change a result before training."""
    x, seen, place = jax.random.normal(jax.random.key(1), (3, 2, 64))
    there = jnp.ones(2, bool)
    past = 3.0 * jax.random.normal(jax.random.key(2), (4, 16, 16))
    together, turn = retention.together(past, retention.decays(4)), retention.in_turn(past)
    encoder, decoder = (
        kind(64, 4) for kind in (retention.RetentionEncoderBlock, retention.RetentionDecoderBlock)
    )
    found = encoder.init_with_output(jax.random.key(0), x, place[:1], there, together)[0][0]
    np.testing.assert_allclose(found, x / np.sqrt((x**2).mean(-1, keepdims=True)), atol=0.15)
    given = x, seen, place[:1], there, (turn, turn)
    found = decoder.init_with_output(jax.random.key(0), *given)[0][0]
    np.testing.assert_allclose(found, seen / np.sqrt((seen**2).mean(-1, keepdims=True)), atol=0.15)


def test_attention_is_a_softmax_over_what_may_be_read():
    query, key, value = (x[0] for x in rows(agents=3, steps=(1,)))
    mask = jnp.array([[True, False, True], [False, True, False], [False] * 3])
    found = attend(100.0 * query, key, value, mask)
    scores = np.einsum("nhd,mhd->hnm", 100.0 * query, key)[0, 0] / np.sqrt(KEY)
    weight = 1 / (1 + np.exp(np.clip(scores[2] - scores[0], -80, 80)))
    expected = weight * value[0, 0] + (1 - weight) * value[2, 0]
    np.testing.assert_allclose(found[0, 0], expected, atol=1e-5)
    np.testing.assert_allclose(found[1], value[1], atol=1e-6)
    assert (found[2] == 0).all()


def test_agent_by_agent_attends_as_all_at_once():
    block, agents, width = DecoderBlock(8, 2), 4, 8
    x, seen = jax.random.normal(jax.random.key(1), (2, agents, width))
    there = jnp.array([True, False, True, True])
    mask = before_and_own(there)
    params = block.init(jax.random.key(0), x, seen, mask)
    whole = block.apply(params, x, seen, mask)
    one = jax.jit(functools.partial(block.apply, params, method="one"))
    kept = (jnp.full((agents, 2 * width), 7.0),) * 2  # what is not yet known must not be read
    for i in range(agents):
        found, kept = one(kept, x[i : i + 1], seen[i : i + 1], mask[i : i + 1], i)
        np.testing.assert_allclose(found[0], whole[i], atol=1e-5)
