"""Non-maximum suppression of boxes that carry their class: the dense detectors' form of ops/nms.py."""

from torch import Tensor, nn

from d2deploy.ops.nms import nms_of_labelled


class LabelledNMS(nn.Module):
    """`nms_of_labelled` with its constants; `num_classes` is what a target without ragged groups needs to know."""

    def __init__(self, *, iou_threshold: float, max_out: int, num_classes: int) -> None:
        super().__init__()
        self.iou_threshold, self.max_out, self.num_classes = float(iou_threshold), max_out, num_classes

    def forward(self, boxes: Tensor, scores: Tensor, classes: Tensor) -> Tensor:
        """boxes[N,B,4], scores[N,B] (-inf: no box), classes[N,B] int64 -> int64 [N,max_out] into B, then -1."""
        return nms_of_labelled(boxes, scores, classes, iou_threshold=self.iou_threshold, max_out=self.max_out)
