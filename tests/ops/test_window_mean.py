"""DeepLab's image pooling, against the definition."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from d2deploy.ops.window_mean import WindowMean, window_mean

small = st.integers(1, 9)


@given(small, small, small, small)
def test_each_cell_is_the_mean_of_its_window(height: int, width: int, rows: int, columns: int) -> None:
    x = torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(height * 10 + width))
    means = window_mean(x, rows, columns)
    assert means.shape == (2, 3, max(height - rows, 0) + 1, max(width - columns, 0) + 1)
    for y in range(means.shape[2]):
        for at in range(means.shape[3]):
            window = x[:, :, y : y + rows, at : at + columns]
            torch.testing.assert_close(means[:, :, y, at], window.mean(dim=(2, 3)), atol=1e-6, rtol=1e-5)


def test_as_detectron2_pools() -> None:
    """nn.AvgPool2d of stride 1, where detectron2 allows it: the map is a multiple of the window."""
    x = torch.rand((1, 4, 8, 12), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(window_mean(x, 4, 6), torch.nn.AvgPool2d((4, 6), stride=1)(x))


@pytest.mark.parametrize("capture", ["script", "trace"])
def test_captured_on_one_size_it_runs_on_all(capture: str, captures: dict[str, Callable[..., Any]]) -> None:
    op = WindowMean(4, 6)
    captured = captures[capture](op, (torch.rand(1, 2, 8, 12),))
    for shape in ((2, 2, 8, 12), (1, 2, 3, 40), (3, 2, 5, 1), (1, 2, 1, 1)):
        x = torch.rand(shape)
        assert torch.equal(captured(x), op(x))
