"""A core whose score and NMS thresholds are inputs, for the formats made of torch.export's graph."""

import dataclasses

from torch import Tensor, nn
from torch.func import functional_call

from d2deploy.artifact import THRESHOLD_INPUTS
from d2deploy.backends.capture import Exportable, Variant, swapped
from d2deploy.errors import ExportError
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.nms import NMS
from d2deploy.ops.score_threshold import ScoreThreshold


def with_threshold_inputs(model: Exportable) -> Variant:
    """`model` with two more inputs, float32 scalars; its spec's thresholds are their defaults. Raises ExportError."""
    names = [
        *(f"{name}.threshold" for name, module in model.core.named_modules() if isinstance(module, ScoreThreshold)),
        *(f"{name}.iou_threshold" for name, module in model.core.named_modules() if _is_of_detections(module)),
    ]
    if len(names) < 2:
        raise ExportError(
            f"--threshold-inputs: {model.spec.meta_architecture} has no thresholds that d2deploy knows. Leave the "
            f"option out."
        )
    spec = dataclasses.replace(model.spec, inputs=(*model.spec.inputs, *THRESHOLD_INPUTS))
    core = ThresholdInputs(swapped(model.core, {}, keep_aliases=True), names).eval()
    return Variant(core=core, spec=spec, source=model.source)


def _is_of_detections(module: nn.Module) -> bool:
    return isinstance(module, LabelledNMS) or (isinstance(module, NMS) and module.is_of_detections)


class ThresholdInputs(nn.Module):
    """A core, called with other values for some of its buffers; capture's twins of the ops hold thresholds as such."""

    def __init__(self, core: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.core, self.names = core, names

    def forward(self, *inputs: Tensor) -> list[Tensor]:
        """The core's inputs, score_threshold[], nms_threshold[] -> as the core."""
        *rest, score, nms = inputs
        values = {name: nms if name.endswith(".iou_threshold") else score for name in self.names}
        outputs: list[Tensor] = functional_call(self.core, values, tuple(rest))
        return outputs
