"""Windows of feature maps, against loops over their definition; captured at one size, run at others."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.ops.windows import (
    ShiftedWindowMask,
    WindowMerge,
    WindowPartition,
    pad_to_windows,
    quarter,
    shifted_window_mask,
    window_merge,
    window_partition,
)

SIZES = [(4, 4), (5, 9), (1, 1), (3, 8), (7, 1)]


def numbered(images: int, height: int, width: int, channels: int = 2) -> torch.Tensor:
    """A map whose numbers are all different, and none is 0."""
    return torch.arange(1, images * height * width * channels + 1).reshape(images, height, width, channels).float()


@given(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.integers(0, 5))
def test_merging_undoes_partitioning(images: int, height: int, width: int, size: int, shift: int) -> None:
    x = numbered(images, height, width)
    assert torch.equal(window_merge(window_partition(x, size, shift), x, shift), x)


@pytest.mark.parametrize("shift", [0, 1, 2])
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_what_a_window_holds(height: int, width: int, shift: int) -> None:
    size = 4
    x = numbered(2, height, width)
    rows, columns = -(-height // size), -(-width // size)
    windows = iter(window_partition(x, size, shift))
    for image in range(2):
        for row in range(rows):
            for column in range(columns):
                window = next(windows)
                for i in range(size):
                    for j in range(size):
                        y = (row * size + i + shift) % (rows * size)
                        z = (column * size + j + shift) % (columns * size)
                        expected = x[image, y, z] if y < height and z < width else torch.zeros(2)
                        assert torch.equal(window[i, j], expected)
    assert next(windows, None) is None


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_cell_attends_to_those_it_was_beside(height: int, width: int) -> None:
    """Within a window two cells are apart when rolling brought one of them, not the other, from the map's other end."""
    size, shift = 4, 2
    mask = shifted_window_mask(torch.zeros(2, height, width, 1), size, shift)
    rows, columns = -(-height // size), -(-width // size)
    assert mask.shape == (2 * rows * columns, size * size, size * size)
    for window in range(2 * rows * columns):
        row, column = window // columns % rows, window % columns
        came_round = [
            (row * size + i + shift >= rows * size, column * size + j + shift >= columns * size)
            for i in range(size)
            for j in range(size)
        ]
        for a, one in enumerate(came_round):
            assert mask[window, a].tolist() == [0.0 if one == other else -100.0 for other in came_round]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_quarters(height: int, width: int) -> None:
    x = numbered(2, height, width)
    quarters = quarter(x)
    assert quarters.shape == (2, -(-height // 2), -(-width // 2), 8)
    for y in range(quarters.shape[1]):
        for z in range(quarters.shape[2]):
            corners = [(2 * y, 2 * z), (2 * y + 1, 2 * z), (2 * y, 2 * z + 1), (2 * y + 1, 2 * z + 1)]
            for n, (i, j) in enumerate(corners):
                expected = x[:, i, j] if i < height and j < width else torch.zeros(2, 2)
                assert torch.equal(quarters[:, y, z, 2 * n : 2 * n + 2], expected)


@pytest.mark.parametrize(("side", "padded"), [(1, 4), (4, 4), (9, 12)])
def test_padding_to_windows(side: int, padded: int) -> None:
    images = torch.ones(1, 3, side, 5)
    result = pad_to_windows(images, 4)
    assert result.shape == (1, 3, padded, 8)
    assert torch.equal(result[:, :, :side, :5], images) and result.sum() == images.sum()


@pytest.mark.parametrize("capture", ["script", "trace"])
@pytest.mark.parametrize("shift", [0, 2])
def test_captured_at_one_size_right_at_others(captures: Any, capture: str, shift: int) -> None:
    partition, merge, mask = WindowPartition(4, shift), WindowMerge(shift), ShiftedWindowMask(4, 2)
    sample = numbered(2, 6, 7)
    captured = [
        captures[capture](partition, (sample,)),
        captures[capture](merge, (partition(sample), sample)),
        captures[capture](mask, (sample,)),
    ]
    for height, width in SIZES:
        x = numbered(1, height, width)
        assert torch.equal(captured[0](x), partition(x))
        assert torch.equal(captured[1](partition(x), x), x)
        assert torch.equal(captured[2](x), mask(x))
