"""RoI heads: proposals to detections, and a mask for each of them."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.box_head import FastRCNNConvFCHead, FastRCNNOutputLayers
from d2deploy.models.mask_head import MaskRCNNConvUpsampleHead
from d2deploy.models.pooler import ROIPooler
from d2deploy.ops.boxes import clip_boxes
from d2deploy.ops.image_index import ImageIndex
from d2deploy.ops.nms import NMS


class StandardROIHeads(nn.Module):
    """Box head on every proposal, class-wise NMS, mask head on what is left (detectron2 roi_heads.py, fast_rcnn.py)."""

    def __init__(self, config: schema.ROIHeads, *, channels: int, strides: list[int]) -> None:
        super().__init__()
        self.in_features = list(config.in_features)
        self.num_classes = config.num_classes
        self.score_thresh = config.score_thresh
        self.box_pooler = ROIPooler(config.box.pooler, strides=strides)
        self.box_head = FastRCNNConvFCHead(config.box, in_channels=channels)
        self.box_predictor = FastRCNNOutputLayers(
            config.box, in_channels=self.box_head.out_channels, num_classes=config.num_classes
        )
        self.image_index = ImageIndex()
        self.nms = NMS(iou_threshold=config.nms_thresh, max_out=config.detections_per_image)
        self.mask_pooler: nn.Module | None = None
        self.mask_head: nn.Module | None = None
        if config.mask is not None:
            self.mask_pooler = ROIPooler(config.mask.pooler, strides=strides)
            self.mask_head = MaskRCNNConvUpsampleHead(config.mask, in_channels=channels, num_classes=config.num_classes)

    def forward(
        self, features: dict[str, Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> list[Tensor]:
        """{level: [N,C,H,W]}, proposals[N,P,4] and logits[N,P] of the RPN, image_sizes[N,2] -> the core's outputs."""
        levels = [features[name] for name in self.in_features]
        boxes, scores = self.box_branch(levels, proposals, logits, image_sizes)
        detections = self.best_detections(boxes, scores)
        if self.mask_pooler is not None and self.mask_head is not None:
            pooled = self.mask_pooler(levels, detections[0], detections[3])
            detections.append(self.mask_head(pooled, detections[2]))
        return detections

    def box_branch(
        self, levels: list[Tensor], proposals: Tensor, logits: Tensor, image_sizes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Boxes[N,K,P,4] clipped to their image and scores[N,K,P]; -inf for what is no detection."""
        image_index = self.image_index(proposals)
        pooled = self.box_pooler(levels, proposals.flatten(0, 1), image_index.flatten())
        scores, boxes = self.box_predictor(self.box_head(pooled), proposals.flatten(0, 1))
        is_finite = torch.isfinite(scores).all(1) & torch.isfinite(boxes).all(-1).all(-1)
        is_valid = is_finite[:, None] & (scores > self.score_thresh)
        scores = scores.masked_fill(~is_valid, float("-inf"))
        shape = [proposals.shape[0], proposals.shape[1], -1]
        scores_NPK = scores.reshape(shape).masked_fill((logits == float("-inf"))[:, :, None], float("-inf"))
        boxes_NPK4 = clip_boxes(boxes.reshape(shape + [4]), image_sizes)
        boxes_NPK4 = boxes_NPK4.expand(-1, -1, self.num_classes, -1)
        return boxes_NPK4.transpose(1, 2), scores_NPK.transpose(1, 2)

    def best_detections(self, boxes_NKP4: Tensor, scores_NKP: Tensor) -> list[Tensor]:
        """boxes[D,4], scores[D], classes[D], image_index[D]: images in order, scores falling within each."""
        best = self.nms(boxes_NKP4, scores_NKP)
        found = (best >= 0).nonzero()
        image_index = found[:, 0]
        index = best[image_index, found[:, 1]]
        classes = index.div(scores_NKP.shape[2], rounding_mode="floor")
        proposal = index - classes * scores_NKP.shape[2]
        boxes = boxes_NKP4[image_index, classes, proposal]
        return [boxes, scores_NKP[image_index, classes, proposal], classes, image_index]
