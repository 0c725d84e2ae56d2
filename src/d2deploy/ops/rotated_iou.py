"""Intersection over union of rotated boxes, exactly, without sorting the corners of what they share.

In the frame of box b, b is [0,W] x [0,H], and what a shares with it is the area under a's upper edges less that under
its lower ones, with all heights cut at 0 and H. So each of a's four edges adds the area under it, with its sign. That
sum is continuous in every number: equal boxes and touching edges, where lists of corners go wrong, are no special case.
"""

import torch
from torch import Tensor


def area_below(x: Tensor, y: Tensor, width: Tensor, height: Tensor) -> Tensor:
    """Sum over a polygon's edges of the area between edge and x axis, inside [0,width] x [0,height].

    x[...,4], y[...,4]: corners one after the other; width, height[...,1] -> [...], negative for edges running left.
    """
    next_x, next_y = x.roll(-1, -1), y.roll(-1, -1)
    run = next_x - x
    left, right = x.clamp(min=0).minimum(width), next_x.clamp(min=0).minimum(width)
    # An upright edge has nothing below it: `left` equals `right`, and any divisor will do.
    divisor = run.masked_fill(run == 0, 1.0)
    first = y + ((left - x) / divisor).clamp(0, 1) * (next_y - y)
    last = y + ((right - x) / divisor).clamp(0, 1) * (next_y - y)
    low, high = torch.minimum(first, last), torch.maximum(first, last)
    rise = (high - low).clamp(min=1e-20)
    below = (-low / rise).clamp(0, 1)
    above = ((high - height) / rise).clamp(0, 1)
    between = (low.clamp(min=0).minimum(height) + high.clamp(min=0).minimum(height)) / 2
    mean = above * height + (1 - below - above) * between
    return ((right - left) * mean).sum(-1)


def rotated_intersection(a: Tensor, b: Tensor) -> Tensor:
    """The area that two boxes share, pair by pair: a[...,5], b[...,5], broadcast -> [...]."""
    turn = torch.deg2rad(b[..., 4:])
    dx, dy = a[..., :1] - b[..., :1], a[..., 1:2] - b[..., 1:2]
    x = dx * turn.cos() - dy * turn.sin() + b[..., 2:3] / 2
    y = dx * turn.sin() + dy * turn.cos() + b[..., 3:4] / 2
    difference = torch.deg2rad(a[..., 4:] - b[..., 4:])
    cos, sin = difference.cos(), difference.sin()
    right = a[..., 2:3] / 2 * torch.tensor([-1.0, 1.0, 1.0, -1.0], device=a.device)
    down = a[..., 3:4] / 2 * torch.tensor([1.0, 1.0, -1.0, -1.0], device=a.device)
    corner_x, corner_y = x + right * cos + down * sin, y + down * cos - right * sin
    return area_below(corner_x, corner_y, b[..., 2:3], b[..., 3:4])


def rotated_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU pair by pair: a[...,5], b[...,5], broadcast -> [...] in 0..1; a box of less than 1e-14 overlaps nothing.

    Float32, so exact to some 1e-6 (detectron2 box_iou_rotated_utils.h, which has that limit of area too).
    """
    area_a, area_b = a[..., 2] * a[..., 3], b[..., 2] * b[..., 3]
    shared = rotated_intersection(a, b).clamp(min=0).minimum(torch.minimum(area_a, area_b))
    return (shared / (area_a + area_b - shared)).masked_fill(torch.minimum(area_a, area_b) < 1e-14, 0.0)


def around(boxes: Tensor) -> Tensor:
    """The upright box around each of boxes[...,5] -> x1 y1 x2 y2 [...,4]."""
    turn = torch.deg2rad(boxes[..., 4])
    cos, sin = turn.cos().abs(), turn.sin().abs()
    half_x = (boxes[..., 2] * cos + boxes[..., 3] * sin) / 2
    half_y = (boxes[..., 2] * sin + boxes[..., 3] * cos) / 2
    x, y = boxes[..., 0], boxes[..., 1]
    return torch.stack((x - half_x, y - half_y, x + half_x, y + half_y), dim=-1)


def rotated_covers(a: Tensor, b: Tensor, among: Tensor, iou_threshold: float) -> Tensor:
    """Which pairs of `among`[A,B] bool have an IoU above the threshold: a[A,5], b[B,5] -> bool [A,B].

    Most pairs are ruled out by what the upright boxes around them share, at a tenth of the price.
    """
    outer_a, outer_b = around(a), around(b)
    overlap = torch.minimum(outer_a[:, None, 2:], outer_b[None, :, 2:])
    overlap = (overlap - torch.maximum(outer_a[:, None, :2], outer_b[None, :, :2])).clamp(min=0)
    area_a, area_b = (a[:, 2] * a[:, 3])[:, None], (b[:, 2] * b[:, 3])[None, :]
    most = (overlap[:, :, 0] * overlap[:, :, 1]).minimum(torch.minimum(area_a, area_b))
    # Some slack for rounding: what is not ruled out is worked out exactly.
    pairs = (among & (most * 1.001 > (area_a + area_b - most) * iou_threshold)).nonzero()
    covers = torch.zeros_like(among)
    covers[pairs[:, 0], pairs[:, 1]] = rotated_iou(a[pairs[:, 0]], b[pairs[:, 1]]) > iou_threshold
    return covers
