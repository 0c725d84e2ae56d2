"""Keys of semantic and panoptic networks -> schema."""

from collections.abc import Callable
from typing import Any, NamedTuple

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import NORMS, check_groups, levels
from d2deploy.config.yacs.checks import Supported, names, real, refused, whole
from d2deploy.config.yacs.deeplab import (
    deeplab_v3_head,
    deeplab_v3_plus_head,
    panoptic_deeplab_sem_seg_head,
    supported_deeplab,
)
from d2deploy.config.yacs.own_parts import own, without_own
from d2deploy.config.yacs.point_rend import point_rend_sem_seg_head, supported_point_rend_sem_seg
from d2deploy.config.yacs.rcnn import generalized_rcnn, supported_rcnn


class _Row(NamedTuple):
    """One semantic head."""

    read: Callable[[Node], Any]
    supported: Callable[[Node], Supported]  # what the keys that it reads may say


def supported_semantic(cfg: Node) -> Supported:
    """What the keys of a semantic head may say."""
    name = cfg.MODEL.SEM_SEG_HEAD.NAME
    rest = SEM_SEG_HEADS[name].supported(cfg) if name in SEM_SEG_HEADS else {}
    return without_own(cfg, {"MODEL.SEM_SEG_HEAD.NAME": tuple(SEM_SEG_HEADS), **rest})


def supported_panoptic(cfg: Node) -> Supported:
    """What the keys of Panoptic FPN may say."""
    # Without masks there is nothing to combine, and detectron2 breaks on the first image.
    return {**supported_rcnn(cfg), **supported_semantic(cfg), "MODEL.MASK_ON": (True,)}


def semantic_segmentor(cfg: Node) -> schema.SemanticSegmentor:
    """MODEL.SEM_SEG_HEAD alone."""
    return schema.SemanticSegmentor(head=sem_seg_head(cfg))


def panoptic_fpn(cfg: Node) -> schema.PanopticFPN:
    """A detector, MODEL.SEM_SEG_HEAD and MODEL.PANOPTIC_FPN.COMBINE. COMBINE.ENABLED is read by nobody since 2021."""
    detector = generalized_rcnn(cfg)
    if not isinstance(detector.proposals, schema.RPN):
        raise refused(cfg, "MODEL.PROPOSAL_GENERATOR.NAME", "RPN in PanopticFPN, which takes no proposals as input")
    combine = "MODEL.PANOPTIC_FPN.COMBINE"
    return schema.PanopticFPN(
        detector=detector,
        sem_seg=sem_seg_head(cfg),
        combine=schema.PanopticCombine(
            overlap_thresh=real(cfg, f"{combine}.OVERLAP_THRESH"),
            stuff_area_thresh=whole(cfg, f"{combine}.STUFF_AREA_LIMIT", least=0),
            instances_score_thresh=real(cfg, f"{combine}.INSTANCES_CONFIDENCE_THRESH"),
        ),
    )


def sem_seg_head(cfg: Node) -> Any:
    """MODEL.SEM_SEG_HEAD, whichever head it is."""
    if part := own(cfg, "MODEL.SEM_SEG_HEAD.NAME"):
        return schema.RegisteredSemSegHead(part=part, num_classes=whole(cfg, "MODEL.SEM_SEG_HEAD.NUM_CLASSES"))
    return SEM_SEG_HEADS[cfg.MODEL.SEM_SEG_HEAD.NAME].read(cfg)


def sem_seg_fpn_head(cfg: Node) -> schema.SemSegFPNHead:
    """MODEL.SEM_SEG_HEAD as SemSegFPNHead reads it."""
    head = schema.SemSegFPNHead(
        in_features=names(cfg, "MODEL.SEM_SEG_HEAD.IN_FEATURES", allowed=levels(cfg)),
        num_classes=whole(cfg, "MODEL.SEM_SEG_HEAD.NUM_CLASSES"),
        conv_dims=whole(cfg, "MODEL.SEM_SEG_HEAD.CONVS_DIM"),
        common_stride=whole(cfg, "MODEL.SEM_SEG_HEAD.COMMON_STRIDE"),
        norm=cfg.MODEL.SEM_SEG_HEAD.NORM,
    )
    check_groups(cfg, "MODEL.SEM_SEG_HEAD.NORM", "MODEL.SEM_SEG_HEAD.CONVS_DIM", head.conv_dims)
    return head


def _supported_fpn_head(cfg: Node) -> Supported:
    return {"MODEL.SEM_SEG_HEAD.NORM": NORMS}


def _supported_point_rend(cfg: Node) -> Supported:
    return {**_supported_fpn_head(cfg), **supported_point_rend_sem_seg(cfg)}


def _point_rend_head(cfg: Node) -> schema.PointRendSemSegHead:
    return point_rend_sem_seg_head(cfg, sem_seg_fpn_head(cfg))


SEM_SEG_HEADS: dict[str, _Row] = {
    "DeepLabV3Head": _Row(deeplab_v3_head, supported_deeplab),
    "DeepLabV3PlusHead": _Row(deeplab_v3_plus_head, supported_deeplab),
    "PanopticDeepLabSemSegHead": _Row(panoptic_deeplab_sem_seg_head, supported_deeplab),
    "PointRendSemSegHead": _Row(_point_rend_head, _supported_point_rend),
    "SemSegFPNHead": _Row(sem_seg_fpn_head, _supported_fpn_head),
}
