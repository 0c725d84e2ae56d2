"""What a map has at points between its cells, by RoIAlign; deformable convolution, whose taps are such points.

Caffe2's own DeformConv runs on CUDA only, and is version 1.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes
import d2deploy.backends.nodes  # noqa: F401, both define operators
from d2deploy.backends.caffe2.lowerings.images import IM_INFO, positions
from d2deploy.backends.caffe2.lowerings.sizes import length, reshaped, shape
from d2deploy.backends.caffe2.net import DTYPES
from d2deploy.backends.caffe2.place import Blob, Place


def deform(
    place: Place,
    x: Blob,
    offset: Blob,
    mask: Blob | None,
    *,
    kernel: int,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    weight_groups: int,
) -> str:
    """x[N,C,H,W], offset[N,groups*K*2,H',W'], mask[N,groups*K,H',W'] -> [N,H',W',K*C], K taps outermost.

    Both sides of x are exchanged, since offsets are y, x and boxes x, y. With `weight_groups` of channels these are
    outermost.
    """
    channels, taps = int(x.like.shape[1]), kernel * kernel
    ring = ringed(place, x)
    parts = place.reshape(ring, [-1, channels // groups, 0, 0], "groups") if groups > 1 else ring
    table = place.emit("Transpose", parts, part="table", axes=[0, 3, 2, 1])
    cells = place.emit("Transpose", offset, part="moves", axes=[0, 2, 3, 1])
    moves = _taps_outside(place, cells, [groups, taps, 2], "moves")  # [N,H',W',K,groups,2]
    at = place.emit("Add", moves, _base(place, offset, (kernel, stride, padding, dilation)), part="at")
    rois = place.concat([_images(place, at, groups), at, at], 5, "taps")
    rows = read(place, table, place.reshape(rois, [-1, 5], "rois"), channels // groups)
    if mask is not None:
        weights = place.emit("Transpose", mask, part="weights", axes=[0, 2, 3, 1])
        column = place.reshape(_taps_outside(place, weights, [groups, taps], "weights"), [-1, 1], "weight")
        rows = place.emit("Mul", rows, column, part="weighted")
    if weight_groups > 1:
        split = place.reshape(rows, [-1, taps, weight_groups, channels // weight_groups], "split")
        rows = place.emit("Transpose", split, part="by_group", axes=[0, 2, 1, 3])
    sizes = place.emit("Shape", cells, part="sizes", axes=[0, 1, 2])
    shape = place.concat([sizes, place.constant([taps * channels], "columns", "int64")], 0, "shape")
    return place.emit_many("Reshape", rows, shape, outputs=[place.name, place.part("before")])[0]


def ringed(place: Place, x: Blob) -> str:
    """x[N,C,H,W] with a ring of zeros."""
    return place.emit("PadImage", x, part="ring", pads=[1, 1, 1, 1], mode="constant", value=0.0, order="NCHW")


def read(place: Place, table: str, rois: str, channels: int) -> str:
    """table[N,H,W,C], a map with its ring, at rois[R,5]: image, x, y, x, y, half a cell before the point -> [R,C].

    A box of no size, which counts as one cell: RoIAlign's one sample in it is bilinear, and zero far outside.
    """
    pooled = {"pooled_h": 1, "pooled_w": 1, "sampling_ratio": 1, "aligned": 0, "spatial_scale": 1.0}
    cells = place.emit("RoIAlign", table, rois, part="read", order="NHWC", **pooled)
    return place.reshape(cells, [-1, channels], "rows")


def point_sample(place: Place, features: Blob, points: Blob, image_index: Blob) -> str:
    """ops/point_sample.py. On the map with its ring, half a cell before a point is where it was without."""
    table = place.emit("Transpose", ringed(place, features), part="table", axes=[0, 2, 3, 1])
    number = place.emit("ExpandDims", place.cast(image_index, "float32", part="image"), part="images", dims=[1, 2])
    # Not Expand: it cannot do with no points at all.
    each = shape(place, [length(place, points, 0), length(place, points, 1), 1])
    ones = place.emit("ConstantFill", each, part="ones", input_as_shape=1, value=1.0, dtype=DTYPES["float32"])
    rois = place.concat([place.emit("Mul", ones, number, part="number"), points, points], 2, "points")
    channels = int(features.like.shape[1])
    rows = read(place, table, place.reshape(rois, [-1, 5], "rois"), channels)
    return reshaped(place, rows, [-1, length(place, points, 1), channels])


def _taps_outside(place: Place, blob: str, shape: list[int], part: str) -> str:
    """[N,H',W',groups*K*...] -> [N,H',W',K,groups,...]; shape: groups, K, ..."""
    if shape[0] == 1:
        return place.reshape(blob, [0, 0, 0, shape[1], shape[0], *shape[2:]], f"{part}_of")
    apart = place.reshape(blob, [0, 0, 0, *shape], f"{part}_apart")
    return place.emit("Transpose", apart, part=f"{part}_of", axes=[0, 1, 2, 4, 3, *range(5, 3 + len(shape))])


def _base(place: Place, offset: Blob, rule: tuple[int, int, int, int]) -> str:
    """Where taps without offset read: [H',W',K,1,2], y and x, half a cell before the tap, on x with its ring."""
    kernel, stride, padding, dilation = rule
    step = np.arange(kernel) * dilation - padding + 0.5
    grid = np.stack(np.meshgrid(step, step, indexing="ij"), axis=-1)
    taps = place.constant(grid.reshape(kernel * kernel, 1, 2), "taps")
    sides = []
    for axis, dims, moves in ((2, [1, 2, 3, 4], [stride, 0]), (3, [1, 2, 3], [0, stride])):
        along = positions(place, place.emit("Shape", offset, part="length", axes=[axis]), "cells")
        numbers = place.emit("ExpandDims", along, part="number", dims=dims)
        sides.append(place.emit("Mul", numbers, place.constant(moves, "stride"), part="step"))
    return place.emit("Add", place.emit("Add", *sides, part="corner"), taps, part="base")


def _images(place: Place, at: str, groups: int) -> str:
    """For each of at[N,H',W',K,groups,2] which part of the table it reads: image by image, groups innermost."""
    numbers = positions(place, place.emit("Shape", IM_INFO, part="batch", axes=[0]), "images")
    first = place.emit("ExpandDims", numbers, part="image", dims=[1, 2, 3, 4, 5])
    if groups > 1:
        first = place.emit("Mul", first, place.constant([groups], "groups"), part="first")
        first = place.emit("Add", first, place.constant(np.arange(groups)[:, None], "group"), part="part")
    some = place.emit("Shape", at, part="many", axes=[0, 1, 2, 3, 4])
    shape = place.concat([some, place.constant([1], "one", "int64")], 0, "many_shape")
    return place.emit("Expand", first, shape, part="number")


POINTS: dict[Any, Callable[..., Any]] = {
    torch.ops.d2deploy.caffe2_deform.default: deform,
    torch.ops.d2deploy.point_sample.default: point_sample,
}
