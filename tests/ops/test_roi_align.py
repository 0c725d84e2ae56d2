"""RoIAlign against a direct float64 transcription of its definition."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from d2deploy.ops.levels import assign_levels
from d2deploy.ops.roi_align import RoIAlign, roi_align

SCALES = [0.25, 0.125]
BOXES = {
    "inside": [3.0, 4, 50, 60],
    "whole image": [0, 0, 160, 96],
    "over the corner": [-20, -10, 30, 20],
    "off the image": [400, 300, 420, 330],
    "no area": [5, 5, 5, 5],
    "inverted": [30, 30, 20, 20],
    "long and flat": [10, 10, 140, 12.5],
    "tall and thin": [7, 7, 9, 90],
    "below a pixel": [50.2, 50.3, 50.4, 50.6],
}


def features(channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, channels, 24, 40), (2, channels, 12, 20))
    return [torch.randn(shape, generator=generator) for shape in shapes]


def bilinear(feature: Tensor, y: float, x: float) -> Tensor:
    """One sample: zero over a cell outside, else the border is repeated (torchvision roi_align_common.h)."""
    height, width = feature.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(feature.shape[0], dtype=torch.float64)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    fy, fx = y - y0, x - x0
    top = feature[:, y0, x0] * (1 - fx) + feature[:, y0, x1] * fx
    bottom = feature[:, y1, x0] * (1 - fx) + feature[:, y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def one_box(feature: Tensor, box: list[float], *, scale: float, size: int, ratio: int, aligned: bool) -> Tensor:
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (side * scale - shift for side in box)
    width, height = x2 - x1, y2 - y1
    if not aligned:
        width, height = max(width, 1.0), max(height, 1.0)
    rows, columns = (ratio or max(math.ceil(side / size), 0) for side in (height, width))
    out = torch.zeros(feature.shape[0], size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            for a in range(rows):
                for b in range(columns):
                    y = y1 + (i + (a + 0.5) / rows) * height / size
                    x = x1 + (j + (b + 0.5) / columns) * width / size
                    out[:, i, j] += bilinear(feature, y, x) / (rows * columns)
    return out


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
def test_equals_definition(ratio: int, aligned: bool) -> None:
    levels = torch.tensor([0, 1] * 9)
    images = torch.tensor([0] * 9 + [1] * 9)
    boxes = torch.tensor(list(BOXES.values()) * 2)
    maps = features()
    ours = roi_align(maps, boxes, images, levels, SCALES, 7, ratio, aligned)
    for row, box in enumerate(boxes.tolist()):
        level = int(levels[row])
        feature = maps[level][images[row]].double()
        expected = one_box(feature, box, scale=SCALES[level], size=7, ratio=ratio, aligned=aligned)
        torch.testing.assert_close(ours[row].double(), expected, atol=2e-5, rtol=0)


def arguments(count: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    boxes = torch.tensor(list(BOXES.values()))[:count]
    return features(), boxes, torch.arange(count) % 2, torch.arange(count) % 2


@pytest.mark.parametrize("capture", ["script", "trace", "export"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_captures_give_the_same(capture: str, ratio: int, captures: Any) -> None:
    op = RoIAlign(scales=tuple(SCALES), size=7, sampling_ratio=ratio, aligned=True)
    captured = {**captures, "export": _export}[capture](op, arguments(5))
    for count in (9, 5, 1, 0):
        torch.testing.assert_close(captured(*arguments(count)), op(*arguments(count)), atol=0, rtol=0)


def _export(op: torch.nn.Module, sample: tuple[Any, ...]) -> Any:
    rows, free = {0: torch.export.Dim.DYNAMIC}, dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    return torch.export.export(op, sample, dynamic_shapes=([free, free], rows, rows, rows)).module()


@given(st.lists(st.floats(-50, 250, width=32), min_size=4, max_size=4), st.sampled_from([0, 1, 2]))
def test_a_constant_map_stays_constant_inside(corners: list[float], ratio: int) -> None:
    x1, x2 = sorted(corners[:2])
    y1, y2 = sorted(corners[2:])
    inside = [max(x1, 4), max(y1, 4), min(x2, 156), min(y2, 92)]
    boxes = torch.tensor([[inside[0], inside[1], max(inside[0] + 1, inside[2]), max(inside[1] + 1, inside[3])]])
    boxes = boxes.clamp(min=0).minimum(torch.tensor([158.0, 94, 158, 94]))
    if bool((boxes[0, 2:] <= boxes[0, :2]).any()):
        return
    maps = [torch.full((1, 1, 24, 40), 3.0)]
    zero = torch.zeros(1, dtype=torch.int64)
    pooled = roi_align(maps, boxes, zero, zero, [0.25], 7, ratio, True)
    torch.testing.assert_close(pooled, torch.full_like(pooled, 3.0), atol=1e-4, rtol=0)


def test_moving_map_and_box_by_a_cell_changes_nothing() -> None:
    feature = features()[0]
    box, zero = torch.tensor([[20.3, 18.9, 77.1, 60.2]]), torch.zeros(1, dtype=torch.int64)
    moved = torch.roll(feature, (1, 1), (2, 3))
    torch.testing.assert_close(
        roi_align([feature], box, zero, zero, [0.25], 7, 0, True),
        roi_align([moved], box + 4, zero, zero, [0.25], 7, 0, True),
        atol=1e-5,
        rtol=0,
    )


def test_levels_follow_the_canonical_size() -> None:
    sides = [0.0, 10, 111, 112, 223, 224, 447, 448, 5000]
    boxes = torch.tensor([[0, 0, side, side] for side in sides])
    assert assign_levels(boxes, 2, 5).tolist() == [0, 0, 0, 1, 1, 2, 2, 3, 3]
