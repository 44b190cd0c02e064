"""Networks: of agents, by name or one's own, mixers, recurrent cells and attention."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.nets import agents as agents
    from marlx.nets import attention as attention
    from marlx.nets import contract as contract
    from marlx.nets import encoders as encoders
    from marlx.nets import makers as makers
    from marlx.nets import mixers as mixers
    from marlx.nets import recurrent as recurrent
    from marlx.nets import retention as retention
    from marlx.nets import set_attention as set_attention
    from marlx.nets import window_attention as window_attention
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
