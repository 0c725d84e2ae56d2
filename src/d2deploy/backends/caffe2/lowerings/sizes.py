"""Sizes that depend on the net's input: numbers that the net computes when it runs."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from d2deploy.backends.caffe2.place import Blob, Place, Size

aten = torch.ops.aten
Number = int | Size


def size(place: Place, x: Blob, axis: int) -> Number:
    """The length of an axis."""
    return length(place, x, axis % x.rank)


def length(place: Place, x: Blob, axis: int) -> Number:
    """The length of an axis, counted from the first: a number where it is known now."""
    known = x.size(axis)
    return Size(lambda: place.emit("Shape", x, part="size", axes=[axis])) if known is None else known


def number(place: Place, value: Number) -> str:
    """A size as a blob of one int64 number."""
    return value.blob if isinstance(value, Size) else place.constant([value], "number", "int64")


def shape(place: Place, sizes: Sequence[Number], part: str = "shape") -> str:
    """Sizes as one int64 blob."""
    numbers: list[Blob | str] = []
    known: list[int] = []
    for value in [*sizes, None]:
        if isinstance(value, int):
            known.append(value)
            continue
        if known:
            numbers.append(place.constant(known, part, "int64"))
            known = []
        if value is not None:
            numbers.append(value.blob)
    return str(numbers[0]) if len(numbers) == 1 else place.concat(numbers, 0, part)


def reshaped(place: Place, x: "Blob | str", sizes: Sequence[Number], part: str = "") -> str:
    """x with other sizes; -1: what is left, 0: as before. The node's own blob where there is no `part`."""
    known = [-1 if isinstance(value, Size) else value for value in sizes]
    name = place.part(part) if part else place.name
    outputs = [name, place.part(f"{part}.before" if part else "before")]
    if known.count(-1) <= 1:
        return place.emit_many("Reshape", x, outputs=outputs, shape=known)[0]
    return place.emit_many("Reshape", x, shape(place, sizes), outputs=outputs)[0]


def computed(type: str, **args: Any) -> Callable[..., Size | None]:
    """The lowering of whole-number arithmetic on sizes, which are never below 0."""

    def lower(place: Place, left: Any, right: Any) -> Size | None:
        if not all(isinstance(side, Size | int) for side in (left, right)):
            return None  # of a number that no lowering here knows; who asks for it says so
        return Size(lambda: place.emit(type, number(place, left), number(place, right), part="size", **args))

    return lower


def times(place: Place, left: Number, right: Number) -> Number:
    """The product of two sizes."""
    if isinstance(left, int) and isinstance(right, int):
        return left * right
    return Size(lambda: place.emit("Mul", number(place, left), number(place, right), part="size"))


def nothing(place: Place, *_: Any, **__: Any) -> None:
    """Comparisons of sizes, and what torch.export checks of them."""


_ARITHMETIC = {"add": "Add", "sub": "Sub", "mul": "Mul", "floordiv": "Div"}

SIZES: dict[Any, Callable[..., Any]] = {
    aten.sym_size.int: size,
    torch.sym_min: computed("ATen", operator="minimum"),
    torch.sym_max: computed("ATen", operator="maximum"),
    operator.mod: computed("ATen", operator="remainder"),
    **{getattr(operator, name): computed(type) for name, type in _ARITHMETIC.items()},
    **{getattr(operator, name): nothing for name in ("neg", "ge", "le", "gt", "lt", "eq", "ne", "pow", "truediv")},
    aten._assert_scalar.default: nothing,
    aten._assert_tensor_metadata.default: nothing,
    aten._assert_async.msg: nothing,
    aten.sym_constrain_range_for_size.default: nothing,
    aten.sym_constrain_range.default: nothing,
    torch._check: nothing,
}
