"""From an RPN's maps, or from what the caller gives, to rois.

Every argument is written: those left out mean Detectron's first version, boxes one pixel larger and NMS at 0.3.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.lowerings.images import IM_INFO, positions
from d2deploy.backends.caffe2.lowerings.nms import in_order
from d2deploy.backends.caffe2.place import Blob, Place

ops = torch.ops.d2deploy
# What operators for boxes want to be told though the boxes here are not rotated.
UPRIGHT = {"angle_bound_on": 1, "angle_bound_lo": -180, "angle_bound_hi": 180, "clip_angle_thresh": 1.0}


def proposals(
    place: Place,
    logits: list[Blob],
    deltas: list[Blob],
    sizes: Blob,
    *,
    cells: list[float],
    strides: list[int],
    pre_nms: int,
    post_nms: int,
    nms_threshold: float,
    min_size: float,
) -> list[str | None]:
    """GenerateProposals on each level, then the best of all levels, image by image -> rois, logits, splits.

    CollectRpnProposals would take the best of all images together.
    """
    per_level = np.reshape(np.array(cells, np.float32), (len(strides), -1, 4))
    rois: list[Blob | str] = []
    scores: list[Blob | str] = []
    for level, stride in enumerate(strides):
        made = place.emit_many(
            "GenerateProposals",
            logits[level],
            deltas[level],
            unscaled(place),
            place.constant(per_level[level], f"anchors{level}"),
            outputs=[place.part(f"rois{level}"), place.part(f"scores{level}")],
            spatial_scale=1.0 / stride,
            pre_nms_topN=pre_nms,
            post_nms_topN=post_nms,
            nms_thresh=float(nms_threshold),
            min_size=float(min_size),
            **UPRIGHT,
            legacy_plus_one=0,
        )
        rois.append(made[0])
        scores.append(made[1])
    if len(strides) == 1:  # grouped by image already, and no more than post_nms of each
        return finished(place, str(rois[0]), str(scores[0]))
    all_rois, all_scores = place.concat(rois, 0, "rois"), place.concat(scores, 0, "scores")
    best = _best_of_each_image(place, all_rois, all_scores, post_nms)
    return finished(place, all_rois, all_scores, rows=best)


def finished(place: Place, rois: str, scores: str, rows: str | None = None) -> list[str | None]:
    """What a node of proposals gives: rois, and scores and splits where they are asked for; of `rows` only."""

    kept_rois = place.emit("Gather", rois, rows) if rows else rois
    kept_scores = splits = None
    if place.is_used(1):
        inputs = [scores, rows] if rows else [scores]
        (kept_scores,) = place.emit_many("Gather" if rows else "Copy", *inputs, outputs=[place.output(1, "logits")])
    if place.is_used(2):
        splits = counted(place, kept_rois, place.output(2, "splits"))
    return [kept_rois, kept_scores, splits]


def counted(place: Place, rois: "Blob | str", name: str) -> str:
    """How many rows of rois each image has: the blob `name`, float32 [N]."""
    ones = place.cast(of_images(place, rois), "float32", part="counted")
    return place.emit_many("ReduceSum", ones, outputs=[name], axes=[1], keepdims=0)[0]


def unscaled(place: Place) -> str:
    """im_info with a scale of 1: boxes are pixels of `data`, whatever scale the caller says it has."""

    def make() -> str:
        nets = place.nets
        kept, scale, ones, made = map(
            nets.unique, ("im_info.sizes", "im_info.scale", "im_info.one", "im_info.unscaled")
        )
        nets.add("Slice", [IM_INFO], [kept], starts=[0, 0], ends=[-1, 2])
        nets.add("Slice", [IM_INFO], [scale], starts=[0, 2], ends=[-1, 3])
        nets.add("ConstantFill", [scale], [ones], value=1.0, dtype=1)
        nets.add("Concat", [kept, ones], [made, nets.unique(f"{made}.sizes")], axis=1)
        return made

    return place.once("im_info", make)


def of_images(place: Place, rois: "Blob | str", order: str | None = None) -> str:
    """bool [N,R]: which rows of rois, looked at in that order, are of which image."""
    image = place.emit("Slice", rois, part="image", starts=[0, 0], ends=[-1, 1])
    column = place.emit("Gather", image, order, part="image_sorted") if order else image
    row = place.emit("Transpose", column, part="image_row", axes=[1, 0])
    numbers = positions(place, place.emit("Shape", IM_INFO, part="batch", axes=[0]), "numbers")
    return place.emit("EQ", place.emit("ExpandDims", numbers, part="number", dims=[1]), row, part="is_of")


def _best_of_each_image(place: Place, rois: str, scores: str, count: int) -> str:
    """rois[R,5], scores[R] -> which rows are the `count` best of each image, images in order.

    Sorted by score, each row counts the rows of its image up to itself; those with a count of at most `count` stay.
    """
    order = in_order(place, scores)
    is_of = of_images(place, rois, order)
    place_of = place.emit("ATen", place.cast(is_of, "float32", part="one"), part="rank", operator="cumsum", dim=1)
    first = place.emit("LE", place_of, place.constant([count], "count"), part="first")
    kept = place.emit("ATen", place.emit("And", is_of, first, part="is_kept"), part="kept", operator="nonzero")
    kept_row = place.emit("Slice", kept, part="kept_column", starts=[0, 1], ends=[-1, -1])
    return place.emit("Gather", order, place.emit("Squeeze", kept_row, part="kept_row", dims=[1]), part="pick")


def given(place: Place, boxes: Blob, counts: Blob, topk: int) -> str:
    """Rois of boxes[N,P,4]: of each image the first counts[N], and at most `topk`."""
    length = place.emit("Shape", boxes, part="length", axes=[1])
    count = place.emit("Clip", place.cast(counts, "float32", part="count"), part="most", max=float(topk))
    column = place.emit("ExpandDims", count, part="column", dims=[1])
    is_given = place.emit("LT", positions(place, length, "places"), column, part="is_given")
    where = place.emit("ATen", is_given, part="where", operator="nonzero")  # [R,2]: image, place
    image = place.emit("Slice", where, part="image", starts=[0, 0], ends=[-1, 1])
    number = place.emit("Slice", where, part="place", starts=[0, 1], ends=[-1, -1])
    before = place.emit("Mul", image, length, part="before")
    row = place.emit("Squeeze", place.emit("Add", before, number, part="row"), part="rows", dims=[1])
    table = place.reshape(boxes, [-1, 4], "table")
    chosen = place.emit("Gather", table, row, part="chosen")
    return place.concat([place.cast(image, "float32", part="image_number"), chosen], 1)


PROPOSALS: dict[Any, Callable[..., Any]] = {
    ops.caffe2_proposals.default: proposals,
    ops.caffe2_given.default: given,
}
