"""The mean of a window around each cell: DeepLab's image pooling."""

from torch import Tensor, nn


def window_mean(x: Tensor, rows: int, columns: int) -> Tensor:
    """The means of all windows of rows x columns cells that lie in the map: x[N,C,H,W] -> [N,C,H-rows+1,W-columns+1].

    Along an axis on which the map is smaller than the window there is one mean, over the whole axis. detectron2's ASPP
    (layers/aspp.py) refuses a map that is not a multiple of the window; for one that is, this is the same.
    """
    height, width = x.shape[2], x.shape[3]
    padded = nn.functional.pad(x, [0, max(columns - width, 0), 0, max(rows - height, 0)])
    # One axis after the other: the same mean for rows + columns additions a cell instead of rows * columns.
    means = nn.functional.avg_pool2d(nn.functional.avg_pool2d(padded, [rows, 1], 1), [1, columns], 1)
    return means * (rows * columns / (min(rows, height) * min(columns, width)))


class WindowMean(nn.Module):
    """`window_mean` with its window."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def forward(self, x: Tensor) -> Tensor:
        """See `window_mean`."""
        return window_mean(x, self.rows, self.columns)
