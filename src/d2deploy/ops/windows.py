"""Feature maps in windows and back: attention looks only at the cells of a cell's own window."""

import torch
from torch import Tensor, nn


def window_partition(x: Tensor, size: int, shift: int) -> Tensor:
    """x[N,H,W,C] -> windows[N*R*K,size,size,C]: image by image, R rows of K windows, zeros beyond the border.

    The map is padded below and to the right; it is then rolled, up and to the left, by `shift` cells (detectron2
    backbone/utils.py and swin.py).
    """
    rows, columns = window_count(x.shape[1], size), window_count(x.shape[2], size)
    padded = nn.functional.pad(x, [0, 0, 0, columns * size - x.shape[2], 0, rows * size - x.shape[1]])
    if shift > 0:
        padded = padded.roll([-shift, -shift], [1, 2])
    parts = padded.reshape(x.shape[0], rows, size, columns, size, x.shape[3])
    return parts.permute(0, 1, 3, 2, 4, 5).reshape(-1, size, size, x.shape[3])


def window_merge(windows: Tensor, like: Tensor, shift: int) -> Tensor:
    """What `window_partition` undone gives: windows[N*R*K,size,size,C] -> [N,H,W,C], for like[N,H,W,any]."""
    height, width, size = like.shape[1], like.shape[2], windows.shape[1]
    rows, columns = window_count(height, size), window_count(width, size)
    parts = windows.reshape(like.shape[0], rows, columns, size, size, windows.shape[3])
    whole = parts.permute(0, 1, 3, 2, 4, 5).reshape(like.shape[0], rows * size, columns * size, windows.shape[3])
    if shift > 0:
        whole = whole.roll([shift, shift], [1, 2])
    return whole[:, :height, :width]


def window_count(cells: int, size: int) -> int:
    """How many windows of `size` cover so many cells."""
    return (cells + size - 1) // size


def shifted_window_mask(like: Tensor, size: int, shift: int) -> Tensor:
    """What to add to the attention between cells of a window of the rolled map: 0, or -100 where both were far apart.

    like[N,H,W,C], the map before `window_partition` -> [N*R*K,size^2,size^2]. Rolling brings the first `shift` rows and
    columns behind the last: a cell attends only to those that it was beside before (detectron2 swin.py).
    """
    row = _part(window_count(like.shape[1], size) * size, size, shift, like)
    column = _part(window_count(like.shape[2], size) * size, size, shift, like)
    part = (row[:, None] * 3 + column[None, :])[None, :, :, None].expand(like.shape[0], -1, -1, -1)
    of_windows = window_partition(part, size, 0).flatten(1)
    return (of_windows[:, None] != of_windows[:, :, None]).to(like.dtype) * -100.0


def _part(cells: int, size: int, shift: int, like: Tensor) -> Tensor:
    """Which of three parts of the map each row (or column) of the rolled map is in."""
    index = torch.arange(cells, device=like.device)
    return (index >= cells - size).to(torch.int64) + (index >= cells - shift).to(torch.int64)


def pad_to_windows(images: Tensor, size: int) -> Tensor:
    """images[N,C,H,W] with zeros below and to the right, up to whole windows of `size`."""
    height, width = images.shape[2], images.shape[3]
    return nn.functional.pad(
        images, [0, window_count(width, size) * size - width, 0, window_count(height, size) * size - height]
    )


def quarter(x: Tensor) -> Tensor:
    """Each 2x2 cells of x[N,H,W,C] as one -> [N,H/2,W/2,4*C], rounded up; zeros beyond the border.

    Channels: upper left, lower left, upper right, lower right (detectron2 swin.py, PatchMerging).
    """
    rows, columns = window_count(x.shape[1], 2), window_count(x.shape[2], 2)
    padded = nn.functional.pad(x, [0, 0, 0, columns * 2 - x.shape[2], 0, rows * 2 - x.shape[1]])
    parts = padded.reshape(x.shape[0], rows, 2, columns, 2, x.shape[3])
    return parts.permute(0, 1, 3, 4, 2, 5).flatten(3)


class WindowPartition(nn.Module):
    """`window_partition` with its sizes."""

    def __init__(self, size: int, shift: int = 0) -> None:
        super().__init__()
        self.size, self.shift = size, shift

    def forward(self, x: Tensor) -> Tensor:
        """See `window_partition`."""
        return window_partition(x, self.size, self.shift)


class WindowMerge(nn.Module):
    """`window_merge` with its shift."""

    def __init__(self, shift: int = 0) -> None:
        super().__init__()
        self.shift = shift

    def forward(self, windows: Tensor, like: Tensor) -> Tensor:
        """See `window_merge`."""
        return window_merge(windows, like, self.shift)


class ShiftedWindowMask(nn.Module):
    """`shifted_window_mask` with its sizes."""

    def __init__(self, size: int, shift: int) -> None:
        super().__init__()
        self.size, self.shift = size, shift

    def forward(self, like: Tensor) -> Tensor:
        """See `shifted_window_mask`."""
        return shifted_window_mask(like, self.size, self.shift)


class PadToWindows(nn.Module):
    """`pad_to_windows` with its window size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """See `pad_to_windows`."""
        return pad_to_windows(images, self.size)


class Quarter(nn.Module):
    """`quarter` as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """See `quarter`."""
        return quarter(x)
