"""RoIAlign over several feature levels and images at once, as one embedding_bag.

All levels lie channels-last in one table of cells; an output bin is one bag of (row, column) cells with weights.
A bin's bilinear samples fall into few rows and columns, and their weights factor into rows times columns, so each axis
is worked out alone and equal cells are merged: (g + 1)^2 reads a bin instead of 4 g^2 for g samples a side.
Everything is plain ATen, sizes follow the data, and R may be 0.
"""

import torch
from torch import Tensor, nn


def axis_samples(
    start: Tensor, length: Tensor, limit: Tensor, samples: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Where the samples of each RoI fall along one axis; samples[R]: how many a RoI has, the rest as in `axis_cells`.

    -> for each of S samples its RoI, its number within the RoI, the two cells it lies between, all int64, and the
    weights of those cells, float32. A sample over one cell outside weighs nothing (torchvision roi_align_common.h).
    """
    roi = torch.repeat_interleave(samples)
    number = torch.arange(roi.shape[0], device=roi.device) - (samples.cumsum(0) - samples)[roi]
    step = (length / samples.clamp(min=1))[roi]
    position = start[roi] + (number.to(start.dtype) + 0.5) * step
    size = limit[roi]
    inside = ((position >= -1) & (position <= size)).to(start.dtype)
    position = position.clamp(min=0).minimum((size - 1).to(start.dtype))
    low = position.floor().to(torch.int64)
    fraction = position - low.to(start.dtype)
    return roi, number, low, (low + 1).minimum(size - 1), inside * (1 - fraction), inside * fraction


def axis_cells(
    start: Tensor, length: Tensor, limit: Tensor, *, bins: int, sampling_ratio: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Cells and weights of each bin along one axis.

    start[R], length[R]: where a RoI begins and how long it is, in cells; limit[R] int64: cells on that axis.
    -> first[R*bins] and count[R*bins] int64: each bin's stretch of the flat lists cells[E] int64, weights[E] float32.
    A bin's weights sum to 1 where all its samples are inside.
    """
    if sampling_ratio > 0:
        grid = torch.full_like(limit, sampling_ratio)
    else:
        grid = (length / bins).ceil().to(torch.int64).clamp(min=0)
    roi, number, low, high, low_weight, high_weight = axis_samples(start, length, limit, grid * bins)
    grid_s = grid[roi]
    bin_s = roi * bins + number // grid_s

    # Each bin's stretch: the cells between its first and last sample or, when those are far apart or run backwards
    # (an inverted box), two cells a sample.
    grid_b = grid[:, None].expand(-1, bins).reshape(-1)
    empty = grid_b == 0
    begin = grid_b.cumsum(0) - grid_b
    # One spare entry, so that looking up the first sample of an empty bin stays in range.
    lowest = nn.functional.pad(low, [0, 1])[begin.masked_fill(empty, 0)]
    span = nn.functional.pad(high, [0, 1])[(begin + grid_b - 1).masked_fill(empty, 0)] - lowest + 1
    merged = (span <= 2 * grid_b) & (length >= 0)[:, None].expand(-1, bins).reshape(-1)
    count = torch.where(merged, span, 2 * grid_b).masked_fill(empty, 0)
    first = count.cumsum(0) - count

    pair = 2 * (number % grid_s)
    low_slot = first[bin_s] + torch.where(merged[bin_s], low - lowest[bin_s], pair)
    high_slot = first[bin_s] + torch.where(merged[bin_s], high - lowest[bin_s], pair + 1)
    total = torch.repeat_interleave(count)
    share = grid_s.to(start.dtype)
    weights = torch.zeros_like(total, dtype=start.dtype)
    weights = weights.index_add(0, low_slot, low_weight / share).index_add(0, high_slot, high_weight / share)
    cells = torch.zeros_like(total).scatter(0, low_slot, low).scatter(0, high_slot, high)
    return first, count, cells, weights


def cell_table(features: list[Tensor]) -> Tensor:
    """Every cell of features[L] of [N,C,H,W] as a row: [sum(N*H*W),C], level by level, image by image."""
    return torch.cat([f.permute(0, 2, 3, 1).reshape(-1, f.shape[1]) for f in features])


def roi_align(
    features: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: list[float],
    size: int,
    sampling_ratio: int,
    aligned: bool,
) -> Tensor:
    """Average of bilinear samples in each bin of each box.

    features: one [N,C,H,W] a level, scales: its cells per input pixel; boxes[R,4] input pixels, image_index[R] and
    levels[R] int64: the image and level each box is pooled from -> [R,C,size,size].
    sampling_ratio: samples per bin side, 0: ceil(box / size) in cells. aligned: detectron2's ROIAlignV2, boxes shifted
    by half a cell, of any size; not aligned: ROIAlign, at least one cell wide and high.
    """
    device = boxes.device
    heights = torch.tensor([f.shape[2] for f in features], dtype=torch.int64, device=device)
    widths = torch.tensor([f.shape[3] for f in features], dtype=torch.int64, device=device)
    cells = heights * widths
    before = (cells * features[0].shape[0]).cumsum(0) - cells * features[0].shape[0]
    base = before[levels] + image_index * cells[levels]

    scaled = boxes * torch.tensor(scales, dtype=boxes.dtype, device=device)[levels][:, None]
    if aligned:
        scaled = scaled - 0.5
    x1, y1, x2, y2 = scaled.unbind(1)
    roi_width, roi_height = x2 - x1, y2 - y1
    if not aligned:
        roi_width, roi_height = roi_width.clamp(min=1), roi_height.clamp(min=1)
    row_first, row_count, rows, row_weights = axis_cells(
        y1, roi_height, heights[levels], bins=size, sampling_ratio=sampling_ratio
    )
    col_first, col_count, cols, col_weights = axis_cells(
        x1, roi_width, widths[levels], bins=size, sampling_ratio=sampling_ratio
    )

    # Bag b = (roi, bin row, bin column) holds the product of its rows and columns.
    per_bag = (row_count.reshape(-1, size, 1) * col_count.reshape(-1, 1, size)).reshape(-1)
    offsets = per_bag.cumsum(0) - per_bag
    bag = torch.repeat_interleave(per_bag)
    k = torch.arange(bag.shape[0], device=device) - offsets[bag]
    bin_row = bag // size
    bin_col = bag // (size * size) * size + bag % size
    columns = col_count[bin_col]
    row = row_first[bin_row] + k // columns
    col = col_first[bin_col] + k % columns
    index = base[bag // (size * size)] + rows[row] * widths[levels][bag // (size * size)] + cols[col]
    pooled = nn.functional.embedding_bag(
        index, cell_table(features), offsets, mode="sum", per_sample_weights=row_weights[row] * col_weights[col]
    )
    return pooled.reshape(-1, size, size, features[0].shape[1]).permute(0, 3, 1, 2)


class RoIAlign(nn.Module):
    """`roi_align` with its constants."""

    def __init__(self, *, scales: tuple[float, ...], size: int, sampling_ratio: int, aligned: bool) -> None:
        super().__init__()
        self.scales, self.size = list(scales), size
        self.sampling_ratio, self.aligned = sampling_ratio, aligned

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        """See `roi_align`."""
        return roi_align(
            features, boxes, image_index, levels, self.scales, self.size, self.sampling_ratio, self.aligned
        )
