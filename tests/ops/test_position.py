"""Positions of cells, against loops over their definition (detectron2 backbone/utils.py and swin.py)."""

from typing import Any

import numpy as np
import pytest
import torch

from d2deploy.ops.position import (
    AbsolutePosition,
    RelativeBias,
    absolute_position,
    relative_bias,
    relative_vectors,
    window_bias,
)

LENGTHS = [*range(1, 40), 64, 100, 167, 200, 334]


def definition(queries: int, keys: int) -> torch.Tensor:
    """The row of the table for each query and key, in float32 as detectron2 counts: the shorter side takes steps."""
    query = torch.arange(queries)[:, None] * max(keys / queries, 1.0)
    key = torch.arange(keys)[None, :] * max(queries / keys, 1.0)
    return (query - key + (keys - 1) * max(queries / keys, 1.0)).long()


@pytest.mark.parametrize("keys", LENGTHS)
def test_the_row_for_a_difference(keys: int) -> None:
    for queries in LENGTHS:
        rows = torch.arange(2 * max(queries, keys) - 1, dtype=torch.float32)[:, None]
        for more_queries in {queries >= keys, queries > keys}:
            found = relative_vectors(rows, queries, keys, more_queries=more_queries)
            assert torch.equal(found[..., 0].long(), definition(queries, keys))


def test_a_table_of_another_size_is_stretched() -> None:
    table = torch.rand(7, 3, generator=torch.Generator().manual_seed(1))
    found = relative_vectors(table, 6, 6, more_queries=True)
    at = (np.arange(11) + 0.5) * 7 / 11 - 0.5  # centres of 11 cells over those of 7
    stretched = np.stack([np.interp(at, np.arange(7), column) for column in table.numpy().T], axis=1)
    for query in range(6):
        for key in range(6):
            np.testing.assert_allclose(found[query, key], stretched[query - key + 5], atol=1e-5)


def test_the_bias_is_a_product_with_the_unscaled_query() -> None:
    generator = torch.Generator().manual_seed(2)
    q, k = torch.rand((2, 4, 6, 3), generator=generator), torch.zeros(2, 2, 3, 1)
    rows, columns = torch.rand((7, 3), generator=generator), torch.rand((11, 3), generator=generator)
    bias = relative_bias(q, k, rows, columns, more_queries=True)
    assert bias.shape == (2, 24, 6)
    for y in range(4):
        for x in range(6):
            for v in range(2):
                for u in range(3):
                    vector = rows[y - 2 * v + 2] + columns[x - 2 * u + 4]
                    torch.testing.assert_close(bias[:, y * 6 + x, v * 3 + u], q[:, y, x] @ vector)


def test_a_window_has_a_bias_for_each_difference() -> None:
    size = 3
    table = torch.arange(25 * 2).reshape(25, 2)
    bias = window_bias(table, size)
    for i in range(9):
        for j in range(9):
            down, right = i // 3 - j // 3, i % 3 - j % 3
            assert bias[:, i, j].tolist() == table[(down + 2) * 5 + right + 2].tolist()


def test_positions_of_the_same_size_stay_bit_for_bit() -> None:
    table = torch.randn((1, 8, 14, 9), generator=torch.Generator().manual_seed(3))
    assert torch.equal(absolute_position(table, torch.zeros(2, 14, 9, 5)), table.permute(0, 2, 3, 1))
    rows = torch.randn((27, 8), generator=torch.Generator().manual_seed(4))
    assert torch.equal(relative_vectors(rows, 14, 14, more_queries=True)[13, :, 0], rows[13:, 0].flip(0))


def cubic(distance: float) -> float:
    """The weight of a cell at a distance (Keys' kernel with a = -0.75, as torch's)."""
    a, d = -0.75, abs(distance)
    return (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else a * (d**3 - 5 * d**2 + 8 * d - 4)


def test_positions_of_another_size_are_stretched() -> None:
    column = torch.rand(5, generator=torch.Generator().manual_seed(5))
    stretched = absolute_position(column.reshape(1, 1, 5, 1).expand(1, 2, 5, 4), torch.zeros(3, 8, 4, 1))
    assert stretched.shape == (1, 8, 4, 2)
    for i in range(8):
        at = (i + 0.5) * 5 / 8 - 0.5
        cells = range(int(np.floor(at)) - 1, int(np.floor(at)) + 3)
        expected = sum(cubic(at - cell) * float(column[min(max(cell, 0), 4)]) for cell in cells)
        assert stretched[0, i].tolist() == [pytest.approx([expected] * 2, abs=1e-5)] * 4


@pytest.mark.parametrize("capture", ["script", "trace"])
def test_captured_at_one_size_right_at_others(captures: Any, capture: str) -> None:
    tables = torch.rand(13, 4), torch.rand(9, 4)
    bias = captures[capture](RelativeBias(), (torch.rand(2, 6, 5, 4), torch.rand(2, 3, 3, 4), *tables))
    position = captures[capture](AbsolutePosition(), (torch.rand(1, 4, 6, 6), torch.rand(2, 5, 7, 4)))
    for height, width in [(6, 5), (1, 1), (9, 2), (2, 30)]:
        q, k = torch.rand(1, height, width, 4), torch.rand(1, -(-height // 2), -(-width // 2), 4)
        assert torch.equal(bias(q, k, *tables), RelativeBias()(q, k, *tables))
        table = torch.rand(1, 4, 6, 6)
        assert torch.equal(position(table, q), absolute_position(table, q))
