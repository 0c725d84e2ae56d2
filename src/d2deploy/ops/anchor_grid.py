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


def anchor_grid(feature: Tensor, cell: list[list[float]], stride: int, offset: float) -> Tensor:
    """All anchors of feature[N,C,H,W] -> [H*W*A,4], row by row, the cell's anchors innermost; [H*W*A,5] if rotated.

    Cell (y, x) is centred at ((x + offset) * stride, (y + offset) * stride) input pixels; detectron2's
    offset is 0: the corner of the cell, not its middle.
    """
    height, width = feature.shape[-2], feature.shape[-1]
    xs = (torch.arange(width, dtype=torch.float32, device=feature.device) + offset) * stride
    ys = (torch.arange(height, dtype=torch.float32, device=feature.device) + offset) * stride
    xs_HW = xs[None, :].expand(height, width).reshape(-1)
    ys_HW = ys[:, None].expand(height, width).reshape(-1)
    shifts = torch.stack((xs_HW, ys_HW, xs_HW, ys_HW), dim=1)
    if len(cell[0]) == 5:  # width, height and angle stay
        shifts = nn.functional.pad(shifts[:, :2], [0, 3])
    anchors = torch.tensor(cell, dtype=torch.float32, device=feature.device)
    return (shifts[:, None] + anchors[None]).reshape(-1, shifts.shape[1])


class AnchorGrid(nn.Module):
    """`anchor_grid` with the constants of one feature level."""

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

    def forward(self, feature: Tensor) -> Tensor:
        """See `anchor_grid`."""
        return anchor_grid(feature, self.cell, self.stride, self.offset)
