"""Where each keypoint's heatmap peaks."""

import torch
from torch import Tensor, nn


def cubic_weights(pixels: int, cells: int, like: Tensor) -> Tensor:
    """Weights of `cells` + 4 cells on `pixels` along one axis, [pixels,cells+4]: torch's bicubic (a = -0.75).

    Two cells before the first and two after the last stand for the repeated border. Distances are quotients of whole
    numbers, so that a pixel and its neighbour near a peak do not change places by rounding.
    """
    pixel = torch.arange(pixels, dtype=like.dtype, device=like.device)
    cell = torch.arange(-2, cells + 2, dtype=like.dtype, device=like.device)
    position = (2 * pixel + 1) * cells - pixels
    distance = (position[:, None] - cell * (2 * pixels)).abs() / (2 * pixels)
    near = (1.25 * distance - 2.25) * distance * distance + 1
    far = -0.75 * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, torch.zeros_like(far)))


def find_keypoints(heatmaps: Tensor, boxes: Tensor) -> Tensor:
    """heatmaps[D,K,S,S] logits, boxes[D,4] that they lie in -> [D,K,3] x, y in the boxes' pixels, score.

    The map is enlarged to the box's whole pixels by bicubic interpolation, and the middle of its highest pixel taken;
    the score is that height's share of a softmax over the S x S map (detectron2 structures/keypoints.py,
    heatmaps_to_keypoints). Same as postprocess/keypoints.py, outside any graph.
    """
    found = torch.zeros([heatmaps.shape[0], heatmaps.shape[1], 3], dtype=heatmaps.dtype, device=heatmaps.device)
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1)
    counts = sides.ceil().long()
    padded = nn.functional.pad(heatmaps, [2, 2, 2, 2], mode="replicate")
    for i in range(heatmaps.shape[0]):
        columns, rows = int(counts[i, 0]), int(counts[i, 1])
        down = cubic_weights(rows, heatmaps.shape[2], heatmaps)
        along = cubic_weights(columns, heatmaps.shape[3], heatmaps)
        height, place = (down @ padded[i] @ along.transpose(0, 1)).flatten(1).max(dim=1)
        row = torch.div(place, columns, rounding_mode="floor")
        found[i, :, 0] = boxes[i, 0] + (place - row * columns + 0.5) * (sides[i, 0] / columns)
        found[i, :, 1] = boxes[i, 1] + (row + 0.5) * (sides[i, 1] / rows)
        found[i, :, 2] = 1 / (heatmaps[i].flatten(1) - height[:, None]).exp().sum(dim=1)
    return found


class FindKeypoints(nn.Module):
    """`find_keypoints` as a module."""

    def forward(self, heatmaps: Tensor, boxes: Tensor) -> Tensor:
        """See `find_keypoints`."""
        return find_keypoints(heatmaps, boxes)
