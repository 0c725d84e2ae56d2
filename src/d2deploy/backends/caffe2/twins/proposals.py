"""Twins of what gives proposals: an RPN, and a network's caller."""

import math
from typing import Any

import torch
from torch import Tensor, nn

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators

ops = torch.ops.d2deploy


class Proposals(nn.Module):
    """An RPN: its head, then one node. Gives rois[R,5 or 6] and logits[R], and `splits` to who asks for them."""

    def __init__(self, rpn: Any) -> None:
        super().__init__()
        self.rpn_head = rpn.rpn_head
        self.in_features, self.pre_nms = rpn.in_features, rpn.pre_nms_topk
        self.post_nms, self.nms_threshold = rpn.nms.max_out, rpn.nms.iou_threshold
        self.weights, self.rotated = rpn.decode.weights, rpn.decode.rotated
        self.min_size = float(rpn.min_box_size)
        self.strides, self.cells = anchors_of(list(rpn.anchor_generator.levels))

    def forward(self, features: dict[str, Tensor], image_sizes: Tensor) -> tuple[Tensor, Tensor]:
        """See models/rpn.py."""
        rois, logits, _splits = self.propose(features, image_sizes)
        return rois, logits

    def propose(self, features: dict[str, Tensor], image_sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """{level: [N,C,H,W]}, image_sizes[N,2] -> rois, logits, splits[N]."""
        logits: list[Tensor] = []
        deltas: list[Tensor] = []
        for name in self.in_features:
            hidden = self.rpn_head.conv(features[name])
            logits.append(self.rpn_head.objectness_logits(hidden))
            deltas.append(self.rpn_head.anchor_deltas(hidden))
        known: tuple[Any, ...] = (image_sizes, self.cells, self.strides)
        limits = (self.pre_nms, self.post_nms, self.nms_threshold)
        if self.rotated:
            return ops.caffe2_rotated_proposals(logits, deltas, *known, self.weights, *limits, self.min_size)
        # Caffe2 keeps sides of at least min_size; the network those above.
        min_size = max(math.nextafter(self.min_size, math.inf), 1e-30)
        return ops.caffe2_proposals(logits, [self._unweighted(level) for level in deltas], *known, *limits, min_size)

    def _unweighted(self, deltas: Tensor) -> Tensor:
        if all(weight == 1 for weight in self.weights):
            return deltas
        weights = torch.tensor(self.weights).repeat(deltas.shape[1] // 4)
        return deltas / weights[:, None, None]


class ProposalList(nn.Module):
    """A ProposalNetwork."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.prepare, self.backbone = network.prepare, network.backbone
        self.proposal_generator = network.proposal_generator

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W], image_sizes[N,2] -> boxes[D,4 or 5], logits[D], splits[N]."""
        features = self.backbone(self.prepare(images, image_sizes))
        rois, logits, splits = self.proposal_generator.propose(features, image_sizes)
        return [rois[:, 1:], logits, splits]


class Given(nn.Module):
    """A FastRCNN: rois are those of its caller's boxes that count."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.prepare, self.backbone, self.roi_heads = network.prepare, network.backbone, network.roi_heads
        self.topk = network.topk

    def forward(
        self, images: Tensor, image_sizes: Tensor, proposal_boxes: Tensor, num_proposals: Tensor
    ) -> list[Tensor]:
        """See models/fast_rcnn.py."""
        rois = ops.caffe2_given(proposal_boxes, num_proposals, self.topk)
        return self.roi_heads(self.backbone(self.prepare(images, image_sizes)), rois, rois, image_sizes)


def anchors_of(grids: list[Any]) -> tuple[list[int], list[float]]:
    """Strides of the levels, and each level's anchors of the first cell, number by number, one after the other."""
    cells: list[float] = []
    for grid in grids:
        shift = grid.offset * grid.stride
        for anchor in grid.cell:
            moved = 2 if len(anchor) == 5 else 4  # a center, or two corners
            cells += [number + shift if place < moved else number for place, number in enumerate(anchor)]
    return [grid.stride for grid in grids], cells
