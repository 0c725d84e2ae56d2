"""Which feature level a box is pooled from."""

import torch
from torch import Tensor

from d2deploy.ops.boxes import box_sides


def assign_levels(boxes: Tensor, min_level: int, max_level: int, rotated: bool = False) -> Tensor:
    """Index of the feature level of each box: boxes[R,4 or 5] input pixels -> int64 [R], 0 = the finest level.

    A box of 224 pixels a side (canonical size) belongs to level 4, one twice as large to level 5 (FPN paper, eq. 1;
    detectron2 poolers.py adds 1e-8 inside the logarithm). Boxes of no size belong to the finest level.
    """
    sides = box_sides(boxes, rotated)
    level = torch.floor(4 + torch.log2((sides[:, 0] * sides[:, 1]).sqrt() / 224 + 1e-8))
    return (level.clamp(min_level, max_level) - min_level).to(torch.int64)
