"""Finds NaN and infinity in a run after every block, and says where they come from.

Looked at, on the host: returns of the block and of the evaluation, running returns and current
observations of all environments, losses, and the arrays of the policy. The compiled programs are
not changed. Only when something is found, random play tells whether the environment is the cause.

So NaN in an observation that the learner does not read, or masks, is missed if no episode has it at
the end of a block. With `check_finite` the block's program looks at the rewards and observations of
every step (`marlx.loop.program.NOT_FINITE`), those of the warm-up aside.

Other metrics of a learner may be NaN, since a block can pass without an update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from marlx.environment import Environment, EnvParams
from marlx.loop.evaluation import random_learner
from marlx.loop.multihost import is_multihost
from marlx.loop.progress import Progress
from marlx.loop.rollout import rollout, start
from marlx.loop.run import Run
from marlx.types import Array, Tree
from marlx.xla.names import named

NUM_ENVS, MOST_STEPS = 16, 2_000
"""Environments of the random play that looks for a cause, and its most steps."""


class NotFinite(FloatingPointError):
    """Raised where a run has NaN or infinity; the message is one line.

    Attributes:
      source: `environment` or `learner`.
      array: name of the first array that has them, e.g. `reward` or `params/Dense_0/kernel`.
      seeds: seeds that have them.
      fine: the other seeds of the run.
      steps: environment steps per seed after which they were found.
      episode_step: step of an episode of random play at which the array first has them, counted
        from 1; 0 is the reset. None where random play has none.
    """

    def __init__(self, message: str, facts: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.source: Literal["environment", "learner"] = facts["source"]
        self.array: str = facts["array"]
        self.seeds: tuple[int, ...] = facts["seeds"]
        self.fine: tuple[int, ...] = facts["fine"]
        self.steps: int = facts["steps"]
        self.episode_step: int | None = facts["episode_step"]


class _Found(NamedTuple):
    """Arrays with NaN or infinity, by name and seed: each bool [seeds]."""

    environment: dict[str, np.ndarray[Any, Any]]
    learner: dict[str, np.ndarray[Any, Any]]

    def __bool__(self) -> bool:
        return bool(self.environment or self.learner)

    def seeds(self) -> np.ndarray[Any, Any]:
        """Bool [seeds], whether any array of a seed has them."""
        return np.asarray(np.any([*self.environment.values(), *self.learner.values()], axis=0))


class RandomPlay(NamedTuple):
    """The first step of random play with NaN or infinity."""

    array: str  # `reward`, `observation` or `global state`
    value: str  # `NaN` or `infinite`
    step: int  # of its episode, from 1; 0 is the reset


def watch(run: Run) -> Callable[[Sequence[Progress]], None]:
    """Returns a function of the history that raises once the run has NaN or infinity.

    Call it after every evaluation, before the run goes on. Runs with variants are not watched,
    since one of them must not end the others.

    The function raises:
      NotFinite: NaN or infinity was found.
    """
    infinite: set[str] | None = None
    if run.started and not is_multihost():
        infinite = _infinite(run.policies(), run.num_seeds)

    def check(history: Sequence[Progress]) -> None:
        nonlocal infinite
        if run.has_variants:
            return
        if infinite is None:
            infinite = _infinite(history[-1].policies(), run.num_seeds)
        if found := _find(run, history[-1], infinite):
            raise explain(run, found, history)

    return check


def watch_variants(run: Run) -> Callable[[Progress], list[str | None]]:
    """Returns a function of each `Progress` of a run with variants.

    It says for each variant which array has NaN or infinity, in words; None where none has.
    """
    infinite: set[str] | None = None

    def check(progress: Progress) -> list[str | None]:
        nonlocal infinite
        if infinite is None:
            infinite = _infinite(progress.policies(), run.num_seeds)
        found, seeds = _find(run, progress, infinite), run.config.seeds
        said: list[str | None] = []
        for first in range(0, run.num_seeds, seeds):
            own = slice(first, first + seeds)
            bad = [name for name, seeds_ in found.environment.items() if seeds_[own].any()]
            worse = [name for name, seeds_ in found.learner.items() if seeds_[own].any()]
            if bad:
                said.append(f"the environment's {bad[0]} is NaN or infinite")
            else:
                said.append(f"the learner has NaN or infinity in {worse[0]}" if worse else None)
        return said

    return check


def check_returns(run: Run, returns: np.ndarray[Any, Any], history: Sequence[Progress]) -> None:
    """Checks returns [seeds, episodes] of the run, or [episodes] of random play.

    Raises:
      NotFinite: one of them is NaN or infinite.
    """
    bad = ~np.isfinite(np.atleast_2d(returns)).all(1)
    if bad.any() and not run.has_variants:
        bad = np.broadcast_to(bad, (run.config.seeds,))
        raise explain(run, _Found({"reward": bad}, {}), history)


def _infinite(policies: Tree, seeds: int) -> set[str]:
    """Returns names of the policy's arrays that hold infinity and no NaN, as bounds or masks do."""
    return {
        name
        for name, array in named(policies).items()
        if _bad(array, seeds).any() and not _bad(array, seeds, np.isnan).any()
    }


def _find(run: Run, progress: Progress, infinite: set[str]) -> _Found:
    """Returns what is not finite after the block of `progress`.

    Args:
      run: after the block.
      progress: of it.
      infinite: arrays of the policy that may hold infinity, since they did from the start.
    """
    metrics, environment, learner = progress.metrics, {}, {}
    played = np.isfinite(metrics.get("episode_length", np.nan))  # NaN where no episode ended
    environment["reward"] = ~np.isfinite(metrics["return"])
    if "train_return" in metrics:
        environment["reward"] = environment["reward"] | (
            ~np.isfinite(metrics["train_return"]) & played
        )
    seeds = run.num_seeds
    for name, bad in run.not_finite.items():
        environment[name] = environment.get(name, False) | bad
    if not is_multihost():  # else this process sees only a part of them
        returns, obs = run.played()
        environment["reward"] = environment["reward"] | _bad(returns, seeds)
        for name, array in (("observation", obs.local), ("global state", obs.global_state)):
            environment[name] = environment.get(name, False) | _bad(array, seeds)
    for name, value in metrics.items():
        if "loss" in name:
            learner[name] = np.isinf(value)
    for name, array in named(progress.policies()).items():
        learner[name] = _bad(array, seeds, np.isnan if name in infinite else None)
    kept = [{name: bad for name, bad in one.items() if bad.any()} for one in (environment, learner)]
    return _Found(*kept)


def explain(run: Run, found: _Found, history: Sequence[Progress]) -> NotFinite:
    """Returns the error that says which array, of whom, which seeds and since when."""
    steps = history[-1].steps if history else 0
    random = random_play(run.env, run.params, jax.random.key(run.config.seed))
    stored = None if random or found.environment or is_multihost() else _stored(run)
    # actions of a policy with NaN are NaN only where they are continuous
    spoilt = bool(found.learner) and run.env.spec(run.params).continuous
    first = run.config.seed
    bad = found.seeds()
    where: dict[str, Any] = {
        "seeds": tuple(int(i) + first for i in np.flatnonzero(bad)),
        "fine": tuple(int(i) + first for i in np.flatnonzero(~bad)),
        "steps": steps,
        "episode_step": random.step if random else None,
        "source": "environment",
    }
    if random:
        what = f"the environment's {random.array} is {random.value} at "
        what += f"step {random.step} of an episode of random play" if random.step else "the reset"
        where["array"] = random.array
    elif found.environment and not spoilt:
        where["array"] = next(iter(found.environment))
        what = f"the environment's {where['array']} is NaN or infinite"
    elif stored:
        where["array"] = stored
        what = f"the environment gave NaN or infinity, now stored in {stored}"
    else:
        where |= {"source": "learner", "array": next(iter(found.learner or found.environment))}
        more = f" and {len(found.learner) - 1} more arrays" if len(found.learner) > 1 else ""
        what = f"the learner has NaN or infinity in {where['array']}{more}"
    before = f"{history[-2].steps:,} and " if len(history) > 1 else ""
    when = f"between {before}{steps:,} steps" if before else f"found at {steps:,} steps"
    message = f"{what}; {when}, {_seeds(where['seeds'])}"
    if where["fine"]:
        message += f"; {_seeds(where['fine'])} {'are' if len(where['fine']) > 1 else 'is'} fine"
    return NotFinite(message, where)


def random_play(env: Environment[Any, Any], params: EnvParams, key: Array) -> RandomPlay | None:
    """Returns the first NaN or infinity that random play meets; None if it meets none.

    Args:
      env: the environment.
      params: its parameters.
      key: consumed.
    """
    spec = env.spec(params)
    learner = random_learner(spec)
    names = ("reward", "observation", "global state")

    def values(reward: Array, obs: Any) -> tuple[Array, Array, Array]:
        return reward, obs.local, obs.global_state

    def flags(arrays: Sequence[Array]) -> Array:  # bool [3 arrays, NaN or infinity, NUM_ENVS]
        def of(x: Array) -> Array:
            x = jnp.broadcast_to(x, (NUM_ENVS, *x.shape[1:])).reshape(NUM_ENVS, -1)
            return jnp.stack([jnp.isnan(x).any(1), jnp.isinf(x).any(1)])

        return jnp.stack([of(jnp.asarray(x, jnp.float32)) for x in arrays])

    def going(carry: tuple[Any, ...]) -> Array:
        more: Array = ~carry[2].any() & (carry[3] < min(spec.horizon, MOST_STEPS))
        return more

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        actors, key, _, count, _ = carry
        key, key_step = jax.random.split(key)
        at = actors.episode_length + 1
        actors, moved, _ = rollout(env, params, learner, (), actors, key_step, 1)
        found = flags(values(moved.reward[0], jax.tree.map(lambda x: x[0], moved.next_obs)))
        return actors, key, found, count + 1, at

    def play(key: Array) -> tuple[Array, Array]:
        key_start, key = jax.random.split(key)
        actors = start(env, params, learner, key_start, NUM_ENVS)
        found = flags(values(jnp.zeros(NUM_ENVS), actors.obs))
        first = (actors, key, found, jnp.int32(0), jnp.zeros(NUM_ENVS))
        _, _, found, _, at = jax.lax.while_loop(going, step, first)
        return found, at

    found, at = (np.asarray(x) for x in jax.jit(play)(key))
    if not found.any():
        return None
    array, value, which = (int(i) for i in np.argwhere(found)[0])
    return RandomPlay(names[array], ("NaN", "infinite")[value], int(at[which]))


def _stored(run: Run) -> str | None:
    """Returns a reward or observation with NaN or infinity in the learner's storage, if any."""
    for name, array in named(run.state.learner).items():
        words = name.lower()
        if any(word in words for word in ("reward", "obs", "global_state")):
            size = len(array)
            if _is_float(array) and _bad(array, size).any():
                return name
    return None


def _bad(array: Any, seeds: int, test: Callable[[Any], Any] | None = None) -> np.ndarray[Any, Any]:
    """Bool [seeds], whether a seed's part of `array` [replicas, ...] has NaN or infinity."""
    if not _is_float(array):
        return np.zeros(seeds, bool)
    host = np.asarray(array)[:seeds]
    wrong = test(host) if test is not None else ~np.isfinite(host)
    return np.asarray(wrong.reshape(seeds, -1).any(1))


def _is_float(array: Any) -> bool:
    return hasattr(array, "dtype") and bool(jnp.issubdtype(array.dtype, jnp.inexact))


def _seeds(seeds: Sequence[int]) -> str:
    """`seed 3`, `seeds 0, 2`, `seeds 0, 1, 2 and 61 more`."""
    shown = ", ".join(map(str, seeds[:8])) + (f" and {len(seeds) - 8} more" if seeds[8:] else "")
    return f"seed{'s' if len(seeds) > 1 else ''} {shown}"
