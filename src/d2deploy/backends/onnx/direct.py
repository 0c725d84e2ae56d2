"""The short way from a captured graph to torch's ONNX exporter.

torch.onnx.export first sends every program through run_decompositions, which traces it twice more with symbolic sizes:
of a Mask R-CNN's export, 25 s of CPU without the 8 s of capture, 14 (measured 2026-11-28). It turns operators that have
no translation into others that have, and writes in place into new values. Our graphs have few of either kind: those
are translated here. A program with more of them, as of parts of the user's own, takes the long way.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import torch
from onnxscript import opset18 as op
from torch.export import ExportedProgram

aten = torch.ops.aten


class Direct(ExportedProgram):
    """A program that the exporter takes as it is."""

    def run_decompositions(self, *_: Any, **__: Any) -> Self:
        """Nothing: the program itself."""
        return self


def translate(capture: Callable[[], ExportedProgram], table: dict[Any, Callable[..., Any]], **options: Any) -> Any:
    """torch.onnx.export of what `capture` gives, with a table of translations, by the short way where it can be gone.

    Raises torch.onnx.OnnxExporterError where the long way fails, too.
    """
    options |= {"dynamo": True, "verbose": False}
    if is_direct(program := capture()):
        with suppress(torch.onnx.OnnxExporterError):
            return torch.onnx.export(direct(program), custom_translation_table=table | TRANSLATIONS, **options)
        program = capture()  # the symbols of one that failed half-way cannot be used again
    return torch.onnx.export(program, custom_translation_table=table, **options)


def is_direct(program: ExportedProgram) -> bool:
    """Whether all that `program` writes in place is in TRANSLATIONS and seen by nobody else.

    That all other operators have a translation only translating shows: torch.onnx.OnnxExporterError.
    """
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        if schema is not None and schema.is_mutable and not (node.target in IN_PLACE and _owns_input(node)):
            return False
    return True


def direct(program: ExportedProgram) -> Direct:
    """The same program for the short way."""
    return Direct(
        program.graph_module,
        program.graph,
        program.graph_signature,
        program.state_dict,
        program.range_constraints,
        program.module_call_graph,
        program.example_inputs,
        program.constants,
        verifiers=program.verifiers,
    )


def _owns_input(node: torch.fx.Node) -> bool:
    """Whether only `node` can see what it writes over: nobody else has it, and it is no view of another value."""
    written: Any = node.args[0]
    schema = getattr(written.target, "_schema", None)
    is_new = schema is not None and all(value.alias_info is None for value in schema.returns)
    return node.target in NO_CHANGE or ((is_new or written.target in IN_PLACE) and len(written.users) == 1)


def relu_(x: Any) -> Any:
    """aten::relu_."""
    return op.Relu(x)


def detach_(x: Any) -> Any:
    """aten::detach_."""
    return op.Identity(x)


def both(x: Any, y: Any) -> Any:
    """aten::__and__.Tensor."""
    return op.And(x, y) if x.dtype is not None and x.dtype.name == "BOOL" else op.BitwiseAnd(x, y)


def to(x: Any, dtype: int, *_: Any, **__: Any) -> Any:
    """aten::to.dtype: also what says where the result lies."""
    return op.Cast(x, to=dtype)


def add_product(x: Any, left: Any, right: Any) -> Any:
    """aten::addmm_, aten::baddbmm_, without their factors."""
    return op.Add(x, op.MatMul(left, right))


def batch_norm(
    x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float, *_: Any
) -> Any:
    """aten::batch_norm that works with the statistics it has."""
    assert not training
    scale: Any = _all(1.0, like=mean) if weight is None else weight
    shift: Any = _all(0.0, like=mean) if bias is None else bias
    return op.BatchNormalization(x, scale, shift, mean, var, epsilon=eps)


def _all(value: float, *, like: Any) -> Any:
    size: Any = op.Shape(like)
    constant: Any = op.Constant(value_float=value)
    return op.Expand(constant, size)


def adaptive_avg_pool2d(x: Any, size: Sequence[int]) -> Any:
    """aten::adaptive_avg_pool2d, to a single cell."""
    assert list(size) == [1, 1]
    return op.GlobalAveragePool(x)


def reshape_as(x: Any, other: Any) -> Any:
    """aten::reshape_as."""
    return op.Reshape(x, op.Shape(other), allowzero=1)


def conv_transpose2d(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Sequence[int] = (1, 1),
    padding: Sequence[int] = (0, 0),
    output_padding: Sequence[int] = (0, 0),
    groups: int = 1,
    dilation: Sequence[int] = (1, 1),
) -> Any:
    """aten::conv_transpose2d.input."""
    return op.ConvTranspose(
        x,
        weight,
        bias,
        strides=_two(stride),
        pads=_two(padding) * 2,
        output_padding=_two(output_padding),
        group=groups,
        dilations=_two(dilation),
    )


def _two(sizes: Sequence[int]) -> list[int]:
    """One for each axis; torch lets one stand for both."""
    return list(sizes) * (2 // len(sizes))


NO_CHANGE = (aten.detach_.default,)  # in place, but to what gradients need
IN_PLACE: dict[Any, Callable[..., Any]] = {
    aten.addmm_.default: add_product,
    aten.baddbmm_.default: add_product,
    aten.detach_.default: detach_,
    aten.relu_.default: relu_,
}
# A call that one of them is not for fails in it, and the program takes the long way.
TRANSLATIONS: dict[Any, Callable[..., Any]] = {
    **IN_PLACE,
    aten.__and__.Tensor: both,
    aten.adaptive_avg_pool2d.default: adaptive_avg_pool2d,
    aten.batch_norm.default: batch_norm,
    aten.conv_transpose2d.input: conv_transpose2d,
    aten.reshape_as.default: reshape_as,
    aten.to.dtype: to,
}
