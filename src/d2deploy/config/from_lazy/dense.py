"""Detectors without proposals of a LazyConfig -> schema.

Facts: detectron2 modeling/meta_arch/retinanet.py and fcos.py at 02b5c4e2.
"""

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments, shape_of
from d2deploy.config.from_lazy.input import Loader
from d2deploy.config.from_lazy.levels import Levels, channels_of, check_equal, check_groups, chosen
from d2deploy.config.from_lazy.proposals import anchors, box_weights


def retinanet(model: Arguments, levels: Levels, _: Loader) -> schema.RetinaNet:
    """RetinaNet(head, head_in_features, anchor_generator, ...)."""
    in_features = features(model, levels)
    boxes = anchors(model, in_features, levels)
    channels = channels_of(model, in_features, levels)
    detections = detections_of(model, topk=100, score_thresh=0.05, nms_thresh=0.5)
    head = model.call("head")
    head.must_be("RetinaNetHead")
    check_equal(f"{head.where}.num_anchors", head.whole("num_anchors"), boxes.per_cell, "the anchor generator")
    conv_dims, norm = tower_of(head, in_features, channels, detections.num_classes)
    head.done()
    model.ignore("anchor_matcher", "focal_loss_alpha", "focal_loss_gamma", "smooth_l1_beta", "box_reg_loss_type")
    return schema.RetinaNet(
        in_features=in_features,
        detections=detections,
        conv_dims=conv_dims,
        norm=norm,
        bbox_reg_weights=box_weights(model),
        topk_candidates=model.whole("test_topk_candidates", 1000),
        anchors=boxes,
    )


def fcos(model: Arguments, levels: Levels, _: Loader) -> schema.FCOS:
    """FCOS(head, head_in_features, box2box_transform=None, num_classes, ...)."""
    in_features = features(model, levels)
    detections = detections_of(model, topk=100, score_thresh=0.2, nms_thresh=0.6)
    head = model.call("head")
    head.must_be("FCOSHead")
    conv_dims, norm = tower_of(head, in_features, channels_of(model, in_features, levels), detections.num_classes)
    head.done()
    model.ignore("center_sampling_radius", "focal_loss_alpha", "focal_loss_gamma")
    return schema.FCOS(
        in_features=in_features,
        detections=detections,
        conv_dims=conv_dims,
        norm=norm,
        normalize_by_size=_normalize_by_size(model),
        topk_candidates=model.whole("test_topk_candidates", 1000),
    )


def _normalize_by_size(model: Arguments) -> bool:
    """Of box2box_transform: Box2BoxTransformLinear(normalize_by_size=True); None is the same."""
    if not model.has("box2box_transform"):
        model.ignore("box2box_transform")
        return True
    transform = model.call("box2box_transform", positional=("normalize_by_size",))
    transform.must_be("Box2BoxTransformLinear")
    by_size = transform.flag("normalize_by_size", True)
    transform.done()
    return by_size


def features(model: Arguments, levels: Levels) -> tuple[str, ...]:
    """head_in_features; None: all levels, by rising stride."""
    if model.has("head_in_features"):
        return chosen(model, "head_in_features", levels)
    model.ignore("head_in_features")
    return tuple(levels)


def detections_of(model: Arguments, *, topk: int, score_thresh: float, nms_thresh: float) -> schema.Detections:
    """num_classes and the test_ arguments of a dense detector, with its class's defaults."""
    return schema.Detections(
        num_classes=model.whole("num_classes"),
        score_thresh=model.real("test_score_thresh", score_thresh),
        nms_thresh=model.real("test_nms_thresh", nms_thresh, least=0),
        detections_per_image=model.whole("max_detections_per_image", topk),
    )


def tower_of(
    head: Arguments, in_features: tuple[str, ...], channels: int, num_classes: int
) -> tuple[tuple[int, ...], str]:
    """conv_dims and norm of a dense head on levels of `channels` channels."""
    shapes = head.any("input_shape")
    if not isinstance(shapes, list) or len(shapes) != len(in_features):
        raise head.refused("input_shape", shapes, f"a ShapeSpec for each of {', '.join(in_features)}")
    for number, shape in enumerate(shapes):
        where = f"{head.where}.input_shape.{number}"
        check_equal(f"{where}.channels", shape_of(shape, where).channels, channels, in_features[number])
    check_equal(f"{head.where}.num_classes", head.whole("num_classes"), num_classes, "the model")
    dims, norm = head.wholes("conv_dims"), head.norm("norm")
    if not dims:
        raise head.refused("conv_dims", list(dims), "one number or more")
    check_groups(head.where, norm, *dims)
    head.ignore("prior_prob")
    return dims, norm
