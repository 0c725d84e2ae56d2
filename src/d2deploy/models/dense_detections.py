"""From the scores of every anchor to detections: the steps that one-stage detectors share."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.ops.found import Found
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.score_threshold import ScoreThreshold


class BestPairs(nn.Module):
    """The `topk` best (anchor, class) pairs of each level above the score threshold (detectron2 dense_detector.py)."""

    def __init__(self, config: schema.Detections, *, topk: int) -> None:
        super().__init__()
        self.num_classes, self.topk = config.num_classes, topk
        self.above = ScoreThreshold(config.score_thresh)

    def forward(
        self, scores: list[Tensor], deltas: list[Tensor]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Of each level scores[N,A*K], an anchor's classes side by side, and deltas[N,A,4]

        -> of each level anchors[N,B] int64, deltas[N,B,4], scores[N,B] (-inf: there are fewer), classes[N,B] int64.
        """
        anchors: list[Tensor] = []
        chosen: list[Tensor] = []
        best: list[Tensor] = []
        classes: list[Tensor] = []
        for i in range(len(scores)):
            level_best, anchor, level_classes = self.of_level(scores[i])
            anchors.append(anchor)
            chosen.append(deltas[i].gather(1, anchor[:, :, None].expand(-1, -1, 4)))
            best.append(level_best)
            classes.append(level_classes)
        return anchors, chosen, best, classes

    def of_level(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """scores[N,A*K] -> scores[N,B], anchors[N,B] and classes[N,B]."""
        padded = nn.functional.pad(self.above(scores), [0, self.topk], value=float("-inf"))
        best, pair = padded.topk(self.topk, dim=1)
        pair = pair.masked_fill(best == float("-inf"), 0)
        anchors = pair.div(self.num_classes, rounding_mode="floor")
        return best, anchors, pair - anchors * self.num_classes


class LevelDetections(nn.Module):
    """Class-wise NMS over the candidates of all levels, and the best of each image."""

    def __init__(self, config: schema.Detections) -> None:
        super().__init__()
        self.nms = LabelledNMS(
            iou_threshold=config.nms_thresh, max_out=config.detections_per_image, num_classes=config.num_classes
        )
        self.found = Found(max_out=config.detections_per_image)

    def forward(self, boxes_NB4: Tensor, scores: list[Tensor], classes: list[Tensor]) -> list[Tensor]:
        """Boxes of all levels one after the other, of each level scores[N,B] (-inf: none) and classes[N,B] ->

        boxes[D,4], scores[D], classes[D], image_index[D]; images in order, scores falling.
        """
        scores_NB, classes_NB = torch.cat(scores, dim=1), torch.cat(classes, dim=1)
        best = self.nms(boxes_NB4, scores_NB, classes_NB)
        kept, kept_scores, index, image_index = self.found(best, boxes_NB4[:, None], scores_NB[:, None])
        return [kept, kept_scores, classes_NB[image_index, index], image_index]
