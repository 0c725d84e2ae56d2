"""RetinaNet: class scores and boxes for every anchor, no proposals."""

from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.detections import found
from d2deploy.models.rpn import AnchorGenerator
from d2deploy.ops.boxes import decode_boxes
from d2deploy.ops.labelled_nms import LabelledNMS
from d2deploy.ops.prepare_images import PrepareImages


class RetinaNetHead(nn.Module):
    """Two towers of 3x3 convolutions, shared by all levels: one ends in class scores, one in box deltas."""

    def __init__(self, config: schema.RetinaNet, *, channels: int) -> None:
        super().__init__()
        anchors = len(config.anchors.sizes[0]) * len(config.anchors.aspect_ratios[0])
        self.num_classes = config.detections.num_classes
        self.cls_subnet = _tower(channels, config.num_convs)
        self.bbox_subnet = _tower(channels, config.num_convs)
        self.cls_score = nn.Conv2d(channels, anchors * self.num_classes, kernel_size=3, padding=1)
        self.bbox_pred = nn.Conv2d(channels, anchors * 4, kernel_size=3, padding=1)

    def forward(self, feature: Tensor) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] -> logits[N,H*W*A*K], deltas[N,H*W*A,4]."""
        logits = self.cls_score(self.cls_subnet(feature)).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(self.bbox_subnet(feature)).permute(0, 2, 3, 1).flatten(1)
        return logits, deltas.reshape(logits.shape[0], -1, 4)


def _tower(channels: int, count: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(count):
        layers += [nn.Conv2d(channels, channels, kernel_size=3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class RetinaNet(nn.Module):
    """The core of a one-stage detector (detectron2 retinanet.py).

    Per level the `topk_candidates` best (anchor, class) pairs above the score threshold, decoded, then class-wise NMS
    over all levels. Boxes are not clipped: detectron2 leaves that to post-processing.
    """

    def __init__(self, config: schema.RetinaNet, *, prepare: PrepareImages, backbone: Any, strides: list[int]) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.head = RetinaNetHead(config, channels=backbone.out_channels[config.in_features[0]])
        self.anchor_generator = AnchorGenerator(config.anchors, strides)
        self.in_features = list(config.in_features)
        self.num_classes = config.detections.num_classes
        self.score_thresh = config.detections.score_thresh
        self.bbox_reg_weights = config.bbox_reg_weights
        self.topk_candidates = config.topk_candidates
        self.nms = LabelledNMS(
            iou_threshold=config.detections.nms_thresh,
            max_out=config.detections.detections_per_image,
            num_classes=config.detections.num_classes,
        )

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64 -> boxes[D,4], scores[D], classes[D], image_index[D]."""
        features = self.backbone(self.prepare(images, image_sizes))
        levels = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(levels)
        boxes: list[Tensor] = []
        scores: list[Tensor] = []
        classes: list[Tensor] = []
        for level, anchor in zip(levels, anchors):
            level_boxes, level_scores, level_classes = self.candidates(level, anchor)
            boxes.append(level_boxes)
            scores.append(level_scores)
            classes.append(level_classes)
        return self.best(torch.cat(boxes, dim=1), torch.cat(scores, dim=1), torch.cat(classes, dim=1))

    def candidates(self, feature: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The best pairs of one level: boxes[N,B,4], scores[N,B] (-inf: there are fewer), classes[N,B]."""
        logits, deltas = self.head(feature)
        scores = logits.sigmoid()
        scores = scores.masked_fill(~(scores > self.score_thresh), float("-inf"))
        padded = nn.functional.pad(scores, [0, self.topk_candidates], value=float("-inf"))
        best, pair = padded.topk(self.topk_candidates, dim=1)
        pair = pair.masked_fill(best == float("-inf"), 0)
        anchor = pair.div(self.num_classes, rounding_mode="floor")
        chosen = deltas.gather(1, anchor[:, :, None].expand(-1, -1, 4))
        return decode_boxes(chosen, anchors[anchor], self.bbox_reg_weights), best, pair - anchor * self.num_classes

    def best(self, boxes: Tensor, scores: Tensor, classes: Tensor) -> list[Tensor]:
        """What NMS leaves of boxes[N,B,4], scores[N,B], classes[N,B]."""
        image_index, index = found(self.nms(boxes, scores, classes))
        return [boxes[image_index, index], scores[image_index, index], classes[image_index, index], image_index]


def build_retinanet(config: schema.RetinaNet, prepare: PrepareImages, backbone: Any) -> RetinaNet:
    """The detector of `config` on `backbone`."""
    strides = [backbone.out_strides[name] for name in config.in_features]
    return RetinaNet(config, prepare=prepare, backbone=backbone, strides=strides)
