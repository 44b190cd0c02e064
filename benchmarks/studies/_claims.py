"""Numbers in sentences, by page: those of stored rows, and those that are no results.

Every number of a page listed here is in one of three places: a table of rows, a claim, or `OTHERS`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import _clam_claims
import _gmah_claims
import _learning_claims
import _mansa_claims
import _speed_claims
from _prose import Claim

CLAIMS: Mapping[str, Callable[[], list[Claim]]] = {
    "docs/clam.md": _clam_claims.page,
    "docs/gmah.md": _gmah_claims.page,
    "docs/iql.md": _learning_claims.iql_page,
    "docs/mansa.md": _mansa_claims.page,
    "docs/ppo.md": _learning_claims.ppo_page,
    "docs/qmix.md": _learning_claims.qmix_page,
    "docs/results.md": lambda: [*_learning_claims.results(), *_speed_claims.results()],
    "docs/vdn.md": _learning_claims.vdn_page,
    **_speed_claims.PAGES,
}
"""Functions that return the claims of a page, by its path."""
OTHERS: Mapping[str, tuple[str, ...]] = {
    "README.md": ("1 to 4,096 environments", "Apache-2.0"),
    "docs/accelerators.md": ("3.11.7 | 0.6.1 | 0.10.0 |",),
    "docs/algorithms.md": ("4,096 joint",),
    "docs/benchmarks.md": (
        "narrower than 95%",
        "is 1.8 times one",
        "1,024 x 1,024 matrices",
    ),
    "docs/clam.md": (
        "truly in 48% | the last",
        "truly in 48% | every step",
        "with 30% of them blanked",
        "Guessing costs `log(2 B - 1)` (4.84 for 64 trajectories)",
        "arXiv 2401.00132",
        "arXiv 2006.09447",
        "favourite action in 70% of the steps",
        "to 90% of the oracle's return on coordination",
        "chance is 0.2:",
        "of 4.84 after",
        "(the aim was 1.5)",
        "in 80% of episodes is not shown",
        "of 3,200 steps",
    ),
    "docs/gmah.md": (
        "arXiv 2408.11416",
        "With `quantile` 0.95",
        "a reward of 1 - 0.9 t/T; here T = 256 and 1 - 0.5 t/T",
        "(gamma 0.97, no memory)",
        "the small room pays 0.7",
        "GMAH's own runs ended at 0.78 (adaptive), 0.76 (fixed) and 0.74 (PPO)",
        "the aim was 0.90",
        "useless actions cost 0.05",
        "5% random actions",
        "14 right actions in a row for 0.99",
    ),
    "docs/mansa.md": (
        "27% with foraging's preset (0.05 and 0.05)",
        "10% calls",
        "95% intervals",
        "80% of them",  # four stages of five
        "cost 0.5",
        "Cost 0.3 and temperature 0.3",
        "temperature 0.1",
        "at most 5% of the steps",
        "less than 0.02, no switch",
    ),
    "docs/index.md": (),
    "docs/ippo.md": (),
    "docs/joint-q.md": ("4,096 joint actions",),
    "docs/mappo.md": (),
    "docs/own-algorithm.md": (),
    "docs/partners.md": ("(1,024 episodes",),
    "docs/qplex.md": (
        "it was -1.4",
        "1,000,000 steps each",
        "Stopped, bound -1.4",
        "Whole, bound -1.4",
        "a quarter with -1.4",
        "under a bound of -1.4",
    ),
    "docs/results.md": (
        "after 0.8 to 2 million steps",
        "MAPPO and IPPO: 0.95 |",
        "5% of the actions are random",
        "-13.3 in the table above",  # -40 over three agents
        "1, 64, 1,024 and 4,096 environments",
    ),
    "docs/scaling.md": ("4,096. With 65,536",),
}
"""Pieces with numbers that are no results: settings, definitions, and what others published."""


@functools.cache
def claims(page: str) -> tuple[Claim, ...]:
    """Returns the claims of a page, none if it has none; made once."""
    return tuple(CLAIMS[page]()) if page in CLAIMS else ()
