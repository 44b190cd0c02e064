"""MANSA against its parts and its controls: returns, centralised calls, and where they are made.

    python benchmarks/mansa.py oracle      # matrix/chain-4: calls by cost of a call
    python benchmarks/mansa.py stages      # matrix/stages: MANSA, IQL, QMIX, joint-Q, controls
    python benchmarks/mansa.py foraging    # IQL, QMIX, MANSA, random and first calls
    python benchmarks/mansa.py penalty     # IQL, QMIX, joint-Q, MANSA of IQL and joint-Q, controls
    python benchmarks/mansa.py smax        # the same on a SMAX map, of IPPO and MAPPO
    python benchmarks/mansa.py ppo         # the same with IPPO and MAPPO, one foraging task
    python benchmarks/mansa.py timing      # seconds by rate of calls
    python benchmarks/mansa.py map RUN     # where a trained switch calls, from a run folder
    python benchmarks/mansa.py plot        # pictures of what is stored

Results are in `benchmarks/results/mansa/`, a JSON per run with every seed's curve, rewritten at
each evaluation so that a run that is stopped still tells how far it came. The controls have MANSA's
own number of calls: they are read from its file, so `mansa` has to come first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from marlx.loop.cpu_devices import use_cpu_devices

use_cpu_devices(os.cpu_count() or 1)  # seeds run side by side

import _timing
import jax.numpy as jnp
import numpy as np

from marlx import config, load_policy, statistics, training
from marlx.algos import q_learning
from marlx.algos.q_items import Item
from marlx.algos.switching import learner as switching_learner
from marlx.algos.switching.switch import switch_spec
from marlx.algos.td_equations import TDTerms
from marlx.loop import program as loop_program
from marlx.loop import progress
from marlx.loop.rollout import rollout, start
from marlx.nets import mixers

FORAGING = (
    "Foraging-8x8-2p-2f-coop-v3",
    "Foraging-2s-8x8-2p-2f-coop-v3",
    "Foraging-10x10-3p-3f-v3",
    "Foraging-10x10-3p-3f-coop-v3",
    "Foraging-10x10-2p-2f-coop-v3",
    "Foraging-5x5-2p-1f-coop-v3",
)
PENALTY = ("Foraging-5x5-2p-1f-coop-pen-v3", "Foraging-8x8-2p-2f-coop-pen-v3")
SMAX = ("jaxmarl/smax/3m",)
PG = ("ippo", "mappo")
COMPARED = {  # algorithm, what it is made of and peers, tasks
    "foraging": ("mansa", ("iql", "qmix"), FORAGING),
    "penalty": ("mansa", ("iql", "joint_q", "qmix"), PENALTY),
    "smax": ("mansa_ppo", PG, SMAX),
    "ppo": ("mansa_ppo", PG, FORAGING[:1]),
}
COSTS = (0.25, 0.5, 1.0, 3.0, 5.0, 7.0)
WHAT = ("oracle", "stages", "foraging", "penalty", "smax", "ppo", "timing", "map", "plot")
PER_SEED = ("return", "call_rate", "calls_per_episode", "centralised_calls")


def run(name: str, algorithm: str, task: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Train, and keep in `results/mansa/{name}-{task}.json` what came out."""
    experiment = config.experiment(algorithm, task, **settings)
    env, params, learner = experiment.build()
    file = f"mansa/{name}-{task.replace('/', '-')}"
    record: dict[str, Any] = {
        "name": name,
        "algorithm": algorithm,
        "environment": task,
        "finished": False,
        "optimum": env.spec(params).optimum,
        "steps": [],
        **{metric: [] for metric in PER_SEED},
        "settings": experiment.settings(),
    }

    def report(progress: progress.Progress) -> None:
        record["steps"].append(progress.steps)
        for metric in PER_SEED:
            values = progress.metrics.get(metric)
            record[metric].append(None if values is None else np.round(values, 4).tolist())
        record["seconds"] = {phase: round(took, 1) for phase, took in progress.phases.items()}
        record["samples"] = np.asarray(
            progress.metrics.get("centralised_samples_total", np.nan)
        ).tolist()
        _timing.write(file, record)
        means = {k: round(float(np.mean(v)), 4) for k, v in progress.metrics.items()}
        shown = {k: means[k] for k in PER_SEED if k in means}
        print(f"  {progress.steps:>9,} steps, {progress.seconds:6.0f} s: {shown}", flush=True)

    result = training.train(env, learner, params, config=experiment.train, report=report)
    record |= {
        "finished": True,
        "final": statistics.mean(result.returns),
        "interval": list(statistics.bootstrap_interval(result.returns)),
        "per_seed": result.returns.mean(-1).round(4).tolist(),
        "standard_error": float(result.returns.mean(-1).std(ddof=1) / len(result.returns) ** 0.5)
        if len(result.returns) > 1
        else None,
        "random_return": float(result.random_returns.mean()),
    }
    if hasattr(result.policies, "switch"):
        record["greedy_call_rate"] = greedy_call_rate(env, params, learner, result.policies)
    _timing.write(file, record)
    low, high = record["interval"]
    print(f"{name:10} {task:32} {record['final']:.3f} [{low:.3f}, {high:.3f}]", flush=True)
    return record


def greedy_call_rate(env: Any, params: Any, learner: Any, policies: Any) -> list[float]:
    """Calls per step of each seed when acting greedily, over 64 environments and two horizons."""
    length = 2 * env.spec(params).horizon

    def rate(policy: Any, key: Any) -> Any:
        actors = start(env, params, learner, key, 64)
        _, t, _ = rollout(env, params, learner, policy, actors, key, length, explore=False)
        return t.extras.called.mean()

    seeds = len(jax.tree.leaves(policies)[0])
    keys = jax.random.split(jax.random.key(7), seeds)
    return [round(float(x), 4) for x in jax.jit(jax.vmap(rate))(policies, keys)]


def stored(name: str, task: str) -> dict[str, Any] | None:
    path = _timing.RESULTS / f"mansa/{name}-{task.replace('/', '-')}.json"
    return json.loads(path.read_text()) if path.exists() else None


def oracle(seeds: int, total_steps: int) -> None:
    """Calls on a chain of stages of which only the last needs coordination, by cost of a call.

    All costs and seeds are one program: the cost is an argument of it.
    """
    task = "matrix/chain-4"
    experiment = config.experiment("mansa", task, total_steps=total_steps, evals=1)
    env, params, _ = experiment.build()
    spec, stage_count = env.spec(params), 5
    # from the other's steps IQL would learn to coordinate too, and calls would gain nothing
    settings = dataclasses.replace(experiment.learner, il_trains_on="g0")
    # the oracle is of greedy parts, so these end greedy: while they explore, a slip beside the 11
    # costs 30, and the switch is right to think less of calls
    greedy = {"epsilon_end": 0.0, "epsilon_steps": total_steps // 2}
    parts = (
        q_learning.iql(spec, settings.independent, **greedy),
        q_learning.joint_q(spec, settings.centralised, **greedy),
    )

    def one(key: jax.Array, cost: jax.Array) -> dict[str, jax.Array]:
        def pay(items: Item, terms: TDTerms) -> TDTerms:
            price = cost * items.action[..., 0].astype(jnp.float32)
            return terms._replace(reward=terms.reward - price)

        switch = q_learning.q_learner(switch_spec(spec), settings.switch, mixers.independent(), pay)
        learner = switching_learner.mansa(spec, *parts, switch, settings)
        run_ = loop_program.loop(env, params, learner, experiment.train)
        state, metrics = run_.block(run_.warm_up(run_.init(key)))
        policy = learner.policy(state.learner)
        actors = start(env, params, learner, key, 1)
        _, t, _ = rollout(env, params, learner, policy, actors, key, stage_count, explore=False)
        obs = jax.vmap(lambda i: env.observe(replace_stage(env, i), params))(
            jnp.arange(stage_count)
        )
        actions = [
            part.act(own, part.memory(stage_count), obs, key, False)[0]
            for part, own in zip(parts, policy[:2], strict=True)
        ]
        return {
            "called": t.extras.called[:, 0],
            "alone": jnp.stack(
                [
                    env.step_env(key, replace_stage(env, i), actions[0][i], params)[1][0]
                    for i in range(stage_count)
                ]
            ),
            "joint": jnp.stack(
                [
                    env.step_env(key, replace_stage(env, i), actions[1][i], params)[1][0]
                    for i in range(stage_count)
                ]
            ),
            "call_rate": metrics["call_rate"],
        }

    keys = jax.vmap(jax.random.key)(jnp.arange(seeds))
    grid = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))
    found = {k: np.asarray(v) for k, v in grid(keys, jnp.array(COSTS)).items()}
    rows, agree = [], []
    for i, cost in enumerate(COSTS):
        # every stage leads to the next whatever is done: calling pays where it gains more now
        best = found["joint"][i] - cost > found["alone"][i]
        agree.append(found["called"][i] == best)
        rows.append(
            {
                "cost": cost,
                "agreement": float(agree[-1].mean()),
                "gap": (found["joint"][i] - found["alone"][i])[:, -1].tolist(),
                "called": found["called"][i].astype(int).tolist(),
                "call_rate": found["call_rate"][i].round(4).tolist(),
            }
        )
        shown = {k: rows[-1][k] for k in ("cost", "agreement", "gap", "call_rate")}
        print(shown, flush=True)
    _timing.write(
        "mansa/oracle",
        {
            "environment": task,
            "total_steps": total_steps,
            "seeds": seeds,
            "agreement": float(np.mean(agree)),
            "costs": rows,
        },
    )


def replace_stage(env: Any, stage: jax.Array | int) -> Any:
    """A state in which `stage` is played next."""
    return dataclasses.replace(env.make_state(), stage=jnp.int32(stage))


def stages(settings: dict[str, Any], only: list[str]) -> None:
    """Four games in turn, two of which neither IQL nor QMIX solves, and the controls.

    Names that end in `-g0` are of independent learners that learn nothing from what the centralised
    one did, and so cannot coordinate without it.
    """
    task, learner = "matrix/stages", {"mixer": "joint_q", "call_cost": 0.5}
    cases = [(name, "all") for name in ("mansa", "iql", "qmix", "joint_q", "random", "first")]
    cases += [(f"{name}-g0", "g0") for name in ("mansa", "random", "first")]
    for name, steps in cases:
        if only and name not in only:
            continue
        if name in ("iql", "qmix", "joint_q"):
            run(name, name, task, settings)
            continue
        own, (control, *end) = {**learner, "il_trains_on": steps}, name.split("-")
        if control != "mansa":
            own |= as_many_calls(control, "-".join(["mansa", *end]), task)
        run(name, "mansa", task, {**settings, "learner": own})


def as_many_calls(control: str, name: str, task: str) -> dict[str, Any]:
    """Settings of a control that calls as often as the stored run `name`."""
    mine = stored(name, task)
    if mine is None:
        raise SystemExit(f"no MANSA run on {task} to take the number of calls from")
    calls = float(np.mean(mine["centralised_calls"][-1]))
    if control == "random":
        return {"switching": "random", "rate": calls / mine["steps"][-1]}
    return {"switching": "first", "first": round(calls)}


def compare(
    algorithm: str,
    parts: Sequence[str],
    tasks: Sequence[str],
    settings: dict[str, Any],
    only: list[str],
    label: str,
    **own: Any,
) -> None:
    """MANSA, the controls with as many calls, and `parts`: what it is made of, and peers.

    `own` are MANSA's settings; `label`, if not empty, stands behind the names of all that is run.
    """
    prefix = "" if algorithm == "mansa" else f"{algorithm}-"
    end = f"-{label}" if label else ""
    for task in [word for word in only if word in tasks] or tasks:
        for name in ("mansa", "random", "first", *parts):
            if set(only) - set(tasks) and name not in only:
                continue
            if name in parts:
                run(f"{name}{end}", name, task, settings)
                continue
            learner = dict(own)
            if name != "mansa":
                learner = as_many_calls(name, f"{prefix}mansa{end}", task) | learner
            run(f"{prefix}{name}{end}", algorithm, task, {**settings, "learner": learner})


def timing(rates: Sequence[float] = (0.0, 0.1, 0.5, 1.0), steps: int = 100_000) -> None:
    """What calls cost in time: one seed, a random switch of several rates, 100,000 steps.

    A call is worth as many updates as a step of QMIX alone, a quarter of the preset's. The first
    row is IQL alone and the last QMIX alone. Times leave compilation out, and so do not tell what
    it takes.
    """
    task, rows = FORAGING[0], []
    same = {"switching": "random", "centralised": {"updates_per_step": 0.0625}}
    cases: list[tuple[str, str, dict[str, Any]]] = [("iql", "iql", {})]
    cases += [(f"random {rate:g}", "mansa", {**same, "rate": rate}) for rate in rates]
    for name, algorithm, learner in [*cases, ("qmix", "qmix", {})]:
        experiment = config.experiment(
            algorithm, task, seeds=1, total_steps=steps, evals=2, learner=learner
        )
        env, params, built = experiment.build()
        result = training.train(env, built, params, config=experiment.train)
        last = result.history[-1].metrics
        rows.append(
            {
                "case": name,
                "seconds": round(sum(result.phases[k] for k in ("rollout", "update")), 2),
                "centralised_calls": int(np.mean(last.get("centralised_calls", np.zeros(1)))),
                "centralised_samples": int(
                    np.mean(last.get("centralised_samples_total", np.zeros(1)))
                ),
            }
        )
        print(rows[-1], result.phases, flush=True)
    _timing.write("mansa/timing", {"environment": task, "total_steps": steps, "rows": rows})


def draw_map(path: str, episodes: int = 256) -> None:
    """Where on the grid, and how far from food, the trained switch of a foraging run calls."""
    from matplotlib.figure import Figure

    policy = load_policy(path)
    env, params, learner = policy.env, policy.params, policy.learner
    horizon = policy.spec.horizon

    def play(key: Any) -> Any:
        actors = start(env, params, learner, key, episodes)
        return rollout(env, params, learner, policy.arrays, actors, key, horizon, explore=False)[1]

    t = jax.device_get(jax.jit(play)(jax.random.key(0)))
    called = t.extras.called
    things = np.asarray(t.obs.global_state).reshape(*called.shape, -1, 3)
    num_food = env.num_food
    food, agents = things[..., :num_food, :], things[..., num_food:, :]
    there = food[..., 2] > 0
    steps = np.abs(agents[..., :, None, :2] - food[..., None, :, :2]).sum(-1)
    steps = np.where(there[..., None, :], steps, np.inf).min(-1)  # of each agent to the nearest
    some = there.any(-1)
    distance, rates, counts = statistics.rate_by(steps.max(-1)[some], called[some])
    height, width = env.size
    where = agents[..., :2].astype(int)
    cells = where[..., 0] * width + where[..., 1]
    cell, cell_rate, _ = statistics.rate_by(
        cells.reshape(-1), np.repeat(called.reshape(-1), cells.shape[-1])
    )
    grid = np.full(height * width, np.nan)
    grid[cell.astype(int)] = cell_rate

    figure = Figure(figsize=(9, 3.8), dpi=110, layout="constrained")
    left, right = figure.subplots(1, 2)
    image = left.imshow(grid.reshape(height, width), cmap="viridis", vmin=0)
    left.set(title="calls per step, by an agent's cell", xticks=[], yticks=[])
    figure.colorbar(image, ax=left)
    right.bar(distance, rates, color="#3b6ea8")
    for x, y, n in zip(distance, rates, counts, strict=True):
        right.annotate(f"{n}", (x, y), ha="center", va="bottom", fontsize=6)
    right.set(
        title="by the farther agent's distance to food",
        xlabel="cells to the nearest food",
        ylabel="calls per step (steps seen above)",
    )
    out = _timing.RESULTS / "mansa" / f"map-{policy.spec.id}.png"
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out)
    print(f"{out}: {called.mean():.3f} calls per step")


def plot() -> None:
    """Return against steps and against centralised calls, a picture per task and kind of parts."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    folder = _timing.RESULTS / "mansa"
    stored_ = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    records = pooled([record for record in stored_ if "steps" in record])
    for task, kind in sorted({picture_of(record) for record in records}):
        figure = Figure(figsize=(10, 3.8), dpi=110, layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        shown = [record for record in records if picture_of(record) == (task, kind)]
        left.set_prop_cycle(color=colormaps["tab10" if len(shown) <= 10 else "tab20"].colors)
        for record in shown:
            steps, returns = record["steps"], np.array(record["return"]).mean(1)
            (line,) = left.plot(steps, returns, label=record["name"], lw=2)
            calls = [0 if row is None else float(np.mean(row)) for row in calls_of(record)]
            right.plot(calls, returns, label=record["name"], lw=2, color=line.get_color())
        left.set(
            xlabel="environment steps", ylabel="greedy team return", title=f"{task} {kind}".strip()
        )
        right.set(xlabel="centralised calls")
        for axes in (left, right):
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        left.legend(frameon=False, fontsize=8)
        before = f"{kind}-" if kind else ""
        figure.savefig(folder / f"{before}{task.replace('/', '-')}.png")


def picture_of(record: dict[str, Any]) -> tuple[str, str]:
    """The task, and what sort of runs are shown together: too many lines are no picture."""
    if record["algorithm"] in ("mansa_ppo", *PG):
        return record["environment"], "ppo"
    name = record["name"]
    kinds = ("greedy", "budget2", "budget")
    return record["environment"], next((kind for kind in kinds if kind in name), "")


def pooled(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for all the seeds of runs whose names differ in an end of `-b` or `-c` only."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        name = re.sub("-[bc]$", "", record["name"])
        mine = found.get((name, record["environment"]))
        if mine is None:
            found[name, record["environment"]] = record | {"name": name}
        elif mine["steps"] == record["steps"]:
            for metric in ("return", "centralised_calls"):
                rows = zip(mine[metric], record[metric], strict=True)
                mine[metric] = [None if a is None else [*a, *b] for a, b in rows]
    return list(found.values())


def calls_of(record: dict[str, Any]) -> list[Any]:
    """Centralised calls at every evaluation: a centralised learner's are its steps."""
    if record["algorithm"].startswith("mansa"):
        return list(record["centralised_calls"])
    return [[0 if record["algorithm"] in ("iql", "ippo") else steps] for steps in record["steps"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=WHAT)
    parser.add_argument("path", nargs="?", type=Path, help="of a run folder, for the map")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    parser.add_argument("--total-steps", type=int, help="other than the preset's")
    parser.add_argument("--cost", type=float, help="of a call, if not the preset's")
    parser.add_argument("--trains-on", help="cl_trains_on, if not the preset's")
    parser.add_argument("--switch", type=json.loads, help="the switch's settings, a JSON object")
    parser.add_argument("--updates", type=float, help="of the centralised part per call, likewise")
    parser.add_argument("--budget", type=int, help="of calls per episode; none otherwise")
    parser.add_argument("--rate", type=float, help="of the random switch, if not MANSA's")
    parser.add_argument("--label", default="", help="behind the names of what is run, e.g. 4m")
    parser.add_argument("--only", nargs="*", default=[], help="learners; tasks")
    args = parser.parse_args()
    settings = {"seeds": args.seeds, "seed": args.seed}
    if args.total_steps is not None:
        settings["total_steps"] = args.total_steps
    if args.what == "oracle":
        oracle(args.seeds, args.total_steps or 60_000)
    elif args.what == "stages":
        stages(settings, args.only)
    elif args.what == "timing":
        timing()
    elif args.what in COMPARED:
        given = {
            "call_cost": args.cost,
            "cl_trains_on": args.trains_on,
            "budget": args.budget,
            "rate": args.rate,
        }
        own: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        if args.switch:
            own["switch"] = args.switch
        if args.updates is not None:
            own["centralised"] = {"updates_per_step": args.updates}
        compare(*COMPARED[args.what], settings, args.only, args.label, **own)
    elif args.what == "map":
        draw_map(args.path)
    plot()


if __name__ == "__main__":
    main()
