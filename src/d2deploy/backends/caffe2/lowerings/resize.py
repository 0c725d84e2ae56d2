"""Maps made larger or smaller, cut or padded to a size, and the mean of a window."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes
import d2deploy.backends.nodes  # noqa: F401, both define operators
from d2deploy.backends.caffe2.lowerings.images import longer, positions
from d2deploy.backends.caffe2.lowerings.sizes import length, number, shape, times
from d2deploy.backends.caffe2.place import Blob, CannotLower, Place

aten = torch.ops.aten


def upsample_nearest2d(place: Place, x: Blob, size: Any, scales: Sequence[float] | None) -> str:
    """ResizeNearest."""
    if scales is None:
        raise CannotLower("nearest resizing to a size, rather than by a factor")
    return place.emit("ResizeNearest", x, order="NCHW", height_scale=float(scales[0]), width_scale=float(scales[1]))


def upsample_bilinear2d(
    place: Place, x: Blob, size: Any, align_corners: bool, *, scale_factors: Sequence[float] | None
) -> str:
    """By an even factor a transposed convolution; otherwise two products with matrices of the lines' weights.

    Caffe2's UpsampleBilinear aligns corners, which is another function.
    """
    if align_corners:
        raise CannotLower("bilinear resizing that aligns corners")
    if scale_factors is not None:
        if scale_factors[0] != scale_factors[1] or scale_factors[0] % 2:
            raise CannotLower("bilinear resizing by a factor that is not even")
        return _enlarged(place, x, int(scale_factors[0]))
    rows, columns = (
        line_weights(place, before, number(place, after))
        for before, after in zip((place.emit("Shape", x, part="size", axes=[axis]) for axis in (2, 3)), size)
    )
    tall = place.emit("BatchMatMul", rows, x, part="tall", broadcast=1)
    return place.emit("BatchMatMul", tall, columns, broadcast=1, trans_b=1)


def _enlarged(place: Place, x: Blob, factor: int) -> str:
    """The border repeated once, then a transposed convolution with the weights of the line."""
    channels = int(x.like.shape[1])
    distance = np.abs((np.arange(2 * factor) + 0.5) / factor - 1)
    line = 1 - distance
    kernel = np.broadcast_to(line[:, None] * line, (channels, 1, 2 * factor, 2 * factor))
    padded = place.emit("PadImage", x, part="padded", pads=[1, 1, 1, 1], mode="edge", order="NCHW")
    return place.emit(
        "ConvTranspose",
        padded,
        place.constant(kernel, "bilinear"),
        kernels=[2 * factor] * 2,
        strides=[factor] * 2,
        pads=[factor + factor // 2] * 4,
        group=channels,
        order="NCHW",
    )


def line_weights(place: Place, before: str, after: str) -> str:
    """[after,before]: how much of each of `before` cells in a line is in each of `after`; blobs of one int64 number.

    Cell i of n lies at (i + 0.5) * m / n - 0.5 of m cells, at least at 0 (torch's UpSample.h), and reads what is
    closer than one cell; beyond the last cell that is the last.
    """
    half, one = place.constant([0.5], "half"), place.constant([1.0], "one")
    old, new = (place.cast(count, "float32", part="cells") for count in (before, after))
    middle = place.emit("Add", positions(place, after, "new"), half, part="middle")
    scaled = place.emit("Mul", middle, place.emit("Div", old, new, part="scale"), part="scaled")
    at = place.emit("Relu", place.emit("Sub", scaled, half, part="shifted"), part="from_0")
    last = place.emit("Sub", old, one, part="last")
    inside = place.emit("ATen", at, last, part="at", operator="minimum")
    column = place.emit("ExpandDims", inside, part="column", dims=[1])
    away = place.emit("Abs", place.emit("Sub", column, positions(place, before, "old"), part="ahead"), part="away")
    return place.emit("Relu", place.emit("Sub", one, away, part="near"), part="weights")


def window_mean(place: Place, x: Blob, rows: int, columns: int) -> str:
    """ops/window_mean.py: zeros up to the window, its sum along both axes, over the cells that are there."""
    tall = longer(place, x, axis=2, by=_lacking(place, x, 2, rows), part="tall")
    padded = longer(place, tall, axis=3, by=_lacking(place, x, 3, columns), part="padded")
    pooling: dict[str, Any] = {"strides": [1, 1], "pads": [0, 0, 0, 0], "order": "NCHW", "count_include_pad": 1}
    down = place.emit("AveragePool", padded, part="down", kernels=[rows, 1], **pooling)
    means = place.emit("AveragePool", down, part="means", kernels=[1, columns], **pooling)
    cells = place.emit("Mul", _most(place, x, 2, rows), _most(place, x, 3, columns), part="window")
    share = place.emit("Div", place.constant([rows * columns], "window"), cells, part="share")
    return place.emit("Mul", means, share)


def _most(place: Place, x: Blob, axis: int, most: int) -> str:
    """The length of an axis, or `most` if that is less."""
    cells = place.cast(place.emit("Shape", x, part="size", axes=[axis]), "float32", part="cells")
    return place.emit("Clip", cells, part="most", max=float(most))


def _lacking(place: Place, x: Blob, axis: int, least: int) -> str:
    cells = place.emit("Shape", x, part="size", axes=[axis])
    lacking = place.emit("Sub", place.constant([least], "least", "int64"), cells, part="lacking")
    return place.emit("ATen", lacking, part="lacking", operator="clamp_min", min=0.0)


def pad_to_least(place: Place, images: Blob, least: int) -> str:
    """ops/least_size.py."""
    tall = longer(place, images, axis=2, by=_lacking(place, images, 2, least), part="tall")
    return longer(place, tall, axis=3, by=_lacking(place, images, 3, least))


def crop(place: Place, x: Blob, like: Blob, factor: int) -> str:
    """ops/crop.py. Slice, which cuts one axis at a time."""
    height, width = (times(place, length(place, like, axis), factor) for axis in (2, 3))
    starts = shape(place, [0] * 4, "starts")
    top = place.emit("Slice", x, starts, shape(place, [-1, -1, height, -1], "ends"), part="top")
    return place.emit("Slice", top, starts, shape(place, [-1, -1, -1, width], "ends"))


RESIZING: dict[Any, Callable[..., Any]] = {
    aten.upsample_bilinear2d.vec: upsample_bilinear2d,
    aten.upsample_nearest2d.vec: upsample_nearest2d,
    torch.ops.d2deploy.crop.default: crop,
    torch.ops.d2deploy.pad_to_least.default: pad_to_least,
    torch.ops.d2deploy.caffe2_window_mean.default: window_mean,
}
