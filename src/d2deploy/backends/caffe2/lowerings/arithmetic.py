"""Cell by cell: sums, products, activations. Caffe2's two-sided operators broadcast as numpy does."""

from collections.abc import Callable
from typing import Any

import torch

from d2deploy.backends.caffe2.place import Blob, CannotLower, Place, dtype_of

aten = torch.ops.aten


def _operand(place: Place, value: Any, like: Blob, part: str) -> "Blob | str":
    """A number as a blob of one cell, in the other side's dtype."""
    return value if isinstance(value, Blob) else place.constant([value], part, dtype_of(like.like))


def binary(type: str) -> Callable[..., str]:
    """The lowering of an operation on two sides."""

    def lower(place: Place, left: Any, right: Any, *, alpha: float = 1, rounding_mode: str | None = None) -> str:
        if alpha != 1:
            raise CannotLower(f"{type} with alpha={alpha}")
        if rounding_mode is not None:
            raise CannotLower(f"{type} rounded by {rounding_mode}")
        blob = left if isinstance(left, Blob) else right
        if isinstance(left, Blob) and isinstance(right, Blob) and left.like.dtype != right.like.dtype:
            raise CannotLower(f"{type} of {dtype_of(left.like)} and {dtype_of(right.like)}")
        return place.emit(type, _operand(place, left, blob, "left"), _operand(place, right, blob, "right"))

    return lower


def unary(type: str) -> Callable[..., str]:
    """The lowering of an operation without options."""
    return lambda place, x: place.emit(type, x)


def relu(place: Place, x: Blob) -> str:
    """In place wherever nobody reads the input again."""
    return place.in_place("Relu", x)


def clamp(place: Place, x: Blob, low: float | None = None, high: float | None = None) -> str:
    """Clip."""
    given = {"min": low, "max": high}
    bounds: dict[str, Any] = {name: float(bound) for name, bound in given.items() if bound is not None}
    return place.emit("Clip", x, **bounds)


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


def gelu(place: Place, x: Blob, *, approximate: str = "none") -> str:
    """Gelu."""
    return place.emit("Gelu", x, fast_gelu=int(approximate == "tanh"))


_BINARY = {"add": "Add", "sub": "Sub", "mul": "Mul", "div": "Div"}
_UNARY = {
    "sigmoid": "Sigmoid",
    "tanh": "Tanh",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "abs": "Abs",
    "neg": "Negative",
}

ARITHMETIC: dict[Any, Callable[..., Any]] = {
    **{getattr(getattr(aten, name), form): binary(type) for name, type in _BINARY.items() for form in ("Tensor",)},
    **{getattr(aten, f"{name}_").Tensor: binary(type) for name, type in _BINARY.items()},
    **{getattr(aten, name).default: unary(type) for name, type in _UNARY.items()},
    aten.relu.default: relu,
    aten.relu_.default: relu,
    aten.clamp.default: clamp,
    aten.clamp_min.default: clamp,
    aten.hardtanh.default: hardtanh,
    aten.hardtanh_.default: hardtanh,
    aten.leaky_relu.default: leaky_relu,
    aten.leaky_relu_.default: leaky_relu,
    aten.silu.default: silu,
    aten.silu_.default: silu,
    aten.gelu.default: gelu,
    aten.softmax.int: softmax,
}
