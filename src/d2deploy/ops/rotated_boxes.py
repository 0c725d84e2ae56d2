"""Arithmetic on rotated boxes: decode deltas, clip. Tensors only, the same code in every capture.

Boxes are center x, center y, width, height, angle: pixels of the network's input image and degrees, counter-clockwise
as one looks at the image. A point (right, down) of the box's own frame lies at center + (right * cos + down * sin,
down * cos - right * sin) (detectron2 rotated_boxes.py).
"""

import torch
from torch import Tensor


def decode_rotated_boxes(deltas: Tensor, anchors: Tensor, weights: list[float]) -> Tensor:
    """Boxes that `deltas` make of `anchors` (detectron2's Box2BoxTransformRotated.apply_deltas).

    deltas[...,5] (dx, dy, dw, dh, each multiplied by its weight, and the turn in radians likewise), anchors[...,5],
    broadcast -> [...,5] float32, angles in [-180, 180). As plain boxes, no side grows from 16 to more than 1000.
    """
    dx, dy, dw, dh, turn = deltas.float().unbind(-1)
    x, y, width, height, angle = anchors.unbind(-1)
    return torch.stack(
        (
            x + dx / weights[0] * width,
            y + dy / weights[1] * height,
            width * (dw / weights[2]).clamp(max=4.135166556742356).exp(),
            height * (dh / weights[3]).clamp(max=4.135166556742356).exp(),
            normal_angle(torch.rad2deg(turn / weights[4]) + angle),
        ),
        dim=-1,
    )


def normal_angle(degrees: Tensor) -> Tensor:
    """The same direction in [-180, 180)."""
    return torch.remainder(degrees + 180, 360) - 180


def clip_rotated_boxes(boxes: Tensor, image_sizes: Tensor) -> Tensor:
    """Boxes with normal angles; those within a degree of upright are cut at their image's border, others are not.

    boxes[N,...,5], image_sizes[N,2] (height, width) -> [N,...,5]. detectron2's RotatedBoxes.clip: a rotated box cannot
    be cut and stay one, and pooling reads nothing beyond the border anyway. A box on its head, 180 degrees, is not cut.
    """
    limit = image_sizes.to(boxes.dtype).flip(-1).reshape([-1] + [1] * (boxes.dim() - 2) + [2])
    center, sides, angle = boxes[..., :2], boxes[..., 2:4], normal_angle(boxes[..., 4:])
    low = (center - sides / 2).clamp(min=0).minimum(limit)
    high = (center + sides / 2).clamp(min=0).minimum(limit)
    # Rounding must not make a box larger than it was.
    cut = torch.cat(((low + high) / 2, sides.minimum(high - low)), dim=-1)
    return torch.cat((torch.where(angle.abs() <= 1, cut, boxes[..., :4]), angle), dim=-1)
