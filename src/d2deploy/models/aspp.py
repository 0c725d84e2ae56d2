"""Atrous spatial pyramid pooling: one map seen at several dilations, and its mean (detectron2 layers/aspp.py)."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.errors import ConfigError
from d2deploy.models.conv import Conv2d
from d2deploy.ops.window_mean import WindowMean


class SeparableConv(nn.Module):
    """A convolution channel by channel, then one of 1x1 over all channels; norm and ReLU after both."""

    def __init__(
        self, in_channels: int, out_channels: int, *, kernel_size: int, dilation: int = 1, norm: str = ""
    ) -> None:
        super().__init__()
        self.depthwise = Conv2d(
            in_channels,
            in_channels,
            kernel_size=kernel_size,
            dilation=dilation,
            groups=in_channels,
            norm=norm,
            relu=True,
        )
        self.pointwise = Conv2d(in_channels, out_channels, kernel_size=1, norm=norm, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> [N,out_channels,H,W]."""
        return self.pointwise(self.depthwise(x))


class ASPP(nn.Module):
    """`stride`: input pixels per cell of the map, for the size of the window whose mean is taken."""

    def __init__(self, config: schema.ASPP, *, in_channels: int, stride: int, norm: str, is_separable: bool) -> None:
        super().__init__()
        width = config.channels
        self.convs = nn.ModuleList([Conv2d(in_channels, width, kernel_size=1, norm=norm, relu=True)])
        for dilation in config.dilations:
            if is_separable:
                self.convs.append(SeparableConv(in_channels, width, kernel_size=3, dilation=dilation, norm=norm))
            else:
                self.convs.append(Conv2d(in_channels, width, kernel_size=3, dilation=dilation, norm=norm, relu=True))
        # No norm here, whatever the config says: in training the mean was a single cell.
        self.convs.append(nn.Sequential(_pooling(config, stride), Conv2d(in_channels, width, kernel_size=1, relu=True)))
        self.project = Conv2d(5 * width, width, kernel_size=1, norm=norm, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        """x[N,in_channels,H,W] -> [N,channels,H,W]."""
        parts: list[Tensor] = []
        for conv in self.convs:
            parts.append(conv(x))
        parts[-1] = resized(parts[-1], like=x)
        return self.project(torch.cat(parts, dim=1))


def resized(x: Tensor, *, like: Tensor) -> Tensor:
    """x[N,C,any] with height and width of `like`, bilinear."""
    return nn.functional.interpolate(x, size=[like.shape[2], like.shape[3]], mode="bilinear", align_corners=False)


def _pooling(config: schema.ASPP, stride: int) -> nn.Module:
    if config.crop_size is None:
        return nn.AdaptiveAvgPool2d(1)
    height, width = config.crop_size
    if height % stride or width % stride:
        raise ConfigError(
            f"INPUT.CROP.SIZE is {config.crop_size}; both numbers must be multiples of {stride}, the stride of the "
            f"feature level that ASPP pools."
        )
    return WindowMean(height // stride, width // stride)
