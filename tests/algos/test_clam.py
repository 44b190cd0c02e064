"""Agent models: embeddings step by step, training data, gradients, bounds and controls."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx import config
from marlx.algos.agent_modelling.clam_encoder import (
    Training,
    Views,
    contrastive_loss,
    encoder_parts,
    encoder_step,
    kept_share,
    views_of,
)
from marlx.algos.agent_modelling.config import CLAMConfig, ContrastConfig, EncoderConfig, LiamConfig
from marlx.algos.agent_modelling.learner import clam, model_of
from marlx.algos.agent_modelling.liam_encoder import reconstruction_loss
from marlx.algos.agent_modelling.policy_inputs import ppo_rollout
from marlx.algos.agent_modelling.standardise import no_moments, standardised, with_embeddings_of
from marlx.algos.agent_modelling.tokens import tokenizer
from marlx.algos.agent_modelling.trajectory_encoder import encode, unit
from marlx.algos.agent_modelling.views import blank_mask, sample_pair, sample_view
from marlx.algos.ppo_config import PPOConfig
from marlx.analysis import embeddings
from marlx.config import layers as config_layers
from marlx.environment import Environment, EnvParams, EnvState
from marlx.envs.partners import Partner, with_partners
from marlx.learner import example_rollout
from marlx.loop.program import loop
from marlx.loop.rollout import rollout
from marlx.loop.settings import TrainConfig
from marlx.nets.set_attention import PooledEncoder
from marlx.types import EnvSpec, Observation


@flax.struct.dataclass
class SeenState(EnvState):
    last: jax.Array  # int32 [2], what was done last
    noise: jax.Array  # f32 []


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signs(Environment[SeenState, EnvParams]):
    """Two agents see noise and what the other did; they end early when agent 0 does 2."""

    horizon: int = 6

    @property
    def default_params(self):
        return EnvParams(max_steps_in_episode=self.horizon)

    def spec(self, params=None):
        return EnvSpec("test/signs", 2, 3, 4, 1, self.horizon)

    def reset_env(self, key, params):
        return SeenState(jnp.int32(0), jnp.zeros(2, jnp.int32), jax.random.normal(key))

    def step_env(self, key, state, action, params):
        after = SeenState(state.time + 1, action, jax.random.normal(key))
        reward = (action[0] == action[1]).astype(jnp.float32)
        return after, jnp.full(2, reward), action[0] == 2, {}

    def observe(self, state, params):
        other = jax.nn.one_hot(state.last[::-1], 3)
        local = jnp.concatenate([jnp.full((2, 1), state.noise), other], -1)
        return Observation(local, jnp.ones((2, 3), bool), jnp.ones(1))


def steady(policy, memory, obs, key):
    """Does the same all the time."""
    return jnp.full(2, policy, jnp.int32), memory


def nothing():
    return ()


POOL = tuple(Partner(f"does {a}", nothing, steady, a) for a in range(3))
ENV = with_partners(Signs(), POOL, privileged=True)
PARAMS = ENV.default_params
SPEC = ENV.spec()
TINY = CLAMConfig(
    embedding=4,
    encoder=EncoderConfig(width=8, heads=2, seeds=2),
    contrast=ContrastConfig(batch=8, updates=1, capacity=50, shortest=2, longest=5, projection=8),
    liam=LiamConfig(hidden=8, updates=2),
    ppo=PPOConfig(hidden=8, minibatches=2, epochs=1),
)
TRAIN = TrainConfig(total_steps=400, num_envs=8, rollout_length=10, evals=1, eval_episodes=2)


@pytest.mark.parametrize("name", ["labels", "liam", pytest.param("random", marks=pytest.mark.slow)])
def test_models_train(name):
    learner = clam(SPEC, TINY, model=name)
    run = loop(ENV, PARAMS, learner, TRAIN)
    before = jax.jit(run.init)(jax.random.key(0))
    after, metrics = jax.jit(run.block)(before)
    before, after = before.learner, after.learner
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(after.ppo.params)))
    changed = [
        not np.array_equal(a, b)
        for a, b in zip(
            *(jax.tree.leaves(learner.policy(s).model) for s in (before, after)), strict=True
        )
    ]
    assert any(changed) == (name != "random")
    assert ("contrastive_loss" in metrics) == (name == "labels")
    assert ("action_nll" in metrics) == (name == "liam")


@pytest.fixture(scope="module")
def acted():
    """A `clam` learner, a policy of it, and a rollout [T, B] with ends of both kinds."""
    learner = clam(SPEC, TINY)
    run = loop(ENV, PARAMS, learner, TRAIN)
    state = jax.jit(run.init)(jax.random.key(3))
    from marlx.loop.rollout import rollout

    policy = learner.policy(state.learner)

    @jax.jit
    def roll(actors, key):
        return rollout(ENV, PARAMS, learner, policy, actors, key, 30)[1]

    t = roll(state.actors, jax.random.key(4))
    assert t.terminated.any() and t.truncated.any()
    return learner, policy, t


def beginnings(done):
    """For each step [T, B] the step its episode began at."""
    begin = np.zeros(done.shape, int)
    for b in range(done.shape[1]):
        start = 0
        for t in range(len(done)):
            begin[t, b] = start
            if done[t, b]:
                start = t + 1
    return begin


def test_embeddings_are_those_of_the_steps_before(acted):
    """Recomputed by the whole-sequence encoder from what was stored, for every step."""
    _, policy, t = acted
    token = tokenizer(SPEC, "own")
    encoder = PooledEncoder(4, 8, 2, 2)
    done, action = np.asarray(t.done), np.asarray(t.action[..., 0])
    begin = beginnings(done)
    inputs, valid, found, after = [], [], [], []
    for i, b in np.ndindex(done.shape):
        rows = range(begin[i, b], i + 1)
        x = np.zeros((6, token.width), np.float32)
        for k, row in enumerate(rows):
            x[k, :4] = t.obs.local[row, b, 0]
            if k:
                x[k, 4 + action[row - 1, b]] = 1
        inputs.append(x)
        valid.append(np.arange(6) < len(rows))
        found.append(t.extras.embedding[i, b, 0])
        after.append(t.extras.next_embedding[i, b, 0])
    x, valid = jnp.array(inputs), jnp.array(valid)
    out = unit(encode(encoder, policy.model, x, valid))
    np.testing.assert_allclose(np.array(after), out, atol=1e-5)  # all steps up to this one
    last = valid.sum(-1) - 1
    fewer = valid & (jnp.arange(6) < last[:, None])
    out = unit(encode(encoder, policy.model, x, fewer))
    expected = jnp.where(last[:, None] > 0, out, 0.0)  # nothing known at first
    np.testing.assert_allclose(np.array(found), expected, atol=1e-5)


def test_an_embedding_depends_on_this_episode_s_earlier_steps_and_on_nothing_else(acted):
    """By perturbation: acting is replayed with one observation of one environment changed."""
    learner, policy, t = acted

    @jax.jit
    def replay(local):
        """Embeddings f32 [T, B, E] of acting on these observations, with the old actions."""

        def step(memory, x):
            obs, action, done = x
            _, after, extras = learner.act(policy, memory, obs, jax.random.key(0), False)
            previous = after.model.previous._replace(action=action)
            after = after._replace(model=after.model._replace(previous=previous))
            fresh = learner.memory(done.shape[0])
            after = jax.tree.map(
                lambda new, old: jnp.where(done.reshape(-1, *[1] * (old.ndim - 1)), new, old),
                fresh,
                after,
            )
            return after, extras.embedding[:, 0]

        obs = t.obs._replace(local=local)
        return jax.lax.scan(step, learner.memory(t.done.shape[1]), (obs, t.action, t.done))[1]

    base = replay(t.obs.local)
    np.testing.assert_allclose(base, t.extras.embedding[:, :, 0], atol=1e-5)
    begin = beginnings(np.asarray(t.done))
    checked = 0
    for row, b in zip(*np.nonzero(begin == np.arange(30)[:, None]), strict=True):
        if row + 2 >= 30 or checked > 12:
            continue
        moved = replay(t.obs.local.at[row, b].add(1.0))
        differs = np.asarray((moved != base).any(-1))
        same_episode = begin[:, b] == begin[row, b]
        later = same_episode & (np.arange(len(begin)) > row)
        assert not np.delete(differs, b, axis=1).any()
        assert not differs[~later, b].any()
        assert differs[later, b].all()
        checked += later.sum()
    assert checked > 12


def test_the_policy_s_updates_leave_the_encoder_alone():
    """Bit for bit: rewards change PPO's networks, and nothing of the model's."""
    learner = clam(SPEC, TINY)
    run = loop(ENV, PARAMS, learner, TRAIN)
    state = jax.jit(run.warm_up)(jax.jit(run.init)(jax.random.key(0))).learner
    update = jax.jit(learner.update)
    rollout = state.ppo.rollout
    other = state.ppo._replace(rollout=rollout._replace(reward=rollout.reward[::-1] * 10))
    paths = [update(one, jax.random.key(1)) for one in (state, state._replace(ppo=other))]
    assert all(jnp.isfinite(metrics["contrastive_loss"]) for _, metrics in paths)
    after = [one for one, _ in paths]
    for a, b in zip(*(jax.tree.leaves(one.model) for one in after), strict=True):
        np.testing.assert_array_equal(a, b)
    before, moved = state.model.params.encoder, after[0].model.params.encoder
    assert any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (before, moved)), strict=True))
    actors = [one.ppo.params.actor["params"]["encoder"]["kernel"] for one in after]
    assert (actors[0] != actors[1]).any()


def test_the_policy_reads_observation_and_embedding(acted):
    learner, policy, t = acted
    obs = jax.tree.map(lambda x: x[0], t.obs)
    memory = learner.memory(8)
    key = jax.random.key(0)
    log_prob = learner.act(policy, memory, obs, key, False)[2].actor.log_prob
    embedding = memory.model.embedding + 5.0
    moved = memory._replace(model=memory.model._replace(embedding=embedding))
    assert (learner.act(policy, moved, obs, key, False)[2].actor.log_prob != log_prob).all()


def test_the_policy_reads_standardised_embeddings_and_learns_from_the_same(acted):
    """Of a common offset of 0.9 and differences of 0.01 it reads the differences, at size one.

    Acted with the moments of before the rollout, which PPO's view of the rollout has as well.
    """
    learner, policy, t = acted
    small = 0.9 + 0.01 * jax.random.normal(jax.random.key(0), (20, 8, 2, 4))
    small = small.at[0].set(0.0)  # the first step of an episode
    seen = with_embeddings_of(no_moments(4), small)
    np.testing.assert_allclose(seen.mean, 0.9, atol=0.002)
    read = standardised(seen, small)
    assert not read[0].any() and abs(float(read[1:].std()) - 1) < 0.1
    np.testing.assert_array_equal(standardised(no_moments(4), small), small)

    obs, memory = jax.tree.map(lambda x: x[5], t.obs), learner.memory(8)
    key, embedding = jax.random.key(0), small[5, :, :1]

    def act(policy, embedding):
        model = memory.model._replace(embedding=embedding)
        extras = learner.act(policy, memory._replace(model=model), obs, key, True)[2]
        return extras.actor.log_prob

    moved = policy._replace(moments=seen)
    plain = policy._replace(moments=None)
    np.testing.assert_allclose(act(moved, embedding), act(plain, standardised(seen, embedding)))
    view = ppo_rollout(SPEC, seen, 0, t)
    expected = standardised(seen, t.extras.embedding) * SPEC.scale
    np.testing.assert_array_equal(view.obs.local[..., -4:], expected)
    assert jnp.abs(expected).max() > 1


def test_the_policys_memory_is_reset_while_the_models_goes_on():
    """Every two steps; for PPO an episode is then cut, and its value goes on."""
    settings = dataclasses.replace(TINY, policy_steps=2)
    ppo = dataclasses.replace(TINY.ppo, recurrent=True, window=5)
    learner = clam(SPEC, settings, ppo=ppo)
    state = jax.jit(loop(ENV, PARAMS, learner, TRAIN).init)(jax.random.key(3))
    policy = learner.policy(state.learner)
    t = jax.jit(lambda key: rollout(ENV, PARAMS, learner, policy, state.actors, key, 20)[1])(
        jax.random.key(4)
    )
    time, memory = np.asarray(t.memory.time), np.asarray(t.memory.actor)
    fresh = time % 2 == 0
    assert time.max() >= 3 and (time[0] == 0).all()
    assert not memory[fresh].any() and memory[~fresh].any(-1).all()
    assert np.asarray(t.memory.model.time)[(time == 2)].min() == 2
    view = ppo_rollout(SPEC, None, 2, t)
    np.testing.assert_array_equal(
        view.truncated, np.asarray(t.truncated) | (~fresh & ~np.asarray(t.terminated))
    )
    np.testing.assert_array_equal(view.terminated, t.terminated)


@pytest.mark.parametrize(
    "task",
    ["partners/matrix/coordination-5", "partners/mpe/simple_spread_v3",
     "partners/Foraging-8x8-2p-2f-v3"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["clam", "liam"])
def test_the_acting_encoder_forgets_its_start_within_a_tenth_of_a_run(name, task):
    """With half an update per rollout and a momentum of 0.99 it was 45% initial at the *end*."""
    made = config_layers.experiment(name, task)
    c, train = made.learner, made.train
    rollouts = train.total_steps / (train.num_envs * train.rollout_length)
    kept = kept_share(c.contrast.momentum, np.arange(int(c.contrast.updates * rollouts / 10)))
    assert np.prod(kept) < 0.05
    assert c.contrast.updates == c.liam.updates and c.contrast.updates * rollouts >= 600


def test_controls_read_what_they_should(acted):
    _, policy, t = acted
    obs = jax.tree.map(lambda x: x[5], t.obs)
    oracle = model_of(SPEC, dataclasses.replace(TINY, model="oracle"))
    embedding = oracle.embed((), (), obs)
    who = obs.global_state[:, SPEC.state_part("partner")]
    np.testing.assert_array_equal(embedding[:, 0, :3], who)
    assert (who.sum(-1) == 1).all() and not embedding[..., 3:].any()
    model = model_of(SPEC, TINY)
    memory = model.memory(8)
    memory = memory._replace(embedding=jax.random.normal(jax.random.key(0), memory.embedding.shape))
    shuffled = model_of(SPEC, dataclasses.replace(TINY, model="shuffled"))
    found = shuffled.embed(policy.model, memory, obs)
    np.testing.assert_array_equal(found, memory.embedding[jnp.arange(-1, 7)])


def test_tokens_hold_what_their_kind_says(acted):
    _, _, t = acted
    obs = [jax.tree.map(lambda x, i=i: x[i, :1], t.obs) for i in range(2)]
    action = t.action[0, :1]
    own = [jax.nn.one_hot(-1, 3), jax.nn.one_hot(action[0, 0], 3)]
    seen = [one.local[0, 0] for one in obs]
    others = obs[1].global_state[0, SPEC.state_part("partner_action")]
    expected = {
        "own": [[*seen[0], *own[0]], [*seen[1], *own[1]]],
        "observation": [[*seen[0]], [*seen[1]]],
        "change": [[0.0] * 4 + [*own[0]], [*(seen[1] - seen[0]), *own[1]]],
        "code": [[*seen[0], 0.0, 0.0, 0.0], [*seen[1], *others]],
    }
    for kind, rows in expected.items():
        token = tokenizer(SPEC, kind)
        previous = token.start(1)
        first = token.unpack(token.pack(previous, obs[0]))[0, 0]
        previous = token.advance(previous, obs[0], action)
        second = token.unpack(token.pack(previous, obs[1]))[0, 0]
        np.testing.assert_allclose(jnp.stack([first, second]), rows, atol=1e-6)
        assert token.width == len(rows[0])
    few = tokenizer(SPEC, "own", (2, 0))
    found = few.unpack(few.pack(few.start(1), obs[0]))[0, 0]
    np.testing.assert_array_equal(found[:2], seen[0][jnp.array([2, 0])])


@pytest.mark.parametrize("kind", ["own", "change"])
def test_an_agent_that_is_not_there_is_zeros_to_the_encoder(kind):
    token = tokenizer(Signs().spec(), kind)
    previous, local = token.start(1), jnp.arange(8.0).reshape(1, 2, 4) + 1
    active = jnp.array([[True, False]])
    for step in range(2):
        mask, state = jnp.ones((1, 2, 3), bool), jnp.zeros((1, 1))
        obs = Observation(local * (step + 1), mask, state, active)
        seen = token.unpack(token.pack(previous, obs))
        assert not seen[:, 1].any()
        previous = token.advance(previous, obs, jnp.array([[1, 2]]))
    assert seen[:, 0].any() and seen[0, 0, 5] == 1  # the other one did 1


def test_views_lie_within_their_trajectory():
    keys = jax.random.split(jax.random.key(0), 4_000)
    for length in (1, 5, 30):
        rows = jax.vmap(sample_view, (0, None, None, None, None))
        start, size = rows(keys, jnp.int32(length), 8, 20, 0.0)
        assert (start >= 0).all() and (start + size <= length).all()
        assert size.min() == min(8, length) and size.max() == min(20, length)
        start, size = rows(keys, jnp.int32(length), 8, 20, 1.0)
        assert (start == 0).all() and size.min() == 1 and size.max() == min(20, length)


def test_views_apart_share_no_step():
    config = ContrastConfig(shortest=2, longest=48, apart=True)
    keys = jax.random.split(jax.random.key(1), 2_000)
    for length in (1, 2, 20):
        start, size = jax.vmap(lambda key, n=length: sample_pair(key, jnp.int32(n), config))(keys)
        assert (start >= 0).all() and (start + size <= length).all()
        assert (start[:, 1] + size[:, 1] <= start[:, 0]).all()
        assert (size[:, 1] >= 1).all() and (size[:, 0] >= min(1, length - 1)).all()


def test_the_right_number_of_steps_is_blanked():
    for size, expected in ((1, 1), (10, 3), (11, 4)):
        blank = blank_mask(jax.random.key(size), jnp.int32(size), 12, 0.3)
        assert blank.sum() == expected and not blank[size:].any()
    assert not blank_mask(jax.random.key(0), jnp.int32(5), 12, 0.0).any()


PARTS = encoder_parts(
    SPEC, tokenizer(SPEC, "own"), TINY.embedding, TINY.encoder, TINY.contrast, labels=True
)


def test_views_are_consecutive_steps_of_one_trajectory(acted):
    """Observations hold noise, so that a token says which step of which environment it is of."""
    _, _, t = acted
    model = model_of(SPEC, dataclasses.replace(TINY, model="labels"))
    state = model.init(jax.random.key(0), t._replace(memory=t.memory.model))
    state = model.observe(state, t._replace(memory=t.memory.model))
    views = views_of(PARTS, state.store, jax.random.key(5))
    noise, begin = np.asarray(t.obs.local[..., 0]), beginnings(np.asarray(t.done))
    partner = np.asarray(t.obs.global_state[..., SPEC.state_part("partner")].argmax(-1))
    tokens, valid = np.asarray(views.tokens), np.asarray(views.valid)
    assert tokens.shape == (2, 8, 5, PARTS.tokenizer.width)
    for b in range(8):
        trajectories = []
        for view in range(2):
            seen = tokens[view, b, valid[view, b], 0]
            blank = ~tokens[view, b, valid[view, b]].any(-1)
            assert blank.sum() == (np.ceil(0.3 * len(seen)) if view == 0 else 0)
            found = [np.argwhere(noise[..., 0] == x)[0] for x in seen[~blank]]
            steps, envs = np.array(found, int).reshape(-1, 2).T
            np.testing.assert_array_equal(np.diff(steps), np.diff(np.flatnonzero(~blank)))
            trajectories += [(begin[i, k], k) for i, k in zip(steps, envs, strict=True)]
            assert (partner[steps, envs] == views.label[b]).all()
        assert len(set(trajectories)) == 1


def some_views(key):
    tokens = jax.random.normal(key, (2, 6, 5, PARTS.tokenizer.width))
    valid = jnp.arange(5) < jnp.array([5, 3])[:, None, None]
    return Views(tokens, jnp.broadcast_to(valid, (2, 6, 5)), jnp.array([0, 0, 0, 1, 1, 2]))


def first_training():
    """Parameters with a target beside them, which starts elsewhere here."""
    state = model_of(SPEC, TINY).init(
        jax.random.key(0),
        example_rollout(SPEC, clam(SPEC, TINY), 10, 8)._replace(
            memory=jax.eval_shape(lambda: clam(SPEC, TINY).memory(8).model)
        ),
    )
    target = jax.tree.map(jnp.zeros_like, state.target)
    return Training(state.params, target, state.optimiser)


def test_the_contrastive_loss_by_hand():
    params, views = first_training().params, some_views(jax.random.key(1))
    plain = PARTS._replace(labels=None)
    loss, nt = contrastive_loss(plain, params, views)
    assert loss == nt
    same = views._replace(tokens=jnp.ones_like(views.tokens), valid=jnp.ones_like(views.valid))
    assert contrastive_loss(plain, params, same)[0] == pytest.approx(np.log(2 * 6 - 1), rel=1e-5)
    padded = jnp.where(views.valid[..., None], views.tokens, 100.0)
    other = contrastive_loss(plain, params, views._replace(tokens=padded))[0]
    assert other == pytest.approx(float(loss), rel=1e-5)
    labelled, beside = contrastive_loss(PARTS, params, views)
    assert beside == pytest.approx(float(nt)) and labelled != pytest.approx(float(nt))
    alone = views._replace(label=jnp.arange(6))  # every partner once: NT-Xent again
    assert contrastive_loss(PARTS, params, alone)[0] == pytest.approx(float(nt))


def test_a_step_lowers_the_loss_and_the_target_follows():
    views, parts = some_views(jax.random.key(2)), PARTS._replace(labels=None)
    before = first_training()
    step = jax.jit(lambda training: encoder_step(parts, training, views))
    after, metrics = step(before)
    assert metrics["contrastive_loss"] == pytest.approx(
        float(contrastive_loss(parts, before.params, views)[0]), rel=1e-5
    )
    loss = contrastive_loss(parts, after.params, views)[0]
    assert loss < contrastive_loss(parts, before.params, views)[0]
    jax.tree.map(np.testing.assert_array_equal, after.target, after.params.encoder)
    third = step(step(after)[0])[0]
    assert not jax.tree.all(jax.tree.map(jnp.array_equal, third.target, third.params.encoder))


def test_the_acting_encoder_is_a_mean_until_the_momentum_holds():
    kept = [float(kept_share(0.75, jnp.int32(n))) for n in range(6)]
    np.testing.assert_allclose(kept, [0, 1 / 2, 2 / 3, 0.75, 0.75, 0.75], rtol=1e-6)
    average = 99.0  # whatever it was
    for seen, keep in zip([3.0, 5.0, 10.0], kept, strict=False):
        average = keep * average + (1 - keep) * seen
    assert average == pytest.approx(6.0)


def tells_partners_apart(**contrast):
    """How well the acting encoder of a whole run of the preset tells partners apart, and its loss.

    The silhouette of the embeddings of 400 fresh episodes, at their last step, by partner.
    """
    experiment = config.experiment(
        "clam",
        "partners/matrix/coordination-5",
        seeds=1,
        evals=1,
        env={"pool": [f"mostly_{i}" for i in range(5)]},
        learner={"contrast": contrast},
    )
    env, params, learner = experiment.build()
    run = loop(env, params, learner, experiment.train)
    state, metrics = jax.jit(run.block)(jax.jit(run.init)(jax.random.key(0)))
    policy = learner.policy(state.learner)
    found = jax.jit(lambda key: embeddings.embed(env, params, learner, policy, key, 400))
    (scores,) = embeddings.scores(found(jax.random.key(1)), [env.spec(params).horizon - 1])
    return scores["silhouette"], float(metrics["contrastive_loss"])


@pytest.mark.slow
def test_the_preset_s_few_updates_make_an_encoder_that_separates_partners():
    """With the preset's own 80 updates, and more than an encoder that is never trained.

    The silhouette alone would not do: trained with wrong pairs it rises as much (0.74 against 0.60
    untrained), and only the loss stays at guessing.
    """
    trained, loss = tells_partners_apart()
    untrained, guessing = tells_partners_apart(lr=1e-9)  # as good as none
    assert trained > untrained + 0.07
    assert loss < guessing - 0.3 and loss < np.log(2 * 64 - 1) - 0.8


def test_fractions_of_updates_add_up():
    """Half an update per rollout: none after the first, one after the second."""
    half = dataclasses.replace(TINY, contrast=dataclasses.replace(TINY.contrast, updates=0.5))
    model = model_of(SPEC, half)
    learner = clam(SPEC, half)
    run = loop(ENV, PARAMS, learner, TRAIN)
    state = jax.jit(run.warm_up)(jax.jit(run.init)(jax.random.key(0))).learner.model
    update = jax.jit(model.update)
    losses, moved = [], []
    for i in range(4):
        after, metrics = update(state, jax.random.key(i))
        losses.append(float(metrics["contrastive_loss"]))
        moved.append(
            bool(
                (
                    after.params.encoder["params"]["mix"]["kernel"]
                    != state.params.encoder["params"]["mix"]["kernel"]
                ).any()
            )
        )
        state = after
    assert np.isfinite(losses).tolist() == moved == [False, True, False, True]


def test_liam_s_loss_by_hand():
    error, nll = reconstruction_loss(
        jnp.array([1.0, 3.0]),
        jnp.zeros((2, 4)),
        jnp.array([0.0, 1.0]),
        jax.nn.one_hot(jnp.array([1, 2]), 4),
    )
    assert error == pytest.approx(0.5 * (1 + 4) / 2) and nll == pytest.approx(np.log(4))


BAD = [
    ({"model": "clan"}, "model is 'clan'; it must be 'clam' or 'labels' or"),
    ({"token": "code"}, "token 'code' needs the partners in the global state"),
    (
        {"model": "oracle"},
        "model 'oracle' needs .* give a partners/... environment with privileged",
    ),
    ({"model": "liam"}, "model 'liam' needs the partners"),
    ({"inputs": (4,)}, r"inputs are \(4,\); observations have numbers 0 to 3"),
    ({"embedding": 0}, "embedding is 0; it must be at least 1"),
]


@pytest.mark.parametrize(("settings", "answer"), BAD, ids=[str(one) for one, _ in BAD])
def test_impossible_settings_are_refused(settings, answer):
    plain = with_partners(Signs(), POOL).spec()
    with pytest.raises(ValueError, match=answer):
        clam(plain, TINY, **settings)


def test_impossible_parts_are_refused():
    with pytest.raises(ValueError, match=r"heads is 3; it must be a divisor of width \(64\)"):
        EncoderConfig(heads=3)
    with pytest.raises(ValueError, match=r"longest is 5; it must be at least shortest \(8\)"):
        ContrastConfig(longest=5)
    with pytest.raises(ValueError, match="embedding is 2; an oracle of 3 partners needs 3"):
        clam(SPEC, TINY, model="oracle", embedding=2)
