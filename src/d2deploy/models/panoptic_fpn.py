"""PanopticFPN: a detector with masks, and a class for every pixel from the same features."""

from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.rcnn import GeneralizedRCNN, build_rcnn
from d2deploy.models.sem_seg_head import build_sem_seg_head, logits_reader
from d2deploy.ops.prepare_images import PrepareImages


class PanopticFPN(nn.Module):
    """The core of Panoptic FPN. Both answers become one picture outside of it, in postprocess.

    As in detectron2 (meta_arch/panoptic_fpn.py) the detector's parts stand in the network itself, not in a module.
    """

    def __init__(self, detector: GeneralizedRCNN, sem_seg_head: nn.Module, read: nn.Module) -> None:
        super().__init__()
        self.prepare = detector.prepare
        self.backbone = detector.backbone
        self.proposal_generator = detector.proposal_generator
        self.roi_heads = detector.roi_heads
        self.sem_seg_head = sem_seg_head
        self.read = read

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """As GeneralizedRCNN; its outputs, then sem_seg[N,C,H,W] logits, H and W as padded inside."""
        features = self.backbone(self.prepare(images, image_sizes))
        sem_seg = self.read(self.sem_seg_head(features))
        proposals, logits = self.proposal_generator(features, image_sizes)
        outputs: list[Tensor] = self.roi_heads(features, proposals, logits, image_sizes)
        outputs.append(sem_seg)
        return outputs


def build_panoptic_fpn(config: schema.PanopticFPN, prepare: PrepareImages, backbone: Any) -> PanopticFPN:
    """The network of `config` on `backbone`."""
    head = build_sem_seg_head(config.sem_seg, backbone)
    return PanopticFPN(build_rcnn(config.detector, prepare, backbone), head, logits_reader(config.sem_seg))
