"""Anchors: the same few boxes at every cell of a feature level."""

import torch
from torch import Tensor, nn


def cell_anchors(sizes: tuple[float, ...], aspect_ratios: tuple[float, ...]) -> list[list[float]]:
    """The anchors of one cell, centred at 0: sizes outermost, then aspect ratios (height / width).

    detectron2's DefaultAnchorGenerator: area = size squared, width = sqrt(area / ratio), not rounded.
    """
    anchors = []
    for size in sizes:
        for ratio in aspect_ratios:
            width = (size * size / ratio) ** 0.5
            height = ratio * width
            anchors.append([-width / 2, -height / 2, width / 2, height / 2])
    return anchors


def rotated_cell_anchors(upright: list[list[float]], angles: tuple[float, ...]) -> list[list[float]]:
    """Each anchor turned by every angle, angles innermost: center x, center y, width, height, degrees.

    detectron2's RotatedAnchorGenerator.
    """
    return [[0.0, 0.0, x2 - x1, y2 - y1, float(angle)] for x1, y1, x2, y2 in upright for angle in angles]


def anchors_at(index: Tensor, width: int, cell: list[list[float]], stride: int, *, offset: float) -> Tensor:
    """The anchors index[...] int64 of a feature level that is `width` cells wide -> [...,4]; [...,5] if rotated.

    They are numbered row by row, the cell's anchors innermost. Cell (y, x) is centred at ((x + offset) * stride,
    (y + offset) * stride) input pixels; detectron2's offset is 0: the corner of the cell, not its middle.
    """
    place = index.div(len(cell), rounding_mode="floor")
    row = place.div(width, rounding_mode="floor")
    x = ((place - row * width).float() + offset) * stride
    y = (row.float() + offset) * stride
    shift = torch.stack((x, y, x, y), dim=-1)
    if len(cell[0]) == 5:  # width, height and angle stay
        shift = nn.functional.pad(shift[..., :2], [0, 3])
    return shift + torch.tensor(cell, dtype=torch.float32, device=index.device)[index - place * len(cell)]


class AnchorGrid(nn.Module):
    """`anchors_at` with the constants of one feature level. The whole grid is never made: few of it are looked at."""

    def __init__(
        self,
        *,
        sizes: tuple[float, ...],
        aspect_ratios: tuple[float, ...],
        angles: tuple[float, ...] = (),
        stride: int,
        offset: float,
    ) -> None:
        super().__init__()
        upright = cell_anchors(sizes, aspect_ratios)
        self.cell = rotated_cell_anchors(upright, angles) if angles else upright
        self.stride, self.offset = stride, float(offset)

    def forward(self, feature: Tensor, index: Tensor) -> Tensor:
        """feature[N,C,H,W] of the level, index[N,K] -> [N,K,4 or 5]: see `anchors_at`."""
        return anchors_at(index, feature.shape[-1], self.cell, self.stride, offset=self.offset)
