"""Caffe2's own operators on rois: pooling, boxes, detections. Every argument is written, see proposals.py."""

from collections.abc import Callable
from typing import Any

import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.lowerings.images import positions
from d2deploy.backends.caffe2.lowerings.nms import best, ranks
from d2deploy.backends.caffe2.lowerings.proposals import UPRIGHT, unscaled
from d2deploy.backends.caffe2.place import Blob, Place

ops = torch.ops.d2deploy


def pool(
    place: Place,
    features: list[Blob],
    rois: Blob,
    kind: str,
    *,
    scales: list[float],
    size: int,
    sampling_ratio: int,
    aligned: bool,
    min_level: int,
    max_level: int,
) -> str:
    """`kind` on each level and the rows back in order. RoIAlign of a box of no area is 0, not 0/0."""
    args: dict[str, Any] = {"order": "NCHW", "pooled_h": size, "pooled_w": size}
    args |= {"is_test": 1} if kind == "RoIPool" else {"sampling_ratio": sampling_ratio, "aligned": int(aligned)}
    if len(features) == 1:
        return _finite(place, kind, features[0], rois, spatial_scale=float(scales[0]), **args)
    levels = [place.part(f"rois{level}") for level in range(min_level, max_level + 1)]
    *levels, restore = place.emit_many(
        "DistributeFpnProposals",
        _upright(place, rois) if kind == "RoIAlignRotated" else rois,
        outputs=[*levels, place.part("restore")],
        roi_canonical_scale=224,
        roi_canonical_level=4,
        roi_min_level=min_level,
        roi_max_level=max_level,
        legacy_plus_one=0,
    )
    if kind == "RoIAlignRotated":
        levels = [_rows_named(place, rois, level) for level in levels]
    parts: list[Blob | str] = [
        place.emit(kind, feature, level, part="level", spatial_scale=float(scale), **args)
        for feature, level, scale in zip(features, levels, scales)
    ]
    return _finite(place, "BatchPermutation", place.concat(parts, 0, "levels"), restore, is_max=kind == "RoIPool")


def _finite(place: Place, type: str, *inputs: "Blob | str", is_max: bool = False, **args: Any) -> str:
    """The operator, and 0 where it gives 0/0; the largest of no cells is 0 anyway."""
    if type == "RoIPool" or is_max:
        return place.emit(type, *inputs, **args)
    return place.emit("ReplaceNaN", place.emit(type, *inputs, part="pooled", **args), value=0.0)


def _upright(place: Place, rois: Blob) -> str:
    """Upright boxes as large as rotated rois[R,6], which DistributeFpnProposals does not take: with the row's number in

    the place of the image's.
    """
    numbers = positions(place, place.emit("Shape", rois, part="num_rois", axes=[0]), "numbers")
    column = place.emit("ExpandDims", numbers, part="number", dims=[1])
    sides = place.emit("Slice", rois, part="sides", starts=[0, 3], ends=[-1, 5])
    corner = place.emit("ConstantFill", sides, part="corner", value=0.0, dtype=1)
    return place.concat([column, corner, sides], 1, "upright")


def _rows_named(place: Place, rois: Blob, level: str) -> str:
    """The rows of rois that `level` has the numbers of."""
    number = place.emit("Slice", level, part="number", starts=[0, 0], ends=[-1, 1])
    rows = place.emit("Squeeze", place.cast(number, "int32", part="whole"), part="rows", dims=[1])
    return place.emit("Gather", rois, rows, part="rois")


def boxes(place: Place, rois: Blob, deltas: Blob, sizes: Blob, *, weights: list[float]) -> list[str]:
    """BBoxTransform: boxes of every class, clipped, and how many rows each image has."""
    return place.emit_many(
        "BBoxTransform",
        rois,
        deltas,
        unscaled(place),
        outputs=[place.output(0, "boxes"), place.output(1, "splits")],
        weights=[float(weight) for weight in weights],
        apply_scale=1,
        rotated=0,
        **UPRIGHT,
        legacy_plus_one=0,
    )


def detections(
    place: Place,
    scores: Blob,
    boxes: Blob,
    splits: Blob,
    *,
    score_threshold: float,
    nms_threshold: float,
    max_out: int,
    agnostic: bool,
    rotated: bool,
) -> list[str]:
    """Of each class what NMS leaves of boxes[R,K*4 or 4]: rows by image, class and falling score.

    Equal scores count class by class, then row by row, as ops/nms.py has them.
    """
    columns, kinds = 5 if rotated else 4, int(scores.like.shape[1])
    groups = 1 if agnostic else kinds - 1
    by_class = place.reshape(place.emit("Transpose", scores, part="by_class", axes=[1, 0]), [-1], "scores_flat")
    rank = place.reshape(ranks(place, by_class, score_threshold), [kinds, -1], "ranks_by_class")
    row, classes, kept = best(
        place,
        place.emit("Transpose", rank, part="table", axes=[1, 0]),
        place.reshape(boxes, [-1, groups, columns], "boxes_of"),
        splits,
        columns=columns,
        agnostic=agnostic,
        nms_threshold=nms_threshold,
        max_out=max_out,
    )
    kind = place.cast(classes, "int64", part="class")
    before = place.emit("Mul", kind, place.emit("Shape", scores, part="num_rows", axes=[0]), part="rows_before")
    cell = row
    if groups > 1:
        first = place.emit("Mul", row, place.constant([groups], "groups", "int64"), part="cells_before")
        cell = place.emit("Add", first, kind, part="cell")
    table = place.reshape(boxes, [-1, columns], "boxes_flat")
    (kept_boxes,) = place.emit_many("Gather", table, cell, outputs=[place.output(0, "boxes")])
    at = place.emit("Add", before, row, part="score_at")
    (kept_scores,) = place.emit_many("Gather", by_class, at, outputs=[place.output(1, "scores")])
    return [kept_boxes, kept_scores, classes, kept]


def rois_of(place: Place, found: "Blob | str", splits: "Blob | str", part: str = "") -> str:
    """Detections with the number of their image before them."""
    image = place.emit("LengthsToSegmentIds", place.cast(splits, "int32", part="lengths"), part="image")
    column = place.emit("ExpandDims", place.cast(image, "float32", part="number"), part="column", dims=[1])
    return place.concat([column, found], 1, part)


ROIS: dict[Any, Callable[..., Any]] = {
    ops.caffe2_pool.default: pool,
    ops.caffe2_boxes.default: boxes,
    ops.caffe2_detections.default: detections,
    ops.caffe2_rois.default: rois_of,
}
