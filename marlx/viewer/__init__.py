"""Pages in which a team is watched, and the JavaScript that draws them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.viewer import data as data
    from marlx.viewer import liveness as liveness
    from marlx.viewer import network as network
    from marlx.viewer import page as page
    from marlx.viewer import play as play
    from marlx.viewer import recording as recording
    from marlx.viewer import serving as serving
    from marlx.viewer import table as table
    from marlx.viewer import team as team
    from marlx.viewer import watching as watching
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
