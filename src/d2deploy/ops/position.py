"""Where a cell is, for attention: tables of positions, stretched to the size of the map."""

import torch
from torch import Tensor, nn


def absolute_position(table: Tensor, like: Tensor) -> Tensor:
    """A square table of P positions, table[1,P,C], stretched to like[N,H,W,any] -> [1,H,W,C].

    Bicubic, half-pixel centres (detectron2 get_abs_pos); to its own size this changes nothing, bit for bit.
    """
    side = int(round(table.shape[1] ** 0.5))
    square = table.reshape(1, side, side, table.shape[2]).permute(0, 3, 1, 2)
    size = [like.shape[1], like.shape[2]]
    return nn.functional.interpolate(square, size=size, mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def relative_vectors(table: Tensor, queries: int, keys: int, *, more_queries: bool) -> Tensor:
    """The vector for each pair of a query and a key along one axis: table[L,C] -> [queries,keys,C].

    The table goes from the smallest to the largest difference. It is stretched to 2*max(queries, keys)-1 rows
    (linearly; to its own size this changes nothing); the shorter side counts in steps of the ratio, rounded down
    (detectron2 get_rel_pos). `more_queries`: queries >= keys, which callers know from their strides.
    """
    longer = queries if more_queries else keys
    rows = nn.functional.interpolate(table.t()[None], size=[2 * longer - 1], mode="linear")[0].t()
    query_step = 1.0 if more_queries else keys / queries
    key_step = queries / keys if more_queries else 1.0
    query = torch.arange(queries, device=table.device)[:, None] * query_step
    key = torch.arange(keys, device=table.device)[None, :] * key_step
    return rows[((query - key) + (keys - 1) * key_step).to(torch.int64)]


def relative_bias(q: Tensor, k: Tensor, rows: Tensor, columns: Tensor, *, more_queries: bool) -> Tensor:
    """What to add to the attention of each query to each key: its product with the vector of their difference.

    q[M,Hq,Wq,C], unscaled; k[M,Hk,Wk,any], for its size only; tables rows[L,C] and columns[L',C], for the vertical and
    horizontal difference -> [M,Hq*Wq,Hk*Wk] (the decomposed relative positions of MViTv2).
    """
    vertical = relative_vectors(rows, q.shape[1], k.shape[1], more_queries=more_queries)
    horizontal = relative_vectors(columns, q.shape[2], k.shape[2], more_queries=more_queries)
    of_rows = torch.einsum("mhwc,hkc->mhwk", q, vertical).contiguous()
    of_columns = torch.einsum("mhwc,wkc->mhwk", q, horizontal).contiguous()
    return (of_rows[..., None] + of_columns[..., None, :]).flatten(3).flatten(1, 2)


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
