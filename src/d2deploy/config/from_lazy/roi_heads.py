"""RoI heads of a LazyConfig -> schema, one function a target.

Facts: detectron2 modeling/roi_heads/roi_heads.py and cascade_rcnn.py at 02b5c4e2.
"""

from collections.abc import Callable
from typing import Any

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.heads import (
    INPUT_SHAPE,
    Predictor,
    Source,
    box_head,
    box_size,
    keypoint_head,
    mask_head,
    pooler_of,
    predictor_of,
    source_of,
)
from d2deploy.config.from_lazy.levels import Levels, check_equal
from d2deploy.config.from_lazy.resnet import res5_of


def roi_heads(call: Arguments, levels: Levels) -> schema.ROIHeads | schema.Res5ROIHeads:
    """The RoI heads of any target in ROI_HEADS, on a backbone that gives `levels`."""
    call.must_be(*ROI_HEADS)
    heads = ROI_HEADS[call.target](call, levels)
    call.ignore("batch_size_per_image", "positive_fraction", "proposal_matcher", "proposal_matchers")
    call.ignore("proposal_append_gt", "train_on_pred_boxes")
    call.done()
    return heads


def _standard(call: Arguments, levels: Levels) -> schema.ROIHeads:
    source = source_of(call, "box_in_features", levels)
    head = box_head(
        call.call("box_head", positional=INPUT_SHAPE), pooler_of(call, "box_pooler", source), source.channels
    )
    num_classes = call.whole("num_classes")
    predictor = predictor_of(call.call("box_predictor", positional=INPUT_SHAPE), num_classes, box_size(head))
    return schema.ROIHeads(
        in_features=source.in_features,
        detections=predictor.detections,
        box=_box(head, predictor),
        cascade=(),
        **_branches(call, source, levels, num_classes),
    )


def _cascade(call: Arguments, levels: Levels) -> schema.ROIHeads:
    """As many box heads and predictors as stages; the last one's thresholds are those that count."""
    source = source_of(call, "box_in_features", levels)
    pooler = pooler_of(call, "box_pooler", source)
    heads = [box_head(head, pooler, source.channels) for head in call.calls("box_heads", positional=INPUT_SHAPE)]
    num_classes = call.whole("num_classes")
    calls = call.calls("box_predictors", positional=INPUT_SHAPE)
    check_equal(f"The length of {call.where}.box_predictors", len(calls), len(heads), f"{call.where}.box_heads")
    predictors = [predictor_of(one, num_classes, box_size(head)) for one, head in zip(calls, heads, strict=True)]
    last = predictors[-1]
    for one, head, predictor in zip(calls, heads, predictors, strict=True):
        check_equal(f"The box head of {one.where}", head, heads[0], "the first stage")
        check_equal(f"{one.where}.cls_agnostic_bbox_reg", predictor.cls_agnostic_bbox_reg, True, "CascadeROIHeads")
        for name in ("use_sigmoid_ce", "use_fed_loss"):
            check_equal(f"{one.where}.{name}", getattr(predictor, name), getattr(last, name), "the last stage")
    return schema.ROIHeads(
        in_features=source.in_features,
        detections=last.detections,
        box=_box(heads[0], predictors[0]),
        cascade=tuple(predictor.bbox_reg_weights for predictor in predictors),
        **_branches(call, source, levels, num_classes),
    )


def _box(head: dict[str, Any], predictor: Predictor) -> schema.BoxHead:
    fields = predictor._asdict()
    del fields["detections"]
    return schema.BoxHead(**head, **fields)


def _branches(call: Arguments, box: Source, levels: Levels, num_classes: int) -> dict[str, Any]:
    """Mask and keypoint head; each is there when its in_features are given."""
    heads: dict[str, Any] = {"mask": None, "keypoint": None}
    for name in heads:
        if call.has(f"{name}_in_features"):
            source = source_of(call, f"{name}_in_features", levels)
            where = f"{call.where}.{name}_in_features"
            check_equal(where, list(source.in_features), list(box.in_features), f"{call.where}.box_in_features")
            pooler = pooler_of(call, f"{name}_pooler", source)
            head = call.call(f"{name}_head", positional=INPUT_SHAPE)
            if name == "mask":
                side = pooler.resolution
                heads[name] = mask_head(head, pooler, channels=source.channels, num_classes=num_classes, side=side)
            else:
                heads[name] = keypoint_head(head, pooler, channels=source.channels)
        call.ignore(f"{name}_in_features", f"{name}_pooler", f"{name}_head")
    return heads


def _res5(call: Arguments, levels: Levels) -> schema.Res5ROIHeads:
    source = source_of(call, "in_features", levels)
    pooler = pooler_of(call, "pooler", source)
    stage = call.call("res5", positional=("block_class", "num_blocks", "first_stride"))
    resnet = res5_of(stage, in_channels=source.channels)
    channels = resnet.res2_out_channels * 8
    num_classes = call.whole("num_classes")
    predictor = predictor_of(call.call("box_predictor", positional=INPUT_SHAPE), num_classes, channels)
    mask = None
    if call.has("mask_head"):
        head = call.call("mask_head", positional=INPUT_SHAPE)
        # detectron2's own config gives the pooler's size there, though res5 halves it: nothing reads it.
        mask = mask_head(head, pooler, channels=channels, num_classes=num_classes, side=None)
    call.ignore("mask_head")
    return schema.Res5ROIHeads(
        in_features=source.in_features, pooler=pooler, resnet=resnet, mask=mask, **predictor._asdict()
    )


ROI_HEADS: dict[str, Callable[[Arguments, Levels], schema.ROIHeads | schema.Res5ROIHeads]] = {
    "StandardROIHeads": _standard,
    "CascadeROIHeads": _cascade,
    "Res5ROIHeads": _res5,
}
