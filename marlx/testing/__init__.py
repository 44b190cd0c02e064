"""What an environment must pass, and small environments whose answers are known.

`check_env` is for the tests of anyone who writes an environment. The probes are for those who write
a learner: each has a value that can be worked out by hand and that a particular mistake gets wrong
(a time limit taken for an end, a lost memory, an illegal action).
"""

from marlx.testing.checks import check_env
from marlx.testing.probes import Constant, Masked, Recall

__all__ = ["Constant", "Masked", "Recall", "check_env"]
