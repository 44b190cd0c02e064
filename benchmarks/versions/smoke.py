"""A short use of every part of marlx, for `make test-versions`: exit code 0 if all of it works.

    python benchmarks/versions/smoke.py [--strict]

Trains two seeds of three learners, continues one, sweeps, evaluates, exports, renders, reports and
plots, and steps an environment through two bridges; all in a temporary folder, in one process.
With `--strict` a DeprecationWarning that points at a line of marlx is a failure: that is how jax,
flax and optax announce that a name which marlx uses will go.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("WANDB_MODE", "offline")

TASK = "matrix/climbing"
LOOP = "--seeds 2 --total-steps 600 --num-envs 8 --rollout-length 5 --evals 2 --eval-episodes 8"
REPLAY = "--learner.hidden 8 --learner.warmup 80 --learner.batch 4 --learner.capacity 800"
PPO = "--learner.hidden 8 --learner.window 5 --learner.minibatches 2"
SWEEP = """\
program: marlx
command: [marlx, train, iql, matrix/climbing, --total-steps, 400, --num-envs, 8,
  --rollout-length, 5, --evals, 1, --eval-episodes, 8, --learner.hidden, 8, --learner.warmup, 80,
  --learner.batch, 4, --learner.capacity, 800, "${args}"]
method: random
metric: {name: return, goal: maximize}
parameters:
  learner.lr: {distribution: log_uniform_values, min: 1e-4, max: 1e-2}
"""


def command(line: str) -> None:
    """Run a command line of marlx.

    Raises:
      RuntimeError: its exit code is not 0.
    """
    from marlx.cli import run

    code = run(line.split())
    if code:
        raise RuntimeError(f"marlx {line}: exit code {code}")


def train(algorithm: str, settings: str) -> Callable[[], None]:
    return lambda: command(f"train {algorithm} {TASK} {LOOP} {settings} --out {algorithm}")


def resume() -> None:
    command("train --resume iql --total-steps 1200")
    lines = Path("iql/metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[-1])["steps"] >= 1200, lines[-1]


def sweep() -> None:
    Path("sweep.yaml").write_text(SWEEP, encoding="utf-8")
    command("sweep sweep.yaml --trials 2 --vmap 2 --out sweep")
    found = [path for path in Path("sweep").glob("trial-*") if (path / "result.json").exists()]
    assert len(found) == 2, found


def export() -> None:
    command("export qmix --out exported")


def pictures() -> None:
    command("render iql")
    assert Path("iql/episode.gif").read_bytes().startswith(b"GIF89a")


def readers() -> None:
    command("eval ippo --episodes 8")
    command("doctor qmix")
    command("report iql qmix ippo --out report.html")
    command("plot iql qmix ippo --out curves.svg")


def tracking() -> None:
    command(f"train iql {TASK} {LOOP} {REPLAY} --out tracked --wandb offline --tensorboard")
    assert list(Path("tracked/tensorboard").rglob("*tfevents*"))


def bridges() -> None:
    import gymnax
    import jax

    import marlx
    from marlx.envs.bridges import from_gymnax, register_in_gymnax, to_pettingzoo
    from marlx.testing import check_env

    check_env(from_gymnax("CartPole-v1"))
    register_in_gymnax(TASK)
    env, params = gymnax.make(f"marlx/{TASK}")
    env.reset(jax.random.key(0), params)
    parallel = to_pettingzoo(marlx.make(TASK)[0])
    parallel.reset(seed=0)
    parallel.step({agent: 0 for agent in parallel.agents})


def python() -> None:
    import jax

    import marlx

    policy = marlx.load_policy("qmix")
    env, params = policy.env, policy.params
    obs, _ = env.reset(jax.random.key(0), params)
    memory = policy.learner.memory(1)
    batch = jax.tree.map(lambda x: x[None], obs)
    action, *_ = policy.learner.act(policy.arrays, memory, batch, jax.random.key(1), False)
    assert action.shape == (1, policy.spec.num_agents)


PARTS: dict[str, Callable[[], None]] = {
    "train iql": train("iql", REPLAY),
    "train qmix": train("qmix", f"{REPLAY} --learner.mixer-hidden 8"),
    "train ippo": train("ippo", PPO),
    "resume": resume,
    "eval, doctor, report, plot": readers,
    "render": pictures,
    "export": export,
    "python": python,
    "sweep": sweep,
    "trackers": tracking,
    "bridges": bridges,
}


def main() -> int:
    failed = []
    with warnings.catch_warnings(record=True) as caught, tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("always", DeprecationWarning)
        os.chdir(folder)
        for name, part in PARTS.items():
            began = time.perf_counter()
            try:
                part()
            except BaseException:  # a later part may still work, and says more
                traceback.print_exc()
                failed.append(name)
            print(f"== {name}: {time.perf_counter() - began:.1f} s", flush=True)
        os.chdir("/")
    old = sorted(
        {
            f"{Path(one.filename).name}:{one.lineno}: {one.message}"
            for one in caught
            if issubclass(one.category, DeprecationWarning) and "marlx" in Path(one.filename).parts
        }
    )
    for line in old:
        print(f"deprecated: {line}")
    print(f"failed: {', '.join(failed) or 'nothing'}; {len(old)} deprecations")
    return 1 if failed or (old and "--strict" in sys.argv) else 0


if __name__ == "__main__":
    sys.exit(main())
