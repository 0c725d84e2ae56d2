"""Products of matrices, and attention, which is two of them."""

import math
from collections.abc import Callable
from typing import Any

import torch

from d2deploy.backends.caffe2.lowerings.images import positions
from d2deploy.backends.caffe2.lowerings.resize import line_weights
from d2deploy.backends.caffe2.lowerings.sizes import Number, length, number, reshaped, times
from d2deploy.backends.caffe2.place import Blob, CannotLower, Place
from d2deploy.ops.position import relative_vectors

aten = torch.ops.aten


def matmul(place: Place, left: Blob, right: Blob) -> str:
    """BatchMatMul, whose axes before the last two broadcast."""
    return place.emit("BatchMatMul", left, right, broadcast=1)


def addmm(place: Place, bias: Blob, left: Blob, right: Blob, *, beta: float = 1, alpha: float = 1) -> str:
    """A product and a sum."""
    if beta != 1 or alpha != 1:
        raise CannotLower("addmm with factors")
    return place.emit("Add", place.emit("BatchMatMul", left, right, part="product", broadcast=1), bias)


def attention(
    place: Place,
    q: Blob,
    k: Blob,
    v: Blob,
    *,
    attn_mask: Blob | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_: Any,
) -> str:
    """softmax(q k' scale + mask) v."""
    if is_causal or (attn_mask is not None and attn_mask.like.dtype == torch.bool):
        raise CannotLower("attention with a mask of yes and no")
    factor = 1 / math.sqrt(int(q.like.shape[-1])) if scale is None else scale
    scaled = place.emit("Mul", q, place.constant([factor], "scale"), part="scaled")
    weights = place.emit("BatchMatMul", scaled, k, part="weights", broadcast=1, trans_b=1)
    if attn_mask is not None:
        weights = place.emit("Add", weights, attn_mask, part="biased")
    shares = place.emit("Softmax", weights, part="shares", axis=q.rank - 1)
    return place.emit("BatchMatMul", shares, v, broadcast=1)


def relative_bias(place: Place, q: Blob, k: Blob, rows: Blob, *, columns: Blob, more_queries: bool) -> str:
    """ops/position.py relative_bias."""
    vertical = _vectors(place, rows, length(place, q, 1), length(place, k, 1), more_queries=more_queries)
    horizontal = _vectors(place, columns, length(place, q, 2), length(place, k, 2), more_queries=more_queries)
    of_rows = place.emit("ExpandDims", _products(place, q, vertical, [1, 2]), part="of_rows", dims=[4])
    of_columns = place.emit("ExpandDims", _products(place, q, horizontal, [2, 1]), part="of_columns", dims=[3])
    both = place.emit("Add", of_rows, of_columns, part="both")  # [M,Hq,Wq,Hk,Wk]
    keys = times(place, length(place, k, 1), length(place, k, 2))
    queries = times(place, length(place, q, 1), length(place, q, 2))
    return reshaped(place, both, [-1, queries, keys])


def _products(place: Place, q: Blob, vectors: str, axes: list[int]) -> str:
    """q[M,Hq,Wq,C] times vectors[queries,keys,C] along the first of both axes -> [M,Hq,Wq,keys]."""
    order = [axes[0], 0, axes[1], 3]
    along = place.emit("Transpose", q, part="along", axes=order)
    each = place.emit("ExpandDims", vectors, part="each", dims=[1])
    found = place.emit("BatchMatMul", along, each, part="products", broadcast=1, trans_b=1)
    return place.emit("Transpose", found, part="in_order", axes=[order.index(axis) for axis in range(4)])


def _vectors(place: Place, table: Blob, queries: Number, keys: Number, *, more_queries: bool) -> str:
    """ops/position.py relative_vectors: [queries,keys,C]."""
    if isinstance(queries, int) and isinstance(keys, int):
        return place.constant(relative_vectors(table.like, queries, keys, more_queries=more_queries), "vectors")
    one = place.constant([1], "one", "int64")
    longer = number(place, queries if more_queries else keys)
    twice = place.emit("Add", longer, longer, part="twice")
    lines = line_weights(
        place, place.constant([table.size(0)], "rows", "int64"), place.emit("Sub", twice, one, part="differences")
    )
    stretched = place.emit("BatchMatMul", lines, table, part="stretched", broadcast=1)
    row = _differences(place, queries, keys, more_queries=more_queries)
    return place.emit("Gather", stretched, row, part="vectors")


def _differences(place: Place, queries: Number, keys: Number, *, more_queries: bool) -> str:
    """Which row of the table each pair has: int64 [queries,keys], in that function's order of rounding."""
    all_queries, all_keys = (place.cast(number(place, side), "float32", part="cells") for side in (queries, keys))
    query = place.emit("ExpandDims", positions(place, number(place, queries), "query"), part="query_column", dims=[1])
    key = positions(place, number(place, keys), "key")
    last = place.emit("Sub", all_keys, place.constant([1.0], "one"), part="last_key")
    shorter, longer = (all_keys, all_queries) if more_queries else (all_queries, all_keys)
    ratio = place.emit("Div", longer, shorter, part="ratio")
    if more_queries:
        steps = place.emit("Mul", key, ratio, part="steps")
        difference = place.emit("Sub", query, steps, part="difference")
        first = place.emit("Div", place.emit("Mul", last, all_queries, part="first"), all_keys, part="offset")
    else:
        difference = place.emit("Sub", place.emit("Mul", query, ratio, part="steps"), key, part="difference")
        first = last
    return place.cast(place.emit("Add", difference, first, part="index"), "int64", part="row")


PRODUCTS: dict[Any, Callable[..., Any]] = {
    aten.addmm.default: addmm,
    aten.addmm_.default: addmm,
    aten.baddbmm.default: addmm,
    aten.baddbmm_.default: addmm,
    aten.bmm.default: matmul,
    aten.matmul.default: matmul,
    aten.scaled_dot_product_attention.default: attention,
    torch.ops.d2deploy.relative_bias.default: relative_bias,
}
