"""`check_env`: environments that pass, and one broken environment for each message."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from marlx.envs.foraging import FAMILY
from marlx.envs.matrix import MatrixGame, make
from marlx.testing import Constant, Masked, Recall, check_env
from marlx.types import Scene, Subgoals

GOOD = {
    "matrix/climbing-3p": make("matrix/climbing-3p"),
    "matrix/two_step": make("matrix/two_step"),
    "masked": MatrixGame(payoff=np.arange(6).reshape(2, 3), observation="last_action", horizon=3),
    "constant": Constant(),
    "recall": Recall(),
    "recall now": Recall(cues=3, shortest=0, longest=0, num_agents=1),
    "illegal": Masked(),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_environments_pass(name):
    check_env(GOOD[name])


def test_params_can_be_given():
    check_env(Constant(), Constant().default_params.replace(max_steps_in_episode=3))


def test_foraging_passes():
    check_env(FAMILY.make("Foraging-2s-6x6-2p-1f-v3"))


class EmptyMask(Masked):
    def sample_mask(self, key):
        return super().sample_mask(key).at[1, 0].set(False)


class IntegerObservation(Constant):
    def observe(self, state, params):
        return super().observe(state, params)._replace(local=jnp.ones((2, 1), jnp.int32))


class WiderObservation(Constant):
    def observe(self, state, params):
        return super().observe(state, params)._replace(local=jnp.ones((2, 3)))


class EndlessNumbers(Constant):
    def observe(self, state, params):
        obs = super().observe(state, params)
        return obs._replace(global_state=1.0 / state.time[None])


class LossyStorage(Constant):
    def observe(self, state, params):
        obs = super().observe(state, params)
        return obs._replace(local=obs.local * (1 + 100 * state.time))


class FloatTime(Constant):
    def step_env(self, key, state, action, params):
        after, *rest = super().step_env(key, state, action, params)
        return after.replace(time=after.time + 0.0), *rest


class StoppedClock(Constant):
    def step_env(self, key, state, action, params):
        return state, *super().step_env(key, state, action, params)[1:]


class TeamReward(Constant):
    def step_env(self, key, state, action, params):
        after, reward, *rest = super().step_env(key, state, action, params)
        return after, reward.sum(), *rest


class LimitIsEnd(Constant):
    def step_env(self, key, state, action, params):
        after, reward, _, info = super().step_env(key, state, action, params)
        return after, reward, after.time >= params.max_steps_in_episode, info


class PythonBranch(Constant):
    def step_env(self, key, state, action, params):
        if action[0] > 0:
            return super().step_env(key, state, action, params)
        return super().step_env(key, state, action, params)


class HostRandomness(Masked):
    def reset_env(self, key, params):
        state = super().reset_env(key, params)
        return state.replace(legal=state.legal.at[:, 1:].set(bool(next(HostRandomness.draws))))

    draws = iter(i % 2 for i in range(10**9))


class LateStart(Constant):
    def reset_env(self, key, params):
        return super().reset_env(key, params).replace(time=jnp.int32(1))


class LowOptimum(Constant):
    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), optimum=9.0)


class WrongHorizon(Constant):
    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), horizon=9)


class ReusedKey(Masked):
    def step(self, key, state, action, params=None):
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        fresh = self.reset(jax.random.key(0), params)
        done = terminated | truncated
        obs, state = jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, (obs, state))
        return obs, state, reward, terminated, truncated, info


class SharedKey(Masked):
    def step(self, key, state, action, params=None):
        obs, state, reward, terminated, truncated, info = super().step(key, state, action, params)
        fresh = self.reset(jax.random.split(key)[0], params)
        done = terminated | truncated
        obs, state = jax.tree.map(lambda a, b: jnp.where(done, a, b), fresh, (obs, state))
        return obs, state, reward, terminated, truncated, info


class FinalAfterReset(Masked):
    def step(self, key, state, action, params=None):
        *result, info = super().step(key, state, action, params)
        return *result, {**info, "final_observation": result[0]}


class NoFinal(Constant):
    def step(self, key, state, action, params=None):
        *result, info = super().step(key, state, action, params)
        info.pop("final_observation")
        return *result, info


class NoReset(Constant):
    def step(self, key, state, action, params=None):
        _, _, *rest, info = super().step(key, state, action, params)
        after = state.replace(time=state.time + 1)
        return self.observe(after, params), after, *rest, info


class NeverTruncated(Constant):
    def step(self, key, state, action, params=None):
        *rest, truncated, info = super().step(key, state, action, params)
        return *rest, truncated & False, info


class RoundedReward(Constant):
    def step(self, key, state, action, params=None):
        obs, after, reward, *rest = super().step(key, state, action, params)
        return obs, after, reward + 0.1, *rest


class WiderThanItSays(Constant):
    def spec(self, params=None):
        spec = super().spec(params)
        return dataclasses.replace(spec, groups=(("a", (0,)), ("b", (1,))), obs_sizes=(1, 0))


class ActsBeyond(WiderThanItSays):
    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), obs_sizes=(), action_sizes=(2, 1))


class Declares(Constant):
    fault = ""

    def subgoals(self, params=None):
        no, yes = jnp.zeros((2, 3), bool), jnp.ones((2, 3), bool)
        return Subgoals(
            names=("a", "b", "c"),
            requires=((), (0,), (7 if self.fault == "tree" else 1,)),
            achieved=lambda state: no[0] if self.fault == "shape" else no,
            available=lambda state: yes,
            choices=lambda local: yes & (local[:, :1] > (5 if self.fault == "none" else 0)),
        )


class WrongTree(Declares):
    fault = "tree"


class OneRow(Declares):
    fault = "shape"


class NoChoice(Declares):
    fault = "none"


class Drawn(Constant):
    kind, facts, field = "foraging", (), "agent_pos"

    def scene(self, params=None):
        def frame(state):
            return {f"{self.field}{int(state.time) * (self.field == 'x')}": np.zeros((2, 2))}

        return Scene(self.kind, {"facts": self.facts}, frame)


class UnknownKind(Drawn):
    kind = "cube"


class NoJson(Drawn):
    facts = np.zeros(2)


class OtherNames(Drawn):
    field = "x"


class Continuous(Constant):
    def spec(self, params=None):
        return dataclasses.replace(super().spec(params), continuous=True)

    def step_env(self, key, state, action, params):
        after, reward, *rest = super().step_env(key, state, action, params)
        assert action.shape == (2, 2) and action.dtype == jnp.float32
        return after, reward + action.sum(-1) * 0, *rest


def test_continuous_actions_and_declared_subgoals_pass():
    check_env(Continuous())
    check_env(Declares())
    check_env(Drawn())


FAULTS = {
    WiderThanItSays: "local of agent 1 is not 0 beyond its obs_sizes",
    ActsBeyond: "action_mask of agent 1 is True beyond its action_sizes",
    WrongTree: "subgoals.requires must give each of the 3 subgoals indices",
    OneRow: r"subgoals.achieved gives bool\[64, 3\], not bool\[64, 2, 3\]",
    NoChoice: "subgoals.choices leaves an agent without a choice",
    UnknownKind: "scene.kind is 'cube'; it must be one of",
    NoJson: "writing scene.facts as JSON raises TypeError",
    OtherNames: "the arrays of scene.frame change their names or shapes",
    EmptyMask: r"leaves no legal action to agents \[1\]",
    IntegerObservation: r"local is int32\[2, 1\]; spec says float32\[2, 1\]",
    WiderObservation: r"local is float32\[2, 3\]; spec says float32\[2, 1\]",
    EndlessNumbers: "global_state is not finite",
    LossyStorage: "local does not fit spec.storage int8",
    FloatTime: "step_env changes the state's types: time is float32",
    StoppedClock: "step_env does not advance time by 1",
    TeamReward: r"reward is float32\[\]; it must be float32\[2\], one number for each agent",
    LimitIsEnd: "a time limit is a truncation",
    PythonBranch: "tracing step_env raises TracerBoolConversionError",
    HostRandomness: "reset_env differs",
    LateStart: "a time other than 0",
    LowOptimum: "a random episode returned 10; spec.optimum is 9",
    WrongHorizon: "spec.horizon is 9, params.max_steps_in_episode 10",
    ReusedKey: "step: 100% of pairs of new episodes have equal states, .* keys are reused",
    SharedKey: "step does not reset an ended episode",
    FinalAfterReset: "final_observation is not the one before the reset",
    NoFinal: "no final_observation",
    NoReset: "step does not reset an ended episode",
    NeverTruncated: "not truncated at max_steps_in_episode = 10",
    RoundedReward: "step differs from step_env",
}


@pytest.mark.parametrize("broken", FAULTS)
def test_broken_environments_fail_in_one_line_that_names_them(broken):
    with pytest.raises(AssertionError, match=FAULTS[broken]) as error:
        check_env(broken())
    assert str(error.value).startswith(broken.__name__)
    assert "\n" not in str(error.value)
