"""The convolutions of a dense head: the same ones on every feature level."""

from typing import Final

import torch
from torch import Tensor, nn

from d2deploy.models.alias import Alias
from d2deploy.models.norm import make_norm

# With these, detectron2 gives each level statistics of its own (RetinaNetHead); other batch norms share theirs.
_PER_LEVEL = ("BN", "SyncBN")


class LevelNorm(nn.Module):
    """Batch norm with statistics of each level, in the children 0, 1, ..., and one weight and bias for all.

    detectron2's CycleBatchNormList (layers/batch_norm.py), which counts calls instead of being told the level.
    """

    def __init__(self, channels: int, *, levels: int) -> None:
        super().__init__()
        for level in range(levels):
            self.add_module(str(level), nn.BatchNorm2d(channels, affine=False))
        self.levels = Alias(self, map(str, range(levels)))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """x[N,C,H,W] of a level, counted from 0 -> the same shape."""
        for number, norm in enumerate(self.levels):
            if number == level:
                x = norm(x)
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Tower(nn.Module):
    """3x3 convolutions of `dims` channels (-1: as many as come in), with a bias each, then norm and ReLU.

    As in detectron2's RetinaNetHead, children are called by their place, and ReLU takes one too: 0, 1 (norm), 3, 4,
    ..., or without a norm 0, 2, ...
    """

    has_norm: Final[bool]
    is_per_level: Final[bool]

    def __init__(self, channels: int, dims: tuple[int, ...], *, norm: str, levels: int) -> None:
        super().__init__()
        self.has_norm = bool(norm)
        self.is_per_level = norm in _PER_LEVEL
        step = 3 if norm else 2
        for place, given in enumerate(dims):
            dim = channels if given == -1 else given
            self.add_module(str(place * step), nn.Conv2d(channels, dim, kernel_size=3, padding=1))
            if self.is_per_level:
                self.add_module(str(place * step + 1), LevelNorm(dim, levels=levels))
            elif norm:
                self.add_module(str(place * step + 1), make_norm(norm, dim))
            channels = dim
        places = range(0, len(dims) * step, step)
        self.convs = Alias(self, map(str, places))
        self.norms = Alias(self, (str(place + 1) for place in places if norm))
        self.out_channels = channels

    def forward(self, x: Tensor, level: int) -> Tensor:
        """x[N,C,H,W] of a level, counted from 0 -> [N,out_channels,H,W]."""
        if self.is_per_level:
            for conv, norm in zip(self.convs, self.norms):
                x = nn.functional.relu_(norm(conv(x), level))
        elif self.has_norm:
            for conv, norm in zip(self.convs, self.norms):
                x = nn.functional.relu_(norm(conv(x)))
        else:
            for conv in self.convs:
                x = nn.functional.relu_(conv(x))
        return x
