"""Twins of the dense detectors: their head, then one node for everything after it, anchors included."""

from typing import Any

import torch
from torch import Tensor, nn

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.twins.proposals import anchors_of

ops = torch.ops.d2deploy


class DenseDetector(nn.Module):
    """A RetinaNet or FCOS. `weights` of the deltas; none: these are distances to a box's four sides, in pixels."""

    def __init__(self, network: Any, head: nn.Module, weights: list[float]) -> None:
        super().__init__()
        self.prepare, self.backbone, self.head = network.prepare, network.backbone, head
        self.in_features, self.weights = network.in_features, weights
        self.strides, self.cells = anchors_of(list(network.anchor_generator.levels))
        self.topk, self.num_classes = network.best_pairs.topk, network.best_pairs.num_classes
        self.score_threshold = network.best_pairs.above.threshold
        self.nms_threshold, self.max_out = network.select.nms.iou_threshold, network.select.nms.max_out

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W], image_sizes[N,2] -> boxes[D,4], scores[D], classes[D], splits[N], all float32."""
        features = self.backbone(self.prepare(images, image_sizes))
        scores: list[Tensor] = []
        deltas: list[Tensor] = []
        for level, name in enumerate(self.in_features):
            level_scores, level_deltas = self.head(features[name], level)
            scores.append(level_scores)
            deltas.append(level_deltas)
        known: tuple[Any, ...] = (image_sizes, self.cells, self.strides, self.weights)
        limits = (self.num_classes, self.topk, self.score_threshold, self.nms_threshold, self.max_out)
        return list(ops.caffe2_dense(scores, deltas, *known, *limits))


class RetinaNetHead(nn.Module):
    """A RetinaNetHead whose maps stay maps."""

    def __init__(self, head: Any) -> None:
        super().__init__()
        self.cls_subnet, self.bbox_subnet = head.cls_subnet, head.bbox_subnet
        self.cls_score, self.bbox_pred = head.cls_score, head.bbox_pred

    def forward(self, feature: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] of a level, counted from 0 -> scores[N,A*K,H,W] in 0..1, deltas[N,A*4,H,W]."""
        scores = self.cls_score(self.cls_subnet(feature, level)).sigmoid()
        return scores, self.bbox_pred(self.bbox_subnet(feature, level))


class FCOSHead(nn.Module):
    """The same of an FCOSHead. sides: how many pixels each level's distances count in."""

    def __init__(self, head: Any, sides: list[int]) -> None:
        super().__init__()
        self.cls_subnet, self.bbox_subnet = head.cls_subnet, head.bbox_subnet
        self.cls_score, self.bbox_pred, self.ctrness = head.cls_score, head.bbox_pred, head.ctrness
        self.sides = sides

    def forward(self, feature: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """feature[N,C,H,W] of a level, counted from 0 -> scores[N,K,H,W] in 0..1, distances[N,4,H,W] from 0 on."""
        hidden = self.bbox_subnet(feature, level)
        class_scores = self.cls_score(self.cls_subnet(feature, level)).sigmoid()
        scores = (class_scores * self.ctrness(hidden).sigmoid()).sqrt()
        distances = self.bbox_pred(hidden).relu()
        return scores, distances if self.sides[level] == 1 else distances * self.sides[level]


def retinanet(network: Any) -> DenseDetector:
    """The twin of a RetinaNet."""
    return DenseDetector(network, RetinaNetHead(network.head), list(network.bbox_reg_weights))


def fcos(network: Any) -> DenseDetector:
    """The twin of an FCOS."""
    strides = [grid.stride for grid in network.anchor_generator.levels]
    sides = strides if network.normalize_by_size else [1] * len(strides)
    return DenseDetector(network, FCOSHead(network.head, sides), [])
