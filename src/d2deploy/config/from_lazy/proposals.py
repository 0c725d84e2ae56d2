"""Anchors, box deltas and proposal generators of a LazyConfig -> schema.

Facts: detectron2 modeling/anchor_generator.py, box_regression.py, proposal_generator/rpn.py at 02b5c4e2.
"""

import math
from collections.abc import Sequence

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments
from d2deploy.config.from_lazy.levels import Levels, channels_of, check_equal, chosen
from d2deploy.errors import ConfigError

SCALE_CLAMP = math.log(1000 / 16)


def rpn(call: Arguments, levels: Levels) -> schema.RPN:
    """RPN(in_features, head, anchor_generator, ...)."""
    call.must_be("RPN")
    in_features = chosen(call, "in_features", levels)
    boxes = anchors(call, in_features, levels)
    config = schema.RPN(
        in_features=in_features,
        conv_dims=_head(call.call("head"), channels_of(call, in_features, levels), boxes.per_cell),
        bbox_reg_weights=box_weights(call),
        pre_nms_topk=_at_test(call, "pre_nms_topk"),
        post_nms_topk=_at_test(call, "post_nms_topk"),
        nms_thresh=call.real("nms_thresh", 0.7, least=0),
        min_box_size=call.real("min_box_size", 0.0, least=0),
        anchors=boxes,
    )
    call.ignore("anchor_matcher", "batch_size_per_image", "positive_fraction", "anchor_boundary_thresh")
    call.ignore("loss_weight", "box_reg_loss_type", "smooth_l1_beta")
    call.done()
    return config


def _head(head: Arguments, channels: int, per_cell: int) -> tuple[int, ...]:
    """StandardRPNHead(in_channels, num_anchors, box_dim=4, conv_dims=(-1,)): its conv_dims."""
    head.must_be("StandardRPNHead")
    check_equal(f"{head.where}.in_channels", head.whole("in_channels"), channels, "the backbone")
    check_equal(f"{head.where}.num_anchors", head.whole("num_anchors"), per_cell, "the anchor generator")
    head.only("box_dim", 4)
    dims = head.wholes("conv_dims", (-1,), least=-1)
    if not dims or 0 in dims:
        raise head.refused("conv_dims", list(dims), "a list of channel counts, where -1 means as many as come in")
    head.done()
    return dims


def _at_test(call: Arguments, name: str) -> int:
    """The second of two numbers, (train, test)."""
    value = call.any(name)
    if not isinstance(value, list | tuple) or len(value) != 2 or any(type(v) is not int or v < 1 for v in value):
        raise call.refused(name, value, "two whole numbers, for training and for testing")
    return int(value[1])


def anchors(call: Arguments, in_features: Sequence[str], levels: Levels) -> schema.Anchors:
    """The argument anchor_generator: DefaultAnchorGenerator(sizes, aspect_ratios, strides, offset=0.5)."""
    generator = call.call("anchor_generator")
    generator.must_be("DefaultAnchorGenerator")
    strides = generator.wholes("strides")
    check_equal(f"{generator.where}.strides", list(strides), [levels[n].stride for n in in_features], "the backbone")
    made = schema.Anchors(
        sizes=generator.per_level("sizes", in_features),
        aspect_ratios=generator.per_level("aspect_ratios", in_features),
        offset=generator.real("offset", 0.5, least=0),
    )
    if made.offset >= 1:
        raise generator.refused("offset", made.offset, "at least 0 and below 1")
    generator.done()
    counts = [len(sizes) * len(ratios) for sizes, ratios in zip(made.sizes, made.aspect_ratios, strict=True)]
    if len(set(counts)) > 1:
        raise ConfigError(f"{generator.where} gives {counts} anchors a cell; one head needs as many on every level.")
    return made


def box_weights(call: Arguments, name: str = "box2box_transform") -> tuple[float, float, float, float]:
    """The weights of Box2BoxTransform(weights, scale_clamp=log(1000 / 16))."""
    transform = call.call(name, positional=("weights", "scale_clamp"))
    transform.must_be("Box2BoxTransform")
    x, y, width, height = transform.reals("weights", count=4, positive=True)
    clamp = transform.real("scale_clamp", SCALE_CLAMP)
    if not math.isclose(clamp, SCALE_CLAMP, rel_tol=1e-6):
        raise transform.refused("scale_clamp", clamp, f"{SCALE_CLAMP}, the only one that d2deploy can build")
    transform.done()
    return x, y, width, height
