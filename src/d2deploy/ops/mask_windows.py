"""TensorMask's masks of chosen cells: from its dense maps, in which every cell has a window, to windows.

A window of size x size cells lies around a cell of a feature level. Its cells are as wide as those of the map that
the mask was predicted on, which is `factor` times finer than the level (TensorMask's paper, arXiv 1903.12174, and
detectron2's projects/TensorMask: arch.py, SwapAlign2Nat_cuda.cu).
"""

import torch
from torch import Tensor, nn


def enlarge(x: Tensor, like: Tensor, factor: int) -> Tensor:
    """x[N,C,h,w] `factor` times as large, cut to the size of like[N,any,H,W] -> [N,C,H,W]. Bilinear."""
    if factor > 1:
        x = nn.functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
    # Taken by numbers, not as a slice: torch.export could not tell that a slice is as large as `like`.
    rows = torch.arange(like.shape[2], device=x.device)
    columns = torch.arange(like.shape[3], device=x.device)
    return x.index_select(2, rows).index_select(3, columns)


def cell_windows(maps: Tensor, image_index: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Natural representation: maps[N,S*S,H,W] hold a cell's window in the cell's own channels.

    image_index[D], row[D], column[D] of the cells -> [D,S,S]; a cell beyond the map reads the nearest one.
    """
    height, width = maps.shape[2], maps.shape[3]
    index = (image_index * height + row.clamp(max=height - 1)) * width + column.clamp(max=width - 1)
    windows = maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])[index]
    side = int(maps.shape[1] ** 0.5)
    return windows.reshape(-1, side, side)


def natural_windows(maps: Tensor, cells: tuple[Tensor, Tensor, Tensor], *, factor: int, beyond: float) -> Tensor:
    """Aligned representation to the natural one, at chosen cells alone: SwapAlign2Nat.

    maps[N,V*V,H,W]: channel (v, u) at (y, x) is the logit of *the place (y, x)* in the window in which it is cell
    (v, u). cells: image[D], row[D], column[D] on a level `factor` times coarser -> [D,S,S], S = V * factor.
    Window cell (v, u) reads the map at y = row*factor + v - S/2 + 1/2 and the channels at (v + 1/2)/factor - 1/2; the
    same along x and u; linear in all four. What lies beyond the map or the channels is `beyond`.
    """
    size = int(maps.shape[1] ** 0.5)
    border = 1 + (size * factor + 1) % 2
    maps = _read_between(maps, border, beyond)
    height, width = maps.shape[2], maps.shape[3]
    image, row, column = cells
    place = torch.arange(size * factor, device=maps.device)
    step = place - size * factor // 2 + border
    y = (row[:, None] * factor + step).clamp(0, height - 1)
    x = (column[:, None] * factor + step).clamp(0, width - 1)
    channels = maps.reshape(-1, size, size, height, width)
    if factor == 1:  # every window cell has its channel
        of_rows = ((image[:, None] * size + place) * size * height + y) * width
        return channels.reshape(-1)[of_rows[:, :, None] + (place * height * width + x)[:, None]]
    flat = nn.functional.pad(channels, [0, 0, 0, 0, 1, 1, 1, 1], value=beyond).reshape(-1)
    position = (place + 0.5) / factor + 0.5  # the channel before the first is 0
    low = position.floor()
    fraction, side = position - low, size + 2
    first = low.to(torch.int64)
    of_rows = ((image[:, None] * side + first) * side * height + y) * width
    of_columns = first * height * width + x
    upper = _between_columns(flat, of_rows, of_columns, fraction, step=height * width)
    lower = _between_columns(flat, of_rows + side * height * width, of_columns, fraction, step=height * width)
    return torch.lerp(upper, lower, fraction[:, None])


def _read_between(maps: Tensor, border: int, beyond: float) -> Tensor:
    """maps[N,C,H,W] with a border of `beyond`: of 1, or of 2 and then the mean of 2x2 neighbours.

    Windows of an odd number of cells lie on the map's cells, those of an even number half a cell between.
    """
    padded = nn.functional.pad(maps, [border, border, border, border], value=beyond)
    return padded if border == 1 else nn.functional.avg_pool2d(padded, 2, stride=1)


def _between_columns(flat: Tensor, of_rows: Tensor, of_columns: Tensor, fraction: Tensor, *, step: int) -> Tensor:
    """flat[*] at of_rows[D,S] + of_columns[D,S], and as much of `step` further as fraction[S] says -> [D,S,S]."""
    index = of_rows[:, :, None] + of_columns[:, None]
    return torch.lerp(flat[index], flat[index + step], fraction)


class Enlarge(nn.Module):
    """`enlarge` with its factor."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        """See `enlarge`."""
        return enlarge(x, like, self.factor)


def windows_of(
    maps: Tensor, level: Tensor, cells: tuple[Tensor, Tensor], *, factor: int, beyond: float, is_aligned: bool
) -> Tensor:
    """maps[N,V*V,H,W], level[N,C,h,w] on which the cells lie; cells: image[D], number[D] in the level, row by row

    -> logits[D,S,S]: `natural_windows` where `is_aligned`, `cell_windows` where not.
    """
    image_index, number = cells
    row = number.div(level.shape[3], rounding_mode="floor")
    column = number - row * level.shape[3]
    if is_aligned:
        return natural_windows(maps, (image_index, row, column), factor=factor, beyond=beyond)
    return cell_windows(maps, image_index, row, column)


class MaskWindows(nn.Module):
    """`windows_of` with its constants, for some rows of a list."""

    def __init__(self, *, factor: int, is_aligned: bool) -> None:
        super().__init__()
        self.factor, self.is_aligned = factor, is_aligned
        self.beyond = -6.0  # SwapAlign2Nat's pad_val: a probability of 0.0025

    def forward(self, maps: Tensor, level: Tensor, cells: tuple[Tensor, Tensor], among: Tensor) -> Tensor:
        """See `windows_of`; among[D] bool -> logits[D,S,S] of those, and whatever of the others."""
        rows = among.nonzero()[:, 0]
        mine = cells[0][rows], cells[1][rows]
        windows = windows_of(maps, level, mine, factor=self.factor, beyond=self.beyond, is_aligned=self.is_aligned)
        empty = windows.new_zeros([among.shape[0], windows.shape[1], windows.shape[2]])
        return empty.index_copy(0, rows, windows)
