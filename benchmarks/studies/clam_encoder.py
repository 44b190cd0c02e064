"""Does CLAM's encoder tell who plays? k-NN accuracy over the episode, without labels in training.

    python benchmarks/clam_encoder.py            # all cases; minutes

The agent acts at random, so that trajectories are the same for all encoders: one trained on the
contrastive loss, and one as it starts. `--seeds` encoders each are trained on `--episodes` episodes
and judged on fresh ones, half of which are the reference of 5 nearest neighbours.
"""

from __future__ import annotations

import argparse
import json
import re
from typing import Any, NamedTuple

import _timing
import jax
import numpy as np

import marlx
from marlx import embeddings
from marlx.algos.clam import CLAMConfig, model_of
from marlx.algos.contrast import ContrastConfig
from marlx.algos.modelling import Model
from marlx.evaluation import random_learner
from marlx.learner import Learner
from marlx.returns import uniform_action
from marlx.rollout import rollout, start

HUNTERS = ("after_prey", "after_agent_far", "after_agent_close", "after_pred", "random")
COVERERS = ("nearest", "assigned", "stay", "reversed", "random")
PLAYERS = tuple(f"mostly_{i}" for i in range(5))
FORAGERS = ("h1", "h2", "h3", "h4", "random")


class Case(NamedTuple):
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


def wanderer(model: Model, spec: Any) -> Learner:
    """Acts at random and lets the model watch."""

    def act(policy: Any, memory: Any, obs: Any, key: Any, explore: bool) -> Any:
        action = uniform_action(key, spec, obs.action_mask)
        vector = Extras(model.read(policy, memory, obs))
        return action, model.push(policy, memory, obs, action), vector

    return Learner(
        init=lambda key, example: (),
        memory=model.memory,
        policy=lambda state: (),
        act=act,
        observe=lambda state, rollout: state,
        update=lambda state, key: (state, {}),
    )


class Extras(NamedTuple):
    vector: Any


def example(env: Any, params: Any, model: Model, actors: Any, length: int) -> Any:
    """Shapes of the rollouts that the model is going to be shown."""
    idle = random_learner(env.spec(params))

    def roll() -> Any:
        return rollout(env, params, idle, (), actors._replace(memory=()), jax.random.key(0), length)

    memory = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct((length, *x.shape), x.dtype), actors.memory
    )
    return jax.eval_shape(roll)[1]._replace(memory=memory)


def measure(name: str, label: str, args: argparse.Namespace) -> dict[str, Any]:
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
    learner, times = wanderer(model, spec), embeddings.moments_of(spec.horizon)

    @jax.jit
    def watch(key: Any) -> Any:
        """The model's state as it starts, with a store full of episodes."""
        key_start, key_init, key_roll = jax.random.split(key, 3)
        actors = start(env, params, learner, key_start, args.episodes)
        state = model.init(key_init, example(env, params, model, actors, spec.horizon))
        policy = model.policy(state)
        taken = rollout(env, params, learner, policy, actors, key_roll, spec.horizon)[1]
        return model.observe(state, taken)

    update = jax.jit(model.update)

    @jax.jit
    def judge(state: Any, key: Any) -> Any:
        return embeddings.embed(env, params, learner, model.policy(state), key, args.judged)

    rows: dict[str, list[Any]] = {"trained": [], "untrained": [], "loss": []}
    for seed in range(args.seeds):
        keys = jax.random.split(jax.random.key(seed), 7)
        state = watch(keys[0])
        rows["untrained"].append(embeddings.scores(judge(state, keys[1]), times))
        losses = []
        for key in keys[2:]:
            state, metrics = update(state, key)
            losses.append(round(float(metrics["contrastive_loss"]), 3))
        rows["loss"].append(losses)
        found = judge(state, keys[1])
        rows["trained"].append(embeddings.scores(found, times))
        if seed == 0:
            path = _timing.RESULTS / "clam" / f"{re.sub('[^a-z]+', '-', label).strip('-')}.png"
            path.parent.mkdir(exist_ok=True)
            title = f"{label}; the agent acts at random"
            embeddings.picture(path, found, env.partner_names, rows["trained"][0], title=title)
    return {
        "case": label,
        "task": case.task,
        "settings": case.settings,
        "partners": list(env.partner_names),
        "chance": 1 / len(env.partner_names),
        "log(2B-1)": round(float(np.log(2 * args.batch - 1)), 3),
        **rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=2_000, help="trained on")
    parser.add_argument("--judged", type=int, default=1_000, help="fresh episodes")
    parser.add_argument("--updates", type=int, default=1_000, help="gradient steps")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--labels", action="store_true", help="an upper bound: told who is alike")
    parser.add_argument("--apart", action="store_true", help="views share no step")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    args = parser.parse_args()
    path = _timing.RESULTS / "clam_encoder.json"
    known = (
        {row["case"]: row for row in json.loads(path.read_text())["rows"]} if path.exists() else {}
    )
    for name in CASES:
        if args.only not in name:
            continue
        label = name + ", told labels" * args.labels + ", views apart" * args.apart
        row = known[label] = {**measure(name, label, args), **vars(args)}
        print(f"{label}: loss {row['loss']} of {row['log(2B-1)']}, chance {row['chance']:.2f}")
        for which in ("untrained", "trained"):
            for k, moment in enumerate(row[which][0]):
                each = [seed[k]["accuracy"] for seed in row[which]]
                outline = [seed[k]["silhouette"] for seed in row[which]]
                print(
                    f"  {which:10} step {moment['time']:3}: k-NN {np.mean(each):.3f} "
                    f"({min(each):.3f} to {max(each):.3f}), silhouette {np.mean(outline):.3f}",
                    flush=True,
                )
        what = "policy accuracy of 5 nearest neighbours over the episode, 5 partners"
        rows = [known[name] for name in sorted(known)]
        _timing.write("clam_encoder", {"what": what, "rows": rows}, ("marlx", "flax", "optax"))


if __name__ == "__main__":
    main()
