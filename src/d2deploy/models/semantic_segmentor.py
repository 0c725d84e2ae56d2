"""SemanticSegmentor: backbone, then a class for every pixel."""

from typing import Any

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.sem_seg_head import build_sem_seg_head, logits_reader
from d2deploy.ops.prepare_images import PrepareImages


class SemanticSegmentor(nn.Module):
    """The core of a semantic network (detectron2 meta_arch/semantic_seg.py)."""

    def __init__(
        self, *, prepare: PrepareImages, backbone: nn.Module, sem_seg_head: nn.Module, read: nn.Module
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.read = read

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64 -> sem_seg[N,C,H,W] logits; H and W as padded inside."""
        return [self.read(self.sem_seg_head(self.backbone(self.prepare(images, image_sizes))))]


def build_semantic_segmentor(
    config: schema.SemanticSegmentor, prepare: PrepareImages, backbone: Any
) -> SemanticSegmentor:
    """The network of `config` on `backbone`."""
    head = build_sem_seg_head(config.head, backbone)
    return SemanticSegmentor(prepare=prepare, backbone=backbone, sem_seg_head=head, read=logits_reader(config.head))
