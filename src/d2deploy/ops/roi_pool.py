"""RoIPool over several feature levels and images at once, as one embedding_bag: a bin is a bag of cells.

Plain ATen; sizes follow the data, and R may be 0. The rule is torchvision's (csrc/ops/cpu/roi_pool_kernel.cpp).
"""

import torch
from torch import Tensor, nn

from d2deploy.ops.roi_align import cell_table


def nearest_whole(x: Tensor) -> Tensor:
    """x rounded, halves away from zero as C's round does; torch's round takes halves to the even number."""
    whole = x.trunc()
    return whole + torch.where((x - whole).abs() >= 0.5, x.sign(), torch.zeros_like(x))


def axis_bins(first: Tensor, last: Tensor, limit: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """The cells of each bin along one axis: first[R], last[R] a RoI's cells, whole numbers; limit[R] int64 cells there.

    -> int64 [R,bins] the first cell of each bin and how many; bins overlap where the RoI does not divide evenly, and
    have none outside the map.
    """
    side = (last - first + 1).clamp(min=1) / bins
    number = torch.arange(bins, dtype=first.dtype, device=first.device)
    most = limit[:, None].to(first.dtype)
    begin = ((number * side[:, None]).floor() + first[:, None]).clamp(min=0).minimum(most).to(torch.int64)
    end = (((number + 1) * side[:, None]).ceil() + first[:, None]).clamp(min=0).minimum(most).to(torch.int64)
    return begin, (end - begin).clamp(min=0)


def roi_pool(
    features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor, scales: list[float], size: int
) -> Tensor:
    """The largest cell in each bin of each box, corners rounded to cells; 0 in a bin without cells.

    features: one [N,C,H,W] a level, scales: its cells per input pixel; boxes[R,4] input pixels, image_index[R] and
    levels[R] int64: the image and level each box is pooled from -> [R,C,size,size].
    """
    device = boxes.device
    heights = torch.tensor([f.shape[2] for f in features], dtype=torch.int64, device=device)
    widths = torch.tensor([f.shape[3] for f in features], dtype=torch.int64, device=device)
    cells = heights * widths
    before = (cells * features[0].shape[0]).cumsum(0) - cells * features[0].shape[0]
    base = before[levels] + image_index * cells[levels]

    scaled = boxes * torch.tensor(scales, dtype=boxes.dtype, device=device)[levels][:, None]
    x1, y1, x2, y2 = nearest_whole(scaled).unbind(1)
    row_first, row_count = axis_bins(y1, y2, heights[levels], size)
    col_first, col_count = axis_bins(x1, x2, widths[levels], size)

    # Bag b = (roi, bin row, bin column) holds the cells of its rows and columns.
    per_bag = (row_count[:, :, None] * col_count[:, None, :]).reshape(-1)
    offsets = per_bag.cumsum(0) - per_bag
    bag = torch.repeat_interleave(per_bag)
    k = torch.arange(bag.shape[0], device=device) - offsets[bag]
    roi = bag // (size * size)
    bin_row, bin_col = bag // size, roi * size + bag % size
    columns = col_count.reshape(-1)[bin_col]
    row = row_first.reshape(-1)[bin_row] + k // columns
    col = col_first.reshape(-1)[bin_col] + k % columns
    index = base[roi] + row * widths[levels][roi] + col
    pooled = nn.functional.embedding_bag(index, cell_table(features), offsets, mode="max")
    return pooled.reshape(-1, size, size, features[0].shape[1]).permute(0, 3, 1, 2)


class RoIPool(nn.Module):
    """`roi_pool` with its constants."""

    def __init__(self, *, scales: tuple[float, ...], size: int) -> None:
        super().__init__()
        self.scales, self.size = list(scales), size

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        """See `roi_pool`."""
        return roi_pool(features, boxes, image_index, levels, self.scales, self.size)
