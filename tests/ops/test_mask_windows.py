"""TensorMask's windows against SwapAlign2Nat written out from its definition, one number at a time."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from d2deploy.backends.capture import EveryMaskWindow
from d2deploy.ops.mask_windows import Enlarge, MaskWindows

BEYOND = -6.0
# window cells a side, factor, map height, width: odd and even windows, maps that are no multiple of the factor
SIZES = [(3, 1, 4, 5), (4, 1, 5, 4), (3, 2, 7, 6), (2, 4, 5, 9)]


def natural(maps: Tensor, factor: int) -> Tensor:
    """maps[N,V*V,H,W] -> [N,S,S,h,w], S = V*factor, h and w rounded up: the windows of all cells.

    Place v of a window around the coarse cell y lies at y*factor + v - S/2 + 1/2 on the map, in cells from the first
    one's centre, and at (v + 1/2)/factor - 1/2 among the channels. Each is read linearly; -6 stands beyond.
    """
    images, channels, height, width = maps.shape
    size = math.isqrt(channels)
    grid = maps.reshape(images, size, size, height, width)
    side, rows, columns = size * factor, math.ceil(height / factor), math.ceil(width / factor)
    made = torch.zeros(images, side, side, rows, columns, dtype=torch.float64)
    for n, v, u, y, x in itertools.product(*map(range, made.shape)):
        at = [(v + 0.5) / factor - 0.5, (u + 0.5) / factor - 0.5]
        at += [y * factor + v - side / 2 + 0.5, x * factor + u - side / 2 + 0.5]
        for taps in itertools.product(*map(around, at)):
            place = [tap for tap, _ in taps]
            inside = all(0 <= tap < limit for tap, limit in zip(place, grid.shape[1:], strict=True))
            value = float(grid[(n, *place)]) if inside else BEYOND
            made[n, v, u, y, x] += math.prod(weight for _, weight in taps) * value
    return made


def around(position: float) -> list[tuple[int, float]]:
    """The whole numbers on both sides, and what each counts."""
    low = math.floor(position)
    return [(low, 1 - position + low), (low + 1, position - low)]


@pytest.mark.parametrize(("size", "factor", "height", "width"), SIZES)
def test_windows_are_those_of_the_definition(size: int, factor: int, height: int, width: int) -> None:
    torch.manual_seed(1)
    maps = torch.randn(2, size * size, height, width)
    expected = natural(maps, factor).permute(0, 3, 4, 1, 2)
    cells = expected.shape[1] * expected.shape[2]
    level = torch.zeros(2, 1, *expected.shape[1:3])
    where, among = (
        (torch.arange(2).repeat_interleave(cells), torch.arange(cells).repeat(2)),
        torch.rand(2 * cells) > 0.3,
    )
    op = MaskWindows(factor=factor, is_aligned=True)
    for made in (op(maps, level, where, among), EveryMaskWindow(op)(maps, level, where, among)):
        torch.testing.assert_close(made[among].double(), expected.flatten(0, 2)[among], atol=2e-6, rtol=0)


def test_a_natural_map_holds_a_cells_window_in_its_channels() -> None:
    maps = torch.arange(2 * 9 * 4 * 5).reshape(2, 9, 4, 5).float()
    where = torch.tensor([0, 1, 1]), torch.tensor([0, 7, 19])
    found = MaskWindows(factor=1, is_aligned=False)(maps, maps, where, torch.ones(3, dtype=torch.bool))
    assert torch.equal(found[1], maps[1, :, 1, 2].reshape(3, 3))
    assert torch.equal(found, torch.stack((maps[0, :, 0, 0], maps[1, :, 1, 2], maps[1, :, 3, 4])).reshape(3, 3, 3))


@pytest.mark.parametrize("is_aligned", [True, False])
def test_no_detection_and_one_of_another_level(is_aligned: bool) -> None:
    op, maps = MaskWindows(factor=1, is_aligned=is_aligned), torch.randn(1, 4, 3, 3)
    for made in (op, EveryMaskWindow(op)):
        nothing = torch.zeros(0, dtype=torch.int64)
        assert made(maps, maps, (nothing, nothing), nothing.bool()).shape == (0, 2, 2)
        assert made(maps, maps, (torch.tensor([0]), torch.tensor([999])), torch.tensor([False])).shape == (1, 2, 2)


def test_enlarging_is_interpolation_then_a_cut() -> None:
    x = torch.randn(2, 3, 2, 3)
    whole = nn.functional.interpolate(x, scale_factor=4.0, mode="bilinear", align_corners=False)
    assert torch.equal(Enlarge(4)(x, torch.zeros(2, 1, 7, 9)), whole[:, :, :7, :9])
    assert torch.equal(Enlarge(1)(x, x), x)


@pytest.mark.parametrize("how", ["script", "trace"])
def test_captured_with_other_sizes(how: str, captures: Any) -> None:
    op = MaskWindows(factor=2, is_aligned=True)

    def sample(height: int, width: int, count: int) -> tuple[Any, ...]:
        level = torch.zeros(2, 1, (height + 1) // 2, (width + 1) // 2)
        cells = torch.randint(2, (count,)), torch.randint(level.shape[2] * level.shape[3], (count,))
        return torch.randn(2, 9, height, width), level, cells, torch.rand(count) > 0.4

    captured, other = captures[how](op, sample(6, 4, 3)), sample(9, 11, 5)
    assert torch.equal(captured(*other), op(*other))
