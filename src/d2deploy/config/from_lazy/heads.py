"""Box, mask and keypoint heads of a LazyConfig, and what pools for them -> schema.

Facts: detectron2 modeling/poolers.py and modeling/roi_heads/ (box_head.py, fast_rcnn.py, mask_head.py,
keypoint_head.py) at 02b5c4e2.
"""

from typing import Any, NamedTuple

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments, shape_of
from d2deploy.config.from_lazy.levels import (
    Levels,
    are_pyramid,
    channels_of,
    check_equal,
    check_groups,
    check_shape,
    chosen,
)
from d2deploy.config.from_lazy.proposals import box_weights

POOLERS = ("ROIAlign", "ROIAlignV2", "ROIPool")
INPUT_SHAPE = ("input_shape",)  # the one argument of heads that may come without a name


class Source(NamedTuple):
    """The levels that heads look at."""

    in_features: tuple[str, ...]
    channels: int
    strides: tuple[int, ...]


class Predictor(NamedTuple):
    """FastRCNNOutputLayers."""

    detections: schema.Detections
    bbox_reg_weights: tuple[float, float, float, float]
    cls_agnostic_bbox_reg: bool
    use_sigmoid_ce: bool
    use_fed_loss: bool


def source_of(call: Arguments, name: str, levels: Levels) -> Source:
    """The levels that an argument names: strides must double from one to the next."""
    names = chosen(call, name, levels)
    strides = tuple(levels[level].stride for level in names)
    if not are_pyramid(strides):
        raise call.refused(name, list(names), f"levels whose strides double; theirs are {list(strides)}")
    return Source(names, channels_of(call, names, levels), strides)


def pooler_of(call: Arguments, name: str, source: Source) -> schema.Pooler:
    """ROIPooler(output_size, scales, sampling_ratio, pooler_type, canonical_box_size=224, canonical_level=4)."""
    positional = ("output_size", "scales", "sampling_ratio", "pooler_type", "canonical_box_size", "canonical_level")
    pooler = call.call(name, positional=positional)
    pooler.must_be("ROIPooler")
    scales = list(pooler.reals("scales"))
    check_equal(f"{pooler.where}.scales", scales, [1 / stride for stride in source.strides], "the levels' stride")
    pooler.only("canonical_box_size", 224)
    pooler.only("canonical_level", 4)
    made = schema.Pooler(
        type=pooler.one_of("pooler_type", POOLERS),
        resolution=_side(pooler),
        sampling_ratio=pooler.whole("sampling_ratio", least=0),
    )
    pooler.done()
    return made


def _side(pooler: Arguments) -> int:
    """output_size: a number, or the same one twice."""
    value = pooler.any("output_size")
    sides = value if isinstance(value, list) else [value, value]
    if len(sides) != 2 or sides[0] != sides[1] or type(sides[0]) is not int or sides[0] < 1:
        raise pooler.refused("output_size", value, "a whole number of at least 1: pooled features are square")
    return sides[0]


def box_head(head: Arguments, pooler: schema.Pooler, channels: int) -> dict[str, Any]:
    """FastRCNNConvFCHead(input_shape, *, conv_dims, fc_dims, conv_norm=""): fields of schema.BoxHead."""
    head.must_be("FastRCNNConvFCHead")
    check_shape(head.where, head.shape(), channels=channels, side=pooler.resolution, source="its pooler")
    convs, fcs, norm = head.wholes("conv_dims"), head.wholes("fc_dims"), head.norm("conv_norm")
    if not convs + fcs:
        raise head.refused("fc_dims", [], "one number or more, where conv_dims is empty: the head has no layers")
    check_groups(head.where, norm, *convs)
    head.done()
    return {"pooler": pooler, "conv_dims": convs, "fc_dims": fcs, "norm": norm}


def box_size(head: dict[str, Any]) -> int:
    """How many numbers a box head gives for each box."""
    return int(head["fc_dims"][-1] if head["fc_dims"] else head["conv_dims"][-1] * head["pooler"].resolution ** 2)


def predictor_of(call: Arguments, num_classes: int, size: int) -> Predictor:
    """FastRCNNOutputLayers(input_shape, *, box2box_transform, num_classes, ...) on `size` numbers a box."""
    call.must_be("FastRCNNOutputLayers")
    check_equal(f"{call.where}.input_shape", _numbers(call), size, "the box head")
    check_equal(f"{call.where}.num_classes", call.whole("num_classes"), num_classes, "roi_heads.num_classes")
    made = Predictor(
        detections=schema.Detections(
            num_classes=num_classes,
            score_thresh=call.real("test_score_thresh", 0.0),
            nms_thresh=call.real("test_nms_thresh", 0.5, least=0),
            detections_per_image=call.whole("test_topk_per_image", 100),
        ),
        bbox_reg_weights=box_weights(call),
        cls_agnostic_bbox_reg=call.flag("cls_agnostic_bbox_reg", False),
        use_sigmoid_ce=call.flag("use_sigmoid_ce", False),
        use_fed_loss=call.flag("use_fed_loss", False),
    )
    if made.use_fed_loss and not made.use_sigmoid_ce:
        raise call.refused("use_fed_loss", True, "False where use_sigmoid_ce is")
    call.ignore(
        "smooth_l1_beta", "box_reg_loss_type", "loss_weight", "get_fed_loss_cls_weights", "fed_loss_num_classes"
    )
    call.done()
    return made


def _numbers(call: Arguments) -> int:
    """The numbers a box of input_shape: a ShapeSpec, or the number itself."""
    value = call.any("input_shape")
    if type(value) is int:
        return value
    shape = shape_of(value, f"{call.where}.input_shape")
    return (shape.channels or 0) * (shape.height or 1) * (shape.width or 1)


def mask_head(
    head: Arguments, pooler: schema.Pooler, *, channels: int, num_classes: int, side: int | None
) -> schema.MaskHead:
    """MaskRCNNConvUpsampleHead(input_shape, *, num_classes, conv_dims, conv_norm=""); the last of conv_dims upsamples.

    `side`: what its input_shape should say of the pooled size; None: nothing uses it.
    """
    head.must_be("MaskRCNNConvUpsampleHead")
    check_shape(head.where, head.shape(), channels=channels, side=side, source="what it looks at")
    own = head.whole("num_classes")
    if own not in (1, num_classes):
        raise head.refused("num_classes", own, f"{num_classes} as in roi_heads, or 1 for one mask for all classes")
    dims = head.wholes("conv_dims")
    if not dims:
        raise head.refused("conv_dims", list(dims), "one number or more")
    made = schema.MaskHead(
        pooler=pooler, conv_dims=dims, norm=head.norm("conv_norm"), cls_agnostic_mask=own != num_classes
    )
    check_groups(head.where, made.norm, *dims[:-1])
    head.ignore("loss_weight", "vis_period")
    head.done()
    return made


def keypoint_head(head: Arguments, pooler: schema.Pooler, *, channels: int) -> schema.KeypointHead:
    """KRCNNConvDeconvUpsampleHead(input_shape, *, num_keypoints, conv_dims)."""
    head.must_be("KRCNNConvDeconvUpsampleHead")
    check_shape(head.where, head.shape(), channels=channels, side=pooler.resolution, source="its pooler")
    dims = head.wholes("conv_dims")
    if not dims:
        raise head.refused("conv_dims", list(dims), "one number or more")
    made = schema.KeypointHead(pooler=pooler, conv_dims=dims, num_keypoints=head.whole("num_keypoints"), oks_sigmas=())
    head.ignore("loss_weight", "loss_normalizer")
    head.done()
    return made
