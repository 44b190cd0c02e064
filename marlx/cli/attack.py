"""`marlx attack RUN`: how much of a team's return attackers, failures and noise leave."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marlx.cli.cache import use_compilation_cache
from marlx.cli.options import run_and_options
from marlx.cli.records import MOST_EPISODES
from marlx.cli.shared import like_path
from marlx.settings import LARGEST, LARGEST_SEED, setting
from marlx.text import printable, short

if TYPE_CHECKING:
    from marlx.analysis.attacks import Victims

MOST_ATTACKERS = 1000
"""Most attackers of each policy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttackOptions:
    """A report on the robustness of a trained team.

    Some of its agents are replaced: by random or still ones, and by attackers that are trained to
    lower the others' return. Then failures of the whole team, which need no training.
    """

    agents: tuple[int, ...] = (0,)
    """Agents that are attacked: they act for the attacker."""
    kinds: tuple[str, ...] = ("none", "random", "still", "lambda0", "ami")
    """What they do:
    `none`: what they learned.
    `random`: random legal actions.
    `still`: the first legal action, which is doing nothing where an environment has that.
    `lambda0`: what MAPPO learns against the team.
    `ami`: what AMI learns against it."""
    seeds: int = setting(2, at_least=1, at_most=MOST_ATTACKERS)
    """Attackers that are trained against each seed of the run."""
    steps: int = setting(500_000, at_least=1, at_most=LARGEST)
    """Environment steps of each attacker."""
    victims: int | None = setting(None, at_least=1, at_most=MOST_ATTACKERS)
    """Seeds of the run that are attacked, the first ones; all if not given."""
    perturb: tuple[str, ...] = ("sticky", "dropped", "erratic", "noise")
    """Failures of the whole team:
    `sticky`: actions are repeated with a probability.
    `dropped`: some agents stand still for an episode.
    `erratic`: some agents act at random for an episode.
    `noise`: Gaussian noise on observations, in deviations of each number.
    `none`: no failures."""
    episodes: int = setting(200, at_least=1, at_most=MOST_EPISODES)
    """Fresh episodes of each policy and attacker, the same for all."""
    seed: int = setting(0, at_least=0, at_most=LARGEST_SEED - MOST_ATTACKERS)
    """Seed of the first attacker, and of the episodes."""
    out: str | None = None
    """Folder for attack.json and attack.png; the run folder if not given, where `marlx report`
    finds them."""
    quiet: bool = False
    """Print no progress of the training."""


def attack_command(argv: Sequence[str]) -> int:
    """`marlx attack RUN [options]`."""
    path, options = run_and_options(argv, "attack", AttackOptions)
    if not Path(path).is_dir():
        raise ValueError(f"{path} is not the folder of a run{like_path(path)}")
    folder = Path(options.out or path)
    if not folder.is_dir():
        raise ValueError(f"cannot write to {folder}: there is no such folder")
    use_compilation_cache()
    from marlx.analysis import attack_results, attacks
    from marlx.analysis.perturbations import strengths_of

    victims = attacks.load_victims(path, options.victims)
    attacks.check_attack(victims, options.agents, options.kinds)
    failures = [kind for kind in options.perturb if kind != "none"]
    for kind in failures:
        strengths_of(kind, victims.team.spec.num_agents)
    experiments = {  # mistakes show before anything is compiled
        kind: attacks.attack_experiment(victims, options.agents, kind, options.steps)
        for kind in options.kinds
        if kind in attacks.TRAINED
    }
    for made in experiments.values():
        made.build()
    content: dict[str, Any] = {
        "format": 1,
        "run": str(path),
        "environment": victims.team.spec.id,
        "agents": list(options.agents),
        "judged": victims.team.judged,
        "victims": victims.seeds,
        "attackers": options.seeds,
        "total_steps": options.steps,
        "episodes": options.episodes,
        "seed": options.seed,
        "attacks": [_attack(victims, kind, experiments, options) for kind in options.kinds],
        "perturbations": [
            attack_results.perturbation_record(
                kind, *attacks.robustness(victims, kind, options.episodes, options.seed)
            )
            for kind in failures
        ],
    }
    print(f"{printable(path)}: {victims.team.spec.id}, {attack_results.summary(content)}")
    for line in attack_results.lines(content):
        print(line)
    written, picture = attack_results.write_attack(folder, content)
    print(f"  {written}, {picture}")
    return 0


def _attack(
    victims: Victims, kind: str, experiments: dict[str, Any], options: AttackOptions
) -> dict[str, Any]:
    """Returns the record of one kind of attack, after its training."""
    import numpy as np

    from marlx.analysis.attack_results import attack_record
    from marlx.analysis.attacks import KINDS, train_attackers, untrained

    if kind not in experiments:
        returns = untrained(victims, options.agents, kind, options.episodes, options.seed)
        return attack_record(kind, KINDS[kind], returns)

    def report(steps: int, total: int, mean: float) -> None:
        if not options.quiet:
            line = f"{kind}: {short(steps)} of {short(total)} steps, others' return {mean:.3f}"
            print(line, file=sys.stderr, flush=True)

    found = train_attackers(
        victims, experiments[kind], options.seeds, options.episodes, options.seed, report
    )
    curve = np.round(np.nanmean(found.curve, (1, 2)), 5)
    more = {"steps": found.steps.tolist(), "curve": np.nan_to_num(curve).tolist()}
    return attack_record(kind, KINDS[kind], found.returns, **more)
