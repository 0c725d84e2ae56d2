"""BoxWithNMSLimit made exact: the network's ties, and its boxes of no area.

Of boxes with equal scores that operator takes any one first; the network takes them in their order. And it drops all
but one of the boxes without area, since 0/0 is not below its threshold; the network drops none of them. So it is given
ranks in the place of scores, puts boxes without area where nothing else is, and says which rows it kept.
"""

import numpy as np

from d2deploy.backends.caffe2.lowerings.images import positions
from d2deploy.backends.caffe2.place import Blob, Place

NEVER = -np.inf
_LOWEST = float(np.finfo(np.float32).min)
# Where boxes without area go, and how far from one another.
_FAR, _STEP = -float(2**20), -4.0


def in_order(place: Place, scores: "Blob | str") -> str:
    """scores[M] -> int64 [M], their places by falling score, equal ones by their place: TopK's order."""
    all_scores = place.concat([scores, place.constant([NEVER], "never")], 0, "with_last")  # TopK wants one at least
    row = place.emit("ExpandDims", all_scores, part="scores_row", dims=[0])
    count = place.emit("Shape", all_scores, part="num_scores", axes=[0])
    outputs = [place.part("falling"), place.part("falling_at")]
    order = place.emit(
        "Squeeze", place.emit_many("TopK", row, count, outputs=outputs)[1], part="order_of_all", dims=[0]
    )
    return place.emit("Slice", order, part="order", starts=[0], ends=[-2])  # without the last


def ranks(place: Place, scores: str, threshold: float) -> str:
    """scores[M] -> float32 [M]: 0 for the best, -1 for the next, ...; -inf for those not above the threshold."""
    outputs = [place.part("ascending"), place.part("rank")]
    rank = place.emit_many("ATen", in_order(place, scores), outputs=outputs, operator="sort", dim=0, descending=0)[1]
    falling = place.emit("Negative", place.cast(rank, "float32", part="rank_float"), part="falling_rank")
    is_above = place.emit("GT", scores, place.constant([threshold], "score_threshold"), part="is_above")
    return place.emit("ATen", is_above, falling, place.constant([NEVER], "never"), part="ranks", operator="where")


def apart(place: Place, boxes: "Blob | str", columns: int) -> str:
    """boxes[R,G,columns] with those without area far away, alone."""

    def cut(first: int, part: str) -> str:
        return place.emit("Slice", boxes, part=part, starts=[0, 0, first], ends=[-1, -1, first + 2])

    sides = cut(2, "sides") if columns == 5 else place.emit("Sub", cut(2, "far"), cut(0, "near"), part="sides")
    wide = place.emit("Slice", sides, part="wide", starts=[0, 0, 0], ends=[-1, -1, 1])
    tall = place.emit("Slice", sides, part="tall", starts=[0, 0, 1], ends=[-1, -1, 2])
    area = place.emit("Mul", wide, tall, part="area")
    is_flat = place.emit("LE", area, place.constant([0.0], "nothing"), part="is_flat")
    rows = positions(place, place.emit("Shape", boxes, part="num_rows", axes=[0]), "rows")
    number = place.emit("ExpandDims", rows, part="row", dims=[1, 2])
    steps, first = ([1, 0, 1, 0], [0, 0, 2, 2]) if columns == 4 else ([1, 0, 0, 0, 0], [0, 0, 2, 2, 0])
    moves = place.emit("Mul", number, place.constant(np.array(steps) * _STEP, "steps"), part="moves")
    corner = place.constant(np.array(steps) * _FAR + first, "far_away")
    return place.emit(
        "ATen", is_flat, place.emit("Add", moves, corner, part="away"), boxes, part="apart", operator="where"
    )


def one_class_each(place: Place, is_of: str, rank: str, num_classes: int) -> str:
    """Ranks of candidates that have one class: is_of[...,K+1] whether it is that class, rank[...,1] -> [R,K+1]."""
    never = place.constant([NEVER], "never")
    table = place.emit("ATen", place.cast(is_of, "bool", part="is_class"), rank, never, part="ranked", operator="where")
    return place.reshape(table, [-1, num_classes + 1], "table")


def best(
    place: Place,
    table: str,
    boxes: "Blob | str",
    splits: "Blob | str",
    *,
    columns: int,
    agnostic: bool,
    nms_threshold: float,
    max_out: int,
) -> tuple[str, str, str]:
    """table[R,K+1] of ranks, boxes[R,K or 1,columns], splits[N] -> which rows int64 [D], classes[D], splits[N]."""
    classes, kept_splits, rows = place.output(2, "classes"), place.output(3, "splits"), place.part("rows_kept")
    outputs = [place.part("ranks_kept"), place.part("boxes_kept"), classes, kept_splits, rows, place.part("counts")]
    place.emit_many(
        "BoxWithNMSLimit",
        table,
        place.emit("Flatten", apart(place, boxes, columns), part="boxes_flat", axis=1),
        splits,
        outputs=outputs,
        score_thresh=_LOWEST,
        nms=float(nms_threshold),
        detections_per_im=max_out,
        soft_nms_enabled=0,
        soft_nms_method="linear",
        soft_nms_sigma=0.5,
        soft_nms_min_score_thres=0.001,
        rotated=int(columns == 5),
        cls_agnostic_bbox_reg=int(agnostic),
        input_boxes_include_bg_cls=0,
        output_classes_include_bg_cls=0,
        legacy_plus_one=0,
    )
    return _rows(place, rows, splits, kept_splits), classes, kept_splits


def _rows(place: Place, kept: str, before: "Blob | str", after: str) -> str:
    """Numbers of rows within their images -> numbers of rows; splits of all rows, and of these."""
    counts = place.cast(before, "int32", part="rows_of")
    last = place.emit("ATen", counts, part="last_rows", operator="cumsum", dim=0)  # int64
    first = place.emit("Sub", last, place.cast(counts, "int64", part="rows_of_64"), part="first_rows")
    image = place.emit("LengthsToSegmentIds", place.cast(after, "int32", part="kept_of"), part="image_of")
    start = place.emit("Gather", first, image, part="start")
    return place.emit("Add", start, place.cast(kept, "int64", part="kept_64"), part="kept_rows")
