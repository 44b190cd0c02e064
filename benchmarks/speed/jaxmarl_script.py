"""Runs a baseline script of JaxMARL's repository with its own settings, and times it.

    python jaxmarl_script.py CLONE CASE [--steps N] [--tests]

It is a process of `speed_jaxmarl.py`, and needs JaxMARL and what its scripts import, not marlx. The
script's own `make_train` is called with its own YAML file; only the number of steps, the seed and
whether it evaluates are set here. What the scripts log to wandb is dropped. The program is compiled
ahead of time, and run once.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import resource
import sys
import time
import types
from pathlib import Path
from typing import Any, NamedTuple


class Script(NamedTuple):
    """A script of JaxMARL's `baselines` folder.

    Attributes:
      path: of the script.
      settings: its YAML files; later ones win.
      tests: whether it evaluates during training, where `TEST_DURING_TRAINING` says so.
    """

    path: str
    settings: tuple[str, ...]
    tests: bool


def _q_learning(name: str) -> Script:
    folder = "QLearning"
    files = (f"{folder}/config/config.yaml", f"{folder}/config/alg/ql_rnn_mpe.yaml")
    return Script(f"{folder}/{name}_rnn.py", files, tests=True)


SCRIPTS = {
    "qmix": _q_learning("qmix"),
    "vdn": _q_learning("vdn"),
    "iql": _q_learning("iql"),
    "ippo feed-forward": Script("IPPO/ippo_ff_mpe.py", ("IPPO/config/ippo_ff_mpe.yaml",), False),
    "ippo recurrent": Script("IPPO/ippo_rnn_mpe.py", ("IPPO/config/ippo_rnn_mpe.yaml",), False),
    "mappo recurrent": Script(
        "MAPPO/mappo_rnn_mpe.py", ("MAPPO/config/mappo_homogenous_rnn_mpe.yaml",), False
    ),
}
"""By the name of our case."""


def settings_of(script: Script, baselines: Path, steps: int, tests: bool) -> dict[str, Any]:
    """Returns the script's settings, for a run of `steps` environment steps."""
    import yaml

    found: dict[str, Any] = {}
    for name in script.settings:
        text = (baselines / name).read_text(encoding="utf-8")
        # YAML 1.1 reads 1e7 as a word; the scripts' own reader takes it for a number
        found |= {key: _number(value) for key, value in yaml.safe_load(text).items()}
    found |= {"TOTAL_TIMESTEPS": steps, "SEED": 0, "NUM_SEEDS": 1, "WANDB_MODE": "disabled"}
    return found | {"TEST_DURING_TRAINING": tests}


def _number(value: Any) -> Any:
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def load(path: Path) -> Any:
    """Returns the script as a module, with the packages that only its `main` needs replaced."""
    for name in ("wandb", "hydra", "omegaconf"):
        sys.modules[name] = _Absent(name)
    spec = importlib.util.spec_from_file_location("jaxmarl_baseline", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class _Absent(types.ModuleType):
    """A package whose functions do nothing, and whose decorators change nothing."""

    OmegaConf = None

    def log(self, *_: Any, **__: Any) -> None: ...

    def main(self, *_: Any, **__: Any) -> Any:
        return lambda function: function


def run(script: Script, baselines: Path, steps: int, tests: bool) -> dict[str, Any]:
    """Compiles and runs the script; returns its speed, compilation time and peak memory."""
    import jax

    module, settings = load(baselines / script.path), settings_of(script, baselines, steps, tests)
    if script.tests:
        env, _ = module.env_from_config(dict(settings))
        train = module.make_train(settings, env)
    else:
        train = module.make_train(settings)
    key = jax.random.PRNGKey(settings["SEED"])
    began = time.perf_counter()
    if script.tests:  # as its main: seeds side by side, one of them
        program = jax.jit(jax.vmap(train)).lower(key[None]).compile()
        key = key[None]
    else:
        program = jax.jit(train).lower(key).compile()
    compile_s = time.perf_counter() - began
    began, busy = time.perf_counter(), time.process_time()
    jax.block_until_ready(program(key))
    seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    per_update = int(settings["NUM_ENVS"]) * int(settings["NUM_STEPS"])
    played = int(settings["NUM_UPDATES"]) * per_update
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "steps": played,
        "steps_per_second": round(played / seconds),
        "cpu_per_step_us": round(1e6 * cpu / played, 2),
        "compile_s": round(compile_s, 1),
        "peak_mb": round(peak * (1 if sys.platform == "darwin" else 1024) / 1e6),
        "jax": jax.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clone", type=Path)
    parser.add_argument("case", choices=SCRIPTS)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--tests", action="store_true", help="evaluate during training")
    args = parser.parse_args()
    found = run(SCRIPTS[args.case], args.clone / "baselines", args.steps, args.tests)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
