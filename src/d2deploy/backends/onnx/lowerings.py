"""d2deploy's ops in ONNX's standard operators, opset 18. One function per op, named and called as the op.

Specifications: https://onnx.ai/onnx/operators/ (NonMaxSuppression-11, RoiAlign-16, MaxRoiPool-1,
TopK-11, Pad-18).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from onnxscript import opset18 as op

from d2deploy.backends.onnx.deform import deform_sample
from d2deploy.backends.onnx.division import floor_divide
from d2deploy.backends.onnx.group_norm import group_norm
from d2deploy.backends.onnx.levels import on_every_level, on_its_level
from d2deploy.backends.onnx.position import relative_bias
from d2deploy.backends.onnx.rotated import roi_align_rotated, rotated_nms
from d2deploy.backends.onnx.whole import WHOLE

LOWEST = -3.4e38


def nms(boxes: Any, scores: Any, iou_threshold: Any, max_out: int) -> Any:
    """See ops/nms.py. Each (image, group) is a batch of NonMaxSuppression's; TopK then takes the best per image."""
    if boxes.shape[3] == 5:
        return rotated_nms(boxes, scores, iou_threshold, max_out)
    images, groups, count = (op.Shape(scores, start=i, end=i + 1) for i in range(3))
    batches = op.Mul(images, groups)
    # Missing boxes have score -inf; the operator drops what is not above its score threshold.
    selected = op.NonMaxSuppression(
        op.Reshape(boxes, op.Concat(batches, count, _ints(4), axis=0)),
        op.Reshape(scores, op.Concat(batches, _ints(1), count, axis=0)),
        op.Constant(value_int=max_out),
        iou_threshold,
        op.Constant(value_float=LOWEST),
    )
    return _best_per_image(scores, selected, count=count, images=images, max_out=max_out)


def labelled_nms(boxes: Any, scores: Any, classes: Any, iou_threshold: Any, *, max_out: int, num_classes: int) -> Any:
    """See ops/labelled_nms.py. The operator wants scores[N,classes,B]: a box has one in its own class's row only."""
    images, count = (op.Shape(scores, start=i, end=i + 1) for i in range(2))
    rows = op.Reshape(op.Constant(value_ints=list(range(num_classes))), _ints(1, -1, 1))
    mine = op.Equal(op.Unsqueeze(classes, _ints(1)), rows)
    selected = op.NonMaxSuppression(
        boxes,
        op.Where(mine, op.Unsqueeze(scores, _ints(1)), op.Constant(value_float=float("-inf"))),
        op.Constant(value_int=max_out),
        iou_threshold,
        op.Constant(value_float=LOWEST),
    )
    return _best_per_image(scores, selected, count=count, images=images, max_out=max_out)


def _best_per_image(scores: Any, selected: Any, *, count: Any, images: Any, max_out: int) -> Any:
    """NonMaxSuppression's rows (batch, class, box), `count` boxes a batch, to the best of each image; -1 after them."""
    batch, box = op.Gather(selected, _ints(0), axis=1), op.Gather(selected, _ints(2), axis=1)
    position = op.Add(op.Mul(batch, count), box)
    missing = op.Constant(value_float=float("-inf"))
    all_scores = op.Reshape(scores, _ints(-1))
    kept = op.ScatterND(op.Expand(missing, op.Shape(all_scores)), position, op.GatherND(all_scores, position))
    per_image = op.Reshape(kept, op.Concat(images, _ints(-1), axis=0))
    enough = op.Concat(per_image, op.Expand(missing, op.Concat(images, _ints(max_out), axis=0)), axis=1)
    best, index = op.TopK(enough, _ints(max_out), axis=1)
    return op.Where(op.IsInf(best), _ints(-1), index)


def roi_align(
    features: Sequence[Any],
    boxes: Any,
    image_index: Any,
    levels: Any,
    scales: Sequence[float],
    size: int,
    sampling_ratio: int,
    aligned: bool,
    *,
    place: Callable[..., Any] = on_its_level,
) -> Any:
    """See ops/roi_align.py. One RoiAlign a level."""

    def pool(level: int, mine: Any, images: Any) -> Any:
        return op.RoiAlign(
            features[level],
            mine,
            images,
            output_height=size,
            output_width=size,
            sampling_ratio=sampling_ratio,
            spatial_scale=scales[level],
            # half_pixel, new in opset 16, is the aligned form; the older one shifts everything by half a cell.
            coordinate_transformation_mode="half_pixel" if aligned else "output_half_pixel",
        )

    return place(len(features), levels, boxes, image_index, pool=pool)


def roi_pool(
    features: Sequence[Any],
    boxes: Any,
    image_index: Any,
    levels: Any,
    scales: Sequence[float],
    size: int,
    *,
    place: Callable[..., Any] = on_its_level,
) -> Any:
    """See ops/roi_pool.py. One MaxRoiPool a level; its boxes are rows of image and corners, all floats."""

    def pool(level: int, mine: Any, images: Any) -> Any:
        rows = op.Concat(op.Unsqueeze(op.CastLike(images, mine), _ints(1)), mine, axis=1)
        return op.MaxRoiPool(features[level], rows, pooled_shape=[size, size], spatial_scale=scales[level])

    return place(len(features), levels, boxes, image_index, pool=pool)


def point_sample(features: Any, points: Any, image_index: Any) -> Any:
    """See ops/point_sample.py. A gather for each of the four cells around a point, times what it counts.

    GridSample reads points of one image from that image only: the map would have to be copied for each box.
    """
    cells = op.Transpose(features, perm=[0, 2, 3, 1])
    table = op.Reshape(cells, op.Concat(_ints(-1), op.Shape(features, start=1, end=2), axis=0))
    width, height = op.Shape(features, start=3, end=4), op.Shape(features, start=2, end=3)
    columns = _cells_around(op.Gather(points, op.Constant(value_int=0), axis=2), width)
    rows = _cells_around(op.Gather(points, op.Constant(value_int=1), axis=2), height)
    first_row = op.Mul(op.Unsqueeze(image_index, _ints(1)), height)
    terms = []
    for row, row_weight in rows:
        start = op.Mul(op.Add(first_row, row), width)
        for column, weight in columns:
            counts = op.Unsqueeze(op.Mul(row_weight, weight), _ints(2))
            terms.append(op.Mul(op.Gather(table, op.Add(start, column)), counts))
    return op.Sum(*terms)


def _cells_around(position: Any, size: Any) -> list[tuple[Any, Any]]:
    """The two cells around each position of an axis of `size` cells: which they are, and what they count."""
    from_centre = op.Sub(position, op.Constant(value_float=0.5))
    low = op.Floor(from_centre)
    fraction = op.Sub(from_centre, low)
    below, last = op.CastLike(low, size), op.Sub(size, _ints(1))
    found = []
    for cell, weight in (
        (below, op.Sub(op.Constant(value_float=1.0), fraction)),
        (op.Add(below, _ints(1)), fraction),
    ):
        inside = op.Max(op.Min(cell, last), _ints(0))
        found.append((inside, op.Where(op.Equal(inside, cell), weight, op.Constant(value_float=0.0))))
    return found


def pad_to_multiple(images: Any, divisor: int) -> Any:
    """See ops/prepare_images.py. Mod with a positive divisor is never negative, as in Python."""
    extra = op.Mod(op.Neg(op.Shape(images, start=2, end=4)), _ints(divisor))
    return op.Pad(images, op.Concat(_ints(0, 0, 0, 0, 0, 0), extra, axis=0))


def pad_to_least(images: Any, least: int) -> Any:
    """See ops/least_size.py."""
    extra = op.Max(op.Sub(_ints(least), op.Shape(images, start=2, end=4)), _ints(0))
    return op.Pad(images, op.Concat(_ints(0, 0, 0, 0, 0, 0), extra, axis=0))


def crop(x: Any, like: Any, factor: int) -> Any:
    """See ops/crop.py."""
    sizes = op.Mul(op.Shape(like, start=2, end=4), _ints(factor))
    return op.Slice(x, _ints(0, 0), sizes, _ints(2, 3))


def _ints(*values: int) -> Any:
    return op.Constant(value_ints=list(values))


def lowerings(*, fixed: bool = False) -> dict[Callable[..., Any], Callable[..., Any]]:
    """The op of each d2deploy:: node -> its lowering. `fixed`: no size that follows the data, except within NMS."""
    ops: list[Callable[..., Any]] = [nms, labelled_nms, roi_align, roi_align_rotated, roi_pool, point_sample]
    ops += [deform_sample, relative_bias, pad_to_multiple, pad_to_least, crop, *WHOLE]
    table: dict[Any, Callable[..., Any]] = {getattr(torch.ops.d2deploy, f.__name__).default: f for f in ops}
    # Instead of the exporter's own.
    table |= {
        torch.ops.aten.div.Tensor_mode: floor_divide,
        torch.ops.aten.group_norm.default: group_norm,
    }
    if fixed:
        for f in (roi_align, roi_pool):
            table[getattr(torch.ops.d2deploy, f.__name__).default] = partial(f, place=on_every_level)
    return table
