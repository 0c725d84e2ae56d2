"""A dense detector's last steps: the best of each level, boxes, class-wise NMS over all levels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.lowerings.composites import IM_INFO, limit
from d2deploy.backends.caffe2.place import Blob, Place

# detectron2's: a delta enlarges a box at most from 16 to 1000 pixels.
_MAX_LOG_SCALE = 4.135166556742356


def dense(
    place: Place,
    logits: list[Blob],
    deltas: list[Blob],
    sizes: Blob,
    *,
    cells: list[float],
    strides: list[int],
    weights: list[float],
    num_classes: int,
    topk: int,
    **rule: Any,
) -> list[str]:
    """RetinaNet: per level the `topk` best (anchor, class) pairs, then BoxWithNMSLimit over all of them.

    That operator wants a score for each class: a pair's row has its score in its class's column and 0 elsewhere.
    rule: score_threshold, nms_threshold, max_out.
    """
    anchors_of = np.reshape(np.array(cells, np.float32), (len(strides), -1, 4))
    levels = [
        _Level(place, number, num_classes, topk).best(logits[number], deltas[number], anchors_of[number], stride)
        for number, stride in enumerate(strides)
    ]
    scores, labels, moves, anchors = (
        place.concat(list(parts), 1, name)
        for parts, name in zip(zip(*levels), ("scores_of", "labels_of", "deltas_of", "anchors_of"))
    )
    boxes = _rows(place, _decode(place, moves, anchors, weights), [-1, 4], "boxes_of")
    count = place.constant([num_classes + 1], "num_columns", "int64")
    one_hot = place.emit("OneHot", _rows(place, labels, [-1], "label"), count, part="one_hot")
    column = _rows(place, scores, [-1, 1], "score")
    table = place.emit("Mul", place.cast(one_hot, "float32", part="one_hot_float"), column, part="table")
    batch = place.emit("Shape", IM_INFO, part="batch", axes=[0])
    splits = place.emit(
        "ConstantFill", batch, part="splits_of", input_as_shape=1, value=float(topk * len(strides)), dtype=1
    )
    return limit(place, [table, boxes, splits], agnostic=True, **rule)


class _Level:
    """One level's candidates. Names of its blobs end in its number."""

    def __init__(self, place: Place, number: int, num_classes: int, topk: int) -> None:
        self.place, self.number, self.num_classes, self.topk = place, number, num_classes, topk

    def emit(self, type: str, *inputs: Any, part: str, **args: Any) -> str:
        return self.place.emit(type, *inputs, part=f"{part}{self.number}", **args)

    def whole(self, value: int, part: str) -> str:
        return self.place.constant([value], part, "int64")

    def best(self, logits: Blob, deltas: Blob, cell: np.ndarray, stride: int) -> tuple[str, ...]:
        """Scores[N,k], classes[N,k], deltas[N,k,4], anchors[N,k,4]; a score of 0 where there are fewer than k."""
        last = self.emit("Transpose", logits, part="cells", axes=[0, 2, 3, 1])
        flat = self.emit("Flatten", self.emit("Sigmoid", last, part="sigmoid"), part="flat", axis=1)
        place, number = self.place, self.number
        scores, pair = place.emit_many(
            "TopK", flat, outputs=[place.part(f"scores{number}"), place.part(f"top{number}")], k=self.topk
        )
        pair = self.emit("ATen", pair, part="pair", operator="clamp_min", min=0.0)  # -1: there is none
        classes = self.whole(self.num_classes, "classes")
        index = self.emit("Div", pair, classes, part="index")
        label = self.emit("Sub", pair, self.emit("Mul", index, classes, part="first"), part="label")
        return scores, label, self._deltas(deltas, index), self._anchors(deltas, index, cell, stride)

    def _deltas(self, deltas: Blob, index: str) -> str:
        last = self.emit("Transpose", deltas, part="moves", axes=[0, 2, 3, 1])
        rows = _rows(self.place, last, [0, -1, 4], f"move{self.number}")
        column = self.emit("ExpandDims", index, part="column", dims=[2])
        columns = self.emit("Tile", column, part="columns", tiles=4, axis=2)
        return self.emit("ATen", rows, columns, part="deltas", operator="gather", dim=1, sparse_grad=0)

    def _anchors(self, deltas: Blob, index: str, cell: np.ndarray, stride: int) -> str:
        """The anchor with that number: its shape, and its cell's corner in pixels of the input."""
        per_cell = self.whole(len(cell), "per_cell")
        position = self.emit("Div", index, per_cell, part="position")
        kind = self.emit("Sub", index, self.emit("Mul", position, per_cell, part="kinds"), part="kind")
        shapes = self.place.constant(cell, f"anchors{self.number}")
        shape = self.emit("Gather", shapes, kind, part="shape")
        width = self.emit("Shape", deltas, part="width", axes=[3])
        row = self.emit("Div", position, width, part="row")
        column = self.emit("Sub", position, self.emit("Mul", row, width, part="before"), part="at")
        corner = [
            self.emit("ExpandDims", self.emit("Cast", part, part="whole", to=1), part="corner", dims=[2])
            for part in (column, row)
        ]
        corners = self.place.concat([*corner, *corner], 2, f"corners{self.number}")
        pixels = self.emit("Mul", corners, self.place.constant([stride], "stride"), part="pixels")
        return self.emit("Add", pixels, shape, part="anchors")


def _rows(place: Place, blob: str, shape: list[int], part: str) -> str:
    made = place.part(part)
    return place.emit_many("Reshape", blob, outputs=[made, place.part(f"{part}.before")], shape=shape)[0]


def _decode(place: Place, deltas: str, anchors: str, weights: list[float]) -> str:
    """ops/boxes.py decode_boxes, two coordinates at a time; boxes are not clipped, as detectron2 leaves them here."""

    def half(blob: str, part: str, start: int) -> str:
        return place.emit("Slice", blob, part=part, starts=[0, 0, start], ends=[-1, -1, start + 2])

    corner = half(anchors, "corner", 0)
    size = place.emit("Sub", half(anchors, "far_corner", 2), corner, part="size")
    half_size = place.emit("Mul", size, place.constant([0.5], "half"), part="half_size")
    middle = place.emit("Add", corner, half_size, part="middle")
    move = place.emit("Div", half(deltas, "move", 0), place.constant(weights[:2], "move_weights"), part="moved")
    centre = place.emit("Add", middle, place.emit("Mul", move, size, part="shift"), part="centre")
    growth = place.emit("Div", half(deltas, "growth", 2), place.constant(weights[2:], "growth_weights"), part="grown")
    factor = place.emit("Exp", place.emit("Clip", growth, part="clipped", max=_MAX_LOG_SCALE), part="factor")
    reach = place.emit("Mul", half_size, factor, part="reach")
    near = place.emit("Sub", centre, reach, part="near")
    return place.concat([near, place.emit("Add", centre, reach, part="far")], 2, "decoded")


DENSE: dict[Any, Callable[..., Any]] = {torch.ops.d2deploy.caffe2_dense.default: dense}
