"""IoU of rotated boxes against cutting one polygon by the other's edges, in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from d2deploy.ops.nms import pairwise_iou
from d2deploy.ops.rotated_iou import rotated_covers, rotated_iou

Point = tuple[float, float]
centers, sides, angles = st.floats(-100, 100), st.floats(0.5, 100), st.floats(-180, 180)
boxes = st.tuples(centers, centers, sides, sides, angles)
CLOSE = 1e-5


def corners(box: list[float]) -> list[Point]:
    """In the order right, then down, of the box's own frame."""
    x, y, width, height, degrees = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    own = ((-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2))
    return [(x + right * cos + down * sin, y + down * cos - right * sin) for right, down in own]


def area(polygon: list[Point]) -> float:
    following = polygon[1:] + polygon[:1]
    return abs(sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(polygon, following, strict=True))) / 2


def cut(polygon: list[Point], start: Point, end: Point) -> list[Point]:
    """What of a convex polygon lies on the inner side of the line from start to end (Sutherland and Hodgman)."""
    depths = [(end[0] - start[0]) * (y - start[1]) - (end[1] - start[1]) * (x - start[0]) for x, y in polygon]
    left = []
    for i, (x, y) in enumerate(polygon):
        (next_x, next_y), depth, next_depth = polygon[(i + 1) % len(polygon)], depths[i], depths[(i + 1) % len(polygon)]
        left += [(x, y)] if depth >= 0 else []
        if (depth >= 0) != (next_depth >= 0):
            share = depth / (depth - next_depth)
            left.append((x + share * (next_x - x), y + share * (next_y - y)))
    return left


def iou_by_cutting(a: list[float], b: list[float]) -> float:
    shared, edges = corners(a), corners(b)
    for start, end in zip(edges, edges[1:] + edges[:1], strict=True):
        shared = cut(shared, start, end)
    return area(shared) / (a[2] * a[3] + b[2] * b[3] - area(shared))


def iou(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(rotated_iou(torch.tensor(a), torch.tensor(b)))


def made(count: int, seed: int) -> Tensor:
    scale = torch.tensor([100.0, 100, 80, 80, 360])
    return torch.rand((count, 5), generator=torch.Generator().manual_seed(seed)) * scale - torch.tensor(
        [0, 0, -1, -1, 180]
    )


# name -> what makes of boxes b the boxes a to compare with
RELATIONS = {
    "any": lambda b: made(len(b), 1),
    "equal": lambda b: b,
    "a quarter turn, so that edges cross at right angles": lambda b: b + torch.tensor([0, 0, 0, 0, 90.0]),
    "half a turn: the same box": lambda b: b + torch.tensor([0, 0, 0, 0, 180.0]),
    "almost equal": lambda b: b + torch.tensor([1e-4, -1e-4, 1e-4, 0, 1e-3]),
    "sides on one line": lambda b: torch.cat((b[:, :2], b[:, 2:3] / 2, b[:, 3:]), dim=1),
    "inside": lambda b: torch.cat((b[:, :2], b[:, 2:4] / 3, b[:, 4:] + 30), dim=1),
    "a hair across": lambda b: torch.cat((b[:, :2], b[:, 2:3] * 0 + 1e-2, b[:, 3:4] * 3, b[:, 4:] + 45), dim=1),
}


@pytest.mark.parametrize("name", RELATIONS)
def test_equals_cutting(name: str) -> None:
    b = made(300, 0)
    a = RELATIONS[name](b)
    expected = np.array([iou_by_cutting(*pair) for pair in zip(a.double().tolist(), b.double().tolist(), strict=True)])
    assert (expected > 0).sum() > 100
    assert np.abs(rotated_iou(a, b).numpy() - expected).max() <= CLOSE
    assert np.abs(rotated_iou(b, a).numpy() - expected).max() <= CLOSE


@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_upright_boxes_have_their_plain_iou(angle: float) -> None:
    a, b = made(200, 2), made(200, 3)
    a[:, 4], b[:, 4] = 0, angle
    width, height = (2, 3) if angle % 180 == 0 else (3, 2)
    plain_a = torch.stack(
        (a[:, 0] - a[:, 2] / 2, a[:, 1] - a[:, 3] / 2, a[:, 0] + a[:, 2] / 2, a[:, 1] + a[:, 3] / 2), 1
    )
    half_x, half_y = b[:, width] / 2, b[:, height] / 2
    plain_b = torch.stack((b[:, 0] - half_x, b[:, 1] - half_y, b[:, 0] + half_x, b[:, 1] + half_y), 1)
    torch.testing.assert_close(rotated_iou(a[:, None], b[None]), pairwise_iou(plain_a, plain_b), atol=CLOSE, rtol=0)


@given(boxes, boxes)
def test_properties(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    value = iou(a, b)
    assert 0 <= value <= 1 + CLOSE
    assert value == pytest.approx(iou(b, a), abs=CLOSE)
    assert iou(a, a) == pytest.approx(1, abs=CLOSE)
    x, y, width, height, degrees = a
    assert iou((x, y, height, width, degrees + 90), a) == pytest.approx(1, abs=1e-4)
    assert iou((x + 500, y, width, height, degrees), b) <= 1e-6


@given(boxes, boxes, centers, centers)
def test_moving_both_changes_nothing(a: tuple[float, ...], b: tuple[float, ...], x: float, y: float) -> None:
    moved = [(box[0] + x, box[1] + y, *box[2:]) for box in (a, b)]
    # A pixel of a side of half a pixel counts more than a pixel of a long one.
    assert iou(*moved) == pytest.approx(iou(a, b), abs=1e-4)


@pytest.mark.parametrize("sides", [(0.0, 10.0), (10.0, 0.0), (0.0, 0.0), (1e-8, 1e-7)])
def test_a_box_without_area_overlaps_nothing(sides: tuple[float, float]) -> None:
    empty = (5.0, 5.0, *sides, 20.0)
    assert iou(empty, (5.0, 5.0, 10.0, 10.0, 0.0)) == iou((5.0, 5.0, 10.0, 10.0, 0.0), empty) == iou(empty, empty) == 0


@pytest.mark.parametrize("threshold", [0.01, 0.1, 0.5, 0.9])
def test_what_is_ruled_out_early_would_not_have_covered(threshold: float) -> None:
    a = made(60, 4)
    b = torch.cat((made(40, 5), a[:20] + torch.tensor([0.5, 0, 0, 0, 3])))
    among = torch.rand((60, 60), generator=torch.Generator().manual_seed(6)) < 0.7
    expected = (rotated_iou(a[:, None], b[None]) > threshold) & among
    assert expected.any() and not expected.all()
    assert torch.equal(rotated_covers(a, b, among, threshold), expected)
