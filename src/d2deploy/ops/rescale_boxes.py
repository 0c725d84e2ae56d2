"""Boxes of the network's input to those of the original images."""

import torch
from torch import Tensor

from d2deploy.ops.boxes import box_sides, clip_boxes


def scales(image_sizes: Tensor, original_sizes: Tensor) -> Tensor:
    """Original pixels per network-input pixel, x and y: image_sizes[N,2], original_sizes[N,2] -> [N,2] float32."""
    return (original_sizes.float() / image_sizes.float()).flip(1)


def rescale_boxes(boxes: Tensor, scale: Tensor, original_sizes: Tensor) -> tuple[Tensor, Tensor]:
    """boxes[D,4 or 5], scale[D,2] x and y, original_sizes[D,2] of each box's image -> boxes[D,4 or 5], rows[R] int64:

    scaled, then clipped; and those of them that have an area left. Same as postprocess/boxes.py, outside any graph.
    """
    is_rotated = boxes.shape[1] == 5
    scaled = scale_rotated_boxes(boxes, scale) if is_rotated else boxes * scale.repeat(1, 2)
    clipped = clip_boxes(scaled, original_sizes, is_rotated)
    return clipped, (box_sides(clipped, is_rotated) > 0).all(dim=1).nonzero()[:, 0]


def scale_rotated_boxes(boxes: Tensor, scale: Tensor) -> Tensor:
    """boxes[D,5], scale[D,2] -> [D,5]: each side along its own direction, the angle that of the scaled height.

    Where the axes scale differently a rectangle becomes a parallelogram; this is the rectangle that detectron2 takes
    for it (structures/rotated_boxes.py, RotatedBoxes.scale).
    """
    center_x, center_y, width, height, angle = boxes.unbind(1)
    x, y = scale.unbind(1)
    turn = torch.deg2rad(angle)
    cosine, sine = torch.cos(turn), torch.sin(turn)
    along = ((x * cosine).square() + (y * sine).square()).sqrt()
    down = ((x * sine).square() + (y * cosine).square()).sqrt()
    turned = torch.rad2deg(torch.atan2(x * sine, y * cosine))
    return torch.stack((center_x * x, center_y * y, width * along, height * down, turned), dim=1)
