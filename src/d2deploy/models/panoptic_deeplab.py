"""Panoptic-DeepLab: classes, centres of things and where each pixel's centre is (detectron2 projects/Panoptic-DeepLab).

What becomes of the three maps is post-processing (postprocess/panoptic_deeplab.py), outside the graph.
"""

from typing import Any

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.backbone import Levels, levels_with
from d2deploy.models.deeplab import Decoder, enlarged, two_convs
from d2deploy.models.sem_seg_head import build_sem_seg_head
from d2deploy.ops.prepare_images import PrepareImages


class InsEmbedHead(nn.Module):
    """A decoder with two branches. The centres' convolutions are plain even where all others are separable."""

    def __init__(self, config: schema.InsEmbedHead, levels: Levels) -> None:
        super().__init__()
        norm, is_separable = config.decoder.norm, config.decoder.use_depthwise_separable_conv
        self.scale = float(config.decoder.common_stride)
        self.decoder = Decoder(config.decoder, levels)
        widths = (self.decoder.out_channels, self.decoder.out_channels, config.head_channels)
        self.center_head = two_convs(widths, norm=norm, is_separable=False)
        self.center_predictor = nn.Conv2d(config.head_channels, 1, kernel_size=1)
        self.offset_head = two_convs(widths, norm=norm, is_separable=is_separable)
        self.offset_predictor = nn.Conv2d(config.head_channels, 2, kernel_size=1)

    def forward(self, features: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """{level: [N,C,H/stride,W/stride]} -> centre heat map [N,1,H,W]; offsets [N,2,H,W], y and x, input pixels."""
        decoded = self.decoder(features)
        center = enlarged(self.center_predictor(self.center_head(decoded)), self.scale)
        # Beyond the middle of the last cell all are equal, and a peak there is as many centres as it has pixels. ONNX
        # Runtime mixes the cell with itself, and rounds each row otherwise.
        center = last_repeated(center, count=int(self.scale) // 2 - 1)
        offset = enlarged(self.offset_predictor(self.offset_head(decoded)), self.scale) * self.scale
        return center, offset


def last_repeated(x: Tensor, count: int) -> Tensor:
    """x[N,C,H,W], its last `count` rows made equal to the one before them, and the same of its columns."""
    if count < 1:
        return x
    x = torch.cat([x[:, :, :-count]] + [x[:, :, -count - 1 : -count]] * count, dim=2)
    return torch.cat([x[:, :, :, :-count]] + [x[:, :, :, -count - 1 : -count]] * count, dim=3)


class PanopticDeepLab(nn.Module):
    """The core: tensors in, tensors out."""

    def __init__(
        self, *, prepare: PrepareImages, backbone: nn.Module, sem_seg_head: nn.Module, ins_embed_head: nn.Module
    ) -> None:
        super().__init__()
        self.prepare = prepare
        self.backbone = backbone
        self.sem_seg_head = sem_seg_head
        self.ins_embed_head = ins_embed_head

    def forward(self, images: Tensor, image_sizes: Tensor) -> list[Tensor]:
        """images[N,3,H,W] raw 0..255, image_sizes[N,2] int64 -> sem_seg[N,K,H,W], center[N,1,H,W], offset[N,2,H,W].

        H and W of the outputs as padded inside. Offsets are y and x, pixels of the network's input.
        """
        features = self.backbone(self.prepare(images, image_sizes))
        center, offset = self.ins_embed_head(features)
        return [self.sem_seg_head(features), center, offset]


def build_panoptic_deeplab(config: schema.PanopticDeepLab, prepare: PrepareImages, backbone: Any) -> PanopticDeepLab:
    """The network of `config` on `backbone`; the config may ask for more padding than the backbone needs."""
    return PanopticDeepLab(
        prepare=PrepareImages(
            mean=tuple(prepare.mean),
            std=tuple(prepare.std),
            size_divisor=config.size_divisibility or prepare.size_divisor,
        ),
        backbone=backbone,
        sem_seg_head=build_sem_seg_head(config.sem_seg, backbone),
        ins_embed_head=InsEmbedHead(config.ins_embed, levels_with(backbone, config.ins_embed.decoder.in_features)),
    )
