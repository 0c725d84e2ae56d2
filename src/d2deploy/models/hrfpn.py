"""The pyramid on HRNet: branches of one size, joined, then reduced to p1, p2, ... (projects/DensePose, hrfpn.py)."""

import torch
from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.models.hrnet import BESIDE, HRNet
from d2deploy.ops.crop import Crop
from d2deploy.ops.least_size import PadToLeast

_FINEST = 4  # stride of p1
_KERNEL = 4  # side of the transposed convolutions


class Reduction(nn.Sequential):
    """A convolution over windows of `factor` x `factor` cells that touch each other, batch norm and ReLU."""

    norm_beside = BESIDE

    def __init__(self, before: int, after: int, *, factor: int) -> None:
        conv = nn.Conv2d(before, after, factor, stride=factor)
        super().__init__(conv, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


class HRFPN(nn.Module):
    """Every transposed convolution has the kernel 4, so a branch of n cells comes out as (n - 1) * stride + 4.

    That is less the coarser the branch: all are cut to the last one's size, and that to a multiple of the coarsest
    level's cells.
    """

    def __init__(self, config: schema.HRFPN, bottom_up: HRNet) -> None:
        super().__init__()
        widths = bottom_up.branch_channels
        factors = [2**level for level in range(config.num_levels)]
        self.pad_to_least = PadToLeast(least_size(branches=len(widths), levels=config.num_levels))
        self.bottom_up = bottom_up
        self.interp_conv = nn.ModuleList(_enlarging(width, 2**i) for i, width in enumerate(widths))
        self.reduction_pooling_conv = nn.ModuleList(
            Reduction(sum(widths), config.out_channels, factor=factor) for factor in factors
        )
        self.fpn_conv = nn.ModuleList(
            nn.Conv2d(config.out_channels, config.out_channels, kernel_size=3, padding=1) for _ in factors
        )
        self.level_names = [f"p{level + 1}" for level in range(config.num_levels)]
        self.crop = Crop()
        self.crops = nn.ModuleList(map(Crop, reversed(factors)))
        self.out_channels = dict.fromkeys(self.level_names, config.out_channels)
        self.out_strides = {name: _FINEST * factor for name, factor in zip(self.level_names, factors, strict=True)}
        self.size_divisor = 0
        self.square_size = 0

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """images[N,3,H,W] -> {level: [N,C,h,w]}; in the official network p1's h is up to 16 below H/4.

        Images too small to give each level a cell are padded with zeros.
        """
        branches = self.bottom_up(self.pad_to_least(images))
        enlarged: list[Tensor] = []
        for i, enlarge in enumerate(self.interp_conv):
            enlarged.append(enlarge(branches[i]))
        joined = torch.cat([self.crop(branch, enlarged[-1]) for branch in enlarged], dim=1)
        reduced: list[Tensor] = []
        for reduce in self.reduction_pooling_conv:
            reduced.append(reduce(joined))
        features: dict[str, Tensor] = {}
        for i, (crop, conv) in enumerate(zip(self.crops, self.fpn_conv)):
            features[self.level_names[i]] = conv(crop(reduced[i], reduced[-1]))
        return features


def least_size(*, branches: int, levels: int) -> int:
    """Height and width below which detectron2's HRFPN raises: its coarsest level would have no cell."""
    stride = 2 ** (branches - 1)
    cells = max(-(-(2 ** (levels - 1) - _KERNEL) // stride) + 1, 1)
    return _FINEST * stride * (cells - 1) + 1


def _enlarging(channels: int, stride: int) -> nn.Sequential:
    conv = nn.ConvTranspose2d(channels, channels, kernel_size=_KERNEL, stride=stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
