"""What a feature map has at given points."""

import torch
from torch import Tensor, nn


def cells_around(features: Tensor, points: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
    """The four cells around each point, as `point_sample` takes them

    -> index[R,P,4] int64 into the N*H*W cells, image by image and row by row, and weights[R,P,4], 0 beyond the map.
    """
    height, width = features.shape[2], features.shape[3]
    x, y = (points - 0.5).unbind(-1)
    left, top = x.floor(), y.floor()
    corners_x = torch.stack((left, left + 1, left, left + 1), dim=-1)
    corners_y = torch.stack((top, top, top + 1, top + 1), dim=-1)
    weights = (1 - (x[:, :, None] - corners_x).abs()) * (1 - (y[:, :, None] - corners_y).abs())
    inside = (corners_x >= 0) & (corners_x < width) & (corners_y >= 0) & (corners_y < height)
    column, row = corners_x.clamp(0, width - 1).to(torch.int64), corners_y.clamp(0, height - 1).to(torch.int64)
    return (image_index[:, None, None] * height + row) * width + column, weights.masked_fill(~inside, 0.0)


def point_sample(features: Tensor, points: Tensor, image_index: Tensor) -> Tensor:
    """features[N,C,H,W] at points[R,P,2], x and y in cells from the map's outer corner, of images image_index[R]

    -> [R,P,C]. Bilinear between the centres of cells, zero beyond the border: grid sampling with align_corners=False,
    as detectron2's PointRend does (point_features.py, point_sample). R may be 0.

    One embedding_bag over the cells, channels last: a point is a bag of the four cells around it.
    """
    index, weights = cells_around(features, points, image_index)
    channels = features.shape[1]
    sampled = nn.functional.embedding_bag(
        index.reshape(-1, 4),
        features.permute(0, 2, 3, 1).reshape(-1, channels),
        mode="sum",
        per_sample_weights=weights.reshape(-1, 4),
    )
    return sampled.reshape(points.shape[0], points.shape[1], channels)


class PointSample(nn.Module):
    """`point_sample` as a module."""

    def forward(self, features: Tensor, points: Tensor, image_index: Tensor) -> Tensor:
        """See `point_sample`."""
        return point_sample(features, points, image_index)
