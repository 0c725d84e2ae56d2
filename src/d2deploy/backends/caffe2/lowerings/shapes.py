"""Same numbers, other shape: flatten, reshape, transpose, expand; and what computes nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from d2deploy.backends.caffe2.lowerings.sizes import Number, length, reshaped, shape
from d2deploy.backends.caffe2.net import DTYPES
from d2deploy.backends.caffe2.place import Blob, CannotLower, Place, dtype_of

aten = torch.ops.aten


def same(place: Place, x: Blob, *_: Any, **__: Any) -> str:
    """Nothing to compute."""
    return x.name


def flatten(place: Place, x: Blob, start: int = 0, end: int = -1) -> str:
    """Axes from `start` to `end` as one. FC reads its input so whatever its axes are, and needs no flattening."""
    start, end = start % x.rank, end % x.rank
    if start == 1 and end == x.rank - 1:
        if all(user.target is aten.linear.default for user in place.node.users):
            return x.name
        return place.emit("Flatten", x, axis=1)
    after = [length(place, x, axis) for axis in range(end + 1, x.rank)]
    return reshaped(place, x, [0] * start + [-1, *after])


def reshape(place: Place, x: Blob, sizes: Sequence[Number]) -> str:
    """Reshape."""
    return reshaped(place, x, sizes)


def reshape_as(place: Place, x: Blob, other: Blob) -> str:
    """Reshape."""
    return reshaped(place, x, [length(place, other, axis) for axis in range(other.rank)])


def unflatten(place: Place, x: Blob, axis: int, sizes: Sequence[Number]) -> str:
    """One axis as several."""
    axis = axis % x.rank
    after = [length(place, x, other) for other in range(axis + 1, x.rank)]
    return reshaped(place, x, [0] * axis + [*sizes, *after])


def expand(place: Place, x: Blob, sizes: Sequence[Number], *, implicit: bool = False) -> str:
    """A product with ones: Caffe2's own Expand cannot do with an axis of length 0."""
    added = len(sizes) - x.rank
    old = [1] * added + [x.size(axis) for axis in range(x.rank)]
    if all(before != 1 or size in (1, -1) for before, size in zip(old, sizes)):
        return x.name
    wanted = [length(place, x, axis - added) if size == -1 else size for axis, size in enumerate(sizes)]
    dtype = dtype_of(x.like)
    if dtype not in ("float32", "int32", "int64"):
        raise CannotLower(f"expanding {dtype}")
    one = 1.0 if dtype == "float32" else 1
    filled = shape(place, wanted)
    ones = place.emit("ConstantFill", filled, part="ones", input_as_shape=1, value=one, dtype=DTYPES[dtype])
    return place.emit("Mul", x, ones)


def permute(place: Place, x: Blob, axes: Sequence[int]) -> str:
    """Transpose."""
    return place.emit("Transpose", x, axes=[axis % x.rank for axis in axes])


def transpose(place: Place, x: Blob, first: int = 0, second: int = 1) -> str:
    """Two axes swapped."""
    axes = list(range(x.rank))
    axes[first], axes[second] = axes[second], axes[first]
    return place.emit("Transpose", x, axes=axes)


def mean(place: Place, x: Blob, axes: Sequence[int], keepdim: bool = False, *, dtype: Any = None) -> str:
    """ReduceMean."""
    return place.emit("ReduceMean", x, axes=[axis % x.rank for axis in axes], keepdims=int(keepdim))


def unsqueeze(place: Place, x: Blob, axis: int) -> str:
    """One axis of length 1 more."""
    return place.emit("ExpandDims", x, dims=[axis % (x.rank + 1)])


def squeeze(place: Place, x: Blob, axis: int) -> str:
    """One axis of length 1 less."""
    return place.emit("Squeeze", x, dims=[axis % x.rank])


def cast(place: Place, x: Blob, dtype: torch.dtype, *_: Any, **__: Any) -> str:
    """Another dtype."""
    return x.name if x.like.dtype == dtype else place.cast(x, dtype_of(dtype))


SHAPES: dict[Any, Callable[..., Any]] = {
    aten.contiguous.default: same,
    aten.clone.default: same,
    aten.dropout.default: same,
    aten.detach.default: same,
    aten.detach_.default: same,
    aten.alias.default: same,
    aten.lift_fresh_copy.default: same,
    aten.flatten.using_ints: flatten,
    aten.reshape_as.default: reshape_as,
    aten.permute.default: permute,
    aten.transpose.int: transpose,
    aten.t.default: transpose,
    aten.mean.dim: mean,
    aten.unsqueeze.default: unsqueeze,
    aten.squeeze.dim: squeeze,
    aten.to.dtype: cast,
}
SIZED_SHAPES: dict[Any, Callable[..., Any]] = {
    aten.expand.default: expand,
    aten.reshape.default: reshape,
    aten.unflatten.int: unflatten,
    aten.view.default: reshape,
}
