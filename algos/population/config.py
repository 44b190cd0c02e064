"""Settings of dynamic populations."""

from __future__ import annotations

import dataclasses

from marlx.settings import check_settings, nearest_names, setting


@nearest_names
@dataclasses.dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    """Settings of `dynamic_population`."""

    population: int = setting(10, at_least=0, at_most=100)
    """T, speakers that are trained after the first one."""
    growing: bool = True
    """A new speaker is a copy of the newest one, which stays as it is. Otherwise the first speaker
    itself is trained on: seeded self-play of one pair."""
    seed_updates: int = setting(300, at_least=0, traced=True)
    """Updates at the start in which the first speaker and the listener learn from lessons alone."""
    phase_updates: int = setting(300, at_least=1, traced=True)
    """Updates of a phase; a listener's phase and a speaker's phase take turns."""
    inner_steps: int = setting(3, at_least=0, at_most=100)
    """Gradient steps that the listener makes on a speaker's games before it is judged by others;
    0 is a listener of many speakers without meta-learning."""
    inner_lr: float = setting(0.1, at_least=0, at_most=1e6, traced=True)
    """Step size of these."""
    second_order: bool = False
    """Differentiate through these steps (MAML) instead of as if they were constants."""
    supervised: float = setting(1.0, at_least=0, at_most=1e6, traced=True)
    """Weight of the lessons beside the games; 0: lessons in the first updates only."""
    lr: float = setting(1e-3, above=0, at_most=1e6, traced=True)
    """Adam's step size, of listener and speakers."""
    entropy: float = setting(0.01, at_least=0, at_most=1e6, traced=True)
    """Weight of the entropy bonus of the speaker that learns."""
    baseline_rate: float = setting(0.05, above=0, at_most=1, traced=True)
    """Share of the newest games in the running mean of hits, the speaker's baseline."""
    max_grad_norm: float = setting(10.0, above=0, traced=True, finite=False)
    """Largest global norm of a gradient; larger ones are scaled down."""
    hidden: int = setting(64, at_least=1, at_most=16_384)
    """Width of all networks."""

    def __post_init__(self) -> None:
        check_settings(self)
