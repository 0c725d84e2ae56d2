"""Deformable samples against a direct transcription of their definition."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from d2deploy.ops.deform_sample import DeformSample

CASES = {
    "plain": {"kernel": 3, "stride": 1, "padding": 1, "dilation": 1, "groups": 1},
    "strided": {"kernel": 3, "stride": 2, "padding": 1, "dilation": 1, "groups": 1},
    "dilated, groups": {"kernel": 3, "stride": 1, "padding": 2, "dilation": 2, "groups": 2},
}


def made(case: dict[str, int], images: int = 2, height: int = 7, width: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows, columns = (
        (side + 2 * case["padding"] - case["dilation"] * (case["kernel"] - 1) - 1) // case["stride"] + 1
        for side in (height, width)
    )
    x = torch.randn((images, 4, height, width), generator=generator)
    offset = torch.randn((images, case["groups"] * 18, rows, columns), generator=generator) * 2
    return x, offset


def sample(plane: Tensor, y: float, x: float) -> float:
    top, left = math.floor(y), math.floor(x)
    total = 0.0
    for row, column in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
        if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
            total += float(plane[row, column]) * (1 - abs(y - row)) * (1 - abs(x - column))
    return total


@pytest.mark.parametrize("name", CASES)
def test_equals_definition(name: str) -> None:
    case = CASES[name]
    x, offset = made(case)
    ours = DeformSample(**case)(x, offset)
    rows, columns = offset.shape[2:]
    assert ours.shape == (2, rows * columns, 9, 4)
    for image in range(2):
        for channel in range(4):
            group = channel * case["groups"] // 4
            for row in range(rows):
                for column in range(columns):
                    for tap in range(9):
                        at = group * 18 + 2 * tap
                        dy, dx = offset[image, at : at + 2, row, column].tolist()
                        y = row * case["stride"] - case["padding"] + tap // 3 * case["dilation"] + dy
                        z = column * case["stride"] - case["padding"] + tap % 3 * case["dilation"] + dx
                        expected = sample(x[image, channel], y, z)
                        found = float(ours[image, row * columns + column, tap, channel])
                        assert found == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("capture", ["script", "trace"])
def test_captures_give_the_same(capture: str, captures: Any) -> None:
    case = CASES["dilated, groups"]
    op = DeformSample(**case)
    captured = captures[capture](op, made(case))
    for images, height, width in ((1, 5, 5), (3, 7, 9), (2, 20, 6)):
        assert torch.equal(captured(*made(case, images, height, width)), op(*made(case, images, height, width)))
