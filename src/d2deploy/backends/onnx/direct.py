"""The short way from a captured graph to torch's ONNX exporter.

torch.onnx.export first sends every program through run_decompositions, which traces it twice more with symbolic sizes:
a small Mask R-CNN's export takes 23 s of CPU that way, 7 by this, beside 8 s of capture (measured 2026-11-28). It turns
operators that have no translation into others that have, and writes in place into new values. Our graphs have few of
either kind: those are translated here. A program with more of them, as of parts of the user's own, takes the long way.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

import torch
from onnxscript import opset18 as op
from torch.export import ExportedProgram

from d2deploy.backends.onnx import OPSET
from d2deploy.backends.onnx.simplify import simplify

aten = torch.ops.aten
LOG = logging.getLogger(__name__)


class Direct(ExportedProgram):
    """A program that the exporter takes as it is."""

    def run_decompositions(self, *_: Any, **__: Any) -> Self:
        """Nothing: the program itself."""
        return self


def translate(capture: Callable[[], ExportedProgram], table: dict[Any, Callable[..., Any]]) -> Any:
    """torch.onnx.export of what `capture` gives, with a table of translations, by the short way where it can be gone.

    Raises torch.onnx.OnnxExporterError where the long way fails, too.
    """
    exported = _exported(capture, table)
    simplify(exported.model)
    return exported


def _exported(capture: Callable[[], ExportedProgram], table: dict[Any, Callable[..., Any]]) -> Any:
    options: dict[str, Any] = {"dynamo": True, "verbose": False, "opset_version": OPSET, "optimize": False}
    if is_direct(program := capture()):
        with suppress(torch.onnx.OnnxExporterError):
            return torch.onnx.export(direct(program), custom_translation_table=table | TRANSLATIONS, **options)
        program = capture()  # the symbols of one that failed half-way cannot be used again
    LOG.info("A graph that is not only of what direct.py translates: its export takes about twice as long.")
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
    """Whether only `node` can see what it writes over, or nothing changes by it."""
    return node.target in NO_CHANGE or _has_one_reader(node.args[0])


def _has_one_reader(value: Any) -> bool:
    """Whether a value is read once, and so is what it is a view of, if it is one."""
    schema = getattr(value.target, "_schema", None)
    if schema is None or len(value.users) != 1:
        return False
    is_written = value.target in IN_PLACE and value.target not in NO_CHANGE  # which was asked of it
    is_view = any(returned.alias_info is not None for returned in schema.returns)
    return is_written or not is_view or _has_one_reader(value.args[0])


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


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """aten::flatten.using_ints, of an axis or more, also where one has no length, which Reshape cannot tell from -1."""
    rank = len(x.shape)
    first, last = start_dim % rank, end_dim % rank
    sizes: list[Any] = [op.ReduceProd(op.Shape(x, start=first, end=last + 1), keepdims=1)]
    if first > 0:
        sizes.insert(0, op.Shape(x, start=0, end=first))
    if last < rank - 1:
        sizes.append(op.Shape(x, start=last + 1))
    return op.Reshape(x, op.Concat(*sizes, axis=0), allowzero=1)


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
    aten.flatten.using_ints: flatten,
    aten.reshape_as.default: reshape_as,
    aten.to.dtype: to,
}
