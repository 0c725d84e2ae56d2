"""Group norm in ONNX's operators of opset 18, which has none, also of no rows at all.

The exporter's own fails on those, which a mask head has where nothing was found: it leaves the length of a group to
Reshape, which cannot tell it from nothing. Specifications: https://onnx.ai/onnx/operators/ (Reshape-14,
InstanceNormalization-6).
"""

from typing import Any

from onnxscript import opset18 as op


def group_norm(  # one argument each, as the operator has them
    x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, cudnn_enabled: bool = True
) -> Any:
    """aten::group_norm of x[N,C,...], weight[C] and bias[C] or none; what it says of cudnn is not looked at."""
    channels = int(x.shape[1])
    spatial = op.ReduceProd(op.Shape(x, start=2), keepdims=1)
    members = op.Mul(spatial, op.Constant(value_ints=[channels // groups]))
    rows = op.Shape(x, start=0, end=1)
    grouped = op.Reshape(x, op.Concat(rows, op.Constant(value_ints=[groups]), members, axis=0), allowzero=1)
    ones, zeros = op.Constant(value_floats=[1.0] * groups), op.Constant(value_floats=[0.0] * groups)
    made = op.Reshape(op.InstanceNormalization(grouped, ones, zeros, epsilon=eps), op.Shape(x), allowzero=1)
    axes = op.Constant(value_ints=list(range(1, len(x.shape) - 1)))
    if weight is not None:
        made = op.Mul(made, op.Unsqueeze(weight, axes))
    return made if bias is None else op.Add(made, op.Unsqueeze(bias, axes))
