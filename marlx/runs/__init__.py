"""The run folder and all that is written in it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marlx.runs import array_store as array_store
    from marlx.runs import checkpoint_files as checkpoint_files
    from marlx.runs import checkpoints as checkpoints
    from marlx.runs import export as export
    from marlx.runs import facts as facts
    from marlx.runs import files as files
    from marlx.runs import folder as folder
    from marlx.runs import identity as identity
    from marlx.runs import onnx_file as onnx_file
    from marlx.runs import onnx_operators as onnx_operators
    from marlx.runs import onnx_steps as onnx_steps
    from marlx.runs import policies as policies
    from marlx.runs import result as result
else:
    from marlx._modules import lazy

    __getattr__, __dir__ = lazy(__name__)
