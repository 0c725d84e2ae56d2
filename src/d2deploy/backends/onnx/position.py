"""Relative positions of ops/position.py in ONNX's operators.

Specifications: https://onnx.ai/onnx/operators/ (Resize-18, Range-11, Einsum-12).
"""

from typing import Any

from onnxscript import opset18 as op


def relative_bias(q: Any, k: Any, rows: Any, columns: Any, *, more_queries: bool) -> Any:
    """See ops/position.py."""
    of_rows = op.Einsum(q, _vectors(rows, q, k, axis=1, more_queries=more_queries), equation="mhwc,hkc->mhwk")
    of_columns = op.Einsum(q, _vectors(columns, q, k, axis=2, more_queries=more_queries), equation="mhwc,wkc->mhwk")
    both = op.Add(op.Unsqueeze(of_rows, _ints(4)), op.Unsqueeze(of_columns, _ints(3)))
    cells = op.Mul(op.Shape(q, start=1, end=2), op.Shape(q, start=2, end=3))
    return op.Reshape(both, op.Concat(op.Shape(q, start=0, end=1), cells, _ints(-1), axis=0))


def _vectors(table: Any, q: Any, k: Any, *, axis: int, more_queries: bool) -> Any:
    """relative_vectors along one axis of q and k."""
    queries: Any = op.Shape(q, start=axis, end=axis + 1)
    keys: Any = op.Shape(k, start=axis, end=axis + 1)
    rows = op.Sub(op.Mul(queries if more_queries else keys, _ints(2)), _ints(1))
    stretched = op.Resize(
        op.Unsqueeze(op.Transpose(table, perm=[1, 0]), _ints(0)),
        None,
        None,
        op.Concat(_ints(1), op.Shape(table, start=1, end=2), rows, axis=0),
        mode="linear",
        coordinate_transformation_mode="half_pixel",
    )
    all_queries: Any = op.Cast(queries, to=1)  # float32, as everything here is counted
    all_keys: Any = op.Cast(keys, to=1)
    query, key = op.Unsqueeze(_counted(queries), _ints(1)), _counted(keys)
    last: Any = op.Sub(all_keys, op.Constant(value_float=1.0))
    if more_queries:
        query_at, key_at = query, op.Mul(key, op.Div(all_queries, all_keys))
        last = op.Div(op.Mul(last, all_queries), all_keys)
    else:
        query_at, key_at = op.Mul(query, op.Div(all_keys, all_queries)), key
    index: Any = op.Cast(op.Add(op.Sub(query_at, key_at), last), to=7)
    return op.Gather(op.Transpose(op.Squeeze(stretched, _ints(0)), perm=[1, 0]), index)


def _counted(length: Any) -> Any:
    """0, 1, ... below `length` as float32."""
    zero, one = op.Constant(value_int=0), op.Constant(value_int=1)
    return op.Cast(op.Range(zero, op.Squeeze(length, _ints(0)), one), to=1)


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))
