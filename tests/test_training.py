"""`marlx.train`: its arguments, what is refused before anything compiles, and pickled results."""

import dataclasses
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import TinyConfig, tiny

import marlx
from marlx import cli
from marlx.loop import programs
from marlx.loop.settings import TrainConfig, TrainSettings
from marlx.registry import Algorithm, Family
from marlx.testing import Constant

CLIMBING = "matrix/climbing"
SHORT = {"total_steps": 200, "num_envs": 4, "rollout_length": 5, "evals": 2, "eval_episodes": 4}


@pytest.fixture
def never_compiles(monkeypatch):
    def compiled(*args, **kwargs):
        raise AssertionError("it was compiled")

    monkeypatch.setattr(programs, "compile_programs", compiled)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"total_step": 5},
            "'total_step' in marlx.train; did you mean total_steps",
        ),
        ({"checkpoint": "here"}, "did you mean checkpoints"),
        ({"device": 2}, "did you mean devices"),
        ({"seeds": 0}, "seeds is 0; it must be at least 1"),
    ],
)
def test_a_wrong_keyword_is_answered_with_the_nearest(settings, message, never_compiles):
    with pytest.raises(ValueError, match=message):
        marlx.train(Constant(), marlx.algos.iql(Constant()), **settings)


@pytest.mark.parametrize(
    ("env", "learner", "message"),
    [
        (Constant(), "qmix", "learner is 'qmix'; it must be a Learner, as marlx.algos.qmix"),
        (
            Constant(),
            marlx.algos.vdn,
            r"learner is of type function; .*algos.vdn\(env\)",
        ),
        (Constant(), marlx.algorithm("vdn"), r"learner is of type Algorithm; .*algos.vdn\(env\)"),
        ("matrix/climbng", None, "matrix/climbng; nearest: matrix/climbing"),
        (marlx.make(CLIMBING), None, r"env is of type tuple; .*marlx.make\(ID\) returns both"),
        (Constant(num_agents=3), None, r"made for probe/constant.* num_agents is 2; .* is 3"),
    ],
)
def test_names_where_objects_are_expected(env, learner, message, never_compiles):
    learner = marlx.algos.iql(Constant()) if learner is None else learner
    with pytest.raises(ValueError, match=message) as error:
        marlx.train(env, learner)
    assert "\n" not in str(error.value)


def test_what_does_not_fit_into_memory_is_refused(never_compiles, monkeypatch):
    """The plan of the command line, whose message it is."""
    from marlx.loop import capacity

    def memory(total, free=None):
        left = total if free is None else free
        monkeypatch.setattr(capacity, "device_memory", lambda free=False: left if free else total)

    learner = marlx.algos.iql(CLIMBING, hidden=8)
    memory(1_000_000)
    with pytest.raises(ValueError, match=r"this run needs .* and there are 1 MB; give it fewer"):
        marlx.train(CLIMBING, learner, total_steps=100_000)
    small = marlx.algos.iql(CLIMBING, hidden=8, capacity=800, warmup=80, batch=4)
    memory(8_000_000_000, 2_000_000)
    message = r"this run needs .* and 2 MB of 8 GB are free; give it fewer seeds, .* replay$"
    with pytest.raises(ValueError, match=message):
        marlx.train(CLIMBING, learner, total_steps=100_000)
    memory(30_000_000)
    with pytest.raises(ValueError, match=r"evaluations need .* give it a smaller eval_episodes"):
        marlx.train(CLIMBING, small, total_steps=2000, eval_episodes=2**20)
    memory(None)  # not known
    with pytest.raises(AssertionError, match="it was compiled"):
        marlx.train(CLIMBING, small, total_steps=2000)


def test_a_learner_of_subgoals_says_which_environment_it_takes(never_compiles):
    env, params = marlx.make("Foraging-5x5-2p-1f-coop-v3")
    with pytest.raises(ValueError, match=r"obs_size is .* train in marlx.with_subgoals\(env\)"):
        marlx.train(env, marlx.algos.gmah(env), params)


ONE = jnp.zeros((1, 2), jnp.int32)
TAKES_AN_ENVIRONMENT = {
    "evaluate": lambda env: marlx.evaluate(env, None, None, None, None, 1),
    "vector_reset": lambda env: marlx.vector_reset(env, None, None, 1),
    "vector_step": lambda env: marlx.vector_step(env, None, None, None, ONE),
    "with_subgoals": marlx.with_subgoals,
    "check_env": marlx.testing.check_env,
}


@pytest.mark.parametrize("name", TAKES_AN_ENVIRONMENT)
def test_an_id_is_answered_where_an_environment_is_needed(name):
    function = TAKES_AN_ENVIRONMENT[name]
    with pytest.raises(ValueError, match=r"an id; it must be .* marlx.make\('matrix/climbing'\)"):
        function(CLIMBING)
    with pytest.raises(ValueError, match="env is of type tuple; it must be an environment"):
        function(marlx.make(CLIMBING))


def test_train_many_says_what_its_experiments_are():
    with pytest.raises(ValueError, match=r"experiments\[0\] is of type str; .*config.experiment"):
        marlx.train_many(["qmix"])


def test_an_id_is_accepted_for_an_environment(tiny_algorithm):
    env, _ = marlx.make(CLIMBING)
    results = [marlx.train(one, tiny_algorithm(CLIMBING), **SHORT) for one in (CLIMBING, env)]
    np.testing.assert_array_equal(*(result.returns for result in results))


def test_seeds_of_32_bits_are_seeds_of_their_own(tiny_algorithm):
    """Public sweeps draw them; cut to 31 bits one would be another, or negative."""
    learner = tiny_algorithm(CLIMBING)
    large, cut = (
        marlx.train(CLIMBING, learner, seed=seed, **SHORT) for seed in (2**32 - 1, 2**31 - 1)
    )
    again = marlx.train(CLIMBING, learner, seed=2**32 - 2, seeds=2, **SHORT)
    own, other, third = (np.asarray(one.policies["logits"]) for one in (large, cut, again))
    assert (own != other).any() and third.shape[0] == 2
    np.testing.assert_array_equal(third[1], own[0])


def test_keywords_for_type_checkers_are_the_settings():
    fields = {field.name: field.type for field in dataclasses.fields(TrainConfig)}
    assert TrainSettings.__annotations__.keys() == fields.keys()
    hints = {name: hint.__forward_arg__ for name, hint in TrainSettings.__annotations__.items()}
    assert hints == fields


class Faulty(Constant):
    """`Constant` with one fault."""

    def __init__(self, fault):
        super().__init__()
        object.__setattr__(self, "fault", fault)

    def spec(self, params=None):
        spec = super().spec(params)
        return dataclasses.replace(spec, horizon=9) if self.fault == "horizon" else spec

    def observe(self, state, params):
        obs = super().observe(state, params)
        changes = {
            "image": {"local": jnp.ones((2, 8, 8, 3))},
            "wider": {"local": jnp.ones((2, 5))},
            "integers": {"local": jnp.ones((2, 1), jnp.int32)},
            "mask": {"action_mask": jnp.ones((2, 2), jnp.float32)},
            "state": {"global_state": jnp.ones((4,))},
        }
        return obs._replace(**changes.get(self.fault, {}))

    def step_env(self, key, state, action, params):
        after, reward, terminated, info = super().step_env(key, state, action, params)
        if self.fault == "tuple":
            return after, reward, terminated
        if self.fault == "time":
            after = after.replace(time=after.time + 0.5)
        reward = {
            "scalar": reward.sum(),
            "half": reward.astype(jnp.float16),
            "whole": reward.astype(jnp.int32),
            "python": 1.0,
        }.get(self.fault, reward)
        terminated = {
            "terminated": terminated.astype(jnp.int32),
            "each": jnp.broadcast_to(terminated, 2),
        }.get(self.fault, terminated)
        return after, reward, terminated, info


FAULTS = {
    "horizon": "spec.horizon is 9, params.max_steps_in_episode 10; they must be equal",
    "image": r"observation.local is float32\[2, 8, 8, 3\]; spec says float32\[2, 1\]",
    "wider": r"observation.local is float32\[2, 5\]; spec says float32\[2, 1\]",
    "integers": r"observation.local is int32\[2, 1\]; spec says float32\[2, 1\]",
    "mask": r"observation.action_mask is float32\[2, 2\]; spec says bool\[2, 2\]",
    "state": r"observation.global_state is float32\[4\]; spec says float32",
    "tuple": r"step_env must return \(state, reward, terminated, info\)",
    "time": "step_env changes the state's types: time is float32",
    "scalar": r"reward is float32\[\]; it must be float32\[2\], one number for each agent",
    "half": r"reward is float16\[2\]; it must be float32\[2\]",
    "whole": r"reward is int32\[2\]; it must be float32\[2\]",
    "python": r"reward is float32\[\]; it must be float32\[2\]",
    "terminated": r"terminated is int32\[\]; it must be bool\[\]",
    "each": r"terminated is bool\[2\]; it must be bool\[\], one for the whole episode",
}


@pytest.mark.parametrize("algorithm", ["iql", "ippo"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_environment_is_refused_before_compiling(fault, algorithm, never_compiles):
    """With one rule for every learner, and the sentence of `check_env`."""
    env = Faulty(fault)
    learner = getattr(marlx.algos, algorithm)(Constant().spec(), hidden=8)
    with pytest.raises(ValueError, match=FAULTS[fault]) as error:
        marlx.train(env, learner, total_steps=50_000)
    assert str(error.value).startswith("Faulty") and "\n" not in str(error.value)
    with pytest.raises(AssertionError, match=FAULTS[fault]):
        marlx.testing.check_env(env)


def test_other_parameters_need_another_horizon(never_compiles):
    """`spec` has to follow the parameters that the training uses."""
    env = Faulty("horizon")
    params = env.default_params.replace(max_steps_in_episode=9)
    with pytest.raises(AssertionError, match="it was compiled"):
        marlx.train(env, marlx.algos.iql(env), params, total_steps=50_000)


def test_the_command_line_refuses_it_too(monkeypatch, capsys, tmp_path, never_compiles):
    family = Family("faulty", "faulty", "faulty", ("faulty",), lambda env_id: Faulty("scalar"))
    everything = {**marlx.families(), "faulty": family}
    monkeypatch.setattr(marlx.registry, "families", lambda: everything)
    assert cli.run(["train", "ippo", "faulty", "--out", str(tmp_path / "run")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "reward is float32[]; it must be float32[2]" in lines[0]
    assert not (tmp_path / "run").exists()


def test_results_go_through_pickle(tiny_algorithm):
    result = marlx.train(CLIMBING, tiny_algorithm(CLIMBING, lr=0.25), seeds=2, **SHORT)
    again = pickle.loads(pickle.dumps(result))
    np.testing.assert_array_equal(again.returns, result.returns)
    jax.tree.map(np.testing.assert_array_equal, again.policies, result.policies)
    assert [p.steps for p in again.history] == [p.steps for p in result.history]
    np.testing.assert_array_equal(
        again.history[-1].metrics["return"], result.history[-1].metrics["return"]
    )
    assert again.learner.config == TinyConfig(lr=0.25)
    with pytest.raises(ValueError, match="stayed in the process that trained"):
        again.history[0].policies()
    (history,) = pickle.loads(pickle.dumps([result.history]))
    assert history[0].phases == result.history[0].phases


def test_a_learner_of_ones_own_is_left_out_of_a_pickled_result(tiny_algorithm):
    """One that was changed too: it would come back as it was before."""
    own = tiny(Constant().spec(), TinyConfig())
    changed = tiny_algorithm(Constant())._replace(update=own.update)
    for learner in (own, changed):
        result = marlx.train(Constant(), learner, **SHORT)
        again = pickle.loads(pickle.dumps(result))
        assert again.learner is None and again.returns.shape == result.returns.shape


@pytest.mark.parametrize("name", ["qmix", "mappo", "mansa", "clam", "gmah"])
def test_learners_go_through_pickle_to_another_process(name, tmp_path):
    learner = getattr(marlx.algos, name)("Foraging-5x5-2p-1f-coop-v3")
    again = pickle.loads(pickle.dumps(learner))
    assert again.config == learner.config and again.act is not learner.act
    if name == "gmah":  # whose spec holds a function of the environment
        (tmp_path / "learner").write_bytes(pickle.dumps(learner))
        code = (
            f"import pickle; print(pickle.load(open({str(tmp_path / 'learner')!r}, 'rb')).warmup)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip() == str(learner.warmup), done.stderr


def test_an_algorithm_without_a_name_says_so_when_it_is_read(tiny_algorithm):
    record = Algorithm("nameless", "", TinyConfig, tiny)
    with pytest.raises(ValueError, match="unknown algorithm 'nameless'"):
        pickle.loads(pickle.dumps(record(Constant())))
