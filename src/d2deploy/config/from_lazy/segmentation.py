"""Semantic and panoptic networks of a LazyConfig -> schema.

Facts: detectron2 modeling/meta_arch/semantic_seg.py and panoptic_fpn.py at 02b5c4e2.
"""

from collections.abc import Callable, Mapping
from typing import Any

from d2deploy.config import schema
from d2deploy.config.from_lazy.arguments import Arguments, shape_of
from d2deploy.config.from_lazy.input import Loader
from d2deploy.config.from_lazy.levels import Levels, check_equal, check_groups
from d2deploy.config.from_lazy.proposals import rpn
from d2deploy.config.from_lazy.roi_heads import roi_heads


def semantic_segmentor(model: Arguments, levels: Levels, _: Loader) -> schema.SemanticSegmentor:
    """SemanticSegmentor(sem_seg_head)."""
    return schema.SemanticSegmentor(head=sem_seg_head(model, levels))


def panoptic_fpn(model: Arguments, levels: Levels, _: Loader) -> schema.PanopticFPN:
    """PanopticFPN(proposal_generator, roi_heads, sem_seg_head, combine_overlap_thresh=0.5, ...)."""
    heads = roi_heads(model.call("roi_heads"), levels)
    if heads.mask is None:
        raise model.refused("roi_heads", None, "heads with a mask_head: without masks there is nothing to combine")
    area = model.real("combine_stuff_area_thresh", 4096, least=0)
    return schema.PanopticFPN(
        detector=schema.GeneralizedRCNN(proposals=rpn(model.call("proposal_generator"), levels), roi_heads=heads),
        sem_seg=sem_seg_head(model, levels),
        combine=schema.PanopticCombine(
            overlap_thresh=model.real("combine_overlap_thresh", 0.5),
            stuff_area_thresh=-int(-area // 1),  # an area is whole: below 10.5 is below 11
            instances_score_thresh=model.real("combine_instances_score_thresh", 0.5),
        ),
    )


def sem_seg_head(model: Arguments, levels: Levels) -> Any:
    """The sem_seg_head of any target in SEM_SEG_HEADS, on a backbone that gives `levels`."""
    head = model.call("sem_seg_head", positional=("input_shape",))
    head.must_be(*SEM_SEG_HEADS)
    made = SEM_SEG_HEADS[head.target](head, levels)
    head.ignore("loss_weight", "ignore_value")
    head.done()
    return made


def _fpn_head(head: Arguments, levels: Levels) -> schema.SemSegFPNHead:
    """SemSegFPNHead(input_shape, *, num_classes, conv_dims, common_stride, norm=None)."""
    made = schema.SemSegFPNHead(
        in_features=input_levels(head, levels),
        num_classes=head.whole("num_classes"),
        conv_dims=head.whole("conv_dims"),
        common_stride=head.whole("common_stride"),
        norm=head.norm("norm"),
    )
    check_groups(head.where, made.norm, made.conv_dims)
    return made


def input_levels(head: Arguments, levels: Levels) -> tuple[str, ...]:
    """The levels in input_shape={name: ShapeSpec}. Raises ConfigError: the backbone's are others."""
    shapes = head.any("input_shape")
    if not isinstance(shapes, Mapping) or not shapes or not set(shapes) <= set(levels):
        raise head.refused("input_shape", shapes, f"a ShapeSpec for each level by name, of {', '.join(levels)}")
    for name, value in shapes.items():
        where = f"{head.where}.input_shape.{name}"
        shape = shape_of(value, where)
        check_equal(f"{where}.channels", shape.channels, levels[name].channels, "the backbone")
        check_equal(f"{where}.stride", shape.stride, levels[name].stride, "the backbone")
    return tuple(shapes)


SEM_SEG_HEADS: dict[str, Callable[[Arguments, Levels], Any]] = {"SemSegFPNHead": _fpn_head}
"""Target -> what reads it; what all heads have for training is taken by `sem_seg_head`."""
