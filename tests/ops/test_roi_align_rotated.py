"""RoIAlign of rotated boxes against a direct float64 transcription of its definition."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from d2deploy.ops.roi_align import roi_align
from d2deploy.ops.roi_align_rotated import RoIAlignRotated, roi_align_rotated

SCALES = [0.25, 0.125]
BOXES = {
    "inside": [60.0, 50, 60, 40, 30],
    "upright": [60, 50, 40, 30, 0],
    "on its side": [60, 50, 60, 20, -90],
    "over the corner": [5, 3, 80, 30, 140],
    "off the image": [400, 300, 30, 20, 45],
    "no area": [20, 20, 0, 30, 10],
    "long and thin": [80, 50, 190, 3, 27],
    "below a pixel": [50.3, 50.2, 0.4, 0.3, -60],
    "larger than the image": [80, 50, 600, 500, 77],
}


def features(channels: int = 3) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((2, channels, *cells), generator=generator) for cells in ((24, 40), (12, 20))]


def bilinear(feature: Tensor, y: float, x: float) -> Tensor:
    """One sample: zero over a cell outside, else the border is repeated."""
    height, width = feature.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return torch.zeros(feature.shape[0], dtype=torch.float64)
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    y0, x0 = math.floor(y), math.floor(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    top = feature[:, y0, x0] * (1 - (x - x0)) + feature[:, y0, x1] * (x - x0)
    bottom = feature[:, y1, x0] * (1 - (x - x0)) + feature[:, y1, x1] * (x - x0)
    return top * (1 - (y - y0)) + bottom * (y - y0)


def one_box(feature: Tensor, box: list[float], *, scale: float, size: int, ratio: int) -> Tensor:
    """detectron2 ROIAlignRotated_cpu.cpp: samples on a grid in the box's frame, turned about its center."""
    x, y, width, height = (value * scale for value in box[:4])
    cos, sin = math.cos(math.radians(box[4])), math.sin(math.radians(box[4]))
    rows, columns = (ratio or math.ceil(side / size) for side in (height, width))
    out = torch.zeros(feature.shape[0], size, size, dtype=torch.float64)
    for i in range(size):
        for j in range(size):
            for a in range(rows):
                for b in range(columns):
                    down = -height / 2 + (i + (a + 0.5) / rows) * height / size
                    right = -width / 2 + (j + (b + 0.5) / columns) * width / size
                    place = y - 0.5 + down * cos - right * sin, x - 0.5 + down * sin + right * cos
                    out[:, i, j] += bilinear(feature, *place) / (rows * columns)
    return out


@pytest.mark.parametrize("ratio", [0, 1, 3])
def test_equals_definition(ratio: int) -> None:
    count = len(BOXES)
    levels, images = torch.tensor([0, 1] * count), torch.tensor([0] * count + [1] * count)
    boxes, maps = torch.tensor(list(BOXES.values()) * 2), features()
    ours = roi_align_rotated(maps, boxes, images, levels, SCALES, 7, ratio)
    for row, box in enumerate(boxes.double().tolist()):
        feature = maps[levels[row]][images[row]].double()
        expected = one_box(feature, box, scale=SCALES[int(levels[row])], size=7, ratio=ratio)
        torch.testing.assert_close(ours[row].double(), expected, atol=5e-5, rtol=0)
    assert ours[:, :, 3, 3].abs().amax(1).count_nonzero() >= count  # more than zeros were compared


@pytest.mark.parametrize("ratio", [0, 2])
def test_upright_is_plain(ratio: int) -> None:
    rotated = torch.tensor([[60.0, 50, 60, 40, 0], [30, 20, 90, 90, 0], [150, 90, 30, 33, 0]])
    half = rotated[:, 2:4] / 2
    plain = torch.cat((rotated[:, :2] - half, rotated[:, :2] + half), dim=1)
    zeros = torch.zeros(3, dtype=torch.int64)
    expected = roi_align(features(), plain, zeros, zeros, SCALES, 7, ratio, True)
    torch.testing.assert_close(
        roi_align_rotated(features(), rotated, zeros, zeros, SCALES, 7, ratio), expected, atol=2e-5, rtol=0
    )


def test_a_quarter_turn_of_map_and_box_changes_nothing() -> None:
    """The map turned counter-clockwise, and the box's center with it: what the box sees is what it saw."""
    feature = features()[0]
    height, width = (cells / 0.25 for cells in feature.shape[2:])
    box = torch.tensor([[70.0, 40, 50, 30, 20]])
    turned = torch.tensor([[40.0, width - 70, 50, 30, 110]])
    zero = torch.zeros(1, dtype=torch.int64)
    torch.testing.assert_close(
        roi_align_rotated([feature.rot90(1, (2, 3))], turned, zero, zero, [0.25], 7, 0),
        roi_align_rotated([feature], box, zero, zero, [0.25], 7, 0),
        atol=2e-5,
        rtol=0,
    )
    assert height != width


def arguments(count: int) -> tuple[list[Tensor], Tensor, Tensor, Tensor]:
    boxes = torch.tensor(list(BOXES.values()))[:count]
    return features(), boxes, torch.arange(count) % 2, torch.arange(count) % 2


@pytest.mark.parametrize("capture", ["script", "trace"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_captures_give_the_same(capture: str, ratio: int, captures: Any) -> None:
    op = RoIAlignRotated(scales=tuple(SCALES), size=7, sampling_ratio=ratio)
    captured = captures[capture](op, arguments(5))
    for count in (9, 5, 1, 0):
        assert op(*arguments(count)).shape == (count, 3, 7, 7)
        torch.testing.assert_close(captured(*arguments(count)), op(*arguments(count)), atol=0, rtol=0)


def test_boxes_of_very_many_samples_go_in_parts() -> None:
    """One box alone has more samples than a part may have; its neighbours in other parts must not notice."""
    count = 12
    maps, zeros = features(), torch.zeros(count, dtype=torch.int64)
    boxes = torch.tensor([BOXES["inside"]] * count)
    boxes[4] = torch.tensor([80.0, 50, 3000, 3000, 45])
    boxes[8] = torch.tensor([80.0, 50, 1500, 1000, 5])
    pooled = roi_align_rotated(maps, boxes, zeros, zeros, SCALES, 7, 0)
    alone = roi_align_rotated(maps, boxes[:1], zeros[:1], zeros[:1], SCALES, 7, 0)
    others = [row for row in range(count) if row not in (4, 8)]
    assert torch.equal(pooled[others], alone.expand(len(others), -1, -1, -1))
    for row in (4, 8):
        expected = roi_align_rotated(maps, boxes[row : row + 1], zeros[:1], zeros[:1], SCALES, 7, 0)
        assert torch.equal(pooled[row], expected[0]) and expected.any()
