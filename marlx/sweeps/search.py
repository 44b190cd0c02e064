"""Sampling of a sweep's parameters with Optuna."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from marlx.sweeps.parameters import Parameter, Sweep

if TYPE_CHECKING:
    import optuna


def optuna_module() -> Any:
    """Returns Optuna, imported when it is needed.

    Raises:
      ValueError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise ValueError("sweeps need Optuna: pip install 'marlx[sweep]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def make_sampler(sweep: Sweep, seed: int) -> Any:
    """Returns a sampler whose values depend on seed and trial number only, not on the process."""
    optuna = optuna_module()

    base = optuna.samplers.BaseSampler
    places = {one.name: place for place, one in enumerate(sweep.searched)}

    class Numbered(base):  # type: ignore[misc, valid-type]
        """A sampler per trial and parameter, seeded with their numbers."""

        def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
            return {}

        def sample_relative(self, study: Any, trial: Any, search_space: Any) -> dict[str, Any]:
            return {}

        def sample_independent(self, study: Any, trial: Any, name: str, distribution: Any) -> Any:
            entropy = np.random.SeedSequence([seed, trial.number, places[name]])
            own = int(entropy.generate_state(1)[0])
            if sweep.method == "bayes":
                sampler = optuna.samplers.TPESampler(seed=own, constant_liar=True)
            else:
                sampler = optuna.samplers.RandomSampler(seed=own)
            return sampler.sample_independent(study, trial, name, distribution)

    return Numbered()


def suggest(trial: optuna.Trial, one: Parameter) -> None:
    """Sample a value of the parameter `one` for `trial`."""
    if one.kind == "choice":
        trial.suggest_categorical(one.name, [to_optuna(one, value) for value in one.values])
    elif one.kind in ("log", "log_steps"):
        trial.suggest_float(one.name, one.low, one.high, log=True)
    elif one.whole:
        trial.suggest_int(one.name, int(one.low), int(one.high), step=int(one.step) or 1)
    else:
        trial.suggest_float(one.name, one.low, one.high, step=one.step or None)


def to_optuna(one: Parameter, value: Any) -> Any:
    """Returns `value` as Optuna can store it: lists as text."""
    plain = value is None or isinstance(value, str | int | float | bool)
    return value if plain or one.kind != "choice" else json.dumps(value)


def from_optuna(one: Parameter, held: Any) -> Any:
    """Returns the value that Optuna stores as `held`; the inverse of `to_optuna`."""
    if one.kind != "choice":
        return one.rounded(held)
    return {repr(to_optuna(one, value)): value for value in one.values}[repr(held)]
