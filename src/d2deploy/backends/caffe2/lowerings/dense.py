"""A dense detector's last steps: the best of each level, boxes, class-wise NMS over all levels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.lowerings.images import IM_INFO
from d2deploy.backends.caffe2.lowerings.levels import Level, columns_of
from d2deploy.backends.caffe2.lowerings.nms import best, one_class_each, ranks
from d2deploy.backends.caffe2.place import Blob, Place
from d2deploy.ops.boxes import SCALE_CLAMP


def dense(
    place: Place,
    scores: list[Blob],
    deltas: list[Blob],
    sizes: Blob,
    *,
    cells: list[float],
    strides: list[int],
    weights: list[float],
    num_classes: int,
    topk: int,
    score_threshold: float,
    **rule: Any,
) -> list[str]:
    """Per level the `topk` best (anchor, class) pairs, then class-wise NMS over all of them.

    rule: nms_threshold, max_out. No weights: deltas are distances.
    """
    anchors_of = np.reshape(np.array(cells, np.float32), (len(strides), -1, 4))
    levels: list[tuple[str, ...]] = []
    for number, stride in enumerate(strides):
        level = Level(place, number, topk)
        found, pair = level.best(scores[number])
        pair = level.emit("ATen", pair, part="pair", operator="clamp_min", min=0.0)  # -1: there is none
        anchor, label = level.divided(pair, level.whole(num_classes, "classes"), "index")
        width = level.emit("Shape", deltas[number], part="width", axes=[3])
        anchors = level.anchors(anchors_of[number], anchor, width, stride)
        levels.append((found, label, level.deltas(deltas[number], anchor, 4), anchors))
    found, labels, moves, anchors = (
        place.concat(list(parts), 1, name)
        for parts, name in zip(zip(*levels), ("scores_of", "labels_of", "deltas_of", "anchors_of"))
    )
    decoded = _decode(place, moves, anchors, weights) if weights else _reach(place, moves, anchors)
    scores_flat = place.reshape(found, [-1], "scores_flat")
    count = place.constant([num_classes + 1], "num_columns", "int64")
    is_of = place.emit("OneHot", place.reshape(labels, [-1], "label"), count, part="one_hot")
    rank = place.emit("ExpandDims", ranks(place, scores_flat, score_threshold), part="rank_column", dims=[1])
    row, classes, splits = best(
        place,
        one_class_each(place, is_of, rank, num_classes),
        place.reshape(decoded, [-1, 1, 4], "boxes_of"),
        same_number_each(place, topk * len(strides)),
        columns=4,
        agnostic=True,
        **rule,
    )
    table = place.reshape(decoded, [-1, 4], "boxes_flat")
    (kept,) = place.emit_many("Gather", table, row, outputs=[place.output(0, "boxes")])
    (kept_scores,) = place.emit_many("Gather", scores_flat, row, outputs=[place.output(1, "scores")])
    return [kept, kept_scores, classes, splits]


def same_number_each(place: Place, count: int) -> str:
    """Splits where each image has `count` rows."""
    batch = place.emit("Shape", IM_INFO, part="batch", axes=[0])
    return place.emit("ConstantFill", batch, part="splits_of", input_as_shape=1, value=float(count), dtype=1)


def _middle(place: Place, anchors: str) -> tuple[str, str, str]:
    """Of anchors[N,B,4]: centers, sides, half the sides, [N,B,2] each."""
    corner = columns_of(place, anchors, 0, count=2, part="corner")
    size = place.emit("Sub", columns_of(place, anchors, 2, count=2, part="far_corner"), corner, part="size")
    half_size = place.emit("Mul", size, place.constant([0.5], "half"), part="half_size")
    return place.emit("Add", corner, half_size, part="middle"), size, half_size


def _decode(place: Place, deltas: str, anchors: str, weights: list[float]) -> str:
    """ops/boxes.py decode_boxes, two coordinates at a time; boxes are not clipped, as detectron2 leaves them here."""
    middle, size, half_size = _middle(place, anchors)
    move = columns_of(place, deltas, 0, count=2, part="move")
    moved = place.emit("Div", move, place.constant(weights[:2], "move_weights"), part="moved")
    centre = place.emit("Add", middle, place.emit("Mul", moved, size, part="shift"), part="centre")
    growth = columns_of(place, deltas, 2, count=2, part="growth")
    grown = place.emit("Div", growth, place.constant(weights[2:4], "growth_weights"), part="grown")
    factor = place.emit("Exp", place.emit("Clip", grown, part="clipped", max=SCALE_CLAMP), part="factor")
    reach = place.emit("Mul", half_size, factor, part="reach")
    near = place.emit("Sub", centre, reach, part="near")
    return place.concat([near, place.emit("Add", centre, reach, part="far")], 2, "decoded")


def _reach(place: Place, distances: str, anchors: str) -> str:
    """ops/boxes.py decode_distances of distances in pixels, from 0 on."""
    middle, _, _ = _middle(place, anchors)
    near = place.emit("Sub", middle, columns_of(place, distances, 0, count=2, part="before"), part="near")
    far = place.emit("Add", middle, columns_of(place, distances, 2, count=2, part="after"), part="far")
    return place.concat([near, far], 2, "decoded")


DENSE: dict[Any, Callable[..., Any]] = {torch.ops.d2deploy.caffe2_dense.default: dense}
