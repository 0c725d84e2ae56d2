"""The samples of a deformable convolution in ONNX's operators.

Specifications: https://onnx.ai/onnx/operators/ (GridSample-16, Range-11).
"""

from typing import Any

from onnxscript import opset18 as op


def deform_sample(x: Any, offset: Any, *, kernel: int, stride: int, padding: int, dilation: int, groups: int) -> Any:
    """See ops/deform_sample.py. Each of `groups` parts of the channels is an image of its own for GridSample."""
    taps, channels = kernel * kernel, int(x.shape[1])
    images, cells = op.Shape(x, start=0, end=1), op.ReduceProd(op.Shape(offset, start=2), keepdims=1)
    split = op.Reshape(offset, op.Concat(_ints(-1, taps, 2), cells, axis=0))
    moved = op.Transpose(
        op.Gather(split, _ints(1, 0), axis=2), perm=[0, 3, 1, 2]
    )  # [N*groups,H'*W',K,2], columns first
    at = op.Add(moved, _still(offset, kernel=kernel, stride=stride, padding=padding, dilation=dilation))
    # GridSample counts from -1 to 1 over the outer edges of the border cells.
    sizes = op.Cast(op.Concat(op.Shape(x, start=3, end=4), op.Shape(x, start=2, end=3), axis=0), to=1)
    grid = op.Sub(op.Div(op.Add(op.Mul(at, _float(2.0)), _float(1.0)), sizes), _float(1.0))
    parts = op.Reshape(x, op.Concat(_ints(-1, channels // groups), op.Shape(x, start=2), axis=0))
    sampled = op.GridSample(parts, grid, mode="bilinear", padding_mode="zeros", align_corners=0)
    by_group = op.Reshape(sampled, op.Concat(images, _ints(groups, channels // groups), cells, _ints(taps), axis=0))
    rows = op.Concat(images, cells, _ints(taps, channels), axis=0)
    return op.Reshape(op.Transpose(by_group, perm=[0, 3, 4, 1, 2]), rows)


def _still(offset: Any, *, kernel: int, stride: int, padding: int, dilation: int) -> Any:
    """Where each tap reads without an offset -> [H'*W',K,2] float32, columns first."""
    tap_rows = [row * dilation - padding for row in range(kernel) for _ in range(kernel)]
    tap_columns = [column * dilation - padding for _ in range(kernel) for column in range(kernel)]
    rows, columns = (op.Mul(_counted(offset, axis), _ints(stride)) for axis in (2, 3))
    ats = (
        op.Add(op.Unsqueeze(columns, _ints(0, 2)), _ints(*tap_columns)),  # [1,W',K]
        op.Add(op.Unsqueeze(rows, _ints(1, 2)), _ints(*tap_rows)),  # [H',1,K]
    )
    sizes = op.Concat(op.Shape(offset, start=2), _ints(len(tap_rows)), axis=0)
    both = op.Concat(*(op.Unsqueeze(op.Expand(at, sizes), _ints(3)) for at in ats), axis=3)
    return op.Cast(op.Reshape(both, _ints(-1, len(tap_rows), 2)), to=1)


def _counted(x: Any, axis: int) -> Any:
    """0, 1, ... below the size of an axis."""
    size: Any = op.Squeeze(op.Shape(x, start=axis, end=axis + 1), _ints(0))
    return op.Range(op.Constant(value_int=0), size, op.Constant(value_int=1))


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def _float(value: float) -> Any:
    return op.Constant(value_float=value)
