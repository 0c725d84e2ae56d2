"""Rotated proposals and boxes: cell by cell what ops/rotated_boxes.py does, NMS by BoxWithNMSLimit.

GenerateProposals takes rotated anchors, too, but drops a box whose center lies right of the image or below it, which
detectron2's RRPN keeps (generate_proposals_op_util_boxes.h, filter_boxes_rotated); and BBoxTransform has no weight for
the angle.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.lowerings.dense import same_number_each
from d2deploy.backends.caffe2.lowerings.images import IM_INFO
from d2deploy.backends.caffe2.lowerings.levels import Level, columns_of
from d2deploy.backends.caffe2.lowerings.nms import NEVER, best, one_class_each, ranks
from d2deploy.backends.caffe2.lowerings.proposals import counted
from d2deploy.backends.caffe2.lowerings.rois import rois_of
from d2deploy.backends.caffe2.place import Blob, Place
from d2deploy.ops.boxes import SCALE_CLAMP

ops = torch.ops.d2deploy
_LOWEST = float(np.finfo(np.float32).min)


def proposals(
    place: Place,
    logits: list[Blob],
    deltas: list[Blob],
    sizes: Blob,
    *,
    cells: list[float],
    strides: list[int],
    weights: list[float],
    pre_nms: int,
    post_nms: int,
    nms_threshold: float,
    min_size: float,
) -> list[str]:
    """The `pre_nms` best of each level, decoded and clipped, NMS within the level, the `post_nms` best -> rois[R,6],

    logits, splits. To BoxWithNMSLimit a level is a class.
    """
    anchors_of = np.reshape(np.array(cells, np.float32), (len(strides), -1, 5))
    levels: list[tuple[str, str, str]] = []
    for level_number, stride in enumerate(strides):
        level = Level(place, level_number, pre_nms)
        found, index = level.best(logits[level_number])
        anchor = level.emit("ATen", index, part="index", operator="clamp_min", min=0.0)  # -1: there is none
        width = level.emit("Shape", deltas[level_number], part="width", axes=[3])
        anchors = level.anchors(anchors_of[level_number], anchor, width, stride)
        levels.append((found, index, _decode(place, level.deltas(deltas[level_number], anchor, 5), anchors, weights)))
    found, index, decoded = (
        place.concat(list(parts), 1, name) for parts, name in zip(zip(*levels), ("scores_of", "index_of", "decoded_of"))
    )
    boxes = _clip(place, decoded, _limits(place))
    scores = place.reshape(_of_boxes(place, found, index, boxes, min_size=min_size), [-1], "scores_flat")
    number = place.constant(np.repeat(np.arange(len(strides)), pre_nms), "levels", "int64")
    count = place.constant([len(strides) + 1], "num_columns", "int64")
    rank = place.reshape(ranks(place, scores, _LOWEST), [-1, pre_nms * len(strides), 1], "rank_column")
    row, _, splits = best(
        place,
        one_class_each(place, place.emit("OneHot", number, count, part="one_hot"), rank, len(strides)),
        place.reshape(boxes, [-1, 1, 5], "boxes_of"),
        same_number_each(place, pre_nms * len(strides)),
        columns=5,
        agnostic=True,
        nms_threshold=nms_threshold,
        max_out=post_nms,
    )
    kept = place.emit("Gather", place.reshape(boxes, [-1, 5], "boxes_flat"), row, part="kept")
    (kept_scores,) = place.emit_many("Gather", scores, row, outputs=[place.output(1, "logits")])
    return [rois_of(place, kept, splits), kept_scores, splits]


def _of_boxes(place: Place, scores: str, index: str, boxes: str, *, min_size: float) -> str:
    """scores[N,B], -inf where there is no candidate, or a side of boxes[N,B,5] is not above `min_size`."""
    smallest = place.constant([min_size], "min_size")
    wide = place.emit("GT", columns_of(place, boxes, 2, count=1, part="width"), smallest, part="is_wide")
    tall = place.emit("GT", columns_of(place, boxes, 3, count=1, part="height"), smallest, part="is_tall")
    is_box = place.emit("Squeeze", place.emit("And", wide, tall, part="is_some"), part="is_box", dims=[2])
    is_there = place.emit("GE", index, place.constant([0], "zero", "int64"), part="is_there")
    both = place.emit("And", is_box, is_there, part="is_candidate")
    return place.emit("ATen", both, scores, place.constant([NEVER], "never"), part="known", operator="where")


def boxes(place: Place, rois: Blob, deltas: Blob, sizes: Blob, *, weights: list[float]) -> list[str]:
    """rois[R,6], deltas[R,5*K] -> boxes[R,5*K], clipped; and how many rows each image has."""
    columns = int(deltas.like.shape[1])
    anchors = place.emit("Slice", rois, part="anchors", starts=[0, 1], ends=[-1, -1])
    each = place.emit("ExpandDims", anchors, part="anchor", dims=[1])
    moved = _decode(place, place.reshape(deltas, [-1, columns // 5, 5], "deltas"), each, weights)
    number = place.emit("Slice", rois, part="image", starts=[0, 0], ends=[-1, 1])
    image = place.emit("Squeeze", place.cast(number, "int32", part="whole"), part="images", dims=[1])
    limits = place.emit("Gather", _limits(place), image, part="limits")
    clipped = _clip(place, moved, limits)
    out = place.output(0, "boxes")
    place.emit_many("Reshape", clipped, outputs=[out, place.part("boxes.before")], shape=[-1, columns])
    return [out, counted(place, rois, place.output(1, "splits"))]


def _decode(place: Place, deltas: str, anchors: str, weights: list[float]) -> str:
    """ops/rotated_boxes.py decode_rotated_boxes of [...,5], two numbers at a time, of three axes."""
    center, sides = (columns_of(place, anchors, at, count=2, part="anchor") for at in (0, 2))
    move, growth = (columns_of(place, deltas, at, count=2, part="delta") for at in (0, 2))
    step = place.emit("Div", move, place.constant(weights[:2], "move_weights"), part="step")
    moved = place.emit("Add", center, place.emit("Mul", step, sides, part="shift"), part="center")
    grown = place.emit("Div", growth, place.constant(weights[2:4], "growth_weights"), part="grown")
    factor = place.emit("Exp", place.emit("Clip", grown, part="clipped", max=SCALE_CLAMP), part="factor")
    turn = columns_of(place, deltas, 4, count=1, part="turn")
    radians = place.emit("Div", turn, place.constant(weights[4:], "turn_weight"), part="radians")
    degrees = place.emit("Mul", radians, place.constant([180 / math.pi], "degree"), part="degrees")
    angle = place.emit("Add", degrees, columns_of(place, anchors, 4, count=1, part="anchor"), part="angle")
    parts: list[Blob | str] = [moved, place.emit("Mul", sides, factor, part="sides"), _normal_angle(place, angle)]
    return place.concat(parts, 2, "decoded")


def _normal_angle(place: Place, degrees: str) -> str:
    """The same direction in [-180, 180)."""
    half = place.constant([180.0], "half_turn")
    ahead = place.emit("Add", degrees, half, part="ahead")
    within = place.emit("ATen", ahead, part="within", operator="remainder", other=360.0)
    return place.emit("Sub", within, half, part="normal_angle")


def _limits(place: Place) -> str:
    """Width and height of each image, [N,1,2]."""
    width = place.emit("Slice", IM_INFO, part="width", starts=[0, 1], ends=[-1, 2])
    height = place.emit("Slice", IM_INFO, part="height", starts=[0, 0], ends=[-1, 1])
    return place.emit("ExpandDims", place.concat([width, height], 1, "sizes"), part="limits", dims=[1])


def _clip(place: Place, decoded: str, limits: str) -> str:
    """ops/rotated_boxes.py clip_rotated_boxes of [N or R,B,5], angles normal; limits[N or R,1,2]."""
    center, sides = (columns_of(place, decoded, at, count=2, part="decoded") for at in (0, 2))
    angle = columns_of(place, decoded, 4, count=1, part="decoded")
    half = place.emit("Mul", sides, place.constant([0.5], "half"), part="half_sides")

    def inside(type: str, part: str) -> str:
        positive = place.emit("Relu", place.emit(type, center, half, part=part), part=f"{part}_positive")
        return place.emit("ATen", positive, limits, part=f"{part}_inside", operator="minimum")

    low, high = inside("Sub", "low"), inside("Add", "high")
    middle = place.emit("Mul", place.emit("Add", low, high, part="both"), place.constant([0.5], "half"), part="middle")
    # Rounding must not make a box larger than it was.
    smaller = place.emit("ATen", sides, place.emit("Sub", high, low, part="cut"), part="smaller", operator="minimum")
    upright = place.emit("LE", place.emit("Abs", angle, part="turned"), place.constant([1.0], "degree"), part="upright")
    box = columns_of(place, decoded, 0, count=4, part="decoded")
    cut = place.concat([middle, smaller], 2, "cut_box")
    return place.concat([place.emit("ATen", upright, cut, box, part="box", operator="where"), angle], 2, "clipped")


ROTATED: dict[Any, Callable[..., Any]] = {
    ops.caffe2_rotated_proposals.default: proposals,
    ops.caffe2_rotated_boxes.default: boxes,
}
