"""Deformable convolution, version 1 (offsets) and 2 (offsets and weights), in plain ATen."""

import torch
from torch import Tensor, nn

from d2deploy.models.norm import make_norm
from d2deploy.ops.deform_sample import DeformSample


class DeformConv(nn.Module):
    """A 3x3 convolution whose taps move: samples first, then one matrix product (detectron2 deform_conv.py)."""

    composite = "DeformConv"  # what a format that has operators for the whole part knows it by

    def __init__(
        self, channels: int, *, stride: int, dilation: int, groups: int, deform_groups: int, norm: str
    ) -> None:
        super().__init__()
        self.groups, self.deform_groups = groups, deform_groups
        self.weight = nn.Parameter(torch.empty(channels, channels // groups, 3, 3))
        self.norm = make_norm(norm, channels)
        self.sample = DeformSample(kernel=3, stride=stride, padding=dilation, dilation=dilation, groups=deform_groups)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        """x[N,C,H,W], offset[N,18*g,H',W'], mask[N,9*g,H',W'] (version 2) or None -> [N,C,H',W'], after the norm."""
        sampled = self.sample(x, offset)
        images, cells, channels = sampled.shape[0], sampled.shape[1], self.weight.shape[0]
        if mask is not None:
            weights = mask.reshape(images, self.deform_groups, 9, -1, 1).permute(0, 3, 2, 1, 4)
            parts = sampled.reshape(images, cells, 9, self.deform_groups, -1)
            sampled = (parts * weights).reshape(images, cells, 9, channels)
        # Per group of channels one matrix product of [cells, taps and channels] with the weights in the same order.
        columns = sampled.reshape(images * cells, 9, self.groups, -1).permute(2, 0, 1, 3).flatten(2)
        weight = self.weight.reshape(self.groups, channels // self.groups, -1, 9).transpose(2, 3).flatten(2)
        out = (columns @ weight.transpose(1, 2)).transpose(0, 1).reshape(images, cells, channels)
        out = out.transpose(1, 2).reshape(images, channels, offset.shape[2], offset.shape[3])
        if self.norm is not None:
            out = self.norm(out)
        return nn.functional.relu_(out)
