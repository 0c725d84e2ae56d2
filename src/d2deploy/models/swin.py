"""Swin transformer: attention within windows that every second block shifts by half their size."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.transformer import Mlp
from d2deploy.ops.position import AbsoluteMap
from d2deploy.ops.windows import ShiftedWindowMask, WindowMerge, WindowPartition


class PatchEmbed(nn.Module):
    """The first layer: zeros up to whole patches, a convolution of them, a norm."""

    def __init__(self, config: schema.SwinTransformer, in_channels: int) -> None:
        super().__init__()
        self.size = config.patch_size
        self.proj = nn.Conv2d(in_channels, config.embed_dim, kernel_size=self.size, stride=self.size)
        self.norm = nn.LayerNorm(config.embed_dim, eps=config.norm_eps) if config.patch_norm else None

    def forward(self, images: Tensor) -> Tensor:
        """images[N,3,H,W] -> [N,H/size,W/size,C], rounded up."""
        padding = [0, -images.shape[3] % self.size, 0, -images.shape[2] % self.size]
        x = self.proj(nn.functional.pad(images, padding)).permute(0, 2, 3, 1)
        if self.norm is not None:
            x = self.norm(x)
        return x
