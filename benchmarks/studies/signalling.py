"""Study `signalling`: pairs that invent a language, and listeners that have to learn one.

`lessons`: a language is taught of 50 of 100 objects; listeners are judged by what they understand
of it about 25 other objects, speakers by how much of it they still speak.

    python benchmarks/studies/signalling.py                      # ten seeds; about half an hour
    python benchmarks/studies/signalling.py --only lewis-5 mappo

`pairs`: speaker and listener learn together, one round an episode. Rows have the language that each
seed found: its different messages and topographic similarity. `listeners`: 25 rounds with feedback
against a partner that speaks one of all 120 bijections, beside the best return of any listener.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from typing import Any, NamedTuple

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds are sharded over devices

import _study
import jax

from marlx import training
from marlx.algos.population.games import layout_of
from marlx.algos.population.networks import Listener
from marlx.analysis import make_rows
from marlx.analysis.languages import language_of
from marlx.config import layers as config_layers
from marlx.envs.signal import lewis_return
from marlx.loop.vector import vector_reset

ROUNDS = 25
UPDATES = 900
"""Updates of each arm with lessons; 300 of them are lessons alone where there are any."""
CHOICES = {"gamma": 0.0, "lr": 1e-3, "hidden": 128, "entropy": 0.003}
"""Settings of a listener; what it chooses changes no later round, so gamma is 0."""
SHORT = {"transformer": {"total_steps": 600_000}}
"""Arms that need fewer steps than the others."""


class Arm(NamedTuple):
    """A learner on a game, with what is not its preset."""

    comparison: str
    name: str
    algorithm: str
    env: str
    settings: dict[str, Any]


def pairs() -> list[Arm]:
    """Returns the arms in which both sides learn."""
    steps = {"lewis-5": 200_000, "lewis-10": 400_000, "objects-3x5": 1_000_000}
    return [
        Arm(game, name, name, f"signal/{game}", {"total_steps": count, "rollout_length": length})
        for game, count in steps.items()
        for name, length in {"ippo": 20, "mappo": 20, "iql": 16, "qmix": 16}.items()
    ]


def listeners() -> list[Arm]:
    """Returns the arms in which a listener meets a speaker with an unknown language."""
    game = {"rounds": ROUNDS, "feedback": True}
    common = {"total_steps": 2_000_000, "num_envs": 64, "rollout_length": 2 * ROUNDS}
    private = {**game, "privileged": True}
    memory = {"recurrent": True, "window": 2 * ROUNDS}
    told = {"model": "oracle", "embedding": 120}
    # the right answer is in the observation, so the encoder needs no actions of its own
    read = {"token": "observation", "contrast": {"lr": 1e-3, "momentum": 0.99}}
    attention = {"network": "transformer", "attention_steps": 2 * ROUNDS, "window": 2 * ROUNDS}
    arms = {
        "no memory": ("ippo", {"env": game, "learner": CHOICES}),
        "GRU": ("ippo", {"env": game, "learner": {**CHOICES, **memory}}),
        "transformer": ("ippo", {"env": game, "learner": {**CHOICES, **attention, "hidden": 64}}),
        **{
            model: ("clam", {"env": private, "learner": {**read, "model": model, "ppo": CHOICES}})
            for model in ("clam", "liam", "random")
        },
        "oracle": ("clam", {"env": private, "learner": {**told, "ppo": CHOICES}}),
    }
    return [
        Arm("listeners", name, algorithm, "partners/signal/lewis-5", {**common, **given, **short})
        for name, (algorithm, given) in arms.items()
        for short in [SHORT.get(name, {})]
    ]


def lessons() -> list[Arm]:
    """Returns the arms that begin from lessons of language 0, or go without."""
    pair = {"growing": False, "population": 100, "phase_updates": 10}
    grown = {"population": 2, "phase_updates": 120}
    only = {"seed_updates": UPDATES, "population": 0}
    chosen: dict[str, dict[str, Any]] = {
        "lessons only": only,
        "self-play only": {**pair, "seed_updates": 0, "supervised": 0.0},
        "self-play after lessons": {**pair, "supervised": 0.0},
        "lessons and self-play": pair,
        "population": {**grown, "inner_steps": 0},
        "population, meta-learning": grown,
    }
    common = {"total_steps": UPDATES * 64 * 8, "num_envs": 64, "rollout_length": 8}
    game = "signal/objects-3x5"
    return [
        Arm("lessons", name, "dynamic_population", game, {**common, "learner": given})
        for name, given in chosen.items()
    ]


def taught(made: Any, learner: Any, policy: Any) -> dict[str, float]:
    """Returns what a listener understands of language 0, and how much of it the speaker says.

    `understood` is the share of 4,000 games about objects that nobody played with in which the
    listener chooses right when language 0 speaks; `spoken`, the share of the speaker's symbols
    that are those of language 0, of the same objects.
    """
    unseen = dataclasses.replace(made.build()[0], split="test")
    params = unseen.default_params
    obs, _ = vector_reset(unseen, params, jax.random.key(100), 4000)
    layout = layout_of(unseen.spec(params))
    network = Listener(learner.config.hidden, unseen.choices)
    heard, shown = layout.part(obs, "lesson"), layout.candidates(obs)
    chosen = network.apply(policy.listener, heard, shown).argmax(-1)
    right = chosen == layout.part(obs, "answer").argmax(-1)
    found = language_of(unseen, params, learner, policy)
    said = unseen.seeded_messages(0, found.objects)
    spoken = found.agreement(said)
    return {"understood": round(float(right.mean()), 4), "spoken": round(spoken, 4)}


def run(arm: Arm, seeds: int) -> None:
    """Trains an arm and stores its rows."""
    made = config_layers.experiment(arm.algorithm, arm.env, **arm.settings, seeds=seeds)
    env, params, learner = made.build()
    result = training.train(env, learner, params, config=made.train, report=_study.report)
    measured: list[dict[str, float]] = []
    extra: dict[str, Any] = {}
    policies = [jax.tree.map(lambda x, n=n: x[n], result.policies) for n in range(seeds)]
    if arm.comparison == "lessons":
        measured = [taught(made, learner, policy) for policy in policies]
    elif arm.comparison == "listeners":
        extra["bound"] = lewis_return(5, ROUNDS)
        extra["one_round"] = lewis_return(5, ROUNDS, remembers=1)
    else:
        for policy in policies:
            found = language_of(env, params, learner, policy)
            measured.append(
                {
                    "different_messages": found.different,
                    "topographic_similarity": round(found.topographic_similarity, 4),
                }
            )
        extra["objects"] = len(found.objects)
    rows, record = make_rows.training_rows(
        made,
        result,
        study="signalling",
        comparison=arm.comparison,
        arm=arm.name,
        about=_study.about(),
        measured=measured,
        extra=extra,
        keep_returns=False,
    )
    _study.add(rows, record)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", nargs="*", default=[], help="a comparison, an arm, or both")
    args = parser.parse_args()
    for arm in (*pairs(), *listeners(), *lessons()):
        if set(args.only) <= {arm.comparison, arm.name}:
            run(arm, args.seeds)


if __name__ == "__main__":
    main()
