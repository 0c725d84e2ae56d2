"""DensePose's heads: what is pooled from a box to features of each cell (v1convx.py, deeplab.py)."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.alias import Alias
from d2deploy.models.aspp import resized
from d2deploy.models.conv import Conv2d
from d2deploy.models.norm import GroupNorm

_DILATIONS = (6, 12, 56)  # fixed in deeplab.py


class DensePoseHead(nn.Module):
    """DensePoseV1ConvXHead: body_conv_fcn1..; DensePoseDeepLabHead has ASPP, and perhaps NLBlock, before them."""

    def __init__(self, config: schema.DensePoseHead, *, in_channels: int) -> None:
        super().__init__()
        first: list[str] = []
        if config.is_deeplab:
            first.append("ASPP")
            self.ASPP = ASPP(in_channels, side=config.pooler.resolution)
        if config.use_nonlocal:
            first.append("NLBlock")
            self.NLBlock = NonLocalBlock(in_channels)
        channels = in_channels
        names = [f"body_conv_fcn{i}" for i in range(1, len(config.conv_dims) + 1)]
        for name, dim in zip(names, config.conv_dims, strict=True):
            conv = Conv2d(channels, dim, kernel_size=config.kernel_size, norm=config.norm, relu=True)
            self.add_module(name, conv)
            channels = dim
        self.out_channels = channels
        self.layers = Alias(self, [*first, *names])

    def forward(self, pooled: Tensor) -> Tensor:
        """pooled[D,C,S,S] -> [D,out_channels,S,S]."""
        x = pooled
        for layer in self.layers:
            x = layer(x)
        return x


class ASPP(nn.Module):
    """Convolutions of several dilations side by side, and the mean of the whole map.

    Not models/aspp.py: there the norms lie in the convolutions, here beside them, and the last one has none.
    """

    def __init__(self, channels: int, *, side: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList([_normed(nn.Conv2d(channels, channels, kernel_size=1, bias=False))])
        self.convs.extend(_normed(DilatedConv(channels, dilation=dilation, side=side)) for dilation in _DILATIONS)
        mean = nn.Conv2d(channels, channels, kernel_size=1, bias=False)
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *_normed(mean)))
        self.project = nn.Sequential(nn.Conv2d(5 * channels, channels, kernel_size=1, bias=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """x[D,C,S,S] -> the same shape."""
        parts: list[Tensor] = []
        for conv in self.convs:
            parts.append(conv(x))
        parts[-1] = resized(parts[-1], like=x)
        projected: Tensor = self.project(torch.cat(parts, dim=1))
        return projected


def _normed(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, GroupNorm(conv.out_channels), nn.ReLU())


class DilatedConv(nn.Conv2d):
    """A 3x3 convolution of maps of `side` x `side`. Where only its middle can lie on the map, that alone counts."""

    def __init__(self, channels: int, *, dilation: int, side: int) -> None:
        super().__init__(channels, channels, kernel_size=3, padding=dilation, dilation=dilation, bias=False)
        self.is_middle_alone = dilation >= side

    def forward(self, x: Tensor) -> Tensor:
        """x[D,C,side,side] -> the same shape."""
        if self.is_middle_alone:
            return nn.functional.conv2d(x, self.weight[:, :, 1:2, 1:2])
        return nn.functional.conv2d(x, self.weight, padding=self.padding, dilation=self.dilation)


class HalvingMax(nn.Module):
    """The largest of each 2x2 cells. Not MaxPool2d, which OpenVINO refuses where there is no box."""

    def forward(self, x: Tensor) -> Tensor:
        """x[D,C,H,W] -> [D,C,H/2,W/2], rounded down."""
        height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
        rows = torch.maximum(x[:, :, 0:height:2], x[:, :, 1:height:2])
        return torch.maximum(rows[:, :, :, 0:width:2], rows[:, :, :, 1:width:2])


class NonLocalBlock(nn.Module):
    """Each cell also gets what is seen elsewhere, by likeness (Wang et al. 2018, embedded Gaussian, halved maps)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.g = nn.Sequential(nn.Conv2d(channels, inner, kernel_size=1), HalvingMax())
        self.W = nn.Sequential(nn.Conv2d(inner, channels, kernel_size=1), GroupNorm(channels))
        self.theta = nn.Conv2d(channels, inner, kernel_size=1)
        self.phi = nn.Sequential(nn.Conv2d(channels, inner, kernel_size=1), HalvingMax())

    def forward(self, x: Tensor) -> Tensor:
        """x[D,C,S,S] -> the same shape."""
        likeness = self.theta(x).flatten(2).transpose(1, 2) @ self.phi(x).flatten(2)
        seen = likeness.softmax(dim=-1) @ self.g(x).flatten(2).transpose(1, 2)
        summed: Tensor = x + self.W(seen.transpose(1, 2).unflatten(2, [x.shape[2], x.shape[3]]))
        return summed
