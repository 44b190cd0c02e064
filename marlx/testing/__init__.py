"""Conformance checks for environments, and probe environments for learners.

`check_env` tests that an environment keeps the contract. The probe environments have values that
can be worked out by hand, and that a learner with a particular mistake gets wrong: a time limit
treated as a terminal state, a lost memory, an illegal action.
"""

from marlx.testing.checks import check_env
from marlx.testing.probes import Constant, Masked, Recall

__all__ = ["Constant", "Masked", "Recall", "check_env"]
