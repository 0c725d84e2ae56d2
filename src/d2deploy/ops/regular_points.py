"""A regular grid of points."""

import torch
from torch import Tensor, nn


def regular_points(rows: Tensor, side: int) -> Tensor:
    """The centres of side x side cells, row by row, once for each of rows[R,...]

    -> [R,side*side,2] float32, x and y from 0 to 1.
    """
    centre = (torch.arange(side, device=rows.device) + 0.5) / side
    x, y = centre.expand(side, side), centre[:, None].expand(side, side)
    return torch.stack((x, y), dim=-1).reshape(1, side * side, 2).expand(rows.shape[0], -1, -1)


class RegularPoints(nn.Module):
    """`regular_points` with its constant."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, rows: Tensor) -> Tensor:
        """See `regular_points`."""
        return regular_points(rows, self.side)
