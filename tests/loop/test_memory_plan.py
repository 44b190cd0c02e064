"""The memory plan of bridged environments, beside what XLA's compiled programs take."""

import pytest

import marlx
from marlx.loop.run import Run
from marlx.loop.settings import TrainConfig


@pytest.mark.parametrize(
    ("env_id", "capacity"),
    [
        ("jumanji/Connector-v3", 4_000),
        ("gymnax/CartPole-v1", 200_000),
        pytest.param("jaxmarl/smax/3m", 4_000, marks=pytest.mark.slow),
        pytest.param("jaxmarl/overcooked/cramped_room", 4_000, marks=pytest.mark.slow),
    ],
)
def test_the_plan_is_within_one_and_a_half_of_what_a_block_takes(env_id, capacity):
    """Tables of the environment, rollouts, replay, updates; the plan itself compiles nothing."""
    env, params = marlx.make(env_id)
    small = {"hidden": 16, "batch": 32, "window": 8, "warmup": 2_000}
    learner = marlx.algos.iql(env, capacity=capacity, **small)
    config = TrainConfig(total_steps=4_000, num_envs=32, rollout_length=16, evals=1)
    run = Run(env, params, learner, config, devices="1")
    plan = run.memory_plan()
    assert plan.state < plan.training
    used = run._traced["block"].lower().compile().memory_analysis()
    taken = used.argument_size_in_bytes + used.temp_size_in_bytes
    taken += used.output_size_in_bytes - used.alias_size_in_bytes  # the state is given up
    assert taken / 1.5 <= plan.training <= 1.5 * taken
