"""Caffe2's own composite operators: proposals, pooling, boxes, detections; and the preparation of images.

Every argument is written: those left out mean Detectron's first version, boxes one pixel larger and NMS at 0.3.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import d2deploy.backends.caffe2.nodes  # noqa: F401, defines the operators
from d2deploy.backends.caffe2.place import Blob, Place

ops = torch.ops.d2deploy
IM_INFO = "im_info"
# What operators for boxes want to be told though the boxes here are not rotated.
_UPRIGHT = {"angle_bound_on": 1, "angle_bound_lo": -180, "angle_bound_hi": 180, "clip_angle_thresh": 1.0}


def prepare(place: Place, images: Blob, sizes: Blob, mean: list[float], *, std: list[float], divisor: int) -> str:
    """Normalise, zero what lies beyond im_info's height and width, then add zeros up to a multiple of `divisor`."""
    centred = place.emit("Sub", images, place.constant(np.reshape(mean, (-1, 1, 1)), "mean"), part="centred")
    normal = place.emit("Div", centred, place.constant(np.reshape(std, (-1, 1, 1)), "std"), part="normalised")
    shape = place.emit("Shape", images, part="shape")
    below = _inside(place, shape, axis=2, column=0)  # [N,H]
    right = _inside(place, shape, axis=3, column=1)  # [N,W]
    rows = place.emit("ExpandDims", below, part="rows", dims=[1, 3])
    columns = place.emit("ExpandDims", right, part="columns", dims=[1, 2])
    cut = place.emit("Mul", normal, rows, part="cut")
    if divisor == 1:
        return place.emit("Mul", cut, columns)
    inside = place.emit("Mul", cut, columns, part="inside")
    tall = _padded(place, inside, axis=2, divisor=divisor, part="tall")
    return _padded(place, tall, axis=3, divisor=divisor, part="")


def _inside(place: Place, shape: str, *, axis: int, column: int) -> str:
    """1 for each row (or column) that is of the image, else 0: [N,H] or [N,W] float32."""
    length = place.emit("Slice", shape, part="length", starts=[axis], ends=[axis + 1])
    count = place.cast(length, "int32", part="count")
    steps = place.cast(place.emit("Range", count, part="steps"), "float32", part="positions")
    limit = place.emit("Slice", IM_INFO, part="limit", starts=[0, column], ends=[-1, column + 1])
    return place.cast(place.emit("LT", steps, limit, part="is_inside"), "float32", part="inside")


def _padded(place: Place, x: str, *, axis: int, divisor: int, part: str) -> str:
    """Zeros at the end of an axis, up to a multiple of `divisor`; none where it is one."""
    shape = place.emit("Shape", x, part="shape")
    before = place.emit("Slice", shape, part="before", starts=[0], ends=[axis])
    length = place.emit("Slice", shape, part="length", starts=[axis], ends=[axis + 1])
    negative = place.emit("Negative", length, part="negative")
    lacking = place.emit("Mod", negative, part="lacking", divisor=divisor, sign_follow_divisor=1)
    sizes: list[Blob | str] = [before, lacking]
    if axis == 2:
        sizes.append(place.emit("Slice", shape, part="after", starts=[3], ends=[4]))
    zeros_shape = place.concat(sizes, 0, part="zeros_shape")
    zeros = place.emit("ConstantFill", zeros_shape, part="zeros", input_as_shape=1, value=0.0, dtype=1)
    return place.concat([x, zeros], axis, part=part)


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
) -> str:
    """GenerateProposals on each level, then the best of all levels, image by image.

    CollectRpnProposals would take the best of all images together.
    """
    per_level = np.reshape(np.array(cells, np.float32), (len(strides), -1, 4))
    rois: list[Blob | str] = []
    scores: list[Blob | str] = []
    for level, stride in enumerate(strides):
        anchors = place.constant(per_level[level], f"anchors{level}")
        made = place.emit_many(
            "GenerateProposals",
            logits[level],
            deltas[level],
            unscaled(place),
            anchors,
            outputs=[place.part(f"rois{level}"), place.part(f"scores{level}")],
            spatial_scale=1.0 / stride,
            pre_nms_topN=pre_nms,
            post_nms_topN=post_nms,
            nms_thresh=float(nms_threshold),
            min_size=float(min_size),
            **_UPRIGHT,
            legacy_plus_one=0,
        )
        rois.append(made[0])
        scores.append(made[1])
    if len(strides) == 1:
        return str(rois[0])  # grouped by image already, and no more than post_nms of each
    return _best_of_each_image(place, place.concat(rois, 0, "rois"), place.concat(scores, 0, "scores"), post_nms)


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


def _best_of_each_image(place: Place, rois: str, scores: str, count: int) -> str:
    """rois[R,5], scores[R] -> the `count` best of each image, images in order.

    Sorted by score, each row counts the rows of its image up to itself; those with a count of at most `count` stay.
    """
    _, order = place.emit_many(
        "ATen", scores, outputs=[place.part("sorted"), place.part("order")], operator="sort", dim=0, descending=1
    )
    image = place.emit("Slice", rois, part="image", starts=[0, 0], ends=[-1, 1])
    column = place.emit("Gather", image, order, part="image_sorted")
    row = place.emit("Transpose", column, part="image_row", axes=[1, 0])
    images = place.cast(place.emit("Shape", IM_INFO, part="batch", axes=[0]), "int32", part="num_images")
    number = place.cast(place.emit("Range", images, part="range"), "float32", part="numbers")
    is_of = place.emit("EQ", place.emit("ExpandDims", number, part="number", dims=[1]), row, part="is_of")
    place_of = place.emit("ATen", place.cast(is_of, "float32", part="one"), part="rank", operator="cumsum", dim=1)
    first = place.emit("LE", place_of, place.constant([count], "count"), part="first")
    kept = place.emit("ATen", place.emit("And", is_of, first, part="is_kept"), part="kept", operator="nonzero")
    kept_row = place.emit("Slice", kept, part="kept_column", starts=[0, 1], ends=[-1, -1])
    pick = place.emit("Gather", order, place.emit("Squeeze", kept_row, part="kept_row", dims=[1]), part="pick")
    return place.emit("Gather", rois, pick)


def pool(
    place: Place,
    features: list[Blob],
    rois: Blob,
    scales: list[float],
    *,
    size: int,
    sampling_ratio: int,
    aligned: bool,
    min_level: int,
    max_level: int,
) -> str:
    """RoIAlign on each level and the rows back in order. A box of no area pools 0, not 0/0."""
    args = {"pooled_h": size, "pooled_w": size, "sampling_ratio": sampling_ratio, "aligned": int(aligned)}
    if len(features) == 1:
        made = place.emit(
            "RoIAlign", features[0], rois, part="pooled", order="NCHW", spatial_scale=float(scales[0]), **args
        )
        return place.emit("ReplaceNaN", made, value=0.0)
    levels = [place.part(f"rois{level}") for level in range(min_level, max_level + 1)]
    *levels, restore = place.emit_many(
        "DistributeFpnProposals",
        rois,
        outputs=[*levels, place.part("restore")],
        roi_canonical_scale=224,
        roi_canonical_level=4,
        roi_min_level=min_level,
        roi_max_level=max_level,
        legacy_plus_one=0,
    )
    parts: list[Blob | str] = [
        place.emit("RoIAlign", feature, level, part="level", order="NCHW", spatial_scale=float(scale), **args)
        for feature, level, scale in zip(features, levels, scales)
    ]
    pooled = place.emit("BatchPermutation", place.concat(parts, 0, "levels"), restore, part="pooled")
    return place.emit("ReplaceNaN", pooled, value=0.0)


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
        **_UPRIGHT,
        legacy_plus_one=0,
    )


def detections(place: Place, scores: Blob, all_boxes: Blob, splits: Blob, **rule: Any) -> list[str]:
    """BoxWithNMSLimit: rows by image, class and falling score. rule: see `limit`."""
    return limit(place, [scores, all_boxes, splits], **rule)


def limit(
    place: Place,
    inputs: "list[Blob | str]",
    *,
    score_threshold: float,
    nms_threshold: float,
    max_out: int,
    agnostic: bool,
) -> list[str]:
    """inputs: scores[R,K+1], boxes[R,4*K or 4], splits[N] -> boxes, scores, classes, splits."""
    names = ["boxes", "scores", "classes", "splits"]
    found = [place.output(number, name) for number, name in enumerate(names)]
    place.emit_many(
        "BoxWithNMSLimit",
        *inputs,
        outputs=[found[1], found[0], found[2], found[3]],
        score_thresh=float(score_threshold),
        nms=float(nms_threshold),
        detections_per_im=max_out,
        soft_nms_enabled=0,
        soft_nms_method="linear",
        soft_nms_sigma=0.5,
        soft_nms_min_score_thres=0.001,
        rotated=0,
        cls_agnostic_bbox_reg=int(agnostic),
        input_boxes_include_bg_cls=0,
        output_classes_include_bg_cls=0,
        legacy_plus_one=0,
    )
    return found


def rois_of(place: Place, found: Blob, splits: Blob) -> str:
    """Detections with the number of their image before them."""
    image = place.emit("LengthsToSegmentIds", place.cast(splits, "int32", part="lengths"), part="image")
    column = place.emit("ExpandDims", place.cast(image, "float32", part="number"), part="column", dims=[1])
    return place.concat([column, found], 1)


COMPOSITES: dict[Any, Callable[..., Any]] = {
    ops.caffe2_prepare.default: prepare,
    ops.caffe2_proposals.default: proposals,
    ops.caffe2_pool.default: pool,
    ops.caffe2_boxes.default: boxes,
    ops.caffe2_detections.default: detections,
    ops.caffe2_rois.default: rois_of,
}
