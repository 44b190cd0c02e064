"""Storage of what learners learn from: replay buffers, episodes, minibatches."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.data import episode_store as episode_store
    from marlx.data import minibatches as minibatches
    from marlx.data import replay as replay
    from marlx.data import ring as ring
    from marlx.data import sum_tree as sum_tree
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
