"""Run folders written by hand, so that every number in them is known."""

import json

import numpy as np

from marlx.config.yaml_text import dump
from marlx.runs.files import finite

FORAGING = "Foraging-8x8-2p-2f-coop-v3"


def write_run(
    folder,
    algorithm="qmix",
    environment=FORAGING,
    *,
    returns=((0.0, 0.2), (0.5, 0.7)),
    steps=(100, 200),
    seed=0,
    final=None,
    finished=True,
    optimum=1.0,
    learner=None,
    env=None,
    **metrics,
):
    """A run folder whose greedy returns [K, seeds] are `returns`."""
    folder.mkdir(parents=True)
    seeds = len(returns[0])
    settings = {"algorithm": algorithm, "environment": environment, "total_steps": 200}
    settings |= {"seed": seed, "seeds": seeds, "learner": learner or {"lr": 1e-3}}
    (folder / "config.yaml").write_text(dump({**settings, "env": env or {"sight": None}}))
    lines = [
        {"steps": step, "seconds": step / 10, "phases": {}, "return": list(row)}
        | {name: values[k] for name, values in metrics.items()}
        for k, (step, row) in enumerate(zip(steps, returns, strict=True))
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    facts = {"python": "3.11.7", "system": "Linux x86_64", "versions": {"jax": "0.10"}}
    (folder / "environment.json").write_text(json.dumps({**facts, "devices": ["cpu"]}))
    if finished:
        per_seed = list(final or returns[-1])
        result = {"return": {"mean": np.mean(per_seed), "per_seed": per_seed}}
        result["return"]["interval_95"] = [min(per_seed) - 0.1, max(per_seed) + 0.1]
        result |= {"random_return": 0.0, "optimum": optimum, "seconds": {"compile": 3.0}}
        (folder / "result.json").write_text(json.dumps(finite(result)))
    return folder
