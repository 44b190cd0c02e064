"""What wandb's own sweep tooling makes of our sweep files, kept for the tests.

    pip install sweeps==0.3.0 && python tests/golden/sweeps_of_wandb.py

The package needs numpy 1, so it has an environment of its own: it is not installed where tests run.
"""

import json
import random
from pathlib import Path

import numpy as np
import sweeps
import yaml

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "configs" / "sweeps"


def proposals(content: dict, count: int = 24) -> list[dict]:
    """Parameters of the next runs, some of which have already been run."""
    random.seed(0)
    np.random.seed(0)
    runs: list = []
    metric = content["metric"]["name"]
    for number in range(count if content["method"] == "grid" else 6):
        run = sweeps.next_run(content, runs)  # its `validate` drops nested parameters
        if run is None:
            break
        run.state = sweeps.RunState.finished
        run.history = [{metric: float(number)}]
        run.summary_metrics = {metric: float(number)}
        runs.append(run)
    return [run.config for run in runs]


def main() -> None:
    """Write `sweeps_of_wandb.json`."""
    found = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        content = yaml.safe_load(path.read_text())  # as wandb reads it
        violations = sweeps.schema_violations_from_proposed_config(content)
        found[path.name] = {"violations": violations, "proposals": proposals(content)}
    text = json.dumps(found, indent=1, default=lambda x: x.item()) + "\n"
    (HERE / "sweeps_of_wandb.json").write_text(text)


if __name__ == "__main__":
    main()
