"""Feature maps in windows and back: attention looks only at the cells of a cell's own window."""

import torch
from torch import Tensor, nn


def window_count(side: int, size: int) -> int:
    """How many windows of `size` cells cover `side` cells."""
    return (side + size - 1) // size


def window_partition(x: Tensor, size: int) -> Tensor:
    """x[N,H,W,C] -> windows[N*R*K,size,size,C]: image by image, R rows of K windows, zeros beyond the border.

    The map is padded below and to the right (detectron2 backbone/utils.py and swin.py).
    """
    height, width = x.shape[1], x.shape[2]
    rows, columns = window_count(height, size), window_count(width, size)
    padded = nn.functional.pad(x, [0, 0, 0, columns * size - width, 0, rows * size - height])
    parts = padded.reshape(x.shape[0], rows, size, columns, size, x.shape[3])
    return parts.permute(0, 1, 3, 2, 4, 5).reshape(-1, size, size, x.shape[3])


def window_merge(windows: Tensor, like: Tensor) -> Tensor:
    """What `window_partition` undone gives: windows[N*R*K,size,size,C] -> [N,H,W,C], for like[N,H,W,any]."""
    height, width, size = like.shape[1], like.shape[2], windows.shape[1]
    rows, columns = window_count(height, size), window_count(width, size)
    parts = windows.reshape(like.shape[0], rows, columns, size, size, windows.shape[3])
    whole = parts.permute(0, 1, 3, 2, 4, 5).reshape(like.shape[0], rows * size, columns * size, windows.shape[3])
    return whole[:, :height, :width]


def shifted_window_mask(like: Tensor, size: int, shift: int) -> Tensor:
    """What to add to the attention between cells of a window of the rolled map: 0, or -100 where both were far apart.

    like[N,H,W,C], the map before `window_partition` -> [N*R*K,size^2,size^2]. Rolling by `shift` brings the first
    rows and columns beside the last; a cell attends only to those it was beside before (detectron2 swin.py).
    """
    rows, columns = window_count(like.shape[1], size) * size, window_count(like.shape[2], size) * size
    part = _part(rows, size, shift, like)[:, None] * 3 + _part(columns, size, shift, like)[None, :]
    of_windows = window_partition(part[None, :, :, None].expand(like.shape[0], -1, -1, -1), size).flatten(1)
    return (of_windows[:, None] != of_windows[:, :, None]).to(like.dtype) * -100.0


def _part(cells: int, size: int, shift: int, like: Tensor) -> Tensor:
    """For each of `cells` rows or columns of the rolled map, which of three parts of the map it came from."""
    index = torch.arange(cells, device=like.device)
    return (index >= cells - size).to(torch.int64) + (index >= cells - shift).to(torch.int64)


class WindowPartition(nn.Module):
    """`window_partition` with its window size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """See `window_partition`."""
        return window_partition(x, self.size)


class WindowMerge(nn.Module):
    """`window_merge` as a module."""

    def forward(self, windows: Tensor, like: Tensor) -> Tensor:
        """See `window_merge`."""
        return window_merge(windows, like)


class ShiftedWindowMask(nn.Module):
    """`shifted_window_mask` with its sizes."""

    def __init__(self, size: int, shift: int) -> None:
        super().__init__()
        self.size, self.shift = size, shift

    def forward(self, like: Tensor) -> Tensor:
        """See `shifted_window_mask`."""
        return shifted_window_mask(like, self.size, self.shift)
