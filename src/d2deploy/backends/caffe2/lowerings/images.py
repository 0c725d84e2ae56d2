"""Preparation of images."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.place import Blob, Place

IM_INFO = "im_info"


def prepare(
    place: Place, images: Blob, sizes: Blob, mean: list[float], *, std: list[float], divisor: int, square: int
) -> str:
    """Normalise, zero what lies beyond im_info's height and width, then zeros up to a multiple of `divisor`.

    With a `square` above 0 up to that square, and what is larger is cut.
    """
    centred = place.emit("Sub", images, place.constant(np.reshape(mean, (-1, 1, 1)), "mean"), part="centred")
    normal = place.emit("Div", centred, place.constant(np.reshape(std, (-1, 1, 1)), "std"), part="normalised")
    below = place.emit("ExpandDims", _inside(place, images, axis=2, column=0), part="rows", dims=[1, 3])
    right = place.emit("ExpandDims", _inside(place, images, axis=3, column=1), part="columns", dims=[1, 2])
    cut = place.emit("Mul", normal, below, part="cut")
    if square == 0 and divisor == 1:
        return place.emit("Mul", cut, right)
    inside = place.emit("Mul", cut, right, part="inside")
    if square:
        tall = longer(place, inside, axis=2, by=place.constant([square], "square", "int64"), part="tall")
        wide = longer(place, tall, axis=3, by=place.constant([square], "square", "int64"), part="wide")
        top = place.emit("Slice", wide, part="top", starts=[0, 0, 0, 0], ends=[-1, -1, square, -1])
        return place.emit("Slice", top, starts=[0, 0, 0, 0], ends=[-1, -1, -1, square])
    tall = longer(place, inside, axis=2, by=_lacking(place, inside, 2, divisor), part="tall")
    return longer(place, tall, axis=3, by=_lacking(place, inside, 3, divisor))


def positions(place: Place, length: str, part: str) -> str:
    """0, 1, ... as float32: as many as `length`, a blob of one whole number, says."""
    count = place.cast(length, "int32", part=f"{part}.count")
    return place.cast(place.emit("Range", count, part=f"{part}.range"), "float32", part=part)


def longer(place: Place, x: "Blob | str", *, axis: int, by: str, part: str = "") -> str:
    """x of four axes with `by` zeros, a blob of one whole number, at the end of an axis."""
    parts: list[Blob | str] = [
        by if other == axis else place.emit("Shape", x, part="size", axes=[other]) for other in range(4)
    ]
    shape = place.concat(parts, 0, part="zeros_shape")
    zeros = place.emit("ConstantFill", shape, part="zeros", input_as_shape=1, value=0.0, dtype=1)
    return place.concat([x, zeros], axis, part=part)


def _inside(place: Place, images: Blob, *, axis: int, column: int) -> str:
    """1 for each row (or column) that is of the image, else 0: [N,H] or [N,W] float32."""
    steps = positions(place, place.emit("Shape", images, part="length", axes=[axis]), "positions")
    limit = place.emit("Slice", IM_INFO, part="limit", starts=[0, column], ends=[-1, column + 1])
    return place.cast(place.emit("LT", steps, limit, part="is_inside"), "float32", part="inside")


def _lacking(place: Place, x: str, axis: int, divisor: int) -> str:
    """How many cells an axis lacks to a multiple of `divisor`."""
    negative = place.emit("Negative", place.emit("Shape", x, part="length", axes=[axis]), part="negative")
    return place.emit("Mod", negative, part="lacking", divisor=divisor, sign_follow_divisor=1)


IMAGES: dict[Any, Callable[..., Any]] = {torch.ops.d2deploy.caffe2_prepare.default: prepare}
