"""Same numbers, other shape: flatten, slice, concatenate, transpose; and what computes nothing."""

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch

from d2deploy.backends.caffe2.place import Blob, CannotLower, Place, dtype_of

aten = torch.ops.aten


def same(place: Place, x: Blob, *_: Any, **__: Any) -> str:
    """Nothing to compute."""
    return x.name


def flatten(place: Place, x: Blob, start: int = 0, end: int = -1) -> str:
    """All axes from `start` on. FC reads its input so whatever its axes are, and needs no flattening."""
    if end % x.rank != x.rank - 1 or start != 1:
        raise CannotLower(f"flatten of axes {start} to {end}")
    if all(user.target is aten.linear.default for user in place.node.users):
        return x.name
    return place.emit("Flatten", x, axis=1)


def cat(place: Place, blobs: list[Blob], axis: int = 0) -> str:
    """Concat."""
    return place.concat(list(blobs), axis % blobs[0].rank)


def cut(place: Place, x: Blob, axis: int = 0, start: Any = None, *, end: Any = None, step: int = 1) -> str:
    """Slice. Its ends count from one behind the last: -1 is "to the end"."""
    start, end = start or 0, _to_end(end)
    if step != 1 or not isinstance(start, int) or not isinstance(end, int):
        raise CannotLower("slicing with steps or with sizes that depend on the data")
    if start == 0 and end == -1:
        return x.name
    starts, ends = [0] * x.rank, [-1] * x.rank
    starts[axis] = start if start >= 0 else start - 1
    ends[axis] = end
    return place.emit("Slice", x, starts=starts, ends=ends)


def _to_end(end: Any) -> Any:
    if end is None or (isinstance(end, int) and end >= 2**31):
        return -1
    return end - 1 if isinstance(end, int) and end < 0 else end


def permute(place: Place, x: Blob, axes: Sequence[int]) -> str:
    """Transpose."""
    return place.emit("Transpose", x, axes=[axis % x.rank for axis in axes])


def transpose(place: Place, x: Blob, first: int, second: int) -> str:
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


def nothing(place: Place, *_: Any, **__: Any) -> None:
    """Checks and sizes that torch.export writes down for itself."""


def symbol(place: Place, *_: Any, **__: Any) -> None:
    """A size: no lowering here reads it. One that does meets None and says what it cannot do."""


SHAPES: dict[Any, Callable[..., Any]] = {
    aten.contiguous.default: same,
    aten.clone.default: same,
    aten.dropout.default: same,
    aten.detach.default: same,
    aten.detach_.default: same,
    aten.alias.default: same,
    aten.lift_fresh_copy.default: same,
    aten.flatten.using_ints: flatten,
    aten.cat.default: cat,
    aten.slice.Tensor: cut,
    aten.permute.default: permute,
    aten.transpose.int: transpose,
    aten.mean.dim: mean,
    aten.unsqueeze.default: unsqueeze,
    aten.squeeze.dim: squeeze,
    aten.to.dtype: cast,
    aten._assert_scalar.default: nothing,
    aten._assert_tensor_metadata.default: nothing,
    aten._assert_async.msg: nothing,
    aten.sym_constrain_range_for_size.default: nothing,
    aten.sym_constrain_range.default: nothing,
    torch._check: nothing,
    aten.sym_size.int: symbol,
    **{
        getattr(operator, name): symbol
        for name in ("add", "sub", "mul", "floordiv", "mod", "neg", "ge", "le", "gt", "lt", "eq", "ne", "pow")
    },
}
