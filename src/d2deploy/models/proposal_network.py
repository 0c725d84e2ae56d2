"""ProposalNetwork: backbone and RPN alone."""

from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.rcnn import build_proposal_generator
from d2deploy.ops.found import Found
from d2deploy.ops.prepare_images import PrepareImages


class ProposalNetwork(nn.Module):
    """The core of a network that only proposes boxes (detectron2 meta_arch/rcnn.py, ProposalNetwork)."""

    composite = "ProposalNetwork"  # what a format that has operators for the whole part knows it by

    def __init__(
        self, *, prepare: PrepareImages, backbone: nn.Module, proposal_generator: nn.Module, max_out: int
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        self.found = Found(max_out=max_out)

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64

        -> proposal_boxes[D,4] input pixels, clipped (rotated ones: [D,5]), objectness_logits[D], image_index[D]; images
        in order, logits falling.
        """

        boxes, logits = self.proposal_generator(self.backbone(self.prepare(images, image_sizes)), image_sizes)
        place = torch.ones_like(logits, dtype=torch.int64).cumsum(1) - 1
        best = place.masked_fill(~(logits > float("-inf")), -1)
        boxes, logits, _, image_index = self.found(best, boxes[:, None], logits[:, None])
        return [boxes, logits, image_index]


def build_proposal_network(config: schema.ProposalNetwork, prepare: PrepareImages, backbone: Any) -> ProposalNetwork:
    """The network of `config` on `backbone`."""
    generator = build_proposal_generator(config.proposals, backbone)
    max_out = config.proposals.post_nms_topk if isinstance(config.proposals, schema.RPN) else 0
    return ProposalNetwork(prepare=prepare, backbone=backbone, proposal_generator=generator, max_out=max_out)
