"""RoI heads on feature levels: proposals to detections, and a mask, keypoints or surface for each of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.box_head import FastRCNNOutputLayers, build_box_head
from d2deploy.models.dense_pose.branch import add_dense_pose
from d2deploy.models.detections import DetectionSelector
from d2deploy.models.keypoint_head import build_keypoint_head
from d2deploy.models.mask_head import mask_branch, registered_mask_branch
from d2deploy.models.point_rend.mask_head import implicit_branch, point_rend_branch
from d2deploy.models.pooler import BoxLevels, ROIPooler
from d2deploy.ops.boxes import clip_boxes
from d2deploy.ops.image_index import ImageIndex

MASK_BRANCHES: dict[type, Callable[[Any, BoxLevels, int], tuple[nn.Module, nn.Module]]] = {
    schema.MaskHead: mask_branch,
    schema.PointRendMaskHead: point_rend_branch,
    schema.ImplicitPointRendMaskHead: implicit_branch,
    schema.RegisteredMaskHead: registered_mask_branch,
}
"""Mask head of the config -> its pooler and itself. The head takes what the pooler gives and the classes."""


class ROIHeads(nn.Module):
    """Box head on every proposal, class-wise NMS, further heads on what is left.

    detectron2's StandardROIHeads and CascadeROIHeads: a cascade refines its boxes stage by stage, clipped to the image
    between stages, and averages the stages' scores; a single stage is a cascade of one (roi_heads.py, cascade_rcnn.py).
    """

    composite = "ROIHeads"  # what a format that has operators for the whole part knows it by

    def __init__(self, config: schema.ROIHeads, *, channels: int, strides: list[int]) -> None:
        super().__init__()
        self.in_features = list(config.in_features)
        self.box_pooler = ROIPooler(config.box.pooler, strides=strides)
        stages = config.cascade or (config.box.bbox_reg_weights,)
        heads, widths = zip(*(build_box_head(config.box, in_channels=channels) for _ in stages), strict=True)
        predictors = [
            FastRCNNOutputLayers(
                in_channels=width,
                num_classes=config.detections.num_classes,
                cls_agnostic_bbox_reg=config.box.cls_agnostic_bbox_reg,
                bbox_reg_weights=weights,
                use_sigmoid_ce=config.box.use_sigmoid_ce,
                use_fed_loss=config.box.use_fed_loss,
            )
            for width, weights in zip(widths, stages, strict=True)
        ]
        self.box_head: nn.Module = nn.ModuleList(heads) if config.cascade else heads[0]
        self.box_predictor: nn.Module = nn.ModuleList(predictors) if config.cascade else predictors[0]
        stage_names = [f".{i}" for i in range(len(stages))] if config.cascade else [""]
        self.stage_heads = Alias(self, [f"box_head{name}" for name in stage_names])
        self.stage_predictors = Alias(self, [f"box_predictor{name}" for name in stage_names])
        self.image_index = ImageIndex()
        self.select = DetectionSelector(config.detections, rotated=len(stages[-1]) == 5)
        levels = BoxLevels(config.in_features, channels, strides)
        self.mask_pooler: nn.Module | None = None
        self.mask_head: nn.Module | None = None
        if config.mask is not None:
            self.mask_pooler, self.mask_head = MASK_BRANCHES[type(config.mask)](
                config.mask, levels, config.detections.num_classes
            )
        self.keypoint_pooler: nn.Module | None = None
        self.keypoint_head: nn.Module | None = None
        if config.keypoint is not None:
            self.keypoint_pooler = ROIPooler(config.keypoint.pooler, strides=strides)
            self.keypoint_head = build_keypoint_head(config.keypoint, in_channels=channels)
        self.dense_pose = None if config.dense_pose is None else add_dense_pose(self, config.dense_pose, levels)

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        """{level: [N,C,H,W]}, proposals[N,P,4] and logits[N,P] of the RPN, image_sizes[N,2] -> the core's outputs."""
        levels = [features[name] for name in self.in_features]
        boxes, scores = self.box_branch(levels, proposals, image_sizes)
        detections = self.select(boxes, scores, logits, image_sizes)
        boxes, classes, image_index = detections[0], detections[2], detections[3]
        if self.mask_pooler is not None and self.mask_head is not None:
            detections.append(self.mask_head(self.mask_pooler(levels, boxes, image_index), classes))
        if self.keypoint_pooler is not None and self.keypoint_head is not None:
            detections.append(self.keypoint_head(self.keypoint_pooler(levels, boxes, image_index)))
        if self.dense_pose is not None:
            detections.extend(self.dense_pose(features, levels, boxes, image_index))
        return detections

    def box_branch(self, levels: list[Tensor], proposals: Tensor, image_sizes: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes[N*P,K or 1,4] of the last stage, not clipped, and scores[N*P,K] averaged over the stages."""
        image_index = self.image_index(proposals).flatten()
        current = proposals.flatten(0, 1)
        boxes = current[:, None]
        scores: list[Tensor] = []
        for i, (head, predictor) in enumerate(zip(self.stage_heads, self.stage_predictors)):
            if i > 0:
                current = clip_boxes(boxes.reshape(proposals.shape), image_sizes).flatten(0, 1)
            stage_scores, boxes = predictor(head(self.box_pooler(levels, current, image_index)), current)
            scores.append(stage_scores)
        return boxes, torch.stack(scores).mean(dim=0)
