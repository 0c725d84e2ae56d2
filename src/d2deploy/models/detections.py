"""From scored boxes to detections: threshold, clip, class-wise NMS, the best of each image."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.ops.boxes import clip_boxes
from d2deploy.ops.found import Found
from d2deploy.ops.nms import NMS
from d2deploy.ops.score_threshold import ScoreThreshold


class DetectionSelector(nn.Module):
    """The last step of every R-CNN (detectron2 fast_rcnn.py, fast_rcnn_inference)."""

    def __init__(self, config: schema.Detections, *, rotated: bool = False) -> None:
        super().__init__()
        self.rotated = rotated
        self.columns = 5 if rotated else 4
        self.num_classes = config.num_classes
        self.above = ScoreThreshold(config.score_thresh)
        self.nms = NMS(iou_threshold=config.nms_thresh, max_out=config.detections_per_image, is_of_detections=True)
        self.found = Found(max_out=config.detections_per_image)

    def forward(self, boxes: Tensor, scores: Tensor, logits: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """boxes[N*P,K or 1,4 or 5], scores[N*P,K], logits[N,P] of the proposals (-inf: none), image_sizes[N,2]

        -> boxes[D,4 or 5] clipped to their image, scores[D], classes[D], image_index[D]: images in order, best first
        """
        is_finite = torch.isfinite(scores).all(1) & torch.isfinite(boxes).all(-1).all(-1)
        scores = self.above(scores).masked_fill(~is_finite[:, None], float("-inf"))
        shape = [logits.shape[0], logits.shape[1], -1]
        scores_NPK = scores.reshape(shape).masked_fill((logits == float("-inf"))[:, :, None], float("-inf"))
        boxes_NPK4 = clip_boxes(boxes.reshape(shape + [self.columns]), image_sizes, self.rotated)
        boxes_NKP4 = boxes_NPK4.transpose(1, 2).expand(-1, self.num_classes, -1, -1)
        return self.best(boxes_NKP4, scores_NPK.transpose(1, 2))

    def best(self, boxes_NKP4: Tensor, scores_NKP: Tensor) -> list[Tensor]:
        """What NMS leaves of boxes[N,K,P,4], scores[N,K,P]; see `forward`."""
        best = self.nms(boxes_NKP4, scores_NKP)
        boxes, scores, index, image_index = self.found(best, boxes_NKP4, scores_NKP)
        return [boxes, scores, index.div(scores_NKP.shape[2], rounding_mode="floor"), image_index]
