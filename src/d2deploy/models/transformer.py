"""What the vision transformers have in common. Maps are channels last here: [N,H,W,C]."""

import torch
from torch import Tensor, nn


class PatchEmbed(nn.Module):
    """The first layer: a convolution from images to a map of patches."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.proj = nn.Conv2d(in_channels, out_channels, kernel_size=kernel, stride=stride, padding=padding)

    def forward(self, images: Tensor) -> Tensor:
        """images[N,3,H,W] -> [N,H/stride,W/stride,C]; what is left at the border is dropped."""
        return self.proj(images).permute(0, 2, 3, 1)


class Mlp(nn.Module):
    """Two linear layers on each cell."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """x[...,C] -> the same shape."""
        return self.fc2(self.act(self.fc1(x)))


def position_table(img_size: int, stride: tuple[int, int], *, cls_token: bool, channels: int) -> nn.Parameter:
    """A row for each patch of the square images of pre-training; before them, if so, one for a class token."""
    patches = (img_size // stride[0]) * (img_size // stride[1])
    return nn.Parameter(torch.zeros(1, patches + int(cls_token), channels))
