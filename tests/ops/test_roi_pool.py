"""RoIPool against a direct transcription of torchvision's definition."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from d2deploy.ops.roi_pool import RoIPool, nearest_whole, roi_pool

SCALES = [0.25, 0.125]
BOXES = {
    "inside": [3.0, 4, 50, 60],
    "whole image": [0, 0, 160, 96],
    "over the corner": [-20, -10, 30, 20],
    "off the image": [400, 300, 420, 330],
    "off the other side": [-400, -300, -380, -290],
    "no area": [5, 5, 5, 5],
    "inverted": [30, 30, 20, 20],
    "long and flat": [10, 10, 140, 12.5],
    "halves of a cell": [2.0, 6.0, 10.0, 14.0],
    "negative halves": [-2.0, -6.0, 10.0, 14.0],
}


def features(channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((2, channels, 24, 40), (2, channels, 12, 20))
    return [torch.randn(shape, generator=generator) - 3 for shape in shapes]  # mostly below the 0 of empty bins


def c_round(value: float) -> int:
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def one_box(feature: np.ndarray, box: list[float], *, scale: float, size: int) -> np.ndarray:
    x1, y1, x2, y2 = (c_round(side * scale) for side in box)
    starts, sides, limits = (y1, x1), (y2 - y1, x2 - x1), feature.shape[1:]
    bins: list[list[slice]] = []
    for start, side, limit in zip(starts, sides, limits, strict=True):
        width = np.float32(max(side + 1, 1)) / np.float32(size)
        ends = [
            (math.floor(np.float32(i) * width) + start, math.ceil(np.float32(i + 1) * width) + start)
            for i in range(size)
        ]
        bins.append([slice(min(max(a, 0), limit), min(max(b, 0), limit)) for a, b in ends])
    out = np.zeros((feature.shape[0], size, size), np.float32)
    for i, rows in enumerate(bins[0]):
        for j, columns in enumerate(bins[1]):
            cells = feature[:, rows, columns].reshape(len(feature), -1)
            if cells.shape[1]:
                out[:, i, j] = cells.max(axis=1)
    return out


@pytest.mark.parametrize("size", [1, 2, 7])
def test_equals_definition(size: int) -> None:
    levels = torch.tensor([0, 1] * len(BOXES))
    images = torch.tensor([0] * len(BOXES) + [1] * len(BOXES))
    boxes = torch.tensor(list(BOXES.values()) * 2)
    maps = features()
    ours = roi_pool(maps, boxes, images, levels, SCALES, size)
    for row, box in enumerate(boxes.tolist()):
        level = int(levels[row])
        expected = one_box(maps[level][images[row]].numpy(), box, scale=SCALES[level], size=size)
        np.testing.assert_array_equal(ours[row].numpy(), expected)
    assert (ours[list(BOXES).index("off the image")] == 0).all()


@given(st.lists(st.floats(-300, 300, width=16), min_size=4, max_size=4), st.integers(1, 15))
def test_any_box(box: list[float], size: int) -> None:
    maps, zero = features(1)[:1], torch.zeros(1, dtype=torch.int64)
    ours = roi_pool(maps, torch.tensor([box]), zero, zero, SCALES[:1], size)
    np.testing.assert_array_equal(ours[0].numpy(), one_box(maps[0][0].numpy(), box, scale=SCALES[0], size=size))


def test_rounding_is_that_of_c() -> None:
    numbers = torch.tensor([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, -0.49999997, 8388609.0, 0.0, 2.4, -2.6])
    assert nearest_whole(numbers).tolist() == [1, 2, 3, -1, -2, -3, 0, 0, 8388609, 0, 2, -3]


def arguments(count: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    boxes = torch.tensor(list(BOXES.values()))[:count]
    return features(), boxes, torch.arange(count) % 2, torch.arange(count) % 2


@pytest.mark.parametrize("capture", ["script", "trace", "export"])
def test_captures_give_the_same(capture: str, captures: Any) -> None:
    op = RoIPool(scales=tuple(SCALES), size=7)
    captured = {**captures, "export": _export}[capture](op, arguments(5))
    for count in (len(BOXES), 5, 1, 0):
        torch.testing.assert_close(captured(*arguments(count)), op(*arguments(count)), atol=0, rtol=0)


def _export(op: torch.nn.Module, sample: tuple[Any, ...]) -> Any:
    rows, free = {0: torch.export.Dim.DYNAMIC}, dict.fromkeys((0, 2, 3), torch.export.Dim.DYNAMIC)
    return torch.export.export(op, sample, dynamic_shapes=([free, free], rows, rows, rows)).module()
