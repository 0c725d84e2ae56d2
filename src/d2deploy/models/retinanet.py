"""RetinaNet: class scores and boxes for every anchor, no proposals."""

from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.backbone import level_facts
from d2deploy.models.dense_detections import BestPairs, LevelDetections
from d2deploy.models.rpn import AnchorGenerator
from d2deploy.models.tower import Tower
from d2deploy.ops.boxes import decode_boxes
from d2deploy.ops.prepare_images import PrepareImages


class RetinaNetHead(nn.Module):
    """Two towers of 3x3 convolutions, shared by all levels: one ends in class scores, one in box deltas."""

    def __init__(self, config: schema.RetinaNet, *, channels: int) -> None:
        super().__init__()
        facts: dict[str, Any] = {"norm": config.norm, "levels": len(config.in_features)}
        self.cls_subnet = Tower(channels, config.conv_dims, **facts)
        self.bbox_subnet = Tower(channels, config.conv_dims, **facts)
        width, anchors = self.cls_subnet.out_channels, config.anchors.per_cell
        self.cls_score = nn.Conv2d(width, anchors * config.detections.num_classes, kernel_size=3, padding=1)
        self.bbox_pred = nn.Conv2d(width, anchors * 4, kernel_size=3, padding=1)

    def forward(self, feature: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] of a level, counted from 0 -> logits[N,H*W*A*K], deltas[N,H*W*A,4]."""
        logits = self.cls_score(self.cls_subnet(feature, level)).permute(0, 2, 3, 1).flatten(1)
        deltas = self.bbox_pred(self.bbox_subnet(feature, level)).permute(0, 2, 3, 1).flatten(1)
        return logits, deltas.reshape(logits.shape[0], -1, 4)


class RetinaNet(nn.Module):
    """The core of a one-stage detector (detectron2 retinanet.py).

    Per level the `topk_candidates` best (anchor, class) pairs above the score threshold, decoded, then class-wise NMS
    over all levels. Boxes are not clipped: detectron2 leaves that to post-processing.
    """

    composite = "RetinaNet"  # what a format that has operators for the whole part knows it by

    def __init__(
        self,
        config: schema.RetinaNet,
        *,
        prepare: PrepareImages,
        backbone: nn.Module,
        channels: int,
        strides: list[int],
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.head = RetinaNetHead(config, channels=channels)
        self.anchor_generator = AnchorGenerator(config.anchors, strides)
        self.in_features = list(config.in_features)
        self.bbox_reg_weights = config.bbox_reg_weights
        self.best_pairs = BestPairs(config.detections, topk=config.topk_candidates)
        self.select = LevelDetections(config.detections)

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64 -> boxes[D,4], scores[D], classes[D], image_index[D]."""
        features = self.backbone(self.prepare(images, image_sizes))
        levels = [features[name] for name in self.in_features]
        every_score: list[Tensor] = []
        every_delta: list[Tensor] = []
        for i in range(len(levels)):
            logits, level_deltas = self.head(levels[i], i)
            every_score.append(logits.sigmoid())
            every_delta.append(level_deltas)
        index, deltas, scores, classes = self.best_pairs(every_score, every_delta)
        anchors = torch.cat(self.anchor_generator(levels, index), dim=1)
        boxes = decode_boxes(torch.cat(deltas, dim=1), anchors, self.bbox_reg_weights)
        detections: list[Tensor] = self.select(boxes, scores, classes)
        return detections


def build_retinanet(config: schema.RetinaNet, prepare: PrepareImages, backbone: Any) -> RetinaNet:
    """The detector of `config` on `backbone`."""
    return RetinaNet(config, prepare=prepare, backbone=backbone, **level_facts(backbone, config.in_features))
