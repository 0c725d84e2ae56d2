"""Fast R-CNN: RoI heads on boxes that whoever calls the network gives."""

import torch
from torch import Tensor, nn

from d2deploy.ops.prepare_images import PrepareImages


class FastRCNN(nn.Module):
    """GeneralizedRCNN without a proposal generator (detectron2 PrecomputedProposals)."""

    composite = "FastRCNN"  # what a format that has operators for the whole part knows it by

    def __init__(self, *, prepare: PrepareImages, backbone: nn.Module, roi_heads: nn.Module, topk: int) -> None:
        super().__init__()
        self.topk = topk
        self.prepare = prepare
        self.backbone = backbone
        self.roi_heads = roi_heads

    def forward(
        self, images: Tensor, image_sizes: Tensor, proposal_boxes: Tensor, num_proposals: Tensor
    ) -> list[Tensor]:
        """images[N,3,H,W], image_sizes[N,2], and what is given back, as in GeneralizedRCNN.

        proposal_boxes[N,P,4]: input pixels, the best first, neither clipped nor sorted here; P may be 0.
        num_proposals[N] int64: an image's boxes from there on, or beyond the first `topk`, are not looked at.
        """
        # One row more that is no proposal: where P is 0 there is something to give a shape.
        boxes = nn.functional.pad(proposal_boxes, [0, 0, 0, 1])
        count = num_proposals.clamp(max=self.topk)
        logits = torch.zeros_like(boxes[:, :, 0])
        # Counted by a sum: the device that torch.arange is given would stand in a traced file as a constant.
        is_given = torch.ones_like(logits, dtype=torch.int64).cumsum(1) <= count[:, None]
        logits = logits.masked_fill(~is_given, float("-inf"))
        boxes = torch.where(is_given[:, :, None], boxes, torch.zeros_like(boxes))
        return self.roi_heads(self.backbone(self.prepare(images, image_sizes)), boxes, logits, image_sizes)
