"""Trained policies of runs as partners."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import marlx
from marlx import config, load_policy
from marlx.envs.partners import from_runs, with_partners
from marlx.loop.progress import Progress
from marlx.runs import folder as run_folder
from marlx.runs import policies


def saved_run(folder: Path, env_id: str, seed: int, seeds: int = 1, **env: Any) -> Path:
    """The folder of a run of the tiny algorithm, with random policies."""
    experiment = config.experiment("tiny", env_id, seeds=seeds, seed=seed, env=env)
    spec = experiment.env.spec()
    shape = (seeds, spec.num_agents, spec.num_actions)
    logits = jax.random.normal(jax.random.key(seed), shape)
    progress = Progress(1, 2, 1.0, {"return": np.zeros(seeds)}, {}, dict)
    policies.save_policy(run_folder.RunFolder(folder), experiment, {"logits": logits}, progress)
    return folder


ID = "Foraging-5x5-2p-1f-v3"


def test_runs_become_partners(tiny_algorithm: Any, tmp_path: Path) -> None:
    paths = [saved_run(tmp_path / f"run{seed}", ID, seed) for seed in range(3)]
    inner, params = marlx.make(ID)
    pool = from_runs(paths, inner)
    assert [partner.name for partner in pool] == ["run0", "run1", "run2"]
    env = with_partners(inner, pool, ego=(1,))
    assert [kind.size for kind in env.cast.kinds] == [3]  # one program, three sets of parameters
    obs, board = inner.reset(jax.random.key(0))
    step = jax.jit(env.step_env)
    for draw, path in enumerate(paths):
        policy = load_policy(path)
        wanted, _ = policy.act(obs, policy.initial_memory())
        state = env.make_state(board, draw)
        state, _, _, info = step(jax.random.key(1), state, jnp.array([0]), params)
        assert info["partner_action"].tolist() == [int(wanted[0])]
        assert state.memory[0][0].tolist() == [1.0]  # it is the learner's own memory that is kept
    named, _ = marlx.make(f"partners/{ID}", pool=("h1", str(paths[1])))
    assert named.cast.names == ("h1", "run1")


def test_every_seed_of_a_run_can_play(tiny_algorithm: Any, tmp_path: Path) -> None:
    path = saved_run(tmp_path / "run", ID, 5, seeds=3)
    inner, _ = marlx.make(ID)
    pool = from_runs([path], inner, every_seed=True)
    assert [partner.name for partner in pool] == ["run/5", "run/6", "run/7"]
    for partner, seed in zip(pool, (5, 6, 7), strict=True):
        wanted = load_policy(path, seed).arrays["logits"]
        np.testing.assert_array_equal(partner.policy["logits"], wanted)
    named, _ = marlx.make(f"partners/{ID}", pool=(str(path),), every_seed=True)
    assert [kind.size for kind in named.cast.kinds] == [3]


def test_exploring_partners_do_other_things(tiny_algorithm: Any, tmp_path: Path) -> None:
    path = saved_run(tmp_path / "run", ID, 0)
    inner, _ = marlx.make(ID)
    obs, _ = inner.reset(jax.random.key(0))
    keys = jax.random.split(jax.random.key(1), 400)

    def actions(**options: Any) -> np.ndarray:
        (partner,) = from_runs([path], inner, **options)
        act = jax.vmap(lambda key: partner.act(partner.policy, partner.init(), obs, key)[0])
        return np.asarray(jax.jit(act)(keys))

    greedy, some, wild = actions(), actions(epsilon=0.1), actions(explore=True)
    assert len(np.unique(greedy[:, 0])) == 1
    legal = np.asarray(obs.action_mask[0]).sum()
    changed = (some[:, 0] != greedy[:, 0]).mean()
    assert abs(changed - 0.1 * (1 - 1 / legal)) < 0.05
    assert len(np.unique(wild[:, 0])) > 1


def test_runs_of_other_environments_are_refused(tiny_algorithm: Any, tmp_path: Path) -> None:
    inner, _ = marlx.make(ID)
    other = saved_run(tmp_path / "other", "Foraging-6x6-2p-1f-v3", 0)
    with pytest.raises(ValueError, match=r"other was trained in Foraging-6x6.*; it cannot play"):
        from_runs([other], inner)
    ego = saved_run(tmp_path / "ego", f"partners/{ID}", 0)
    with pytest.raises(ValueError, match=r"ego was trained in partners/Foraging-5x5"):
        from_runs([ego], inner)
    hidden = saved_run(tmp_path / "hidden", ID, 0, observe_levels=False)
    with pytest.raises(ValueError, match=r"whose obs_size is 7; here it is 9"):
        from_runs([hidden], inner)
    with pytest.raises(ValueError, match=r"none holds no policy"):
        from_runs([tmp_path / "none"], inner)
