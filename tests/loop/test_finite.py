"""NaN and infinity are found within a block, and named."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TinyConfig, tiny

from marlx.loop.finite import NotFinite, random_play
from marlx.loop.program import NOT_FINITE
from marlx.testing import Constant
from marlx.training import train

SMALL = {"total_steps": 200, "num_envs": 4, "rollout_length": 5, "evals": 3, "eval_episodes": 8}


@dataclasses.dataclass(frozen=True)
class Broken(Constant):
    """Gives `value` in `array` from step `at` on, or always in the rewards of action 0."""

    array: str = "reward"
    value: float = float("nan")
    at: int = 2
    only_action: int | None = None

    def step_env(self, key, state, action, params):
        state, reward, terminated, info = super().step_env(key, state, action, params)
        if self.array == "reward":
            wrong = state.time >= self.at
            if self.only_action is not None:
                wrong = (action == self.only_action).all()
            reward = jnp.where(wrong, self.value, reward)
        return state, reward, terminated, info

    def observe(self, state, params):
        obs = super().observe(state, params)
        wrong = jnp.where(state.time >= self.at, self.value, 0.0)
        if self.array == "observation":
            return obs._replace(local=obs.local + wrong)
        return obs._replace(global_state=obs.global_state + wrong * (self.array == "global state"))


def learner_of(env, **changes):
    return tiny(env.spec(env.default_params), TinyConfig())._replace(**changes)


@pytest.mark.parametrize("array", ["reward", "observation", "global state"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_environment_is_named_with_its_array_and_step(array, value):
    env = Broken(array=array, value=value)
    found = random_play(env, env.default_params, jax.random.key(0))
    assert found == (array, "NaN" if np.isnan(value) else "infinite", 2)


def test_random_play_of_a_sound_environment_finds_nothing():
    env = Constant()
    assert random_play(env, env.default_params, jax.random.key(0)) is None


def test_training_stops_at_the_block_and_logs_it():
    env, logged = Broken(array="reward"), []
    with pytest.raises(NotFinite) as raised:
        train(env, learner_of(env), report=logged.append, seeds=2, seed=5, **SMALL)
    error = raised.value
    assert (error.source, error.array, error.episode_step) == ("environment", "reward", 2)
    assert error.seeds == (5, 6) and len(logged) == 1 and error.steps == logged[0].steps
    assert isinstance(error, FloatingPointError) and "\n" not in str(error)


class Gone(Broken):
    """Has `value` at step `at` alone."""

    def observe(self, state, params):
        return super().observe(state.replace(time=jnp.where(state.time == self.at, 99, 0)), params)


@pytest.mark.parametrize("array", ["observation", "global state"])
def test_what_is_gone_at_the_end_of_a_block_is_found(array):
    """Every block ends with episodes, at a reset, and the learner reads no observation."""
    env = Gone(array=array, at=3, horizon=SMALL["rollout_length"])
    logged = []
    with pytest.raises(NotFinite, match=f"{array} is NaN at step 3 of an episode") as raised:
        train(env, learner_of(env), report=logged.append, check_finite=True, **SMALL)
    assert raised.value.source == "environment" and len(logged) == 2, "the first has no block"
    assert not {*NOT_FINITE} & {*logged[1].metrics}, "the counts are no metrics"


def test_a_learner_is_named_and_other_seeds_are_fine(tmp_path):
    """One seed gets NaN in the second block; infinity by design is no reason."""
    env, broken = Constant(), jax.random.split(jax.random.key(7), 3)[1]
    plain = learner_of(env)

    def init(key, example):
        same = (jax.random.key_data(key) == jax.random.key_data(broken)).all()
        state = {**plain.init(key, example), "bounds": jnp.array([-jnp.inf, jnp.inf])}
        return {"policy": state, "count": jnp.int32(0), "broken": same}

    def update(state, key):
        count = state["count"] + 1
        logits = state["policy"]["logits"]
        logits = jnp.where(state["broken"] & (count > 4), jnp.nan, logits)
        policy = {**state["policy"], "logits": logits}
        return {**state, "policy": policy, "count": count}, {"loss": jnp.float32(jnp.nan)}

    learner = plain._replace(init=init, update=update, policy=lambda state: state["policy"])
    with pytest.raises(
        NotFinite, match=r"between \d+ and \d+ steps, seed 7; seeds 6, 8 are fine"
    ) as e:
        train(env, learner, seeds=3, seed=6, checkpoints=tmp_path / "c", **SMALL)
    error = e.value
    assert (error.source, error.array, error.seeds, error.fine) == (
        "learner",
        "logits",
        (7,),
        (6, 8),
    )
    kept = sorted(int(path.name) for path in (tmp_path / "c").iterdir())
    assert kept and kept[-1] < error.steps, "the last good checkpoint is kept"


def test_metrics_without_an_update_are_no_reason():
    env = Constant()
    quiet = learner_of(env, update=lambda state, key: (state, {"loss": jnp.float32(jnp.nan)}))
    assert train(env, quiet, **SMALL).returns.shape == (1, 104)
