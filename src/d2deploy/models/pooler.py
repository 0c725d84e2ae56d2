"""Pooler: each box from the feature level that suits its size."""

from typing import NamedTuple

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.ops.levels import assign_levels
from d2deploy.ops.roi_align import RoIAlign
from d2deploy.ops.roi_align_rotated import RoIAlignRotated
from d2deploy.ops.roi_pool import RoIPool


class BoxLevels(NamedTuple):
    """The feature levels that heads look at boxes on."""

    names: tuple[str, ...]
    channels: int  # of each
    strides: list[int]  # input pixels per cell


class ROIPooler(nn.Module):
    """Level assignment, then RoIAlign, upright or rotated, or RoIPool (detectron2 poolers.py)."""

    def __init__(self, config: schema.Pooler, *, strides: list[int]) -> None:
        super().__init__()
        self.min_level = strides[0].bit_length() - 1
        self.max_level = strides[-1].bit_length() - 1
        scales = tuple(1.0 / stride for stride in strides)
        size, sampling_ratio = config.resolution, config.sampling_ratio
        self.rotated = config.type == "ROIAlignRotated"
        self.roi_align: nn.Module
        if self.rotated:
            self.roi_align = RoIAlignRotated(scales=scales, size=size, sampling_ratio=sampling_ratio)
        elif config.type == "ROIPool":
            self.roi_align = RoIPool(scales=scales, size=size)
        else:
            aligned = config.type == "ROIAlignV2"
            self.roi_align = RoIAlign(scales=scales, size=size, sampling_ratio=sampling_ratio, aligned=aligned)

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor) -> Tensor:
        """features[L] of [N,C,H,W], boxes[R,4 or 5] input pixels, image_index[R] int64 -> [R,C,size,size]."""
        levels = assign_levels(boxes, self.min_level, self.max_level, self.rotated)
        return self.roi_align(features, boxes, image_index, levels)
