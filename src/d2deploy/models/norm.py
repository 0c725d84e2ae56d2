"""Normalisation layers by their config names."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from d2deploy.errors import ConfigError


class FrozenBatchNorm2d(nn.Module):
    """Batch norm with fixed statistics: four buffers, no parameters (detectron2 batch_norm.py, eps 1e-5)."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.register_buffer("weight", torch.ones(channels))
        self.register_buffer("bias", torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        # Not ones - eps: arithmetic on the meta device makes torch import its compiler, two seconds.
        self.register_buffer("running_var", torch.full([channels], 1 - self.eps))

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> the same shape."""
        return nn.functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, training=False, eps=self.eps
        )


class LayerNorm(nn.Module):
    """Normalises the channels of each cell by themselves (detectron2 batch_norm.py, eps 1e-6)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.shape, self.eps = [channels], 1e-6
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> the same shape."""
        cells = x.permute(0, 2, 3, 1)
        return nn.functional.layer_norm(cells, self.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


_GROUPS = 32


class GroupNorm(nn.Module):
    """Normalises 32 groups of channels, each over the whole map (detectron2's GN, eps 1e-5).

    Not torch's module: that refuses groups of one value, as 32 channels have on the last level of a small image.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        if channels % _GROUPS:
            raise ConfigError(
                f"NORM GN has {_GROUPS} groups of channels, and a layer has {channels}. Choose another NORM."
            )
        self.groups, self.eps = _GROUPS, 1e-5
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """x[N,C,H,W] -> the same shape."""
        return torch.group_norm(x, self.groups, self.weight, self.bias, self.eps)


# SyncBN differs from BN only in how training gathers statistics.
NORMS: dict[str, Callable[[int], nn.Module]] = {
    "FrozenBN": FrozenBatchNorm2d,
    "BN": nn.BatchNorm2d,
    "SyncBN": nn.BatchNorm2d,
    "nnSyncBN": nn.BatchNorm2d,
    "naiveSyncBN": nn.BatchNorm2d,
    "naiveSyncBN_N": nn.BatchNorm2d,
    "GN": GroupNorm,
    "LN": LayerNorm,
}


def make_norm(name: str, channels: int) -> nn.Module | None:
    """The norm called `name` for `channels` channels; None for "". Raises ConfigError for an unknown name."""
    if not name:
        return None
    if name not in NORMS:
        raise ConfigError(f"NORM {name!r} is not supported. Supported: {', '.join(NORMS)} and ''.")
    return NORMS[name](channels)
