"""Attacks on a trained team: some of its agents are replaced, and the others' return is measured.

Attackers are trained in `partners/ENV` against the run's policies, which stay as they are, one
program for all seeds of victims and attackers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.analysis.perturbations import Team, deviations, in_seats, perturbed, strengths_of
from marlx.config.layers import experiment
from marlx.config.tree import plain
from marlx.loop.evaluation import evaluate
from marlx.loop.program import Loop, loop
from marlx.registry import settings_of
from marlx.runs.policies import Policy, load_policy
from marlx.text import unknown
from marlx.types import Array, Tree

KINDS: Mapping[str, str] = {
    "none": "no attack",
    "random": "random actions",
    "still": "stands still",
    "lambda0": "trained, lambda 0",
    "ami": "trained, AMI",
}
"""What the attacked agents do, by name."""
TRAINED = ("lambda0", "ami")
MOST_AT_ONCE = 32
"""Episodes over which the deviation of observations is measured."""


class Victims(NamedTuple):
    """The policies of a run, which are attacked."""

    path: str
    policies: tuple[Policy, ...]
    arrays: Tree  # [V, ...], their parameters
    team: Team

    @property
    def seeds(self) -> list[int]:
        """Their training seeds."""
        return [policy.seed for policy in self.policies]


class Trained(NamedTuple):
    """Attackers of one kind."""

    returns: np.ndarray[Any, Any]  # f64 [V, K, E], of the others
    steps: np.ndarray[Any, Any]  # int [blocks], environment steps of each attacker
    curve: np.ndarray[Any, Any]  # f64 [blocks, V, K], return of the others in training episodes


def load_victims(path: str, count: int | None = None) -> Victims:
    """Returns the policies of a run.

    Args:
      path: the run folder.
      count: how many of its seeds, the first; None: all.

    Raises:
      ValueError: it holds no policy, or not so many.
    """
    first = load_policy(path)
    train = first.experiment.train
    if count is not None and count > train.seeds:
        raise ValueError(f"--victims is {count}; {path} has {train.seeds} seeds")
    seeds = range(train.seed, train.seed + (count or train.seeds))
    policies = tuple(load_policy(path, seed) for seed in seeds)
    arrays = jax.tree.map(lambda *x: jnp.stack([jnp.asarray(y) for y in x]), *_arrays(policies))
    team = Team(first.env, first.params, first.learner, first.judged)
    return Victims(path, policies, arrays, team)


def _arrays(policies: Sequence[Policy]) -> list[Tree]:
    return [policy.arrays for policy in policies]


def check_attack(victims: Victims, agents: Sequence[int], kinds: Sequence[str]) -> None:
    """Raises ValueError for agents or kinds that do not fit the run."""
    spec = victims.team.spec
    if spec.id.startswith("partners/"):
        raise ValueError(
            f"{victims.path} was trained in {spec.id}, in which partners play; an attack needs a "
            "run whose policies play all agents"
        )
    if spec.num_agents < 2:
        raise ValueError(f"{spec.id} has 1 agent; an attack needs others, whose return falls")
    some = len(set(agents)) == len(agents) and 0 < len(agents) < spec.num_agents
    if not some or not all(0 <= agent < spec.num_agents for agent in agents):
        raise ValueError(
            f"--agents is {' '.join(map(str, agents)) or 'empty'}; it must name some of the agents "
            f"0 to {spec.num_agents - 1} of {spec.id}, each once, and leave at least one"
        )
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("attack", kind, KINDS)
    if "ami" in kinds and spec.continuous:
        raise ValueError(f"the actions of {spec.id} are continuous; leave ami out of --kinds")


def untrained(
    victims: Victims, agents: Sequence[int], kind: str, episodes: int, seed: int
) -> np.ndarray[Any, Any]:
    """Returns the others' returns f64 [V, E], the attacked agents without a trained attacker.

    Args:
      victims: the policies.
      agents: those that are attacked.
      kind: `none`, `random` or `still`.
      episodes: E.
      seed: of the episodes, the same for all.
    """
    team = victims.team
    others = [a for a in range(team.spec.num_agents) if a not in agents]
    learner = team.acts(team.act)
    if kind != "none":
        learner = in_seats(team, tuple(agents), kind)

    def play(arrays: Tree) -> Array:
        key = jax.random.key(seed)
        return evaluate(team.env, team.params, learner, arrays, key, episodes, members=others)

    return np.asarray(jax.jit(jax.vmap(play))(victims.arrays), float)


def attack_experiment(
    victims: Victims,
    agents: Sequence[int],
    kind: str,
    steps: int,
    settings: Mapping[str, Any] | None = None,
) -> Any:
    """Returns the experiment in which attackers are trained, from the presets of `ami`.

    Args:
      victims: the policies; the environment is theirs, with its settings.
      agents: those that learn.
      kind: `lambda0` or `ami`.
      steps: of each attacker.
      settings: of `ami` and its training, over the presets.

    Raises:
      ValueError: the victims cannot act there, or settings that do not fit.
    """
    home = victims.team.env.unwrapped
    env = {name: plain(home)[name] for name in settings_of(home)}
    env |= {"pool": (str(victims.path),), "ego": tuple(agents), "judged": True}
    env |= {"reward": "against", "privileged": True}
    given = dict(settings or {})
    learner = {**given.pop("learner", {})}
    if kind == "lambda0":
        learner["influence"] = 0.0
    name = f"partners/{victims.team.spec.id}"
    return experiment("ami", name, env=env, learner=learner, **{**given, "total_steps": steps})


def train_attackers(
    victims: Victims,
    made: Any,
    seeds: int,
    episodes: int,
    seed: int,
    report: Callable[[int, int, float], None] | None = None,
) -> Trained:
    """Returns attackers that were trained against each policy, and the others' returns.

    Args:
      victims: V policies.
      made: from `attack_experiment`.
      seeds: K, attackers of each policy.
      episodes: E, played by each after training.
      seed: of the first attacker, and of the episodes.
      report: called after each block with the steps so far, those in all, and the others' mean
        return in training episodes.
    """
    env, _, learner = made.build()

    def parts(arrays: Tree) -> Loop:
        return loop(env, env.params_with(arrays), learner, made.train)

    def begin(arrays: Tree, key: Array) -> Any:
        own = parts(arrays)
        return own.warm_up(own.init(key))

    def block(arrays: Tree, state: Any) -> Any:
        state, metrics = parts(arrays).block(state)
        return state, -metrics["train_return"]

    def final(arrays: Tree, state: Any) -> Array:
        policy, key = learner.policy(state.learner), jax.random.key(seed)
        return -evaluate(env, env.params_with(arrays), learner, policy, key, episodes)

    def over(function: Any) -> Any:
        return jax.vmap(jax.vmap(function, (None, 0)), (0, 0))

    length, count = parts(_arrays(victims.policies)[0]), len(victims.policies)
    keys = jax.vmap(jax.random.key)(jnp.arange(seed, seed + seeds))
    keys = jnp.broadcast_to(keys, (count, seeds))
    state = jax.jit(over(begin))(victims.arrays, keys)
    run_block = jax.jit(over(block), donate_argnums=1)
    each = made.train.num_envs * made.train.rollout_length
    steps, curve = [], []
    for number in range(1, length.blocks + 1):
        state, returns = run_block(victims.arrays, state)
        steps.append((length.warm_up_rollouts + number * length.block_rollouts) * each)
        curve.append(np.asarray(returns, float))
        if report is not None:
            total = (length.warm_up_rollouts + length.blocks * length.block_rollouts) * each
            report(steps[-1], total, float(np.nanmean(curve[-1])))
    found = np.asarray(jax.jit(over(final))(victims.arrays, state), float)
    if not np.isfinite(found).all():
        raise FloatingPointError("an attacker's return is not finite")
    return Trained(found, np.array(steps), np.stack(curve))


def robustness(
    victims: Victims, kind: str, episodes: int, seed: int
) -> tuple[tuple[float, ...], np.ndarray[Any, Any]]:
    """Returns the strengths of a perturbation, and the team's returns f64 [strengths, V, E].

    Args:
      victims: the policies, all agents of which are perturbed.
      kind: of `marlx.analysis.perturbations.PERTURBATIONS`.
      episodes: E.
      seed: of the episodes, the same for all.

    Raises:
      ValueError: there is no such perturbation.
    """
    team, key = victims.team, jax.random.key(seed)
    strengths = strengths_of(kind, team.spec.num_agents)

    def play(strength: Array, arrays: Tree) -> Array:
        deviation = jnp.zeros(())
        if kind == "noise":
            few = min(episodes, MOST_AT_ONCE)
            deviation = deviations(team, arrays, jax.random.fold_in(key, 1), few)
        learner = perturbed(kind, team, strength, deviation)
        return evaluate(team.env, team.params, learner, arrays, key, episodes)

    over_victims = jax.vmap(play, (None, 0))
    returns = jax.jit(jax.vmap(over_victims, (0, None)))(jnp.array(strengths), victims.arrays)
    return strengths, np.asarray(returns, float)
