"""Whole numbers divided, rounded down, in ONNX's operators. torch's exporter divides them as float32.

Above 2**24 float32 has not every whole number: a RetinaNet of 80 classes numbers its (anchor, class) pairs beyond that
on an image of 1333 x 1333. And OpenVINO multiplies by the reciprocal, for which 82 / 41 is a little less than 2.
Specifications: https://onnx.ai/onnx/operators/ (Div-14).
"""

from typing import Any

from onnxscript import opset18 as op


def floor_divide(number: Any, divisor: Any, rounding_mode: str | None = None) -> Any:
    """aten::div.Tensor_mode, as d2deploy uses it: whole numbers, a divisor above 0, and down."""
    assert number.dtype.is_integer() and rounding_mode == "floor"
    # OpenVINO divides whole numbers as float32, too, and may be off by one: what is left over says so.
    divisor = op.CastLike(divisor, number)
    near = op.Div(number, divisor)
    rest = op.Sub(number, op.Mul(near, divisor))
    too_small, too_large = op.Not(op.Less(rest, divisor)), op.Less(rest, op.CastLike(0, number))
    return op.Sub(op.Add(near, op.CastLike(too_small, number)), op.CastLike(too_large, number))
