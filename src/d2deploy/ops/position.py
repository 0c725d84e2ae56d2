"""Where a cell is, for attention: tables of positions, stretched to the size of the map."""

import torch
from torch import Tensor, nn


def absolute_position(table: Tensor, like: Tensor) -> Tensor:
    """table[1,C,h,w], a vector for each cell of a map of another size, stretched to like[N,H,W,any] -> [1,H,W,C].

    Bicubic, half-pixel centres (detectron2 get_abs_pos); to its own size this changes nothing, bit for bit.
    """
    size = [like.shape[1], like.shape[2]]
    return nn.functional.interpolate(table, size=size, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def relative_vectors(table: Tensor, queries: int, keys: int, *, more_queries: bool) -> Tensor:
    """The vector for each pair of a query and a key along one axis: table[L,C] -> [queries,keys,C].

    The table goes from the smallest to the largest difference. It is stretched to 2*max(queries, keys)-1 rows
    (linearly; to its own size this changes nothing); the shorter side counts in steps of the ratio, rounded down
    (detectron2 get_rel_pos). `more_queries`: queries >= keys, which callers know from their strides.
    """
    longer = queries if more_queries else keys
    rows = nn.functional.interpolate(table.t().unsqueeze(0), size=[2 * longer - 1], mode="linear").squeeze(0).t()
    query = torch.arange(queries, dtype=torch.float32, device=table.device)
    key = torch.arange(keys, dtype=torch.float32, device=table.device)
    # In float32, and in this order, as detectron2: rounding down makes a whole row of a last digit. The lengths are
    # tensors because not every format can multiply by a number that only running it gives.
    all_queries, all_keys = query[-1:] + 1, key[-1:] + 1
    if more_queries:
        last = key[-1:] * all_queries / all_keys
        index = (query.unsqueeze(1) - key * (all_queries / all_keys)) + last
    else:
        index = ((query * (all_keys / all_queries)).unsqueeze(1) - key) + key[-1:]
    return rows[index.to(torch.int64)]


def relative_bias(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, *, more_queries: bool) -> Tensor:
    """What to add to the attention of each query to each key: its product with the vector of their difference.

    q[M,Hq,Wq,C], unscaled; k[M,Hk,Wk,any], for its size only; tables rows[L,C] and columns[L',C], for the vertical and
    horizontal difference -> [M,Hq*Wq,Hk*Wk] (the decomposed relative positions of MViTv2).
    """
    vertical = relative_vectors(rows, q.shape[1], k.shape[1], more_queries=more_queries)
    horizontal = relative_vectors(columns, q.shape[2], k.shape[2], more_queries=more_queries)
    of_rows = torch.einsum("mhwc,hkc->mhwk", q, vertical).clone(memory_format=torch.contiguous_format)
    of_columns = torch.einsum("mhwc,wkc->mhwk", q, horizontal).clone(memory_format=torch.contiguous_format)
    return (of_rows.unsqueeze(4) + of_columns.unsqueeze(3)).flatten(3).flatten(1, 2)


def window_bias(table: Tensor, size: int) -> Tensor:
    """What to add to the attention of each cell of a window to each: table[(2*size-1)^2,A] -> [A,size^2,size^2].

    The table has a row for each difference of two cells, vertical * (2*size-1) + horizontal, from the smallest to the
    largest (detectron2 swin.py).
    """
    index = torch.arange(size, device=table.device)
    cell = (index[:, None] * (2 * size - 1) + index[None, :]).reshape(-1)
    return table[cell[:, None] - cell[None, :] + 2 * size * (size - 1)].permute(2, 0, 1)


class AbsolutePosition(nn.Module):
    """`absolute_position` as a module."""

    def forward(self, table: Tensor, like: Tensor) -> Tensor:
        """See `absolute_position`."""
        return absolute_position(table, like)


class RelativeBias(nn.Module):
    """`relative_bias`; `more_queries`: no map has more keys than queries along an axis."""

    def __init__(self, *, more_queries: bool = True) -> None:
        super().__init__()
        self.more_queries = more_queries

    def forward(self, q: Tensor, k: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """See `relative_bias`."""
        return relative_bias(q, k, rows, columns, more_queries=self.more_queries)


class WindowBias(nn.Module):
    """`window_bias` with its window size."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, table: Tensor) -> Tensor:
        """See `window_bias`."""
        return window_bias(table, self.size)
