"""Twins of layers: preparation of images, deformable convolution, the mean of a window."""

from typing import Any

import torch
from torch import Tensor, nn

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.ops.prepare_images import PrepareImages
from d2deploy.ops.window_mean import WindowMean as WindowMeanOp

ops = torch.ops.d2deploy


class Prepare(nn.Module):
    """A PrepareImages, as one node."""

    def __init__(self, op: PrepareImages) -> None:
        super().__init__()
        self.mean, self.std, self.divisor, self.square = op.mean, op.std, op.size_divisor, op.square_size

    def forward(self, images: Tensor, image_sizes: Tensor) -> Tensor:
        """See ops/prepare_images.py."""
        return ops.caffe2_prepare(images, image_sizes, self.mean, self.std, self.divisor, self.square)


class DeformConv(nn.Conv2d):
    """A DeformConv: what its taps read, as one node, then a product with the weights.

    A convolution, so that the norm after it is multiplied into its weights as into others'.
    """

    def __init__(self, part: Any) -> None:
        out_channels, in_channels = part.weight.shape[0], part.weight.shape[1] * part.groups
        super().__init__(in_channels, out_channels, 3, groups=part.groups, bias=False, device="meta")
        self.weight, self.norm, op = part.weight, part.norm, part.sample
        self.rule = op.kernel, op.stride, op.padding, op.dilation, op.groups, part.groups

    def forward(  # type: ignore[override]
        self, x: Tensor, offset: Tensor, mask: Tensor | None
    ) -> Tensor:
        """See models/deform_conv.py."""
        read = ops.caffe2_deform(x, offset, mask, *self.rule)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)  # taps, then channels, as they were read
        if self.groups == 1:
            out = nn.functional.linear(read, weight, self.bias).permute(0, 3, 1, 2)
        else:
            by_channel = read.permute(0, 3, 1, 2)
            out = nn.functional.conv2d(by_channel, weight[:, :, None, None], self.bias, groups=self.groups)
        if self.norm is not None:
            out = self.norm(out)
        return nn.functional.relu_(out)


class WindowMean(nn.Module):
    """A WindowMean, as one node."""

    def __init__(self, op: WindowMeanOp) -> None:
        super().__init__()
        self.rows, self.columns = op.rows, op.columns

    def forward(self, x: Tensor) -> Tensor:
        """See ops/window_mean.py."""
        return ops.caffe2_window_mean(x, self.rows, self.columns)
