"""FCOS: a class score, four distances and a centerness for every cell; no anchors of several shapes, no proposals."""

from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.backbone import level_facts
from d2deploy.models.dense_detections import BestPairs, LevelDetections
from d2deploy.models.rpn import AnchorGenerator
from d2deploy.models.tower import Tower
from d2deploy.ops.boxes import decode_distances
from d2deploy.ops.prepare_images import PrepareImages


class FCOSHead(nn.Module):
    """RetinaNet's towers, and the centerness beside the distances."""

    def __init__(self, config: schema.FCOS, *, channels: int) -> None:
        super().__init__()
        facts: dict[str, Any] = {"norm": config.norm, "levels": len(config.in_features)}
        self.num_classes = config.detections.num_classes
        self.cls_subnet = Tower(channels, config.conv_dims, **facts)
        self.bbox_subnet = Tower(channels, config.conv_dims, **facts)
        width = self.cls_subnet.out_channels
        self.cls_score = nn.Conv2d(width, self.num_classes, kernel_size=3, padding=1)
        self.bbox_pred = nn.Conv2d(width, 4, kernel_size=3, padding=1)
        self.ctrness = nn.Conv2d(width, 1, kernel_size=3, padding=1)

    def forward(self, feature: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] of a level, counted from 0 -> scores[N,H*W*K] in 0..1, distances[N,H*W,4]."""
        logits = self.cls_score(self.cls_subnet(feature, level))
        hidden = self.bbox_subnet(feature, level)
        scores = (logits.sigmoid() * self.ctrness(hidden).sigmoid()).sqrt()
        distances = self.bbox_pred(hidden).permute(0, 2, 3, 1).flatten(1, 2)
        return scores.permute(0, 2, 3, 1).flatten(1), distances


class FCOS(nn.Module):
    """The core of FCOS as detectron2 has it (meta_arch/fcos.py).

    A cell's score is the geometric mean of class score and centerness. From there on it is RetinaNet with one anchor a
    cell, in the cell's middle and as large as it. Boxes are not clipped: detectron2 leaves that to post-processing.
    """

    composite = "FCOS"  # what a format that has operators for the whole part knows it by

    def __init__(
        self, config: schema.FCOS, *, prepare: PrepareImages, backbone: nn.Module, channels: int, strides: list[int]
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.head = FCOSHead(config, channels=channels)
        cells = schema.Anchors(
            sizes=tuple((float(stride),) for stride in strides), aspect_ratios=((1.0,),) * len(strides), offset=0.5
        )
        self.anchor_generator = AnchorGenerator(cells, strides)
        self.in_features = list(config.in_features)
        self.normalize_by_size = config.normalize_by_size
        self.best_pairs = BestPairs(config.detections, topk=config.topk_candidates)
        self.select = LevelDetections(config.detections)

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64 -> boxes[D,4], scores[D], classes[D], image_index[D]."""
        features = self.backbone(self.prepare(images, image_sizes))
        levels = [features[name] for name in self.in_features]
        every_score: list[Tensor] = []
        every_distance: list[Tensor] = []
        for i in range(len(levels)):
            level_scores, level_distances = self.head(levels[i], i)
            every_score.append(level_scores)
            every_distance.append(level_distances)
        index, distances, scores, classes = self.best_pairs(every_score, every_distance)
        anchors = torch.cat(self.anchor_generator(levels, index), dim=1)
        boxes = decode_distances(torch.cat(distances, dim=1), anchors, self.normalize_by_size)
        detections: list[Tensor] = self.select(boxes, scores, classes)
        return detections


def build_fcos(config: schema.FCOS, prepare: PrepareImages, backbone: Any) -> FCOS:
    """The detector of `config` on `backbone`."""
    return FCOS(config, prepare=prepare, backbone=backbone, **level_facts(backbone, config.in_features))
