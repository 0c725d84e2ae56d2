"""Parts of tensors and tensors of parts: slices, rows by number, concatenation, padding."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from d2deploy.backends.caffe2.lowerings.sizes import Number, length, number, shape
from d2deploy.backends.caffe2.net import DTYPES
from d2deploy.backends.caffe2.place import Blob, CannotLower, Place, Size, dtype_of

aten = torch.ops.aten
_TO_END = 2**31


def cat(place: Place, blobs: list[Blob], axis: int = 0) -> str:
    """Concat."""
    return place.concat(list(blobs), axis % blobs[0].rank)


def stack(place: Place, blobs: list[Blob], axis: int = 0) -> str:
    """Concat on an axis of its own."""
    axis = axis % (blobs[0].rank + 1)
    return place.concat([place.emit("ExpandDims", blob, part="one", dims=[axis]) for blob in blobs], axis)


def cut(place: Place, x: Blob, axis: int = 0, start: Any = None, *, end: Any = None, step: int = 1) -> str:
    """Slice."""
    start = start or 0
    if step != 1 or not isinstance(start, int):
        raise CannotLower("slicing with steps, or from a place that depends on the data")
    return sliced(place, x, axis % x.rank, start, end=_TO_END if end is None else end)


def sliced(place: Place, x: Blob, axis: int, start: int, *, end: Number, part: str = "") -> str:
    """Slice. Its ends count from one behind the last: -1 is "to the end"."""
    if start == 0 and isinstance(end, int) and end >= _TO_END:
        return x.name
    starts, ends = [0] * x.rank, [-1] * x.rank
    starts[axis] = start if start >= 0 else start - 1
    if isinstance(end, Size):
        limits: list[Number] = [*ends[:axis], end, *ends[axis + 1 :]]
        return place.emit("Slice", x, shape(place, starts, "starts"), shape(place, limits, "ends"), part=part)
    if end < _TO_END:
        ends[axis] = end if end >= 0 else end - 1
    return place.emit("Slice", x, part=part, starts=starts, ends=ends)


def select(place: Place, x: Blob, axis: int, index: int) -> str:
    """One piece of an axis, without it."""
    axis = axis % x.rank
    piece = sliced(place, x, axis, index, end=_TO_END if index == -1 else index + 1, part="piece")
    return place.emit("Squeeze", piece, dims=[axis])


def unbind(place: Place, x: Blob, axis: int = 0) -> list[str]:
    """Every piece of an axis, without it."""
    axis = axis % x.rank
    count = x.size(axis)
    if count is None:
        raise CannotLower("unbind of an axis whose length depends on the data")
    outputs = [place.part("piece") for _ in range(count)]
    pieces = place.emit_many("Split", x, outputs=outputs, axis=axis)
    return [place.emit_many("Squeeze", piece, outputs=[place.part("bound")], dims=[axis])[0] for piece in pieces]


def roll(place: Place, x: Blob, shifts: Sequence[int], axes: Sequence[int]) -> str:
    """What leaves at one end comes in at the other."""
    blob = x
    for shift, axis in zip(shifts, axes, strict=True):
        if not isinstance(shift, int):
            raise CannotLower("roll by a number that depends on the data")
        last = sliced(place, blob, axis % x.rank, -shift, end=_TO_END, part="last")
        first = sliced(place, blob, axis % x.rank, 0, end=-shift, part="first")
        blob = Blob(place.concat([last, first], axis % x.rank, "rolled"), x.like)
    return blob.name


def pad(place: Place, x: Blob, sides: Sequence[Number], mode: str = "constant", *, value: float | None = None) -> str:
    """One number before and after along the last axes, which come first in `sides`."""
    if mode != "constant" or any(isinstance(side, int) and side < 0 for side in sides):
        raise CannotLower("padding that repeats what is there, or that cuts")
    blob: Blob | str = x
    sizes = [length(place, x, axis) for axis in range(x.rank)]
    for axis, before, after in zip(reversed(range(x.rank)), sides[::2], sides[1::2]):
        blob = _bordered(
            place, blob, axis, [_border(place, x, sizes, (axis, side), value=value) for side in (before, after)]
        )
        sizes[axis] = Size(lambda made=blob, axis=axis: place.emit("Shape", made, part="size", axes=[axis]))  # type: ignore[misc]
    return blob if isinstance(blob, str) else blob.name


def _border(
    place: Place, x: Blob, sizes: Sequence[Number], side: tuple[int, Number], *, value: float | None
) -> str | None:
    axis, width = side
    if width == 0:
        return None
    border = shape(place, [*sizes[:axis], width, *sizes[axis + 1 :]], "border_shape")
    dtype = DTYPES[dtype_of(x.like)]
    return place.emit("ConstantFill", border, part="border", input_as_shape=1, value=float(value or 0), dtype=dtype)


def _bordered(place: Place, blob: "Blob | str", axis: int, borders: Sequence[str | None]) -> "Blob | str":
    parts = [part for part in (borders[0], blob, borders[1]) if part is not None]
    return place.concat(parts, axis, "padded") if len(parts) > 1 else blob


def index(place: Place, x: Blob, indices: Sequence[Blob | None]) -> str:
    """Rows by number."""
    if len(indices) != 1 or indices[0] is None or indices[0].like.dtype not in (torch.int64, torch.int32):
        raise CannotLower("indexing other than rows by their numbers")
    return place.emit("Gather", x, indices[0])


def gather(place: Place, x: Blob, axis: int, at: Blob, **_: Any) -> str:
    """Along an axis by number."""
    return place.emit("ATen", x, at, operator="gather", dim=axis % x.rank, sparse_grad=0)


def scatter(place: Place, x: Blob, axis: int, at: Blob, *, src: Blob) -> str:
    """Along an axis other numbers in places."""
    return place.emit("ATen", x, at, src, operator="scatter", dim=axis % x.rank)


def topk(place: Place, x: Blob, count: Any, axis: int = -1, *, largest: bool = True, sorted: bool = True) -> list[str]:
    """TopK, of the last axis. There are never fewer than asked for: torch would raise."""
    if not largest or not isinstance(count, int):
        raise CannotLower("topk of the smallest, or as many as the data say")
    axis, last = axis % x.rank, x.rank - 1
    outputs = [place.output(0, "best"), place.output(1, "places")]
    if axis == last:
        return place.emit_many("TopK", x, outputs=outputs, k=count)
    axes = list(range(x.rank))
    axes[axis], axes[last] = last, axis
    moved = place.emit("Transpose", x, part="moved", axes=axes)
    found = place.emit_many("TopK", moved, outputs=[place.part("best_last"), place.part("places_last")], k=count)
    return [
        place.emit_many("Transpose", blob, outputs=[name], axes=axes)[0]
        for blob, name, number in zip(found, outputs, range(2))
        if place.is_used(number) or number == 0
    ] + [found[1]] * (not place.is_used(1))


def arange(place: Place, *bounds: Any, dtype: torch.dtype = torch.int64, **_: Any) -> str:
    """Range."""
    if len(bounds) > 1:
        raise CannotLower("arange with a start or steps, and an end that depends on the data")
    return place.cast(place.emit("Range", number(place, bounds[0]), part="range"), dtype_of(dtype or torch.int64))


PIECES: dict[Any, Callable[..., Any]] = {
    aten.cat.default: cat,
    aten.gather.default: gather,
    aten.index.Tensor: index,
    aten.roll.default: roll,
    aten.scatter.src: scatter,
    aten.select.int: select,
    aten.stack.default: stack,
    aten.topk.default: topk,
    aten.unbind.int: unbind,
}
SIZED_PIECES: dict[Any, Callable[..., Any]] = {
    aten.arange.default: arange,
    aten.pad.default: pad,
    aten.slice.Tensor: cut,
}
