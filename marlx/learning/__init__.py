"""Mathematics of targets and losses, without networks or storage."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.learning import active as active
    from marlx.learning import contrastive_losses as contrastive_losses
    from marlx.learning import distributions as distributions
    from marlx.learning import part_rates as part_rates
    from marlx.learning import returns as returns
    from marlx.learning import running_moments as running_moments
    from marlx.learning import schedule as schedule
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
