"""Keys of detectron2's project PointRend -> schema. Facts: projects/PointRend/point_rend at 02b5c4e2."""

from math import isqrt

from d2deploy.config import schema
from d2deploy.config.node import Node
from d2deploy.config.yacs.backbone import levels
from d2deploy.config.yacs.checks import Supported, flag, names, refused, whole
from d2deploy.errors import ConfigError

# Old names, which detectron2 still reads: the RoI heads had a mask branch of their own.
OLD_ROI_HEADS, OLD_MASK_HEAD = "PointRendROIHeads", "CoarseMaskHead"

_NO_POOLER: Supported = {"MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("",)}
_POINT_HEAD: Supported = {"MODEL.POINT_HEAD.NAME": ("StandardPointHead",)}


def supported_point_rend(cfg: Node) -> Supported:
    """What the keys of PointRendMaskHead may say. detectron2 fails in inference without the point head."""
    is_old = cfg.MODEL.ROI_MASK_HEAD.NAME == OLD_MASK_HEAD
    return {**({} if is_old else _NO_POOLER), **_POINT_HEAD, "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": (True,)}


def supported_implicit(cfg: Node) -> Supported:
    """What the keys of ImplicitPointRendMaskHead may say. POINT_HEAD_ON is not read: it is always on."""
    return {**_NO_POOLER, "MODEL.POINT_HEAD.NAME": ("ImplicitPointHead",)}


def supported_point_rend_sem_seg(cfg: Node) -> Supported:
    """What the keys of PointRendSemSegHead may say."""
    return {
        **_POINT_HEAD,
        "MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME": ("SemSegFPNHead",),
        # With one class for all, or one class, there is no second best to be unsure about: detectron2 fails.
        "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": (False,),
    }


def point_rend_mask_head(cfg: Node) -> schema.PointRendMaskHead:
    """MODEL.ROI_MASK_HEAD and MODEL.POINT_HEAD."""
    _check_classes(cfg, "MODEL.ROI_HEADS.NUM_CLASSES")
    coarse_side = whole(cfg, "MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION")
    return schema.PointRendMaskHead(
        coarse=_conv_fc_head(cfg),
        coarse_side=coarse_side,
        point=_standard_point_head(cfg, _roi_levels(cfg)),
        subdivision=_subdivision(cfg, coarse_side),
    )


def implicit_point_rend_mask_head(cfg: Node) -> schema.ImplicitPointRendMaskHead:
    """MODEL.ROI_MASK_HEAD, MODEL.POINT_HEAD and MODEL.IMPLICIT_POINTREND."""
    _check_classes(cfg, "MODEL.ROI_HEADS.NUM_CLASSES")
    num_points = whole(cfg, "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS")
    start = isqrt(num_points)
    if start * start != num_points:
        raise refused(cfg, "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS", "a square number, such as 784, in this mask head")
    steps = whole(cfg, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", least=0)
    _check_side(start, steps)
    return schema.ImplicitPointRendMaskHead(
        parameters=_conv_fc_head(cfg),
        point=_implicit_point_head(cfg),
        subdivision=schema.Subdivision(start=start, steps=steps, num_points=num_points),
    )


def point_rend_sem_seg_head(cfg: Node, coarse: schema.SemSegFPNHead) -> schema.PointRendSemSegHead:
    """MODEL.POINT_HEAD on the `coarse` head."""
    _check_classes(cfg, "MODEL.SEM_SEG_HEAD.NUM_CLASSES")
    if coarse.num_classes < 2:
        raise refused(cfg, "MODEL.SEM_SEG_HEAD.NUM_CLASSES", "at least 2 in PointRendSemSegHead")
    steps = whole(cfg, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", least=0)
    if steps > 30 or 2**steps != coarse.common_stride:
        raise refused(
            cfg,
            "MODEL.POINT_HEAD.SUBDIVISION_STEPS",
            f"as many as double MODEL.SEM_SEG_HEAD.COMMON_STRIDE, {coarse.common_stride}, away: 2 for 4",
        )
    return schema.PointRendSemSegHead(
        coarse=coarse,
        point=_standard_point_head(cfg, levels(cfg)),
        steps=steps,
        num_points=whole(cfg, "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS"),
    )


def _conv_fc_head(cfg: Node) -> schema.ConvFCHead:
    resolution = whole(cfg, "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION")
    if resolution % 2:
        raise refused(cfg, "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION", "even in this mask head, which halves it")
    return schema.ConvFCHead(
        in_features=names(cfg, "MODEL.ROI_MASK_HEAD.IN_FEATURES", allowed=_roi_levels(cfg)),
        resolution=resolution,
        conv_dim=whole(cfg, "MODEL.ROI_MASK_HEAD.CONV_DIM"),
        fc_dims=(whole(cfg, "MODEL.ROI_MASK_HEAD.FC_DIM"),) * whole(cfg, "MODEL.ROI_MASK_HEAD.NUM_FC"),
    )


def _standard_point_head(cfg: Node, allowed: tuple[str, ...] | None) -> schema.StandardPointHead:
    return schema.StandardPointHead(
        in_features=names(cfg, "MODEL.POINT_HEAD.IN_FEATURES", allowed=allowed),
        fc_dims=(whole(cfg, "MODEL.POINT_HEAD.FC_DIM"),) * whole(cfg, "MODEL.POINT_HEAD.NUM_FC", least=0),
        coarse_pred_each_layer=flag(cfg, "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER"),
        cls_agnostic_mask=flag(cfg, "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK"),
    )


def _implicit_point_head(cfg: Node) -> schema.ImplicitPointHead:
    head = schema.ImplicitPointHead(
        in_features=names(cfg, "MODEL.POINT_HEAD.IN_FEATURES", allowed=_roi_levels(cfg)),
        fc_dims=(whole(cfg, "MODEL.POINT_HEAD.FC_DIM"),) * whole(cfg, "MODEL.POINT_HEAD.NUM_FC"),
        image_feature_enabled=flag(cfg, "MODEL.IMPLICIT_POINTREND.IMAGE_FEATURE_ENABLED"),
        pos_enc_enabled=flag(cfg, "MODEL.IMPLICIT_POINTREND.POS_ENC_ENABLED"),
        cls_agnostic_mask=flag(cfg, "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK"),
    )
    if not head.image_feature_enabled and not head.pos_enc_enabled:
        raise refused(cfg, "MODEL.IMPLICIT_POINTREND.POS_ENC_ENABLED", "true where IMAGE_FEATURE_ENABLED is false")
    return head


def _subdivision(cfg: Node, side: int) -> schema.Subdivision:
    """The first steps, in which every point would be chosen, are left out: the mask begins that much larger."""
    num_points = whole(cfg, "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS")
    steps = whole(cfg, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", least=0)
    while 4 * side**2 <= num_points:
        side, steps = side * 2, steps - 1
    if steps < 0:
        raise refused(cfg, "MODEL.POINT_HEAD.SUBDIVISION_STEPS", f"{-steps} more: SUBDIVISION_NUM_POINTS skips as many")
    _check_side(side, steps)
    return schema.Subdivision(start=side, steps=steps, num_points=num_points)


def _check_side(start: int, steps: int) -> None:
    if steps > 20 or start * 2**steps > 4096:
        raise ConfigError(
            f"MODEL.POINT_HEAD.SUBDIVISION_STEPS doubles a mask of {start} cells a side {steps} times. Choose fewer: "
            f"detectron2's own configs end at 224 cells."
        )


def _check_classes(cfg: Node, key: str) -> None:
    mine, others = whole(cfg, "MODEL.POINT_HEAD.NUM_CLASSES"), whole(cfg, key)
    if mine != others:
        raise refused(cfg, "MODEL.POINT_HEAD.NUM_CLASSES", f"{key}, which is {others}")


def _roi_levels(cfg: Node) -> tuple[str, ...]:
    """Mask heads without a pooler see the levels of the RoI heads alone (detectron2 roi_heads.py)."""
    return names(cfg, "MODEL.ROI_HEADS.IN_FEATURES", allowed=levels(cfg))
