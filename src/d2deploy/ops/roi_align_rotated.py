"""RoIAlign of rotated boxes over several feature levels and images at once, by embedding_bag as ops/roi_align.py.

A bin of a turned box has no rows and columns of cells, so each of its samples is four entries of the bin's bag: its
corner cells with their bilinear weights. Boxes that reach far beyond the image have very many samples, therefore boxes
are worked off in parts of limited size.
"""

import torch
from torch import Tensor, nn

from d2deploy.ops.roi_align import cell_table


def bilinear_corners(y: Tensor, x: Tensor, height: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """The cells around positions y[S], x[S], in cells of maps of height[S] x width[S], int64, rows first.

    -> number within the map int64 [S,4] and weight [S,4]. A position over one cell outside weighs nothing, less far
    outside it reads the border (detectron2 ROIAlignRotated_cpu.cpp, as torchvision's RoIAlign).
    """
    inside = (y >= -1) & (y <= height) & (x >= -1) & (x <= width)
    y = y.clamp(min=0).minimum((height - 1).to(y.dtype))
    x = x.clamp(min=0).minimum((width - 1).to(x.dtype))
    top, left = y.floor().to(torch.int64), x.floor().to(torch.int64)
    bottom, right = (top + 1).minimum(height - 1), (left + 1).minimum(width - 1)
    down, along = y - top.to(y.dtype), x - left.to(x.dtype)
    upper, lower = top * width, bottom * width
    cells = torch.stack((upper + left, upper + right, lower + left, lower + right), dim=1)
    weights = torch.stack(((1 - down) * (1 - along), (1 - down) * along, down * (1 - along), down * along), dim=1)
    return cells, weights * inside.to(y.dtype)[:, None]


def bins_of_boxes(table: Tensor, boxes: Tensor, *, grid: Tensor, maps: Tensor, size: int) -> Tensor:
    """Mean of the samples of each bin of each box -> [R*size*size,C].

    table: see `cell_table`; boxes[R,5] in cells, grid[R,2] int64: samples down and along a bin; maps[R,3] int64: where
    a box's map begins in the table, its height and width.
    """
    per_bin = grid[:, 0] * grid[:, 1]
    bag_size = torch.repeat_interleave(per_bin, size * size)
    before = bag_size.cumsum(0) - bag_size
    bag = torch.repeat_interleave(bag_size)
    number = torch.arange(bag.shape[0], device=boxes.device) - before[bag]
    box = bag // (size * size)
    down, along = grid[box].unbind(1)
    center_x, center_y, box_width, box_height, angle = boxes[box].unbind(1)
    bin_y = (bag // size % size).to(boxes.dtype) + ((number // along).to(boxes.dtype) + 0.5) / down
    bin_x = (bag % size).to(boxes.dtype) + ((number % along).to(boxes.dtype) + 0.5) / along
    y, x = (bin_y / size - 0.5) * box_height, (bin_x / size - 0.5) * box_width
    cos, sin = torch.deg2rad(angle).cos(), torch.deg2rad(angle).sin()
    start, height, width = maps[box].unbind(1)
    cells, weights = bilinear_corners(y * cos - x * sin + center_y, y * sin + x * cos + center_x, height, width)
    return nn.functional.embedding_bag(
        (cells + start[:, None]).reshape(-1),
        table,
        before * 4,
        mode="sum",
        per_sample_weights=(weights / per_bin[box][:, None]).reshape(-1),
    )


def roi_align_rotated(
    features: list[Tensor],
    boxes: Tensor,
    image_index: Tensor,
    levels: Tensor,
    scales: list[float],
    size: int,
    sampling_ratio: int,
) -> Tensor:
    """Average of bilinear samples in each bin of each rotated box (detectron2's ROIAlignRotated, half-pixel aligned).

    As `roi_align`, with boxes[R,5] center x, center y, width, height, degrees; a box without area reads 0.
    """
    device = boxes.device
    heights = torch.tensor([f.shape[2] for f in features], dtype=torch.int64, device=device)
    widths = torch.tensor([f.shape[3] for f in features], dtype=torch.int64, device=device)
    cells = heights * widths
    before = (cells * features[0].shape[0]).cumsum(0) - cells * features[0].shape[0]
    maps = torch.stack((before[levels] + image_index * cells[levels], heights[levels], widths[levels]), dim=1)
    scale = torch.tensor(scales, dtype=boxes.dtype, device=device)[levels][:, None]
    scaled = torch.cat((boxes[:, :2] * scale - 0.5, boxes[:, 2:4] * scale, boxes[:, 4:]), dim=1)
    if sampling_ratio > 0:
        grid = torch.full_like(maps[:, :2], sampling_ratio)
    else:
        grid = (scaled[:, 2:4].flip(1) / size).ceil().to(torch.int64).clamp(min=0)

    table = cell_table(features)
    # 2^18 samples at once: 16 MB of indices and weights; a larger box goes alone.
    part = (grid[:, 0] * grid[:, 1] * (size * size)).cumsum(0).div(262144, rounding_mode="floor")
    counts: list[int] = part.bincount().tolist()
    pooled = [table.new_zeros([0, table.shape[1]])]
    first = 0
    for count in counts:
        last = first + count
        pooled.append(bins_of_boxes(table, scaled[first:last], grid=grid[first:last], maps=maps[first:last], size=size))
        first = last
    return torch.cat(pooled).reshape(-1, size, size, table.shape[1]).permute(0, 3, 1, 2)


class RoIAlignRotated(nn.Module):
    """`roi_align_rotated` with its constants."""

    def __init__(self, *, scales: tuple[float, ...], size: int, sampling_ratio: int) -> None:
        super().__init__()
        self.scales, self.size, self.sampling_ratio = list(scales), size, sampling_ratio

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor, levels: Tensor) -> Tensor:
        """See `roi_align_rotated`."""
        return roi_align_rotated(features, boxes, image_index, levels, self.scales, self.size, self.sampling_ratio)
