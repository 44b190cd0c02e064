"""Study `clam_encoder`: how well CLAM's encoder separates partners, as k-NN accuracy by time.

    python benchmarks/studies/clam_encoder.py            # all cases; minutes

The agent acts at random, so that all encoders see the same trajectories: encoders trained on the
contrastive loss, which uses no labels, and untrained ones. `--seeds` encoders are trained on
`--episodes` episodes each and evaluated on fresh ones, half of which are the neighbours to search.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import _study
import jax
import numpy as np

import marlx
from marlx.algos.agent_modelling.config import CLAMConfig, ContrastConfig
from marlx.algos.agent_modelling.learner import model_of
from marlx.algos.agent_modelling.models import AgentModel
from marlx.analysis import embeddings, make_rows
from marlx.learner import Learner, stateless
from marlx.learning.returns import uniform_action
from marlx.loop.evaluation import random_learner
from marlx.loop.rollout import rollout, start

HUNTERS = ("after_prey", "after_agent_far", "after_agent_close", "after_pred", "random")
COVERERS = ("nearest", "assigned", "stay", "reversed", "random")
PLAYERS = tuple(f"mostly_{i}" for i in range(5))
FORAGERS = ("h1", "h2", "h3", "h4", "random")


class Case(NamedTuple):
    """An environment and the settings of the encoder."""

    task: str
    env: dict[str, Any]
    settings: dict[str, Any]


TAG = "partners/mpe/simple_tag_v3", {"horizon": 50, "pool": HUNTERS}
LIAM = "partners/mpe/liam_predator_prey", {"pool": HUNTERS}
NEAR = {"inputs": (8, 9, 10, 11, 12, 13)}
SPREAD = "partners/mpe/simple_spread_v3", {"horizon": 50, "pool": COVERERS}
GAME = (
    "partners/matrix/coordination-5",
    {"horizon": 50, "observation": "last_action", "pool": PLAYERS},
)
CASES = {
    "game, all it sees": Case(*GAME, {}),
    "spread, all it sees": Case(*SPREAD, {}),
    "spread, changes of what it sees": Case(*SPREAD, {"token": "change"}),
    "tag, all it sees": Case(*TAG, {}),
    "tag, the predators it sees": Case(*TAG, NEAR),
    "tag, changes of what it sees": Case(*TAG, {"token": "change"}),
    "tag, the predators and what they did (code)": Case(*TAG, {**NEAR, "token": "code"}),
    "liam, all it sees": Case(*LIAM, {}),
    "liam, the predators it sees": Case(*LIAM, NEAR),
    "foraging, all it sees": Case("partners/Foraging-8x8-2p-2f-v3", {"pool": FORAGERS}, {}),
}


def wanderer(model: AgentModel, spec: Any) -> Learner:
    """Returns a learner that acts at random while the model observes."""

    def act(policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        action = uniform_action(key, spec, obs.action_mask)
        extras = Extras(model.embed(policy, memory, obs))
        return action, model.advance(policy, memory, obs, action), extras

    return stateless(act)._replace(memory=model.memory)


class Extras(NamedTuple):
    """Extras of a transition."""

    embedding: Any


def example(env: Any, params: Any, model: AgentModel, actors: Any, length: int) -> Any:
    """Returns the shapes of the rollouts that the model observes."""
    idle = random_learner(env.spec(params))

    def roll() -> Any:
        return rollout(env, params, idle, (), actors._replace(memory=()), jax.random.key(0), length)

    memory = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((length, *x.shape), x.dtype), actors.memory
    )
    return jax.eval_shape(roll)[1]._replace(memory=memory)


def measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Trains and evaluates the encoders of a case; returns the results of each seed."""
    case = CASES[name]
    env, params = marlx.make(case.task, **case.env, privileged=True)
    spec = env.spec(params)
    contrast = ContrastConfig(
        batch=args.batch,
        updates=args.updates / 5,
        capacity=args.episodes,
        apart=args.apart,
    )
    kind = "labels" if args.labels else "clam"
    model = model_of(spec, CLAMConfig(model=kind, contrast=contrast, **case.settings))
    learner, times = wanderer(model, spec), embeddings.time_points(spec.horizon)

    @jax.jit
    def watch(key: Any) -> Any:
        """Returns the initial state of the model, with a full store of episodes."""
        key_start, key_init, key_roll = jax.random.split(key, 3)
        actors = start(env, params, learner, key_start, args.episodes)
        state = model.init(key_init, example(env, params, model, actors, spec.horizon))
        policy = model.params(state)
        taken = rollout(env, params, learner, policy, actors, key_roll, spec.horizon)[1]
        return model.observe(state, taken)

    update = jax.jit(model.update)

    @jax.jit
    def judge(state: Any, key: Any) -> Any:
        return embeddings.embed(env, params, learner, model.params(state), key, args.judged)

    each = []
    for seed in range(args.seeds):
        keys = jax.random.split(jax.random.key(seed), 7)
        state = watch(keys[0])
        untrained = embeddings.scores(judge(state, keys[1]), times)
        losses = []
        for key in keys[2:]:
            state, metrics = update(state, key)
            losses.append(round(float(metrics["contrastive_loss"]), 3))
        found = judge(state, keys[1])
        trained = embeddings.scores(found, times)
        each.append({"trained": trained, "untrained": untrained, "loss": losses})
        if seed == 0 and args.picture:
            title = f"{name}; the agent acts at random"
            embeddings.picture(args.picture, found, env.partner_names, trained, title=title)
    return each


def run(name: str, args: argparse.Namespace) -> None:
    """Measures a case, prints and stores it."""
    case = CASES[name]
    label = name + ", told labels" * args.labels + ", views apart" * args.apart
    each = measure(name, args)
    partners = list(marlx.make(case.task, **case.env, privileged=True)[0].partner_names)
    options = ("episodes", "judged", "updates", "batch", "labels", "apart")
    bound = round(float(np.log(2 * args.batch - 1)), 3)
    rows, record = make_rows.measured_rows(
        {
            "algorithm": "clam",
            "environment": case.task,
            "settings": case.settings,
            "partners": partners,
            **{option: getattr(args, option) for option in options},
        },
        each,
        study="clam_encoder",
        comparison=name.split(",")[0],
        arm=label,
        about=_study.about(),
        env=case.task,
        algorithm="clam",
        seeds=range(args.seeds),
        extra={"chance": 1 / len(partners), "log(2B-1)": bound},
    )
    _study.add(rows, record)
    print(f"{label}: loss {[seed['loss'] for seed in each]} of {bound}")
    for which in ("untrained", "trained"):
        for k, at in enumerate(each[0][which]):
            accuracy = [seed[which][k]["accuracy"] for seed in each]
            silhouette = np.mean([seed[which][k]["silhouette"] for seed in each])
            print(
                f"  {which:10} step {at['time']:3}: k-NN {np.mean(accuracy):.3f} "
                f"({min(accuracy):.3f} to {max(accuracy):.3f}), silhouette {silhouette:.3f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=2_000, help="to train on")
    parser.add_argument("--judged", type=int, default=1_000, help="fresh episodes")
    parser.add_argument("--updates", type=int, default=1_000, help="gradient steps")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--labels", action="store_true", help="train with labels: an upper bound")
    parser.add_argument("--apart", action="store_true", help="the two views share no step")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--picture", type=Path, help="draw the first seed's vectors to this file")
    args = parser.parse_args()
    for name in CASES:
        if args.only in name:
            run(name, args)


if __name__ == "__main__":
    main()
