"""A short training with loggers, its metrics, and progress made by hand."""

import json

import numpy as np

from marlx.loop.progress import Progress

RUN = ["train", "tiny", "matrix/climbing", "--total-steps", "64", "--num-envs", "2", "--evals"]
RUN += ["2", "--rollout-length", "4", "--eval-episodes", "50", "--env.horizon", "3"]
RUN += ["--seeds", "2", "--seed", "5", "--out", "run"]
"""Arguments of `marlx` for a run of two seeds, 5 and 6."""


def metrics(folder):
    """Lines of `metrics.jsonl`."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def progress(steps, seeds=2, **metrics):
    """Progress whose return of seed i is `steps + i / 10`."""
    values = {"return": [0.1 * i + steps for i in range(seeds)], **metrics}
    arrays = {name: np.array(value, float) for name, value in values.items()}
    return Progress(steps, 100, 1.5, arrays, {}, dict)
