"""Points: which ones, and what the feature maps have there.

R boxes or images, P points, C channels. A point is x, y from 0 to 1 across a box, or across an image with its padding.
"""

import torch
from torch import Tensor, nn

from d2deploy.models.pooler import BoxLevels
from d2deploy.ops.image_index import ImageIndex
from d2deploy.ops.point_sample import PointSample


def cell_points(index: Tensor, *, width: int, height: int) -> Tensor:
    """The centres of cells index[R,P] int64 of a height x width grid, row by row -> points[R,P,2] float32."""
    row = index.div(width, rounding_mode="floor")
    column = index - row * width
    # Not index + 0.5: in a traced file that number is a float64 tensor, and so the sum of it and whole numbers.
    return torch.stack(((column.float() + 0.5) / width, (row.float() + 0.5) / height), dim=-1)


def most_unsure(uncertainty: Tensor, count: int) -> Tensor:
    """Indices of the highest `count` of uncertainty[R,M] -> int64 [R,count]; M - 1 again and again where M is less."""
    padded = nn.functional.pad(uncertainty, [0, count], value=float("-inf"))
    return padded.topk(count, dim=1)[1].clamp(max=uncertainty.shape[1] - 1)


class BoxPoints(nn.Module):
    """Feature levels at points of boxes (detectron2 point_features.py, point_sample_fine_grained_features)."""

    def __init__(self, in_features: tuple[str, ...], levels: BoxLevels) -> None:
        super().__init__()
        self.places = [levels.names.index(name) for name in in_features]
        self.strides = [levels.strides[place] for place in self.places]
        self.sample = PointSample()

    def forward(self, levels: list[Tensor], boxes: Tensor, image_index: Tensor, points: Tensor) -> list[Tensor]:
        """levels[L] of [N,C,H,W], boxes[R,4] input pixels, image_index[R], points[R,P,2] -> [R,P,C] of each level."""
        corner = boxes[:, None, :2]
        pixels = corner + points * (boxes[:, None, 2:] - corner)
        sampled: list[Tensor] = []
        for place, stride in zip(self.places, self.strides):
            sampled.append(self.sample(levels[place], pixels / stride, image_index))
        return sampled


class MapPoints(nn.Module):
    """A map of its own for each row, at points across the whole of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sample, self.image_index = PointSample(), ImageIndex()

    def forward(self, maps: Tensor, points: Tensor) -> Tensor:
        """maps[R,C,H,W], points[R,P,2] -> [R,P,C]."""
        cells = torch.stack((points[:, :, 0] * maps.shape[3], points[:, :, 1] * maps.shape[2]), dim=-1)
        return self.sample(maps, cells, self.image_index(points)[:, 0])
