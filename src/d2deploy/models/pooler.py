"""Pooler: each box from the feature level that suits its size."""

from torch import Tensor, nn

from d2deploy.config import schema
from d2deploy.ops.levels import assign_levels
from d2deploy.ops.roi_align import RoIAlign


class ROIPooler(nn.Module):
    """Level assignment, then RoIAlign (detectron2 poolers.py)."""

    def __init__(self, config: schema.Pooler, *, strides: list[int]) -> None:
        super().__init__()
        self.min_level = strides[0].bit_length() - 1
        self.max_level = strides[-1].bit_length() - 1
        self.roi_align = RoIAlign(
            scales=tuple(1.0 / stride for stride in strides),
            size=config.resolution,
            sampling_ratio=config.sampling_ratio,
            aligned=config.type == "ROIAlignV2",
        )

    def forward(self, features: list[Tensor], boxes: Tensor, image_index: Tensor) -> Tensor:
        """features[L] of [N,C,H,W], boxes[R,4] input pixels, image_index[R] int64 -> [R,C,size,size]."""
        levels = assign_levels(boxes, self.min_level, self.max_level)
        return self.roi_align(features, boxes, image_index, levels)
