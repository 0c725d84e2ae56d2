"""Cell by cell: sums, products, activations. Caffe2's two-sided operators broadcast as numpy does."""

from collections.abc import Callable
from typing import Any

import torch

from d2deploy.backends.caffe2.place import Blob, CannotLower, Place, Size, dtype_of

aten = torch.ops.aten


Operand = Blob | Size | int | float


def _operand(place: Place, value: Operand, dtype: torch.dtype, part: str) -> "Blob | str":
    """A side as `dtype`; a number as a blob of one cell."""
    if isinstance(value, int | float):
        return place.constant([value], part, dtype_of(dtype))
    if isinstance(value, Size):
        return value.blob if dtype == torch.int64 else place.cast(value.blob, dtype_of(dtype), part=part)
    return value if value.like.dtype == dtype else place.cast(value, dtype_of(dtype), part=part)


def _common(left: Operand, right: Operand) -> torch.dtype:
    """The dtype in which torch would compute."""
    sides: list[Any] = [
        side.like if isinstance(side, Blob) else 1 if isinstance(side, Size) else side for side in (left, right)
    ]
    return torch.result_type(*sides)


def binary(type: str, **args: Any) -> Callable[..., str]:
    """The lowering of an operation on two sides that gives their dtype."""

    def lower(place: Place, left: Operand, right: Operand, *, alpha: float = 1) -> str:
        if alpha != 1:
            raise CannotLower(f"{type} with alpha={alpha}")
        dtype = place.node.meta["val"].dtype
        sides = _operand(place, left, dtype, "left"), _operand(place, right, dtype, "right")
        return place.emit(type, *sides, **args)

    return lower


def comparison(type: str) -> Callable[..., str]:
    """The lowering of an operation on two sides that gives yes or no."""

    def lower(place: Place, left: Operand, right: Operand) -> str:
        dtype = _common(left, right)
        return place.emit(type, _operand(place, left, dtype, "left"), _operand(place, right, dtype, "right"))

    return lower


def div_rounded(place: Place, left: Operand, right: Operand, *, rounding_mode: str | None = None) -> str:
    """Down to a whole number: what is left is taken away before. Caffe2's Div of whole numbers rounds to 0."""
    if rounding_mode not in ("floor", None):
        raise CannotLower(f"division rounded by {rounding_mode}")
    dtype = place.node.meta["val"].dtype
    sides = [_operand(place, left, dtype, "left"), _operand(place, right, dtype, "right")]
    if rounding_mode:
        rest = place.emit("ATen", *sides, part="rest", operator="remainder")
        sides[0] = place.emit("Sub", sides[0], rest, part="multiple")
    return place.emit("Div", *sides)


def where(place: Place, condition: Blob, yes: Blob, no: Blob) -> str:
    """Caffe2's own Where does not broadcast."""
    return place.emit("ATen", condition, yes, no, operator="where")


def masked_fill(place: Place, x: Blob, mask: Blob, value: float) -> str:
    """As where."""
    return place.emit("ATen", mask, _operand(place, value, x.like.dtype, "value"), x, operator="where")


def unary(type: str) -> Callable[..., str]:
    """The lowering of an operation without options."""
    return lambda place, x: place.emit(type, x)


def relu(place: Place, x: Blob) -> str:
    """In place wherever nobody reads the input again."""
    return place.in_place("Relu", x)


def clamp(place: Place, x: Blob, low: Any = None, high: Any = None, **named: Any) -> str:
    """Clip, of float32 only."""
    given = {"min": named.get("min", low), "max": named.get("max", high)}
    known = {name: bound for name, bound in given.items() if bound is not None}
    if x.like.dtype == torch.float32 and not any(isinstance(bound, Size) for bound in known.values()):
        bounds: dict[str, Any] = {name: float(bound) for name, bound in known.items()}
        return place.emit("Clip", x, **bounds)
    blob: Blob | str = x
    for name, bound in known.items():
        operator = {"min": "maximum", "max": "minimum"}[name]
        blob = place.emit("ATen", blob, _operand(place, bound, x.like.dtype, name), part=name, operator=operator)
    return blob if isinstance(blob, str) else blob.name


def hardtanh(place: Place, x: Blob, low: float = -1.0, high: float = 1.0) -> str:
    """ReLU6 and its like."""
    return place.emit("Clip", x, min=float(low), max=float(high))


def softmax(place: Place, x: Blob, axis: int, dtype: torch.dtype | None = None) -> str:
    """Caffe2's takes everything from `axis` on together: the last axis only."""
    if axis % x.rank != x.rank - 1:
        raise CannotLower("softmax over another axis than the last")
    return place.emit("Softmax", x, axis=x.rank - 1)


def leaky_relu(place: Place, x: Blob, slope: float = 0.01) -> str:
    """LeakyRelu."""
    return place.emit("LeakyRelu", x, alpha=float(slope))


def silu(place: Place, x: Blob) -> str:
    """x * sigmoid(x)."""
    return place.emit("Mul", x, place.emit("Sigmoid", x, part="sigmoid"))


def softplus(place: Place, x: Blob, beta: float = 1, threshold: float = 20) -> str:
    """ATen's: Caffe2's own Softplus is infinite from 89 on."""
    return place.emit("ATen", x, operator="softplus", beta=float(beta), threshold=float(threshold))


def gelu(place: Place, x: Blob, *, approximate: str = "none") -> str:
    """Gelu."""
    return place.emit("Gelu", x, fast_gelu=int(approximate == "tanh"))


_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul"}
_COMPARISONS = {"eq": "EQ", "ge": "GE", "gt": "GT", "le": "LE", "lt": "LT", "ne": "NE"}
_UNARY = {
    "abs": "Abs",
    "bitwise_not": "Not",
    "cos": "Cos",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "logical_not": "Not",
    "neg": "Negative",
    "reciprocal": "Reciprocal",
    "rsqrt": "Rsqrt",
    "sigmoid": "Sigmoid",
    "sin": "Sin",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}

ARITHMETIC: dict[Any, Callable[..., Any]] = {
    **{getattr(aten, name).default: unary(type) for name, type in _UNARY.items()},
    **{getattr(aten, name).default: binary("ATen", operator=name) for name in ("maximum", "minimum")},
    **{getattr(aten, name).Tensor: binary("And") for name in ("bitwise_and",)},
    **{getattr(aten, name).default: binary("And") for name in ("logical_and",)},
    aten.relu.default: relu,
    aten.relu_.default: relu,
    aten.hardtanh.default: hardtanh,
    aten.hardtanh_.default: hardtanh,
    aten.leaky_relu.default: leaky_relu,
    aten.leaky_relu_.default: leaky_relu,
    aten.silu.default: silu,
    aten.silu_.default: silu,
    aten.softplus.default: softplus,
    aten.gelu.default: gelu,
    aten.masked_fill.Scalar: masked_fill,
    aten.softmax.int: softmax,
    aten.where.self: where,
}
SIZED_ARITHMETIC: dict[Any, Callable[..., Any]] = {
    **{getattr(aten, name).Tensor: binary(type) for name, type in _BINARY.items()},
    **{getattr(aten, f"{name}_").Tensor: binary(type) for name, type in _BINARY.items()},
    **{
        getattr(getattr(aten, name), side): comparison(type)
        for name, type in _COMPARISONS.items()
        for side in ("Scalar", "Tensor")
    },
    aten.clamp.default: clamp,
    aten.clamp_min.default: clamp,
    aten.div.Tensor: div_rounded,
    aten.div_.Tensor: div_rounded,
    aten.div.Tensor_mode: div_rounded,
}
