"""Arithmetic on boxes: decode deltas, clip. Tensors only, the same code in every capture.

Boxes are x1 y1 x2 y2, continuous pixels of the network's input image, width = x2 - x1 (no +1 anywhere). Where a
function can be told `rotated`, they then have five numbers instead (ops/rotated_boxes.py).
"""

import math

import torch
from torch import Tensor

from d2deploy.ops.rotated_boxes import clip_rotated_boxes

# detectron2 box_regression.py: a delta cannot enlarge a box more than from 16 to 1000 pixels.
SCALE_CLAMP = math.log(1000.0 / 16)


def decode_boxes(deltas: Tensor, anchors: Tensor, weights: tuple[float, float, float, float]) -> Tensor:
    """Boxes that `deltas` make of `anchors` (detectron2's Box2BoxTransform.apply_deltas).

    deltas[...,4] (dx, dy, dw, dh, each multiplied by its weight), anchors[...,4], broadcast -> [...,4] float32.
    """
    wx, wy, ww, wh = weights
    dx, dy, dw, dh = deltas.float().unbind(-1)
    x1, y1, x2, y2 = anchors.unbind(-1)
    width, height = x2 - x1, y2 - y1
    center_x = x1 + 0.5 * width + dx / wx * width
    center_y = y1 + 0.5 * height + dy / wy * height
    half_width = 0.5 * width * (dw / ww).clamp(max=4.135166556742356).exp()
    half_height = 0.5 * height * (dh / wh).clamp(max=4.135166556742356).exp()
    return torch.stack(
        (center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height), dim=-1
    )


def decode_distances(distances: Tensor, anchors: Tensor, by_size: bool) -> Tensor:
    """Boxes that reach as far from the middle of `anchors` (detectron2's Box2BoxTransformLinear.apply_deltas).

    distances[...,4] (left, top, right, bottom; below 0 counts as 0), in pixels or, with `by_size`, in sides of the
    anchor, anchors[...,4], broadcast -> [...,4] float32.
    """
    left, top, right, bottom = distances.float().relu().unbind(-1)
    x1, y1, x2, y2 = anchors.unbind(-1)
    if by_size:
        left, top, right, bottom = left * (x2 - x1), top * (y2 - y1), right * (x2 - x1), bottom * (y2 - y1)
    center_x, center_y = 0.5 * (x1 + x2), 0.5 * (y1 + y2)
    return torch.stack((center_x - left, center_y - top, center_x + right, center_y + bottom), dim=-1)


def clip_boxes(boxes: Tensor, image_sizes: Tensor, rotated: bool = False) -> Tensor:
    """Boxes cut at their image's border. boxes[N,...,4 or 5], image_sizes[N,2] (height, width) -> the same shape."""
    if rotated:
        return clip_rotated_boxes(boxes, image_sizes)
    limit = image_sizes.to(boxes.dtype).flip(-1).repeat(1, 2)  # width, height, width, height
    middle = [1] * (boxes.dim() - 2)
    return boxes.clamp(min=0).minimum(limit.reshape([-1] + middle + [4]))


def box_sides(boxes: Tensor, rotated: bool = False) -> Tensor:
    """Width and height of boxes[...,4 or 5] -> [...,2]."""
    return boxes[..., 2:4] if rotated else boxes[..., 2:] - boxes[..., :2]
