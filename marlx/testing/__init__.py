"""Conformance suites for environments and learners, and environments whose answers are known.

`check_env` is for the tests of anyone who writes an environment, `check_learner` for those of
anyone who writes a learner. Each of the small environments has a value that can be worked out by
hand and that a particular mistake gets wrong: a time limit taken for an end, a lost memory, an
illegal action, an agent that has left.
"""

from marlx.testing.checks import check_env
from marlx.testing.learner_checks import check_learner
from marlx.testing.probes import Constant, Leaving, Masked, Recall, Unequal

__all__ = ["Constant", "Leaving", "Masked", "Recall", "Unequal", "check_env", "check_learner"]
