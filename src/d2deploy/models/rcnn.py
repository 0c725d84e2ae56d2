"""GeneralizedRCNN: backbone, proposals, RoI heads."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.backbone import level_facts, shapes_of
from d2deploy.models.fast_rcnn import FastRCNN
from d2deploy.models.registered import make_part
from d2deploy.models.res5_roi_heads import Res5ROIHeads
from d2deploy.models.roi_heads import ROIHeads
from d2deploy.models.rpn import RPN
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.registry import PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY


class GeneralizedRCNN(nn.Module):
    """The core of a two-stage detector: tensors in, tensors out."""

    def __init__(
        self,
        *,
        prepare: PrepareImages,
        backbone: nn.Module,
        proposal_generator: nn.Module,
        roi_heads: nn.Module,
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.proposal_generator = proposal_generator
        self.roi_heads = roi_heads

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255 in the config's channel order, image_sizes[N,2] int64 -> see architecture.md.

        boxes[D,4] input pixels, scores[D], classes[D], image_index[D]; mask_probs[D,M,M], keypoint_heatmaps[D,K,H,H].
        """
        features = self.backbone(self.prepare(images, image_sizes))
        proposals, logits = self.proposal_generator(features, image_sizes)
        return self.roi_heads(features, proposals, logits, image_sizes)


ROI_HEADS: dict[type, Callable[..., nn.Module]] = {
    schema.ROIHeads: ROIHeads,
    schema.Res5ROIHeads: Res5ROIHeads,
}


def build_proposal_generator(config: schema.RPN | schema.RegisteredProposals, backbone: Any) -> nn.Module:
    """What makes proposals on `backbone`: forward(features, image_sizes) -> boxes[N,P,4], logits[N,P]."""
    if isinstance(config, schema.RPN):
        return RPN(config, **level_facts(backbone, config.in_features))
    part: nn.Module = make_part(PROPOSAL_GENERATOR_REGISTRY, config.part, shapes_of(backbone))
    return part


def build_generalized_rcnn(config: schema.GeneralizedRCNN, prepare: PrepareImages, backbone: Any) -> nn.Module:
    """The detector of `config` on `backbone`, whoever makes its proposals."""
    if not isinstance(config.proposals, schema.PrecomputedProposals):
        return build_rcnn(config, prepare, backbone)
    heads = _roi_heads(config, backbone)
    return FastRCNN(prepare=prepare, backbone=backbone, roi_heads=heads, topk=config.proposals.topk)


def build_rcnn(config: schema.GeneralizedRCNN, prepare: PrepareImages, backbone: Any) -> GeneralizedRCNN:
    """The detector of `config`, which makes its own proposals, on `backbone`."""
    assert not isinstance(config.proposals, schema.PrecomputedProposals)
    return GeneralizedRCNN(
        prepare=prepare,
        backbone=backbone,
        proposal_generator=build_proposal_generator(config.proposals, backbone),
        roi_heads=_roi_heads(config, backbone),
    )


def _roi_heads(config: schema.GeneralizedRCNN, backbone: Any) -> nn.Module:
    heads = config.roi_heads
    if isinstance(heads, schema.RegisteredROIHeads):
        part: nn.Module = make_part(ROI_HEADS_REGISTRY, heads.part, shapes_of(backbone))
        return part
    return ROI_HEADS[type(heads)](heads, **level_facts(backbone, heads.in_features))
